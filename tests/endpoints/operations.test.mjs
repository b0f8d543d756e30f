// What an operator sees: one write followed through every Worker by its request id, metrics, health, data points.

import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { test } from "node:test";
import { assertRefused, crms, startConduit, until } from "./harness.mjs";
import { outcome } from "./outcomes.mjs";

/** Stands before the processor's build: a dataset that prints its points. */
const dataset = (own) => `
import worker from "./${own}";
export * from "./${own}";
const METRICS = { writeDataPoint: (point) => console.log("point " + JSON.stringify(point)) };
export default { ...worker, queue: (batch, env, ctx) => worker.queue(batch, { ...env, METRICS }, ctx) };`;

const conduit = await startConduit({
  edit: (worker) => {
    if (!worker.name.endsWith("-write-processor")) return;
    const contents = dataset(basename(worker.modules[0].path));
    worker.modules.unshift({ type: "ESModule", path: join(worker.modulesRoot, "dataset.js"), contents });
  },
});
const { acme, secrets, standIn } = conduit;
const operator = secrets.OPERATOR_TOKEN;
for (const crm of crms) await conduit.connect(crm, acme);

const lines = () => conduit.seen.logs.map(({ message }) => message).filter((text) => text.startsWith("{")).map((text) => JSON.parse(text));
const points = () => conduit.seen.logs.map(({ message }) => message).filter((text) => text.startsWith("point ")).map((text) => JSON.parse(text.slice(6)));

for (const crm of crms) {
  test(`${crm}: one write leaves its trace in every Worker under its request's id`, async () => {
    const answer = await conduit.fetch("crm-writes", { token: acme.service, json: { writes: [outcome(crm, "create_task")] } });
    assert.equal(answer.status, 202, answer.text);
    const id = answer.headers.get("x-request-id");
    await conduit.settled(acme, [answer.body.writes[0].id]);
    const wanted = [
      ["gateway", "request_forwarded"],
      ["crm-writes", "request_heard"],
      [`${crm}-write-processor`, "integration.crm.sync_started"],
      ["connection-gate", "gate_asked"],
      [`${crm}-write-processor`, "writes_settled"],
      [`${crm}-write-processor`, "integration.crm.sync_completed"],
    ];
    const trace = await until("the whole trace", 10, async () => {
      const found = lines().filter((line) => line.correlation_id === id);
      return wanted.every(([worker, event]) => found.some((line) => line.worker === worker && line.event === event)) && found;
    });
    for (const line of trace) {
      assert.ok(line.operation_id && line.event && line.worker, JSON.stringify(line));
      assert.ok(Object.values(line).every((value) => value !== "(not on the allow-list)"), JSON.stringify(line));
    }
    const [started, completed] = ["started", "completed"].map((end) => trace.find(({ event }) => event === `integration.crm.sync_${end}`));
    assert.equal(started.operation_id, completed.operation_id, "one piece of work");
    const [audited] = await conduit.rows("SELECT subject FROM audit_events WHERE event = 'writes_settled' AND request_id = ?1", id);
    assert.equal(audited.subject, started.operation_id, "the audit trail names it too");
    assert.ok(points().some(({ blobs, doubles, indexes }) => indexes[0] === "writes_settled" && blobs[1] === crm && blobs[2] === "succeeded" && doubles[0] === 1));
  });
}

test("a lot that does not arrive says so, with status and class", async () => {
  await standIn.fault({ match: { provider: "hubspot", path_contains: "/crm/" }, status: 400 });
  const [{ id }] = await conduit.submit(acme, outcome("hubspot", "create_task"));
  await conduit.settled(acme, [id], { status: "permanent_failure" });
  await standIn.clearFaults();
  const failed = await until("the line", 5, async () => lines().find(({ event }) => event === "integration.crm.sync_failed"));
  assert.deepEqual([failed.status, failed.class, failed.crm], ["permanent_failure", "mapping", "hubspot"]);
});

test("metrics are Prometheus text, for the operator alone", async () => {
  for (const token of [null, acme.owner, `${operator} `]) assertRefused(await conduit.fetch("metrics", { token: token?.trim() === operator ? `${operator}x` : token }), 401, "operator_required");
  const answer = await conduit.fetch("metrics", { token: operator });
  assert.equal(answer.status, 200, answer.text);
  assert.match(answer.headers.get("content-type"), /^text\/plain; version=0\.0\.4/);
  const samples = new Map();
  for (const line of answer.text.trimEnd().split("\n")) {
    if (line.startsWith("# ")) {
      assert.match(line, /^# (HELP|TYPE) conduit_\w+ \S/);
      continue;
    }
    const [, name, labels, value] = line.match(/^(conduit_\w+)\{((?:\w+="[^"]*",?)*)\} (\d+)$/) ?? assert.fail(line);
    assert.ok(!samples.has(`${name}{${labels}}`), `${name}{${labels}} once`);
    samples.set(`${name}{${labels}}`, Number(value));
  }
  assert.equal(samples.get('conduit_writes_dead_letters{shard="DB",crm="hubspot",class="mapping"}'), 1);
  assert.equal(samples.get('conduit_writes_oldest_due_seconds{shard="DB"}'), 0);
  for (const crm of crms) {
    assert.equal(samples.get(`conduit_connections{shard="DB",crm="${crm}",status="connected",health="ok"}`), 1);
    assert.ok(samples.get(`conduit_tokens_stored_total{shard="DB",crm="${crm}",status="connected",health="ok"}`) >= 1);
  }
  assert.ok(samples.get('conduit_alarms_undelivered{shard="DB"}') >= 1);
  await conduit.db.prepare("UPDATE crm_write_log SET status = 'failed', permanent_failure = 0, next_retry_at = ?1 WHERE permanent_failure = 1").bind(Date.now() - 5_000_000).run();
  const later = (await conduit.fetch("metrics", { token: operator })).text;
  assert.match(later, /conduit_writes_open\{shard="DB",crm="hubspot",status="failed",class="mapping"\} 1\n/);
  assert.match(later, /conduit_writes_oldest_due_seconds\{shard="DB"\} 5000\n/);
});

test("health tells liveness, and readiness by its parts", async () => {
  assert.deepEqual((await conduit.fetch("health")).body, { status: "ok" });
  // A write that has been due for an hour: nobody hears the queue.
  const behind = await conduit.fetch("health/ready");
  assert.deepEqual([behind.status, behind.body], [503, { status: "not_ready", database: "ok", queue: "failed", keys: "ok" }]);
  await conduit.db.exec("UPDATE crm_write_log SET next_retry_at = NULL, status = 'succeeded'");
  const ready = await conduit.fetch("health/ready");
  assert.deepEqual([ready.status, ready.body], [200, { status: "ready", database: "ok", queue: "ok", keys: "ok" }]);
  await conduit.db.exec("ALTER TABLE crm_write_log RENAME TO crm_write_log_away");
  const broken = await conduit.fetch("health/ready");
  assert.deepEqual([broken.status, broken.body.database], [503, "failed"]);
  await conduit.db.exec("ALTER TABLE crm_write_log_away RENAME TO crm_write_log");
  assertRefused(await conduit.fetch("health/else"), 404, "not_found");
});
