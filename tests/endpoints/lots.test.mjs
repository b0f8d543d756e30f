// Many writes at once: the lots of one queue batch are carried together, within the six connections that an invocation has,
// and a submit of the largest writes is taken whole.

import assert from "node:assert/strict";
import { test } from "node:test";
import { crms, startConduit } from "./harness.mjs";
import { outcome } from "./outcomes.mjs";

const conduit = await startConduit();
const { acme, standIn } = conduit;
for (const crm of crms) await conduit.connect(crm, acme);

/** The first call of a lot, which is answered late. */
const first = { hubspot: { path_contains: "/contacts/batch/upsert", count: 3 }, salesforce: { path_contains: "/composite", count: 3 } };
const tasks = { hubspot: "tasks", salesforce: "Task" };
const lateMs = 4_000;

for (const crm of crms) {
  test(`${crm}: three lots of one invocation are at the CRM together`, async () => {
    // The first write of a connection asks for what later ones know.
    await conduit.settled(acme, (await conduit.submit(acme, outcome(crm, "create_task"))).map(({ id }) => id));
    const before = (await standIn.effects(tasks[crm])).length;
    const started = conduit.seen.logs.length;
    await standIn.fault({ match: first[crm], delay_ms: lateMs });
    const lots = Array.from({ length: 3 }, () => Array.from({ length: 100 }, () => outcome(crm, "create_task")));
    const submitted = await Promise.all(lots.map((lot) => conduit.submit(acme, lot)));
    const ids = submitted.flat().map(({ id }) => id);
    const done = await conduit.settled(acme, ids, { seconds: 60 });
    // One invocation is one correlation id: its messages are joined and go on under the first one's.
    const begun = conduit.seen.logs.slice(started).map(({ message }) => message).filter((line) => line.includes("sync_started"));
    const invocations = new Set(begun.map((line) => JSON.parse(line).correlation_id));
    assert.deepEqual([begun.length, invocations.size], [3, 1], begun.join("\n"));
    const attempts = done.map(({ attempts: [attempt] }) => attempt);
    const last = attempts.map(({ started_at: at }) => at).sort().at(-1);
    const end = attempts.map(({ ended_at: at }) => at).sort()[0];
    assert.ok(last < end, `the last lot began at ${last}, the first one ended at ${end}`);
    assert.equal((await standIn.effects(tasks[crm])).length - before, 300, "each has one effect");
  });
}

/** A write of the largest size, most of whose text grows when it is quoted. */
function largest(crm) {
  const write = outcome(crm, "create_task", { task: { subject: "S".repeat(255), due_at: "2026-11-27T09:00:00Z", text: "" } });
  write.task.text = '"'.repeat(Math.floor((16_384 - Buffer.byteLength(JSON.stringify(write))) / 2));
  return write;
}

for (const crm of crms) {
  test(`${crm}: a hundred of the largest writes are taken by one submit, and each arrives whole`, async () => {
    const writes = Array.from({ length: 100 }, () => largest(crm));
    assert.ok(Buffer.byteLength(JSON.stringify({ writes })) > 1_600_000);
    const ids = (await conduit.submit(acme, writes)).map(({ id }) => id);
    assert.equal(new Set(ids).size, 100);
    await conduit.settled(acme, ids, { seconds: 60 });
    const texts = (await standIn.records(tasks[crm])).map((one) => (crm === "hubspot" ? one.properties.hs_task_body : one.Description) ?? "");
    assert.equal(texts.filter((text) => text.includes(writes[0].task.text)).length, 100);
  });
}
