// Jobs in workerd: each cron through its `scheduled` handler and by hand, under one lease; a run that died is taken over.
// Health checks through their queue.

import assert from "node:assert/strict";
import { test } from "node:test";
import { readWorkers } from "../../scripts/workers.mjs";
import { assertRefused, crms, startConduit, until } from "./harness.mjs";
import { outcome } from "./outcomes.mjs";

const conduit = await startConduit();
const { acme, secrets, standIn } = conduit;
const operator = secrets.OPERATOR_TOKEN;
for (const crm of crms) await conduit.connect(crm, acme);

const crons = readWorkers().filter(({ cron }) => cron.length > 0).map(({ name }) => name);
const run = (job, token = operator) => conduit.fetch(`jobs/${job}/run`, { method: "POST", token });
const rowOf = async (job) => (await conduit.rows("SELECT * FROM job_runs WHERE job = ?1", job))[0];
const lines = (event) => conduit.seen.logs.map(({ message }) => message).filter((text) => text.includes(`"event":"${event}"`)).map((text) => JSON.parse(text));

for (const job of crons) {
  test(`${job}: runs on schedule, leaves its report, and runs by hand with the same one`, async () => {
    await conduit.cron(job);
    const scheduled = await rowOf(job);
    assert.equal(scheduled.outcome, "done", JSON.stringify(scheduled));
    assert.ok(scheduled.ended_at >= scheduled.started_at);
    const answer = await run(job);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.body.job, job);
    assert.equal(answer.body.outcome, "done");
    assert.equal(answer.body.run_id, answer.headers.get("x-request-id"));
    assert.deepEqual(Object.keys(answer.body.report).sort(), Object.keys(JSON.parse(scheduled.report_json)).sort());
    assert.ok(lines("job_done").some((line) => line.job === job && line.worker === job));
  });

  test(`${job}: a second run says since when the first one runs; one that died is taken over`, async () => {
    const since = Date.now() - 60_000;
    const hold = (until) => conduit.db.prepare("UPDATE job_runs SET run_id = 'another', started_at = ?2, lease_until = ?3, ended_at = NULL, outcome = NULL WHERE job = ?1").bind(job, since, until).run();
    await hold(since + 16 * 60_000);
    const refused = await run(job);
    assertRefused(refused, 409, "job_running");
    assert.equal(Date.parse(refused.body.since), since);
    await conduit.cron(job);
    assert.equal((await rowOf(job)).run_id, "another", "the schedule does not overlap either");
    assert.ok(lines("refused").some((line) => line.worker === job && line.code === "job_running"), "and says so");

    await hold(Date.now() - 1);
    assert.equal((await run(job)).status, 200);
    assert.equal((await rowOf(job)).outcome, "done");
  });
}

test("two runs at once: one works, the other one says so", async () => {
  const answers = await Promise.all(Array.from({ length: 8 }, () => run("reseal-tokens")));
  const statuses = answers.map(({ status }) => status);
  assert.ok(statuses.includes(200) && statuses.every((status) => status === 200 || status === 409), statuses.join());
});

test("only the operator runs jobs, and only those there are", async () => {
  for (const token of [null, acme.service, acme.owner, `${operator}x`, operator.slice(1)]) {
    assertRefused(await run("reseal-tokens", token), 401, "operator_required");
    assertRefused(await conduit.fetch("jobs", { token }), 401, "operator_required");
  }
  for (const job of ["", "crm-writes", "reseal-tokens/..", "RESEAL-TOKENS"]) {
    assertRefused(await run(encodeURIComponent(job)), 404, "job_not_found");
  }
  assert.equal((await conduit.fetch("jobs/reseal-tokens/run", { token: operator })).status, 405);
  const listed = (await conduit.fetch("jobs", { token: operator })).body.jobs;
  assert.deepEqual(listed.map(({ job }) => job).sort(), [...crons].sort());
});

