// DRY_RUN is on unless it says exactly "false": the requests are recorded, and none leaves.

import assert from "node:assert/strict";
import { test } from "node:test";
import { crms, startConduit, until } from "./harness.mjs";
import { actions, outcome } from "./outcomes.mjs";

const conduit = await startConduit({ unset: ["DRY_RUN"] });
const { acme, standIn } = conduit;

for (const crm of crms) {
  test(`${crm}: every write stays planned, with the requests that would have been sent`, async () => {
    await conduit.connect(crm, acme);
    const submitted = actions.map((action) => outcome(crm, action));
    let writes;
    const calls = await standIn.calls(async () => {
      const ids = (await conduit.submit(acme, submitted)).map(({ id }) => id);
      writes = await until("the dry run", 20, async () => {
        const shown = await Promise.all(ids.map((id) => conduit.fetch(`crm-writes/${id}`, { token: acme.service })));
        return shown.every(({ body }) => body.dry_run !== null) && shown.map(({ body }) => body);
      });
    });
    assert.deepEqual(calls, {}, "nothing arrived at the CRM");
    writes.forEach((write, n) => {
      assert.deepEqual([write.status, write.external_ids, write.response, write.next_retry_at], ["planned", {}, null, null]);
      const { requests } = write.dry_run;
      const host = crm === "hubspot" ? "https://api.hubapi.com/" : "https://acme.my.salesforce.com/";
      for (const request of requests) {
        assert.deepEqual(Object.keys(request).sort(), ["body", "method", "url"]);
        assert.ok(request.url.startsWith(host), request.url);
      }
      const sent = JSON.stringify(requests);
      assert.ok(sent.includes(submitted[n].contact.email));
      if (submitted[n].task) assert.ok(sent.includes("Send the offer") && sent.includes(`[conduit:${write.id}]`), sent);
      if (submitted[n].rollup) assert.ok(sent.includes("Two meetings"), sent);
    });
    for (const object of ["contacts", "tasks", "notes", "Lead", "Contact", "Task"]) assert.deepEqual(await standIn.effects(object), []);
  });
}

test("the reconciler leaves them at rest", async () => {
  const before = await conduit.rows("SELECT * FROM crm_write_log ORDER BY crm, idempotency_key");
  const calls = await standIn.calls(() => conduit.cron("reconcile-crm-writes"));
  assert.deepEqual(calls, {});
  assert.deepEqual(await conduit.rows("SELECT * FROM crm_write_log ORDER BY crm, idempotency_key"), before);
});

for (const crm of crms) {
  test(`${crm}: a disconnect ends here, and nothing is sent to the CRM`, async () => {
    let answer;
    const calls = await standIn.calls(async () => {
      answer = await conduit.fetch("crm-disconnect", { token: acme.service, json: { crm } });
    });
    assert.deepEqual(calls, {}, "nothing arrived at the CRM");
    assert.deepEqual([answer.status, answer.body], [200, { revoked: false, not_revoked: "dry_run", was_connected: true }]);
    const [row] = await conduit.rows("SELECT status, access_token_sealed, refresh_token_sealed FROM crm_connections WHERE workspace_id = ?1 AND crm = ?2", acme.workspace, crm);
    assert.deepEqual(row, { status: "disconnected", access_token_sealed: null, refresh_token_sealed: null });
    const [event] = await conduit.rows("SELECT detail_json FROM audit_events WHERE workspace_id = ?1 AND event = 'connection_disconnected' AND detail_json LIKE ?2", acme.workspace, `%${crm}%`);
    assert.equal(JSON.parse(event.detail_json).dry_run, true);
  });
}
