// Dead letters: read by themselves, replayed one by one or by filter after a look, under the same key and with one effect.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertRefused, crms, startConduit } from "./harness.mjs";
import { outcome } from "./outcomes.mjs";

const conduit = await startConduit();
const { acme, globex, standIn } = conduit;
for (const crm of crms) await conduit.connect(crm, acme);

const poison = { task: { subject: "poison", due_at: "2026-11-27T09:00:00Z" } };
const tasks = { hubspot: "tasks", salesforce: "Task" };

/** Dead letters of this CRM, which the stand-in refuses until the faults are cleared. */
async function deadLetters(crm, count) {
  await standIn.fault({ match: { provider: crm, body_contains: "poison" }, status: 400, ...(crm === "salesforce" && { code: "MALFORMED_ID" }) });
  const writes = Array.from({ length: count }, () => outcome(crm, "create_task", poison));
  const ids = (await conduit.submit(acme, writes)).map(({ id }) => id);
  const dead = await conduit.settled(acme, ids, { status: "permanent_failure" });
  await standIn.clearFaults();
  return dead;
}

const replay = (path, options = {}) => conduit.fetch(`crm-writes/${path}`, { method: "POST", token: acme.service, ...options });
const marks = async (crm, id) => (await standIn.effects(tasks[crm])).filter(({ text_end: text }) => text.includes(`[conduit:${id}]`));

for (const crm of crms) {
  test(`${crm}: a dead letter is replayed under its key, once, and its effect is one`, async () => {
    const [dead] = await deadLetters(crm, 1);
    const answer = await replay(`${dead.id}/replay`, { token: acme.admin, query: { workspace_id: acme.workspace } });
    assert.equal(answer.status, 202, answer.text);
    assert.deepEqual(
      [answer.body.id, answer.body.idempotency_key, answer.body.retry_count, answer.body.permanent_failure],
      [dead.id, dead.idempotency_key, 0, false],
    );
    const [done] = await conduit.settled(acme, [dead.id]);
    assert.deepEqual(done.attempts.map(({ outcome: became }) => became), ["permanent_failure", "succeeded"]);
    assert.equal((await marks(crm, dead.id)).length, 1);
    assertRefused(await replay(`${dead.id}/replay`), 409, "not_a_dead_letter");
    const events = await conduit.rows("SELECT actor, event FROM audit_events WHERE subject = ?1", dead.id);
    assert.deepEqual(events, [{ actor: "us_acme_admin", event: "write_replayed" }]);
  });
}

test("a filter shows what it would replay before it does, and takes no more", async () => {
  const mine = await deadLetters("hubspot", 3);
  const others = await deadLetters("salesforce", 2);
  const filter = { crm: "hubspot", error_class: "mapping" };
  const shown = await replay("replay", { json: filter });
  assert.equal(shown.status, 200, shown.text);
  assert.deepEqual([shown.body.dry_run, shown.body.replayed, shown.body.remaining], [true, 3, 0]);
  assert.deepEqual(shown.body.writes.toSorted(), mine.map(({ id }) => id).toSorted());
  for (const { id } of mine) assert.equal((await conduit.fetch(`crm-writes/${id}`, { token: acme.service })).body.status, "permanent_failure");

  const done = await replay("replay", { json: { ...filter, dry_run: false } });
  assert.deepEqual([done.body.dry_run, done.body.replayed, done.body.remaining], [false, 3, 0]);
  await conduit.settled(acme, mine.map(({ id }) => id));
  const { body } = await conduit.fetch("crm-writes", { token: acme.service, query: { permanent_failure: "true" } });
  assert.deepEqual(body.writes.map(({ id }) => id).toSorted(), others.map(({ id }) => id).toSorted());
  const [event] = await conduit.rows("SELECT detail_json FROM audit_events WHERE event = 'writes_replayed'");
  assert.deepEqual([JSON.parse(event.detail_json).filter.crm, JSON.parse(event.detail_json).writes.length], ["hubspot", 3]);

  const none = await replay("replay", { json: { before: "2020-01-01T00:00:00Z", dry_run: false } });
  assert.deepEqual([none.body.replayed, none.body.writes], [0, []]);
});

test("who may not, what is not there and what is misspelt is refused, and nothing is replayed", async () => {
  const [dead] = await deadLetters("hubspot", 1);
  const member = { token: acme.memberService };
  assertRefused(await replay(`${dead.id}/replay`, member), 403, "admin_required");
  assertRefused(await replay("replay", { ...member, json: {} }), 403, "admin_required");
  assertRefused(await replay(`${dead.id}/replay`, { token: globex.service }), 404, "write_not_found");
  assertRefused(await replay("wr_hnever/replay"), 404, "write_not_found");
  assertRefused(await replay("nonsense/replay"), 404, "write_not_found");
  for (const [json, code] of [[{ eror_code: "x" }, "malformed_json"], [{ crm: "pipedrive" }, "unknown_crm"], [{ after: "soon" }, "malformed_json"], [[], "malformed_json"], [{ dry_run: "no" }, "malformed_json"]]) {
    assertRefused(await replay("replay", { json }), 400, code);
  }
  assertRefused(await conduit.fetch("crm-writes/replay", { token: acme.service }), 405, "method_not_allowed");
  assertRefused(await conduit.fetch(`crm-writes/${dead.id}/replay`, { token: acme.service }), 405, "method_not_allowed");
  assert.equal((await conduit.fetch(`crm-writes/${dead.id}`, { token: acme.service })).body.status, "permanent_failure");

  await conduit.fetch("crm-disconnect", { method: "POST", token: acme.service, json: { crm: "hubspot" }, query: { crm: "hubspot" } });
  assertRefused(await replay(`${dead.id}/replay`), 409, "not_connected");
  const shown = await replay("replay", { json: { crm: "hubspot", dry_run: false } });
  assert.deepEqual([shown.body.replayed, shown.body.remaining > 0], [0, true]);
});
