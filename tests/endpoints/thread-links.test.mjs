// Links from threads to deals: stored whole or not at all, and a linked thread's task is tied to its deal.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertRefused, crms, startConduit } from "./harness.mjs";
import { outcome } from "./outcomes.mjs";

const conduit = await startConduit();
const { acme } = conduit;
for (const crm of crms) await conduit.connect(crm, acme);

const put = (json, options = {}) => conduit.fetch("thread-links", { method: "PUT", token: acme.service, json, ...options });

const deal = (crm) => ({ deal_id: `d_${crm}`, name: "Engines, 20 seats", stage: crm === "hubspot" ? "contractsent" : "Prospecting", ...(crm === "hubspot" && { pipeline: "default" }), amount: "1250.50", close_date: "2026-12-31" });

for (const crm of crms) {
  test(`${crm}: a deal that Conduit makes is known, and the task of its thread is tied to it where the CRM allows it`, async () => {
    const made = outcome(crm, "upsert_deal", { object_type: "deal", object_id: `d_${crm}`, deal: deal(crm) });
    const [first] = await conduit.settled(acme, (await conduit.submit(acme, made)).map(({ id }) => id));
    assert.ok(first.external_ids.deal, JSON.stringify(first.external_ids));
    const known = await conduit.rows("SELECT crm_deal_id FROM deals WHERE crm = ?1 AND deal_id = ?2", crm, `d_${crm}`);
    assert.deepEqual(known, [{ crm_deal_id: first.external_ids.deal }]);

    const changed = { ...made, source_event_id: `stage_2_${crm}`, deal: { ...made.deal, amount: "1400" } };
    const [second] = await conduit.settled(acme, (await conduit.submit(acme, changed)).map(({ id }) => id));
    assert.equal(second.external_ids.deal, first.external_ids.deal, "changed, not made again");

    const linked = await put({ links: [{ thread_id: `th_${crm}`, deal_id: `d_${crm}` }] });
    assert.deepEqual([linked.status, linked.body], [200, { linked: 1, unlinked: 0, deals: 0 }]);
    const task = outcome(crm, "create_task", { object_id: `th_${crm}` });
    const [done] = await conduit.settled(acme, (await conduit.submit(acme, task)).map(({ id }) => id));
    const tied = await tiedTo[crm](done.external_ids.task);
    // A new person is a lead at Salesforce, and a lead's task may not name an opportunity: the write says what was left out.
    if (crm === "salesforce") assert.deepEqual([done.external_ids.lead !== undefined, done.response.left_out], [true, "WhatId"]);
    else assert.ok(tied.includes(first.external_ids.deal), `${tied}`);
  });
}

/** The deals a task is tied to, asked of the stand-in's own records. */
const tiedTo = {
  async hubspot(task) {
    const record = (await conduit.standIn.records("tasks")).find(({ id }) => id === task);
    return (record.associations.deals?.results ?? []).map(({ id }) => id);
  },
  async salesforce(task) {
    const record = (await conduit.standIn.records("Task")).find(({ Id: id }) => id === task);
    return [record.WhatId];
  },
};

test("a request is stored whole or not at all, by an admin, and audited", async () => {
  assertRefused(await put({ links: [] }, { token: acme.memberService }), 403, "admin_required");
  assertRefused(await put({ links: [{ thread_id: "th_x", deal_id: "d_x" }, { thread_id: "th_y" }] }), 422, "links_refused");
  assertRefused(await put({ deals: [{ crm: "pipedrive", deal_id: "d", crm_deal_id: "1" }] }), 400, "unknown_crm");
  assertRefused(await conduit.fetch("thread-links", { token: acme.service }), 405, "method_not_allowed");
  assert.deepEqual(await conduit.rows("SELECT * FROM thread_links WHERE thread_id IN ('th_x', 'th_y')"), []);

  const both = { links: [{ thread_id: "th_x", deal_id: "d_x" }], deals: [{ crm: "hubspot", deal_id: "d_x", crm_deal_id: "77" }] };
  assert.deepEqual((await put(both)).body, { linked: 1, unlinked: 0, deals: 1 });
  assert.deepEqual((await put(both)).body, { linked: 0, unlinked: 0, deals: 0 }, "a repeat changes nothing");
  assert.deepEqual((await put({ links: [{ thread_id: "th_x", deal_id: null }] })).body, { linked: 0, unlinked: 1, deals: 0 });
  const events = await conduit.rows("SELECT event FROM audit_events WHERE event IN ('threads_unlinked', 'deals_mapped')");
  assert.deepEqual(events.map(({ event }) => event).toSorted(), ["deals_mapped", "threads_unlinked"]);
});
