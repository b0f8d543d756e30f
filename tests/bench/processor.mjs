// processor.*: what the write processor does in a second, and what it spends on a write.
//
// writes_per_s_ratio_*: 12,000 writes of four connections in two workspaces from the first submit to the last settlement, on
// one workerd, the stand-in without limits. The other side is a Worker that only inserts (twin/insert.mjs) into the same D1,
// one row in a call to D1 and a hundred, half before the writes and half after. A round's ratio is of that round's rates, the
// measure the median of the rounds. Everything runs on one thread there, so that the stand-in's work and the answers to the
// submits count against us, and so does the second that the queue waits for more, once in a round.
//
// d1_*_per_write: calls to D1 and statements in them, of 1,000 writes submitted a hundred at a time and carried by the
// processor; the submits' own, and a lonely write's, are printed.
//
// memory_mb: the linear memory of the processor's WebAssembly instance, which never shrinks, after a batch of a hundred
// writes of the largest size; how it grows with a batch of more connections is printed. The JavaScript side of the isolate
// is not in it: workerd tells nobody.

import assert from "node:assert/strict";
import { at } from "../../scripts/repo.mjs";
import { crms } from "../endpoints/harness.mjs";
import { against, bench, median, outcomes, processors, sum, watch } from "./observe.mjs";

export const prefixes = ["processor"];

const rounds = 5;
const perRound = 12_000;
const inserts = { insert: { rows: 1500, perCall: 1 }, batch_insert: { rows: 10_000, perCall: 100 } };
const twin = "insert-twin";

export async function run({ report, note, only }) {
  const wanted = (...keys) => keys.some((key) => `processor.${key}`.startsWith(only) || only.startsWith(`processor.${key}`));
  if (wanted("writes_per_s_ratio_insert", "writes_per_s_ratio_batch_insert")) await throughput({ report, note });
  if (wanted("d1_statements_per_write", "d1_batches_per_write")) await d1({ report, note });
  if (wanted("memory_mb")) await memory({ report, note });
}

async function throughput({ report, note }) {
  const bed = await bench({ add: insertTwin });
  try {
    const connections = [[bed.acme, 77], [bed.globex, 78]].flatMap(([who, account]) => crms.map((crm) => [crm, who, account]));
    await bed.conduit.db.exec("CREATE TABLE bench_inserts (id TEXT NOT NULL PRIMARY KEY, payload TEXT NOT NULL) STRICT, WITHOUT ROWID");
    const inserter = await bed.conduit.miniflare.getWorker(twin);
    const payload = JSON.stringify(outcomes("hubspot", 1)[0]);
    const lots = (count) => connections.map(([crm, who]) => [who, outcomes(crm, count / connections.length)]);
    const insert = async ({ rows, perCall }) => {
      const began = performance.now();
      const answer = await inserter.fetch(`https://insert.bench/?rows=${rows}&per_call=${perCall}`, { method: "POST", body: payload });
      assert.equal(answer.status, 204, await answer.text());
      return performance.now() - began;
    };
    const names = Object.keys(inserts);
    await bed.fresh("on", connections);
    await bed.carry(lots(400));
    for (const name of names) await insert(inserts[name]);
    const rates = { writes: [], insert: [], batch_insert: [] };
    for (let round = 0; round < rounds; round += 1) {
      await bed.fresh("on", connections);
      const ms = { insert: 0, batch_insert: 0 };
      for (const name of names) ms[name] += await insert(inserts[name]);
      rates.writes.push((perRound / (await bed.carry(lots(perRound)))) * 1000);
      for (const name of names.toReversed()) ms[name] += await insert(inserts[name]);
      for (const name of names) rates[name].push(((2 * inserts[name].rows) / ms[name]) * 1000);
    }
    for (const [name, found] of Object.entries(rates)) note(`${name}/s: ${found.map((rate) => rate.toFixed(0)).join(" ")}`);
    for (const name of names) {
      const ratios = rates.writes.map((rate, round) => rate / rates[name][round]);
      report(`processor.writes_per_s_ratio_${name}`, median(ratios));
      const bound = name === "insert" ? ` (${median(ratios) >= 1.5 ? "within" : "UNDER"} 1.5)` : "";
      note(`writes/s ÷ ${name}/s, ${rounds} rounds: ${ratios.map((ratio) => ratio.toFixed(3)).join(" ")}${bound}`);
    }
  } finally {
    await bed.stop();
  }
}

