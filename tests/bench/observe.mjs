// What a Worker spends, seen from beside it: a part of the benches, not one of its own.
//
//   const watched = await watch();            // a Conduit of the endpoint tests, every Worker with a spy
//   const spent = await watched.spent(work);  // what it cost while `work` ran
//
// The spy is a module before the Worker's own: the product's build runs as it is. It wraps what the runtime hands to the
// build, D1's `batch` (the only way to D1 that shared/edge has), the storage of Durable Objects and the constructor of
// WebAssembly instances, and adds up what comes back: D1's own `meta`, the bytes of the linear memory. It keeps its sums in
// the isolate and tells them when asked, so nothing is logged or sent while something is measured.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { launch } from "../endpoints/harness.mjs";
import { outcome } from "../endpoints/outcomes.mjs";

/** Where the CRM accepts our unique keys, and where it does not. */
const mechanisms = {
  on: { hubspot_unique_on_activities: "accepted", salesforce_key_field: "unique" },
  off: { hubspot_unique_on_activities: "refused", salesforce_key_field: "absent" },
};

/** No limit of the stand-in's is in the way of what is measured. */
const unlimited = { hubspot_unlimited: true, salesforce_daily_max: 1_000_000_000 };

const asked = "https://spy.bench/";
export { asked as spyUrl };

const spy = `
import { env } from "cloudflare:workers";
export const spent = {
  invocations: 0, messages: 0,
  d1_batches: 0, d1_statements: 0, d1_rows_written: 0, d1_rows_read: 0, d1_ms: 0,
  object_requests: 0, object_ms: 0, object_rows_written: 0,
};
const instances = [];
WebAssembly.Instance = new Proxy(WebAssembly.Instance, {
  construct(target, given) {
    const made = new target(...given);
    instances.push(made);
    return made;
  },
});
export const tell = () => Response.json({ ...spent, wasm_bytes: instances.map(({ exports }) => exports.memory.buffer.byteLength) });
if (env.DB) {
  const d1 = Object.getPrototypeOf(env.DB);
  const { batch } = d1;
  d1.batch = async function (statements) {
    spent.d1_batches += 1;
    spent.d1_statements += statements.length;
    const began = Date.now();
    const answers = await batch.call(this, statements);
    spent.d1_ms += Date.now() - began;
    for (const { meta } of answers) {
      if (typeof meta.rows_written !== "number" || typeof meta.rows_read !== "number") throw new Error("D1 does not tell its rows");
      spent.d1_rows_written += meta.rows_written;
      spent.d1_rows_read += meta.rows_read;
    }
    return answers;
  };
}
// An object's key or alarm is billed as a row.
const rows = {
  put: (key) => (typeof key === "object" ? Object.keys(key).length : 1),
  delete: (key) => (Array.isArray(key) ? key.length : 1),
  setAlarm: () => 1,
  deleteAlarm: () => 1,
};
const watched = new WeakSet();
export function watchStorage({ storage }) {
  const kept = Object.getPrototypeOf(storage);
  if (watched.has(kept)) return;
  watched.add(kept);
  for (const [name, count] of Object.entries(rows)) {
    const inner = kept[name];
    kept[name] = function (...given) {
      spent.object_rows_written += count(given[0]);
      return inner.apply(this, given);
    };
  }
}`;

const entry = (own, objects) => `
import { spent, tell, watchStorage } from "./bench-spy.js";
import worker from "./${own}";
import * as own from "./${own}";
export * from "./${own}";
${objects.map((name) => `export class ${name} extends own.${name} {
  constructor(state, env) {
    watchStorage(state);
    super(state, env);
  }
  async fetch(request) {
    spent.object_requests += 1;
    const began = Date.now();
    try {
      return await super.fetch(request);
    } finally {
      spent.object_ms += Date.now() - began;
    }
  }
}`).join("\n")}
const inner = worker ?? {};
export default {
  ...inner,
  fetch(request, env, ctx) {
    if (request.url === "${asked}") return tell();
    spent.invocations += 1;
    return inner.fetch(request, env, ctx);
  },
  queue(batch, env, ctx) {
    spent.invocations += 1;
    spent.messages += batch.messages.length;
    return inner.queue(batch, env, ctx);
  },
};`;

/** The Workers whose work belongs to a write. */
export const processors = ["hubspot-write-processor", "salesforce-write-processor"];
const spied = ["crm-writes", ...processors, "connection-gate"];

/** Puts the spy before a Worker, as miniflare takes it; asked at `spyUrl` it tells its sums and the bytes of the memory. */
export function addSpy(worker) {
  const objects = Object.values(worker.durableObjects).filter(({ scriptName }) => scriptName === worker.name || !scriptName);
  const own = basename(worker.modules[0].path);
  const at = (name) => join(worker.modulesRoot, name);
  worker.modules.unshift(
    { type: "ESModule", path: at("bench-entry.js"), contents: entry(own, objects.map(({ className }) => className)) },
    { type: "ESModule", path: at("bench-spy.js"), contents: spy },
  );
}

