// purge.*: the nightly purge of a million messages of which a tenth is due, in local D1.
//
// rows_per_s: messages redacted in a second by one run of the job that is not disturbed, 100,000 due. memory_mb: the linear
// memory of its WebAssembly instance afterwards, which never shrinks.
//
// Then the same once more with workerd killed in the middle, when a batch was applied and its answer never came, and started
// again on the same files: what is due must be redacted, all of it once, and the audit trail must tell of exactly that. How many slices a run took, what D1 read and
// wrote, and what a run finds at a tenth of the table are printed.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Log, LogLevel, Miniflare } from "miniflare";
import { migrate } from "../../scripts/database.mjs";
import { makeSecrets } from "../../scripts/secrets.mjs";
import { miniflareWorkers } from "../../scripts/workers.mjs";
import { Database, deskWorker, runCron } from "../endpoints/desk.mjs";
import { addSpy, spyUrl } from "./observe.mjs";

export const prefixes = ["purge"];

const job = "purge-retention";
const messages = 1_000_000;
const workspaces = 40;
const due = messages / 10;
/** Batches after which a run is killed: about half of what it takes. */
const stopAfter = 100;

export async function run({ report, note }) {
  const secrets = makeSecrets();
  const persisted = mkdtempSync(join(tmpdir(), "conduit-purge-"));
  let bed = await start(secrets, persisted);
  try {
    await migrate(bed.db);
    await seed(bed.db, { from: 0, to: messages / 10 });
    const small = await timed(bed);
    note(`at a tenth of the table, ${due / 10} due: ${tell(small)}`);
    assert.equal(await redacted(bed.db), due / 10);

    await seed(bed.db, { from: messages / 10, to: messages });
    await seedDue(bed.db, due / 10);
    note(`${await count(bed.db, "messages", "1")} messages in ${workspaces} workspaces`);
    const whole = await timed(bed);
    note(`${due} due: ${tell(whole)}`);
    assert.equal(await redacted(bed.db), due + due / 10);
    await told(bed.db);
    report("purge.rows_per_s", due / (whole.ms / 1000));
    report("purge.memory_mb", whole.wasm_bytes / 1e6);
    note(`rows read for each message redacted: ${(whole.d1_rows_read / due).toFixed(2)}; ${(small.d1_rows_read / (due / 10)).toFixed(2)} at a tenth of the table`);
    const idle = await timed(bed);
    note(`nothing due: ${tell(idle)}`);

    // As many again, and the machine goes down in the middle.
    await seedDue(bed.db, due);
    const before = await redacted(bed.db);
    await worker(bed, `${spyUrl}?stop_after=${stopAfter}`);
    const stopAt = (await batches(bed)) + stopAfter;
    const running = runCron(bed.miniflare, job).catch(() => "killed");
    // While the job keeps the database busy nobody else is answered; once it hangs this is.
    while ((await batches(bed)) < stopAt) await sleep(50);
    await Promise.race([bed.miniflare.dispose(), running]);
    bed = await start(secrets, persisted);
    const left = (await redacted(bed.db)) - before;
    assert.ok(left > 0 && left < due, `it was killed in the middle: ${left}`);
    note(`killed after ${left} of ${due}`);
    // The lease of a run that died ends after sixteen minutes.
    await bed.db.prepare("UPDATE job_runs SET lease_until = 0").run();
    const rest = await timed(bed);
    note(`the next run: ${tell(rest)}`);
    assert.equal(await redacted(bed.db), before + due, "nothing is lost");
    await told(bed.db);
    note("the audit trail tells of every message once");
  } finally {
    await bed.miniflare.dispose();
    rmSync(persisted, { recursive: true, force: true });
  }
}

async function start(secrets, persisted) {
  const workers = miniflareWorkers({ origin: "https://conduit.test", secrets, only: [job] });
  for (const one of workers) {
    addSpy(one);
    one.modules.unshift({ type: "ESModule", path: join(one.modulesRoot, "bench-stop.js"), contents: stop });
  }
  const miniflare = new Miniflare({
    workers: [...workers, deskWorker(workers, [job])],
    cf: false,
    log: new Log(LogLevel.NONE),
    defaultPersistRoot: persisted,
  });
  await miniflare.ready;
  return { miniflare, db: new Database(miniflare) };
}

const worker = async ({ miniflare }, url) => (await miniflare.getWorker(job)).fetch(url);
const sums = async (bed) => (await worker(bed, spyUrl)).json();
const batches = async (bed) => (await sums(bed)).d1_batches;

