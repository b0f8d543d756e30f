// npm run demo: Conduit's main job, shown from outside. Connects HubSpot and Salesforce through the real redirects, submits
// outcomes about a few people, waits until they are in the CRMs, and reads them back with the CRMs' own clients.
//
// Uses the `npm start` that runs, or starts one for as long as it takes. Ends with exit code 1 when anything is not as it
// was submitted.
//
//   npm run demo -- --port 9000     the port, when it starts its own

import { setTimeout as sleep } from "node:timers/promises";
import { main, option, step, Stop } from "./steps.mjs";
import { continueUnderPinnedNode, ensureToolchain } from "./toolchain.mjs";

const titles = { hubspot: "HubSpot", salesforce: "Salesforce" };
const patienceSecs = 120;

main(import.meta, async () => {
  await ensureToolchain();
  await continueUnderPinnedNode();
  const { withLocal } = await import("./local.mjs");
  await withLocal(demo, { port: Number(option("port", "8787")) });
  process.exit(0);
});

async function demo(running) {
  console.log(`\nConduit at ${running.origin}, workspace ${running.workspace}\n`);
  for (const crm of Object.keys(titles)) await step(`connect ${titles[crm]}`, () => connect(running, crm), { announce: false });

  const { people } = await import("../tests/demo/people.mjs");
  const { source, people: everyone } = people();
  const submitted = outcomes(everyone);
  let accepted = null;
  await step("submit outcomes", async () => {
    accepted = (await api(running, "crm-writes", { writes: submitted })).writes;
    return `${accepted.length} about ${everyone.length} of ${source}, planned as ${accepted[0].id} and so on`;
  }, { announce: false });

  let written = null;
  await step("wait until every one has succeeded", async () => {
    written = await succeeded(running, accepted);
    const attempts = written.reduce((sum, write) => sum + write.attempts.length, 0);
    return `${written.length} writes in ${attempts} attempts`;
  }, { announce: false });

  await readBack(running, submitted, written);
  const goesOn = running.stop === undefined;
  console.log(`\nEvery contact, task, note and association is as it was submitted.${goesOn ? ` Look around: ${running.origin}/stand-in` : ""}\n`);
}

/** As a person's browser: start, consent page, Approve, callback, and back to the product. */
async function connect(running, crm) {
  const { Browser } = await import("../tests/demo/browser.mjs");
  const browser = new Browser();
  const start = new URL(`${running.origin}/functions/v1/${crm}-oauth-start`);
  start.search = new URLSearchParams({ workspace_id: running.workspace, return_to: `${running.origin}/` });
  const started = await browser.open(start.href, { headers: { authorization: `Bearer ${running.apiToken}` } });
  if (!started.location) throw new Stop(`The start of ${titles[crm]} answered ${started.status}: ${started.text}`);
  const callback = await browser.approve(started.location, accountOf(await connection(running, crm)));
  const finished = await browser.open(callback);
  const result = finished.location && new URL(finished.location).searchParams.get("conduit");
  if (result !== "connected") throw new Stop(`${titles[crm]} was not connected: ${finished.status} ${result ?? finished.text}`);
  console.log(browser.trail.map((line) => `    ${line}`).join("\n"));
  const { external_account_id: account, status, scopes } = await connection(running, crm);
  if (status !== "connected") throw new Stop(`${titles[crm]} is listed as ${status}.`);
  return `account ${account}, scopes ${scopes.join(" ")}`;
}

const connection = async (running, crm) => (await api(running, "crm-connections")).connections.find((one) => one.crm === crm);

/** What to type on the consent page to stay with the account that is connected already: hub id or organisation number. */
function accountOf(known) {
  if (!known || known.status === "disconnected") return null;
  return known.crm === "hubspot" ? known.external_account_id : String(Number(known.external_account_id.slice(5, 15)));
}

/** A task and a weekly rollup about everyone, for each CRM. The events are of this run: a second one adds to the first. */
function outcomes(everyone) {
  const run = Date.now().toString(36);
  return Object.keys(titles).flatMap((crm) =>
    everyone.flatMap((contact, n) => {
      const about = (kind) => ({ crm, object_type: "thread", object_id: `demo_${n}`, source_event_id: `demo_${run}_${kind}_${n}`, contact });
      return [
        { ...about("task"), action: "create_task", task: { subject: `Send the offer (${run})`, due_at: "2026-12-01T09:00:00Z", text: "They asked for a price.", priority: "high" } },
        { ...about("rollup"), action: "create_weekly_rollup", rollup: { week_of: "2026-11-16", text: `Two meetings this week; the offer is due (${run}).` } },
      ];
    }),
  );
}

async function succeeded(running, accepted) {
  const deadline = performance.now() + patienceSecs * 1000;
  for (;;) {
    const shown = await Promise.all(accepted.map(({ id }) => api(running, `crm-writes/${id}`)));
    const dead = shown.find(({ permanent_failure: isDead }) => isDead);
    if (dead) throw new Stop(`${dead.id} failed for good: ${JSON.stringify(dead.error)}`);
    if (shown.every(({ status }) => status === "succeeded")) return shown;
    if (performance.now() > deadline) {
      const late = shown.filter(({ status }) => status !== "succeeded");
      throw new Stop(`${late.length} writes did not succeed within ${patienceSecs} s; ${late[0].id} is ${late[0].status}: ${JSON.stringify(late[0].error)}`);
    }
    await sleep(300);
  }
}

async function readBack(running, submitted, written) {
  const { hubspotReader, salesforceReader, matchHubspot, matchSalesforce } = await import("../tests/demo/read-back.mjs");
  const { localSecrets } = await import("./secrets.mjs");
  const clients = {
    hubspot: ["@hubspot/api-client", hubspotReader, matchHubspot],
    salesforce: ["jsforce", salesforceReader, matchSalesforce],
  };
  for (const [crm, [client, reader, match]] of Object.entries(clients)) {
    await step(`read back with ${client}`, async () => {
      const account = accountOf(await connection(running, crm));
      const read = await reader({ origin: running.origin, secrets: localSecrets(), account });
      const mine = submitted.map((one, n) => [one, written[n]]).filter(([one]) => one.crm === crm);
      for (const [one, write] of mine) console.log(`    ${matched(match, one, write, await read(write))}`);
      return `${mine.length} outcomes, all as submitted`;
    }, { announce: false });
  }
}

function matched(match, submitted, write, found) {
  try {
    return match(submitted, write, found);
  } catch (error) {
    throw new Stop(`What is in ${titles[submitted.crm]} is not what was submitted as ${write.id}: ${error.message}`);
  }
}

/** A request of the host product's back end; anything but success ends the demo with what was said. */
async function api({ origin, token }, path, json) {
  const response = await fetch(`${origin}/functions/v1/${path}`, {
    method: json === undefined ? "GET" : "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: json === undefined ? undefined : JSON.stringify(json),
  });
  const text = await response.text();
  if (response.status !== 200 && response.status !== 202) throw new Stop(`${path} answered ${response.status}: ${text}`);
  return JSON.parse(text);
}