/** A Conduit without the tests' tap on the queue; `spying` adds the spy, `add` further Workers as miniflare takes them. */
export async function bench({ spying = false, add = () => [] } = {}) {
  const conduit = await launch({
    edit: (worker, place, workers) => {
      worker.modules = worker.modules.filter(({ path }) => !path.endsWith("tap.js"));
      if (spying && spied.includes(worker.name)) addSpy(worker);
      if (place === 0) workers.push(...add(workers));
    },
  });
  return new Bench(conduit);
}

export const watch = (options) => bench({ ...options, spying: true });

class Bench {
  constructor(conduit) {
    Object.assign(this, { conduit, standIn: conduit.standIn, acme: conduit.acme, globex: conduit.globex });
  }

  /** Without the endpoint tests' search for leaks, which reads every row ever written here. */
  async stop() {
    await this.conduit.miniflare.dispose();
    rmSync(this.conduit.persisted, { recursive: true, force: true });
  }

  /** Turns the stand-in's mechanisms `on` or `off`: a connection is made again to find them so. */
  turn(which) {
    return this.standIn.control("faults", { switches: { ...unlimited, ...mechanisms[which] } });
  }

  /** A CRM without records, and connections that know it: `[crm, who, account]` each. */
  async fresh(which, connections = []) {
    await this.standIn.control("reset", { keep_grants: true });
    await this.turn(which);
    for (const [crm, who, account = null] of connections) await this.conduit.connect(crm, who, { account });
  }

  /** What the Workers spent while `work` ran, by Worker: differences of the spy's sums. */
  async spent(work) {
    const before = await this.#sums();
    await work();
    const after = await this.#sums();
    return Object.fromEntries(spied.map((name) => [name, subtract(after[name], before[name])]));
  }

  /** The larger processor's linear memory by now, in MB of 1,000,000 bytes: it never shrinks, so this is its peak. */
  async processorMb() {
    const sums = await this.#sums();
    const bytes = processors.map((name) => sums[name].wasm_bytes);
    for (const instances of bytes) assert.equal(instances.length, 1, "a processor's wasm was started once");
    return Math.max(...bytes.flat()) / 1e6;
  }

  async #sums() {
    const sums = {};
    for (const name of spied) sums[name] = await (await (await this.conduit.miniflare.getWorker(name)).fetch(asked)).json();
    return sums;
  }

  /**
   * Submits writes, a hundred in a request and ten requests at a time, and waits until all of them have succeeded. Lots are
   * `[who, writes]`. Returns the milliseconds from the first submit to the last settlement.
   */
  async carry(lots, { seconds = 120 } = {}) {
    // A request of each lot in turn, so that every connection has work from the beginning.
    const requests = lots.flatMap(([who, writes]) => chunks(writes, 100).map((some, turn) => [turn, who, some]));
    requests.sort(([one], [other]) => one - other);
    const wanted = sum(requests.map(([, , writes]) => writes.length));
    const before = await this.#succeeded();
    const began = performance.now();
    const line = async () => {
      for (let next = requests.shift(); next; next = requests.shift()) await this.#submit(next[1], next[2]);
    };
    await Promise.all(Array.from({ length: 10 }, line));
    // What is not final is in the index of what is due. Looking there is work for the same thread: ten times a second.
    while ((await this.#count("next_retry_at IS NOT NULL")) > 0) {
      assert.ok(performance.now() - began < seconds * 1000, `${wanted} writes took more than ${seconds} s`);
      await sleep(100);
    }
    const ms = performance.now() - began;
    assert.equal((await this.#succeeded()) - before, wanted, "every write succeeded");
    return ms;
  }

  /** As any caller would: a submit whose connection broke is repeated, since its keys make the repeat harmless. */
  async #submit(who, writes) {
    // Compressing an answer is the work of Cloudflare's edge, and here would be that of the thread that is measured.
    const submit = () => this.conduit.submit(who, writes, { "accept-encoding": "identity" });
    try {
      await submit();
    } catch (error) {
      if (error.cause?.code !== "ECONNRESET") throw error;
      await submit();
    }
  }

  #succeeded() {
    return this.#count("status = 'succeeded'");
  }

  async #count(which) {
    const [{ n }] = await this.conduit.rows(`SELECT count(*) AS n FROM crm_write_log WHERE ${which}`);
    return n;
  }
}

/** So many outcomes of one CRM: a contact or lead that is new to it, a task, and the tie between them. */
export const outcomes = (crm, count, changes = {}) => Array.from({ length: count }, () => outcome(crm, "create_task", changes));

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export const sum = (values) => values.reduce((total, value) => total + value, 0);

/** `what` with its bound, as the measures' table has it. */
export const against = (what, value, bound, digits = 3) => `${what}: ${value.toFixed(digits)} (${value <= bound ? "within" : "OVER"} ${bound})`;

const chunks = (list, size) => Array.from({ length: Math.ceil(list.length / size) }, (_, n) => list.slice(n * size, (n + 1) * size));

const subtract = (after, before) =>
  Object.fromEntries(Object.entries(after).filter(([, value]) => typeof value === "number").map(([key, value]) => [key, value - before[key]]));
