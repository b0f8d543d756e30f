// A write that was accepted is never lost: not when nobody can be rung for it, and not when the CRM's answer is.

import assert from "node:assert/strict";
import { test } from "node:test";
import { crms, startConduit } from "./harness.mjs";
import { outcome } from "./outcomes.mjs";

// The submitting Worker has no queue: as when it is away.
const conduit = await startConduit({
  edit: (worker) => {
    if (worker.name === "crm-writes") worker.queueProducers = {};
  },
});
const { acme, standIn } = conduit;
for (const crm of crms) await conduit.connect(crm, acme);

const show = async (id) => (await conduit.fetch(`crm-writes/${id}`, { token: acme.service })).body;
const dueNow = (id) =>
  conduit.db.prepare("UPDATE crm_write_log SET next_retry_at = ?1 WHERE idempotency_key = ?2 AND next_retry_at IS NOT NULL").bind(Date.now() - 1, id.slice(4)).run();

for (const crm of crms) {
  test(`${crm}: a doorbell that was lost is rung by the reconciler`, async () => {
    const [{ id, status }] = await conduit.submit(acme, outcome(crm, "create_task"));
    assert.equal(status, "planned");
    assert.ok(conduit.seen.logs.some(({ message }) => message.includes('"event":"doorbell_lost"')), "it is told");
    await dueNow(id);
    await conduit.cron("reconcile-crm-writes");
    const [done] = await conduit.settled(acme, [id]);
    assert.equal(done.attempts.length, 1);
  });

  test(`${crm}: a create whose answer was lost is looked for, and not made again`, async () => {
    const object = { hubspot: "tasks", salesforce: "Task" }[crm];
    const marks = async (id) => (await standIn.effects(object)).filter(({ text_end: text }) => text.includes(id));
    const [{ id }] = await conduit.submit(acme, outcome(crm, "create_task"));
    await standIn.fault({ match: { provider: crm, body_contains: `[conduit:${id}]`, count: 1 }, lose: "answer" });
    await dueNow(id);
    await conduit.cron("reconcile-crm-writes");
    await conduit.settled(acme, [id], { status: "unknown" });
    assert.equal((await marks(id)).length, 1, "it did arrive");
    assert.equal((await show(id)).error.class, "unknown_outcome");

    // Not sooner than the CRM's own index can tell.
    const wait = Date.parse((await show(id)).next_retry_at) - Date.now();
    assert.ok(wait > 60_000, `${wait} ms`);
    await conduit.cron("reconcile-crm-writes");
    assert.equal((await show(id)).status, "unknown");
    await standIn.later(120);
    await dueNow(id);
    await conduit.cron("reconcile-crm-writes");
    const [done] = await conduit.settled(acme, [id]);
    const [effect] = await marks(id);
    assert.equal(done.external_ids.task, effect.id);
    assert.equal((await marks(id)).length, 1);
  });
}