/** A module before the spy: after so many batches the next one's answer never comes. */
const stop = `
import { env } from "cloudflare:workers";
import worker from "./bench-entry.js";
let left = Infinity;
const d1 = Object.getPrototypeOf(env.DB);
const { batch } = d1;
d1.batch = async function (statements) {
  const answers = await batch.call(this, statements);
  left -= 1;
  return left > 0 ? answers : new Promise(() => {});
};
export default {
  ...worker,
  fetch(request, env, ctx) {
    const after = new URL(request.url).searchParams.get("stop_after");
    if (after === null) return worker.fetch(request, env, ctx);
    left = Number(after);
    return new Response(null, { status: 204 });
  },
};`;

/** One run of the job: how long it took, and what it spent. */
async function timed(bed) {
  const before = await sums(bed);
  const began = performance.now();
  assert.equal(await runCron(bed.miniflare, job), "ok");
  const ms = performance.now() - began;
  const after = await sums(bed);
  const spent = Object.fromEntries(["d1_batches", "d1_statements", "d1_rows_read", "d1_rows_written"].map((key) => [key, after[key] - before[key]]));
  return { ms, wasm_bytes: after.wasm_bytes[0], ...spent };
}

const tell = (run) =>
  `${(run.ms / 1000).toFixed(2)} s, ${run.d1_batches} slices with ${run.d1_statements} queries, ${run.d1_rows_read} rows read, ${run.d1_rows_written} written, ${(run.wasm_bytes / 1e6).toFixed(1)} MB`;

/** Messages `from` to `to`, each tenth of them 400 days old, the others of the last 300 days. */
async function seed(db, { from, to }) {
  if (from === 0) {
    const names = Array.from({ length: workspaces }, (_, n) => `ws_${n}`);
    await db.prepare("INSERT INTO workspaces (id, name, created_at) SELECT value, value, 0 FROM json_each(?1)").bind(JSON.stringify(names)).run();
  }
  for (let at = from; at < to; at += 50_000) await insert(db, at, Math.min(at + 50_000, to), "CASE WHEN i % 10 = 0 THEN 400 ELSE i % 300 END");
}

let later = messages;

/** So many more that are due. */
async function seedDue(db, wanted) {
  for (let at = 0; at < wanted; at += 50_000) await insert(db, later + at, later + Math.min(at + 50_000, wanted), "400");
  later += wanted;
}

const insert = (db, from, to, days) =>
  db
    .prepare(
      `WITH RECURSIVE n(i) AS (SELECT CAST(?1 AS INTEGER) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
       INSERT INTO messages (workspace_id, id, thread_id, contact_hmac, subject, body, received_at)
       SELECT 'ws_' || (i / 10 % ${workspaces}), 'ms_' || i, 'th_' || (i / 7), CASE WHEN i % 3 = 0 THEN 'pseudonym' || (i % 1000) END,
           'About the renewal ' || i, 'They asked for a quote by the end of the week. ' || hex(randomblob(120)),
           CAST(?3 AS INTEGER) - CAST(${days} AS INTEGER) * 86400000 - i % 1000
       FROM n`,
    )
    .bind(from, to, Date.now())
    .run();

async function count(db, table, where) {
  const { results } = await db.prepare(`SELECT count(*) AS n FROM ${table} WHERE ${where}`).all();
  return results[0].n;
}

const redacted = (db) => count(db, "messages", "redacted_at IS NOT NULL");

/** The events of every workspace add up to what was redacted in it, and none is open. */
async function told(db) {
  const { results } = await db
    .prepare(
      `SELECT m.workspace_id, m.n, COALESCE(e.n, 0) AS told
       FROM (SELECT workspace_id, sum(is_redacted) AS n FROM messages GROUP BY 1) m
       LEFT JOIN (SELECT workspace_id, sum(detail_json->>'messages_redacted') AS n FROM audit_events
                  WHERE event = 'retention_purge_completed' GROUP BY 1) e ON e.workspace_id = m.workspace_id`,
    )
    .all();
  assert.equal(results.length, workspaces);
  for (const { workspace_id: workspace, n, told: events } of results) assert.equal(events, n, workspace);
  assert.equal(await count(db, "retention_progress", "1"), 0);
  assert.equal(await count(db, "messages", "is_redacted = 1 AND (body IS NOT NULL OR subject IS NOT NULL OR contact_hmac IS NOT NULL)"), 0);
}
