// jobs.rows_read_ratio_10x: what a run of a job reads in D1 (its own `meta.rows_read`) when the tables hold ten times the rows
// and the same is due. A run must cost what is due, not what was ever stored. The worst of the jobs is the key.
//
// Ten times of everything that is not due: final writes, writes that wait for a retry, attempts, audit events that are sealed,
// alarms, connections, messages and attachments, states, sessions, installs and their events. The same number of workspaces: the
// nightly purge and the sealer look at each one. Before each run the same is made due again for every job. Audit chains were looked
// through today: that reads them whole, which is its purpose.
//
// The doorbells go nowhere here, so that what is due stays due. `reseal-tokens` is printed and not counted: once a night it looks
// at every connection, which is its purpose.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { launch } from "../endpoints/harness.mjs";
import { readWorkers } from "../../scripts/workers.mjs";

export const prefixes = ["jobs"];

const jobs = readWorkers().filter(({ cron }) => cron.length > 0).map(({ name }) => name);
const counted = jobs.filter((job) => job !== "reseal-tokens");
const sizes = [20_000, 200_000];
const workspaces = 500;
/** Of each kind, one for each workspace. */
const due = workspaces;
/** Workspaces in which a message is due: each takes a few of the queries of a run. */
const purged = 50;
const rounds = 5;
const dayMs = 24 * 3_600_000;
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
      note(`${job}: ${small.rows_read} rows read by ${small.statements} queries at ${sizes[0]} rows, ${large.rows_read} by ${large.statements} at ${sizes[1]}: ${ratio.toFixed(3)}`);
    }
    report("jobs.rows_read_ratio_10x", Math.max(...counted.map((job) => Math.max(1, read[job][1].rows_read) / Math.max(1, read[job][0].rows_read))));
  } finally {
    await conduit.miniflare.dispose();
    rmSync(conduit.persisted, { recursive: true, force: true });
  }
}

/** What a run spends, the median of some: each has the same due, but for the first one, which finds what the filling left. */
async function measure(conduit, job) {
  const worker = await conduit.miniflare.getWorker(job);
  const spent = async () => (await worker.fetch(asked)).json();
  const runs = [];
  for (let n = 0; n <= rounds; n += 1) {
    await makeDue(conduit.db);
    const before = await spent();
    await conduit.cron(job);
    const after = await spent();
    runs.push(Object.fromEntries(Object.keys(after).map((key) => [key, after[key] - before[key]])));
  }
  const [, ...settled] = runs;
  return settled.sort((one, other) => one.rows_read - other.rows_read)[Math.floor(rounds / 2)];
}

const numbers = "WITH RECURSIVE n(i) AS (SELECT CAST(?1 AS INTEGER) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)";
const ofWorkspace = `'ws_' || (i % ${workspaces})`;
const writeColumns =
  "workspace_id, crm, idempotency_key, request_hash, action, object_type, object_id, source_event_id, payload_json, status, next_retry_at, calls, target, position, request_id, created_at, updated_at";
const write = (name, status, at, calls) =>
  `INSERT INTO crm_write_log (${writeColumns}) SELECT ${ofWorkspace}, 'hubspot', '${name}' || i, 'h', 'create_task', 'thread', 'th' || i, 'ev' || i, '{}', '${status}', ${at}, ${calls}, 't' || i, i, 'r', ?3, ?3 FROM n`;
const installColumns =
  "id, crm, status, external_account_id, scopes_json, token_generation, claim_secret_hash, proof, claimed_at, created_at, updated_at, expires_at";

/** Events are only ever added at the end of their chains: the last one's time. */
let eventsAt = Date.now() - dayMs;
const events = (name) =>
  `INSERT INTO audit_events (workspace_id, at, id, actor, event, subject, detail_json, request_id) SELECT ${ofWorkspace}, ?3, 'ev_${name}' || i, 'system', 'writes_settled', 's', '{}', 'r' FROM n`;

