// npm start: from a clean clone to a working address. Installs what is missing, builds every Worker, makes local
// secrets and the local D1, starts all Workers with the stand-in CRM, and prints what to paste. Ctrl-C ends it all.
//
//   npm start -- --port 9000     another port than 8787

import { main, option, step, Stop } from "./steps.mjs";
import { continueUnderPinnedNode, ensureToolchain } from "./toolchain.mjs";

main(import.meta, async () => {
  // Wall time since the first process: the set-up may go on under another Node.
  process.env.CONDUIT_BEGAN ??= String(Date.now());
  const port = Number(option("port", process.env.PORT ?? "8787"));
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw new Stop("--port takes a number from 1 to 65535.");
  await ensureToolchain();
  await continueUnderPinnedNode();

  const { buildWorkers } = await import("./build.mjs");
  const { ensurePortFree, prepareData, startLocal } = await import("./local.mjs");
  await ensurePortFree(port);

  // From here on a signal must find something to stop.
  let running = null;
  let stopping = null;
  const stop = (code) => {
    stopping ??= Promise.resolve(running?.stop()).then(() => process.exit(code));
    return stopping;
  };
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]]) process.on(signal, () => stop(code));
  // npm killed outright takes nobody with it: end when the parent is no longer the one that started us.
  const parent = process.ppid;
  setInterval(() => process.ppid !== parent && stop(1), 500).unref();

  const workers = await buildWorkers();
  let people = null;
  await step("local secrets and D1", async () => {
    people = await prepareData();
  }, { announce: false });
  await step(`${workers.length} Workers started`, async () => {
    running = startLocal({ port, people, log: (text) => process.stdout.write(text) });
    await running.ready;
  }, { announce: false });
  print(running);
  await running.ended;
  if (stopping === null) throw new Stop("wrangler has ended by itself; its last words are in .local/wrangler.log.");
  await stopping;
});

function print({ origin, workspace, user, token, apiToken }) {
  const ready = ((Date.now() - Number(process.env.CONDUIT_BEGAN)) / 1000).toFixed(1);
  console.log(`
Conduit answers at ${origin} (ready in ${ready} s)

  workspace       ${workspace}
  API token       ${apiToken}
                  (the host product's JWT for ${user}, an owner; good for 12 hours)
  service token   ${token}

  curl -H "Authorization: Bearer ${token}" "${origin}/functions/v1/crm-connections?workspace_id=${workspace}"

Data is kept in .local/state. Ctrl-C stops everything.
`);
}