test("a job whose database fails says so, and its next run finds the same state", async () => {
  await conduit.db.exec("ALTER TABLE connection_health RENAME TO connection_health_away");
  try {
    const answer = await run("reconcile-connections");
    assert.equal(answer.status, 200);
    assert.equal(answer.body.report.shards_unfinished, 1);
  } finally {
    await conduit.db.exec("ALTER TABLE connection_health_away RENAME TO connection_health");
  }
  assert.equal((await run("reconcile-connections")).body.report.shards_unfinished, 0);
});

/** Makes every check due now, and rings for it. */
async function check() {
  const before = Date.now() - 1_800_000;
  // Overdue by a whole half hour: nothing is left to spread it over.
  await conduit.db.prepare("UPDATE connection_health SET check_at = ?1, checked_at = ?1").bind(before - (before % 1_800_000)).run();
  const answer = await run("reconcile-connections");
  assert.equal(answer.body.report.overdue, 2, answer.text);
  await until("both checks", 20, async () => (await conduit.rows("SELECT 1 FROM connection_health WHERE checked_at < ?1", Date.now() - 60_000)).length === 0);
  return Object.fromEntries((await conduit.rows("SELECT crm, status, consecutive_failures, check_at, limit_max FROM connection_health WHERE workspace_id = ?1", acme.workspace)).map((row) => [row.crm, row]));
}

test("health checks go through their queue, the gate and the CRM", async () => {
  const calls = await standIn.calls(check);
  const counted = Object.entries(calls).filter(([key]) => /account-info|limits/.test(key)).map(([, count]) => count);
  assert.deepEqual(counted, [1, 1], JSON.stringify(calls));
  const health = await check();
  for (const crm of crms) {
    assert.equal(health[crm].status, "ok");
    assert.ok(health[crm].check_at > Date.now());
    assert.ok(health[crm].limit_max > 0, "the account's limit is known");
  }
});

test("a CRM that does not answer warns, and recovers", async () => {
  const audited = async () => (await conduit.rows("SELECT event FROM audit_events WHERE event = 'connection_health_changed'")).length;
  const before = await audited();
  await standIn.fault(...crms.map((provider) => ({ match: { provider, path_contains: { hubspot: "/account-info/", salesforce: "/limits" }[provider] }, status: 503 })));
  const failing = await check();
  assert.deepEqual(crms.map((crm) => failing[crm].status), ["warning", "warning"]);
  assert.deepEqual(crms.map((crm) => failing[crm].consecutive_failures), [1, 1]);
  await check();
  await standIn.clearFaults();
  const well = await check();
  assert.deepEqual(crms.map((crm) => well[crm].status), ["ok", "ok"]);
  assert.equal((await audited()) - before, 4, "a change each way, and nothing in between");
  const shown = (await conduit.fetch("crm-connections", { token: acme.service })).body.connections;
  assert.deepEqual(shown.map(({ health }) => health.status), ["ok", "ok"]);
});

test("what a run that stopped half-way left is taken up by the next one, and not done twice", async () => {
  // Its writes were found and its doorbell was never rung: as when it was ended in between.
  const [{ id }] = await conduit.submit(acme, outcome("hubspot", "create_task"));
  await conduit.settled(acme, [id]);
  const key = id.slice(4);
  await conduit.db
    .prepare("UPDATE crm_write_log SET status = 'in_flight', lease_id = 'at_dead', lease_until = ?2, next_retry_at = ?2 WHERE idempotency_key = ?1")
    // Longer ago than a request of the dead run may still be running at the CRM.
    .bind(key, Date.now() - 3_600_000)
    .run();
  await conduit.db.prepare("UPDATE job_runs SET run_id = 'dead', lease_until = ?1, ended_at = NULL, outcome = NULL WHERE job = 'reconcile-crm-writes'").bind(Date.now() - 1).run();
  await conduit.cron("reconcile-crm-writes");
  await until("the dead lease to be taken over", 20, async () => {
    const [row] = await conduit.rows("SELECT status, lease_id FROM crm_write_log WHERE idempotency_key = ?1", key);
    return row.status !== "in_flight" && row.lease_id !== "at_dead";
  });
  assert.equal((await standIn.effects("tasks")).filter(({ text_end: text }) => text?.includes(id)).length, 1, "one effect");
});
