// npm run job: runs a job of a deployment by hand and prints its report; without a name, lists what the last runs came to.
//
//   npm run job -- reseal-tokens                                        of the local run that answers now
//   OPERATOR_TOKEN=… npm run job -- NAME --origin https://conduit.example.com
//
// npm run reseal is npm run job -- reseal-tokens.

import { existsSync, readFileSync } from "node:fs";
import { local } from "./repo.mjs";
import { localSecrets } from "./secrets.mjs";
import { main, option, Stop } from "./steps.mjs";

main(import.meta, async () => {
  const name = process.argv.slice(2).find((word, at, all) => !word.startsWith("--") && all[at - 1] !== "--origin");
  const given = option("origin", null);
  const running = local("running.json");
  if (given === null && !existsSync(running)) throw new Stop("Nothing runs locally: `npm start` first, or name a deployment with --origin.");
  const origin = given ?? JSON.parse(readFileSync(running, "utf8")).origin;
  const token = process.env.OPERATOR_TOKEN ?? (given === null ? localSecrets().OPERATOR_TOKEN : null);
  if (!token) throw new Stop("Set OPERATOR_TOKEN in the environment.");
  const path = name === undefined ? "jobs" : `jobs/${encodeURIComponent(name)}/run`;
  const answer = await fetch(`${origin.replace(/\/$/, "")}/functions/v1/${path}`, {
    method: name === undefined ? "GET" : "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  const body = await answer.json();
  if (!answer.ok) throw new Stop(`${body.code}: ${body.detail}`);
  console.log(JSON.stringify(name === undefined ? body.jobs : body, null, 2));
});