/** Brings every table from `from` rows to `to`, of which nothing is due. */
async function fill(conduit, from, to) {
  const now = Date.now();
  const { db } = conduit;
  if (from === 0) {
    await db.prepare(`${numbers} INSERT INTO workspaces (id, name, created_at) SELECT ${ofWorkspace}, 'w', 0 FROM n`).bind(0, workspaces).run();
    for (const [name, status, calls] of [["new", "planned", "NULL"], ["again", "failed", "2"]]) {
      await db.prepare(`${numbers} ${write(name, status, "?3", calls)}`).bind(0, due, now - 1000).run();
    }
  }
  const later = now + 20 * dayMs;
  for (const [sql, ...binds] of [
    [write("done", "succeeded", "NULL", "3"), now],
    // Every tenth waits: a CRM whose people have to reconnect.
    [`${write("waits", "failed", "?4", "0")} WHERE i % 10 = 0`, now, later],
    [`INSERT INTO crm_write_attempts (workspace_id, write_created_at, crm, idempotency_key, started_at, lease_id) SELECT ${ofWorkspace}, ?3, 'hubspot', 'done' || i, ?3, 'at_x' FROM n`, now],
    [`INSERT INTO alarms (workspace_id, id, kind, payload_json, created_at, delivered_at) SELECT ${ofWorkspace}, 'al_' || i, 'crm.writes_failed', '{}', ?3, ?3 FROM n`, now],
    [`INSERT INTO crm_connections (workspace_id, crm, id, status, external_account_id, scopes_json, token_generation, connected_by, connected_at, created_at, updated_at) SELECT 'ws_c' || i, 'hubspot', 'cx_' || i, 'disconnected', 'a' || i, '[]', 1, 'us_x', ?3, ?3, ?3 FROM n`, now],
    [`INSERT INTO connection_health (workspace_id, crm, status, checked_at, check_at) SELECT 'ws_c' || i, 'hubspot', 'ok', ?3, CASE WHEN i < ${due} THEN ?3 ELSE ?4 END FROM n`, now, later],
    // A tenth: each is hashed first.
    [`${events("of_")} WHERE i % 10 = 0`, (eventsAt += 1000)],
    [`INSERT INTO messages (workspace_id, id, thread_id, body, received_at) SELECT ${ofWorkspace}, 'ms_' || i, 'th', 'text', ?3 FROM n`, now],
    [`INSERT INTO attachments (workspace_id, id, message_id, object_key, size_bytes, received_at) SELECT ${ofWorkspace}, 'at_' || i, 'ms_' || i, 'k' || i, 1, ?3 FROM n`, now],
    [`INSERT INTO oauth_states (state_hash, crm, flow, browser_hash, created_at, expires_at) SELECT 'st' || i, 'hubspot', 'install', 'b', ?3, ?3 FROM n`, now],
    [`INSERT INTO connect_sessions (link_hash, workspace_id, user_id, confined, minted_by, page, created_at, link_expires_at, expires_at) SELECT 'li' || i, ${ofWorkspace}, 'us_x', 0, 'us_x', 'claim', ?3, ?3, ?3 FROM n`, now],
    [`INSERT INTO pending_installs (${installColumns}) SELECT 'in_' || i, 'hubspot', 'claimed', 'a' || i, '[]', 1, 'h', 'browser', ?3, ?3, ?3, ?3 FROM n`, now],
    [`INSERT INTO install_events (install_id, at, event, detail_json, request_id) SELECT 'in_' || i, ?3, 'install_claimed', '{}', 'r' FROM n`, now],
  ]) {
    for (let at = from; at < to; at += 20_000) await db.prepare(`${numbers} ${sql}`).bind(at, Math.min(at + 20_000, to), ...binds).run();
  }
  for (let n = 0; (await conduit.rows("SELECT 1 FROM audit_events WHERE seq IS NULL AND at <= ?1 LIMIT 1", eventsAt)).length > 0; n += 1) {
    assert.ok(n < 20, "the sealer comes to the end of the trail");
    await conduit.cron("seal-audit");
  }
  await db.prepare("UPDATE audit_heads SET verified_at = ?1").bind(now).run();
}

let made = 0;

/** One thing that is due for each workspace and kind; what an earlier run did is due again with it. */
async function makeDue(db) {
  const now = Date.now();
  const [from, to] = [made, made + due];
  made = to;
  const insert = (sql, ...binds) => db.prepare(`${numbers} ${sql}`).bind(from, to, ...binds);
  await db.batch([
    insert(`INSERT INTO alarms (workspace_id, id, kind, payload_json, created_at, delivered_at) SELECT ${ofWorkspace}, 'old_' || i, 'crm.writes_failed', '{}', ?3, ?3 FROM n`, now - 40 * dayMs),
    insert(`INSERT INTO messages (workspace_id, id, thread_id, body, received_at) SELECT ${ofWorkspace}, 'old_' || i, 'th', 'text', ?3 FROM n WHERE i % ${workspaces} < ${purged}`, now - 4000 * dayMs),
    insert(`INSERT INTO oauth_states (state_hash, crm, flow, browser_hash, created_at, expires_at) SELECT 'old' || i, 'hubspot', 'install', 'b', ?3, ?3 FROM n`, now - 40 * dayMs),
    insert(`INSERT INTO connect_sessions (link_hash, workspace_id, user_id, confined, minted_by, page, created_at, link_expires_at, expires_at) SELECT 'old' || i, ${ofWorkspace}, 'us_x', 0, 'us_x', 'claim', ?3, ?3, ?3 FROM n`, now - 40 * dayMs),
    insert(`INSERT INTO pending_installs (${installColumns}) SELECT 'in_old' || i, 'hubspot', 'claimed', 'old' || i, '[]', 1, 'h', 'browser', ?3, ?3, ?3, ?3 FROM n`, now - 400 * dayMs),
    insert(events("new_"), (eventsAt += 1000)),
  ]);
}
