// jobs.rows_read_ratio_10x: what a run of a job reads in D1 (its own `meta.rows_read`) when the tables hold ten times the rows
// and the same is due. A run must cost what is due, not what was ever stored. The worst of the jobs is the key.
//
// The doorbells go nowhere here, so that what is due stays due. `reseal-tokens` is printed and not counted: once a night it looks
// at every connection, which is its purpose.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { launch } from "../endpoints/harness.mjs";
import { sum } from "./observe.mjs";

export const prefixes = ["jobs"];

const jobs = ["reconcile-crm-writes", "reconcile-connections", "purge-retention", "purge-installs", "seal-audit", "reseal-tokens"];
const counted = jobs.filter((job) => job !== "reseal-tokens");
const sizes = [20_000, 200_000];
const due = 500;
const asked = "https://spy.bench/";

/** Before a job's build: adds up what its batches read. */
const spy = `
import { env } from "cloudflare:workers";
import worker from "./index.js";
export * from "./index.js";
const spent = { rows_read: 0, statements: 0, batches: 0 };
const d1 = Object.getPrototypeOf(env.DB);
const { batch } = d1;
d1.batch = async function (statements) {
  const answers = await batch.call(this, statements);
  spent.batches += 1;
  spent.statements += statements.length;
  for (const { meta } of answers) {
    if (typeof meta.rows_read !== "number") throw new Error("D1 does not tell its rows");
    spent.rows_read += meta.rows_read;
  }
  return answers;
};
export default { ...worker, fetch: (request, env, ctx) => (request.url === "${asked}" ? Response.json(spent) : worker.fetch(request, env, ctx)) };`;

export async function run({ report, note }) {
  const conduit = await launch({
    edit: (worker) => {
      worker.queueConsumers = {};
      if (!jobs.includes(worker.name)) return;
      worker.queueProducers = {};
      worker.modules.unshift({ type: "ESModule", path: join(worker.modulesRoot, "bench-spy.js"), contents: spy });
    },
  });
  try {
    const read = {};
    let stored = 0;
    for (const size of sizes) {
      await fill(conduit, stored, size);
      stored = size;
      for (const job of jobs) (read[job] ??= []).push(await measure(conduit, job));
    }
    for (const job of jobs) {
      const [small, large] = read[job];
      const ratio = Math.max(1, large.rows_read) / Math.max(1, small.rows_read);
      note(`${job}: ${small.rows_read} rows read in ${small.statements} statements at ${sizes[0]} rows, ${large.rows_read} in ${large.statements} at ${sizes[1]}: ${ratio.toFixed(3)}`);
    }
    report("jobs.rows_read_ratio_10x", Math.max(...counted.map((job) => Math.max(1, read[job][1].rows_read) / Math.max(1, read[job][0].rows_read))));
  } finally {
    await conduit.miniflare.dispose();
    rmSync(conduit.persisted, { recursive: true, force: true });
  }
}

/** The rows one run reads: of five, which must not differ, the first one settles what a first run settles. */
async function measure(conduit, job) {
  const worker = await conduit.miniflare.getWorker(job);
  const spent = async () => (await worker.fetch(asked)).json();
  const runs = [];
  for (let n = 0; n < 6; n += 1) {
    const before = await spent();
    await conduit.cron(job);
    const after = await spent();
    runs.push(Object.fromEntries(Object.keys(after).map((key) => [key, after[key] - before[key]])));
  }
  const [, ...settled] = runs;
  return settled.sort((one, other) => one.rows_read - other.rows_read)[2];
}

/** Brings every table from `from` rows to `to`: final writes and their attempts, audit events, alarms, connections that are not due. */
async function fill(conduit, from, to) {
  const now = Date.now();
  const numbers = "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)";
  const many = async (sql, ...binds) => {
    for (let at = from; at < to; at += 20_000) await conduit.db.prepare(`${numbers} ${sql}`).bind(at, Math.min(at + 20_000, to), ...binds).run();
  };
  await many(
    `INSERT INTO crm_write_log (workspace_id, crm, idempotency_key, request_hash, action, object_type, object_id, source_event_id, payload_json, status, request_id, created_at, updated_at)
     SELECT 'ws_' || (i % 500), 'hubspot', 'key' || i, 'h', 'create_task', 'thread', 'th' || i, 'ev' || i, '{}', 'succeeded', 'r', ?3, ?3 FROM n`, now);
  await many(
    `INSERT INTO crm_write_attempts (workspace_id, crm, idempotency_key, lease_id, started_at, ended_at, outcome)
     SELECT 'ws_' || (i % 500), 'hubspot', 'key' || i, 'at_x', ?3, ?3, 'succeeded' FROM n`, now);
  await many(
    `INSERT INTO alarms (workspace_id, id, kind, payload_json, created_at, delivered_at) SELECT 'ws_' || (i % 500), 'al_' || i, 'crm.writes_failed', '{}', ?3, ?3 FROM n`, now);
  await many(
    `INSERT INTO crm_connections (workspace_id, crm, id, status, external_account_id, scopes_json, token_generation, connected_by, connected_at, created_at, updated_at)
     SELECT 'ws_c' || i, 'hubspot', 'cx_' || i, 'disconnected', 'a' || i, '[]', 1, 'us_x', ?3, ?3, ?3 FROM n`, now);
  await many(
    `INSERT INTO connection_health (workspace_id, crm, status, checked_at, check_at) SELECT 'ws_c' || i, 'hubspot', 'ok', ?3, CASE WHEN i < ${due} THEN ?3 ELSE ?3 + 360000000 END FROM n`, now);
  if (from > 0) return;
  await conduit.db
    .prepare(`${numbers} INSERT INTO crm_write_log (workspace_id, crm, idempotency_key, request_hash, action, object_type, object_id, source_event_id, payload_json, status, next_retry_at, request_id, created_at, updated_at)
      SELECT 'ws_' || (i % 500), 'hubspot', 'due' || i, 'h', 'create_task', 'thread', 'th' || i, 'ev' || i, '{}', 'planned', ?3, 'r', ?3, ?3 FROM n`)
    .bind(0, due, now - 1000)
    .run();
  assert.equal(sum((await conduit.rows("SELECT count(*) AS n FROM crm_write_log WHERE next_retry_at IS NOT NULL")).map(({ n }) => n)), due);
}