function insertTwin(workers) {
  const { compatibilityDate, d1Databases } = workers.find(({ name }) => name === "crm-writes");
  const path = at("tests", "bench", "twin", "insert.mjs");
  return [{ name: twin, compatibilityDate, d1Databases, modulesRoot: at("tests", "bench", "twin"), modules: [{ type: "ESModule", path }] }];
}

async function d1({ report, note }) {
  const bed = await watch();
  try {
    await bed.fresh("on", crms.map((crm) => [crm, bed.acme]));
    const perWrite = { d1_batches: [], d1_statements: [] };
    for (const crm of crms) {
      // The first write of a connection may ask for what later ones know.
      await bed.carry([[bed.acme, outcomes(crm, 1)]]);
      for (const count of [1, 1000]) {
        const spent = await bed.spent(() => bed.carry([[bed.acme, outcomes(crm, count)]]));
        for (const [worker, { d1_batches: batches, d1_statements: statements }] of Object.entries(spent)) {
          note(`${crm}, ${count === 1 ? "one write" : `${count} writes`}: ${worker} ${batches} calls to D1 with ${statements} statements`);
        }
        if (count > 1) for (const [what, values] of Object.entries(perWrite)) values.push(sum(processors.map((name) => spent[name][what])) / count);
      }
    }
    for (const [what, values] of Object.entries(perWrite)) report(`processor.${what}_per_write`, sum(values) / values.length);
  } finally {
    await bed.stop();
  }
}

/** A write at every limit: 10,000 characters of text that make 16 KB of JSON, many of which grow when they are escaped. */
function largest(crm) {
  const [write] = outcomes(crm, 1, { task: { subject: "S".repeat(255), due_at: "2026-11-27T09:00:00Z", text: "", priority: "high" } });
  const room = 16_384 - Buffer.byteLength(JSON.stringify(write));
  const wide = room - 10_000;
  write.task.text = "é".repeat(wide) + "&".repeat(10_000 - wide);
  assert.equal(Buffer.byteLength(JSON.stringify(write)), 16_384);
  return write;
}

async function memory({ report, note }) {
  const bed = await watch();
  try {
    const many = (crm, count) => Array.from({ length: count }, () => largest(crm));
    await bed.fresh("on", crms.map((crm) => [crm, bed.acme]));
    note(`linear memory of the processor before its first write: ${(await bed.processorMb()).toFixed(1)} MB`);
    for (const crm of crms) {
      await bed.carry([[bed.acme, many(crm, 100)]]);
      note(`after a batch of 100 largest writes to ${crm}: ${(await bed.processorMb()).toFixed(1)} MB`);
    }
    const mb = await bed.processorMb();
    report("processor.memory_mb", mb);
    note(against("the larger of both", mb, 64, 1));
    // A queue batch names up to a hundred connections, and those go on together.
    const connections = crms.map((crm) => [crm, bed.acme]);
    for (let n = 0; n < 7; n += 1) {
      const who = await bed.conduit.seed(`bench${n}`);
      for (const crm of crms) connections.push([crm, who, 500 + n]);
    }
    await bed.fresh("on", connections);
    for (const count of [4, 16]) {
      await bed.carry(connections.slice(0, count).map(([crm, who]) => [who, many(crm, 100)]));
      note(`after a batch of ${count} connections with 100 largest writes each: ${(await bed.processorMb()).toFixed(1)} MB`);
    }
  } finally {
    await bed.stop();
  }
}
