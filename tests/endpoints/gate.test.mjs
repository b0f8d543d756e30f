// The gate in workerd: one refresh for everybody, also while the token endpoint is slow and with two instances of the object.

import assert from "node:assert/strict";
import { test } from "node:test";
import { admitAtOnce, expire, gateRequests, tokenCalls, withCallers } from "./gate-callers.mjs";
import { crms, startConduit } from "./harness.mjs";
import { outcome } from "./outcomes.mjs";

const conduit = await startConduit({ edit: withCallers });
const { acme, standIn } = conduit;
await standIn.control("faults", { switches: { hubspot_rotation: "strict", salesforce_rotation: "strict" } });
for (const crm of crms) await conduit.connect(crm, acme);

const callers = 1000;
const slow = { match: { path_contains: "/token", body_contains: "grant_type=refresh_token", count: 1 }, delay_ms: 30_000 };

for (const crm of crms) {
  test(`${crm}: a thousand callers of an expired token cause one refresh, and all get the new one`, async () => {
    await expire(conduit, { crm });
    let answers;
    const calls = await tokenCalls(conduit, async () => void (answers = await admitAtOnce(conduit, { crm, callers })));
    assert.deepEqual([answers.admitted, answers.tokens, calls], [callers, 1, 1], JSON.stringify(answers));
  });
}

test("two instances of the object cause one refresh", async () => {
  await expire(conduit);
  let answers;
  const calls = await tokenCalls(conduit, async () => {
    answers = await admitAtOnce(conduit, { callers, gates: ["GATE", "GATE_B"] });
  });
  assert.deepEqual([answers.admitted, answers.tokens, calls], [callers, 1, 1], JSON.stringify(answers));
});

test("a token endpoint that takes half a minute is asked once, and everybody waits for it", async () => {
  await expire(conduit);
  await standIn.fault(slow);
  let answers;
  const calls = await tokenCalls(conduit, async () => void (answers = await admitAtOnce(conduit, { callers })));
  assert.deepEqual([answers.admitted, answers.tokens, calls], [callers, 1, 1], JSON.stringify(answers));
});

test("a hundred writes in one lot cost one request to the gate", async () => {
  const write = (n) => outcome("hubspot", "create_task", { object_id: `th_gate_${n}` });
  const some = async (count) => conduit.settled(acme, (await conduit.submit(acme, Array.from({ length: count }, (_, n) => write(n)))).map(({ id }) => id));
  // The first lot reports the limits it meets: they are not known before.
  await some(1);
  const requests = await gateRequests(conduit, () => some(100));
  assert.deepEqual(requests, { "/admit": 1 });
});

test("a gate refuses a message for another connection", async () => {
  const gates = await conduit.miniflare.getDurableObjectNamespace("CONNECTION_GATE", "connection-gate");
  const stub = gates.get(gates.idFromName("ws_globex:hubspot"));
  const connection = { workspace_id: "ws_acme", shard: "DB", crm: "hubspot" };
  const admit = { calls: 0, searches: 0, purpose: "writes", refused_generation: null };
  const answer = await stub.fetch("https://gate/admit", { method: "POST", body: JSON.stringify({ connection, request_id: "x", call: { admit } }) });
  assert.equal(answer.status, 403);
  assert.doesNotMatch(await answer.text(), /access_token/);
});
