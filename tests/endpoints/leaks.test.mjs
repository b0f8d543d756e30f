// Rule 1: a token never appears in plain where it must not. Every file of these tests ends with the search; here one run
// goes through everything that touches a token, and the search is shown to find what is planted for it.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { crms, functions, origin, startConduit } from "./harness.mjs";
import { findLeaks } from "./leaks.mjs";
import { actions, outcome } from "./outcomes.mjs";

const conduit = await startConduit();
const { acme, standIn, seen } = conduit;

test("a run through connects, refusals, writes, refreshes, failures and disconnects leaves nothing in plain", async () => {
  for (const crm of crms) {
    const browser = conduit.browser();
    for (const decision of ["deny", "approve"]) {
      const { url } = await browser.start(crm, { who: acme, query: { return_to: `${origin}/back` } });
      const callback = await browser.consent(url, { decision });
      await browser.callback(callback, { asPage: true });
      await browser.callback(callback); // used
    }
    await standIn.fault({ match: { provider: crm, path_contains: "/token", count: 1 }, truncate: true });
    await browser.connect(crm, { who: acme, asPage: true });

    const ids = (await conduit.submit(acme, actions.map((action) => outcome(crm, action)))).map(({ id }) => id);
    await conduit.settled(acme, ids);
    // The CRM no longer knows the token: the gate fetches another, and the write arrives.
    const path = { hubspot: "/crm/", salesforce: "/services/data/" }[crm];
    await standIn.fault({ match: { provider: crm, path, count: 1 }, status: 401 });
    const calls = await standIn.calls(async () => {
      const [late] = await conduit.submit(acme, outcome(crm, "create_task"));
      await conduit.settled(acme, [late.id], { seconds: 30 });
    });
    assert.ok(Object.keys(calls).some((call) => call.includes("/token")), `a refresh happened: ${JSON.stringify(calls)}`);
    for (const fault of [{ status: 500, body: "html" }, { lose: "request" }]) {
      await standIn.fault({ match: { provider: crm, path, count: 1 }, ...fault });
      await conduit.submit(acme, outcome(crm, "upsert_contact"));
    }
    await conduit.fetch("crm-connections", { token: acme.service });
    await conduit.fetch("crm-writes", { token: acme.service, query: { limit: 100 } });
    await conduit.fetch("crm-disconnect", { token: acme.service, json: { crm } });
  }
  await conduit.cron("reconcile-crm-writes");
  const issued = await standIn.tokens();
  assert.ok(issued.length >= 10, `${issued.length} codes and tokens were given out`);
  assert.ok(seen.logs.some(({ message }) => message.startsWith("queue message ")), "queue messages are among what is searched");
  assert.ok(seen.logs.some(({ message }) => message.includes('"event":"oauth_failed"')), "and so are log lines");
  assert.deepEqual(await findLeaks(conduit), []);
});

test("the search finds what is planted: in a row, a log line, a response, and a file; as it is and encoded", async () => {
  // Not real ones: what is deleted stays in SQLite's files for a while, where the search at the end would find it.
  const planted = Object.fromEntries(["row", "line", "body", "header", "file", "gone"].map((name) => [name, `${name}/${randomUUID()}!`]));
  await conduit.db.prepare("INSERT INTO workspaces (id, name, created_at) VALUES ('ws_planted', ?1, 0)").bind(`x${planted.row}x`).run();
  await conduit.db.prepare("INSERT INTO workspaces (id, name, created_at) VALUES ('ws_gone', ?1, 0)").bind(planted.gone).run();
  await conduit.db.prepare("DELETE FROM workspaces WHERE id = 'ws_gone'").run();
  seen.logs.push({ message: `{"reason":"${encodeURIComponent(planted.line)}"}` });
  seen.responses.push({ method: "GET", url: "/planted", status: 200, headers: [["location", `${functions}/?t=${encodeURIComponent(planted.header)}`]], text: `<p>${planted.body}` });
  writeFileSync(join(conduit.persisted, "planted"), Buffer.from(planted.file).toString("base64"));

  const found = (await findLeaks(conduit, planted)).join("\n");
  for (const place of [
    /^row in D1 workspaces\.name$/m,
    /^row in the file d1\//m,
    /^gone in the file d1\//m,
    /^line in the log line /m,
    /^body in the response 200 of \/planted$/m,
    /^header in the response 200 of \/planted$/m,
    /^file in the file planted$/m,
  ]) {
    assert.match(found, place);
  }
  assert.doesNotMatch(found, /stand-in|_KEY_|cookie/);
  for (const value of Object.values(planted)) assert.ok(!found.includes(value), "the report repeats nothing");
});
