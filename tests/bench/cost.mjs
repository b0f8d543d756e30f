// cost.*: what a write costs from its submit to its settlement, on Cloudflare's bill.
//
// d1_rows_written_per_write: the rows D1 itself says it wrote (`meta.rows_written`, which is what it bills: table and index
// entries, attempts and audit included) in every Worker that a write passes through. usd_per_million_writes: these rows, the
// rows read, and requests, queue operations and the gate's time as counted, at the list prices below, beyond what a plan
// includes; storage is not in it. CPU time cannot be measured per Worker here and is taken as 10 ms for each write.
//
// A write submitted alone costs the most, since its two audit rows and its two invocations are its own. It is what the
// keys tell; writes that share a submit are printed.

import { crms } from "../endpoints/harness.mjs";
import { against, outcomes, sum, watch } from "./observe.mjs";

export const prefixes = ["cost"];

/** US dollars for a million, autumn 2026. */
const prices = {
  row_written: 1,
  row_read: 0.001,
  request: 0.3,
  cpu_ms: 0.02,
  queue_operation: 0.4,
  object_request: 0.15,
  object_gb_s: 12.5,
};
const cpuMsPerWrite = 10;
/** Written, read and deleted. */
const operationsPerMessage = 3;
const objectGb = 0.128;

const alone = 20;
const together = 1000;

export async function run({ report, note }) {
  const bed = await watch();
  try {
    await bed.fresh("on", crms.map((crm) => [crm, bed.acme]));
    const found = [];
    for (const crm of crms) {
      // The first write of a connection may ask for what later ones know.
      await bed.carry([[bed.acme, outcomes(crm, 1)]]);
      const single = await bed.spent(async () => {
        for (const write of outcomes(crm, alone)) await bed.carry([[bed.acme, [write]]]);
      });
      found.push(tell(note, `${crm}, each alone`, single, alone));
      const bulk = await bed.spent(() => bed.carry([[bed.acme, outcomes(crm, together)]]));
      tell(note, `${crm}, 100 in a submit`, bulk, together);
    }
    const rows = Math.max(...found.map(({ rowsWritten }) => rowsWritten));
    report("cost.d1_rows_written_per_write", rows);
    note(against("rows written for a write alone", rows, 8, 2));
    report("cost.usd_per_million_writes", Math.max(...found.map(({ usd }) => usd)));
  } finally {
    await bed.stop();
  }
}

/** What one write of these came to, and its bill. */
function tell(note, what, spent, writes) {
  const each = (key) => sum(Object.values(spent).map((worker) => worker[key])) / writes;
  const used = {
    row_written: each("d1_rows_written") + each("object_rows_written"),
    row_read: each("d1_rows_read"),
    // The submits as billed, and the consumer's; what a Worker asks of another by a binding is not billed as a request.
    request: each("invocations"),
    cpu_ms: cpuMsPerWrite,
    queue_operation: each("messages") * operationsPerMessage,
    object_request: each("object_requests"),
    object_gb_s: (each("object_ms") / 1000) * objectGb,
  };
  const bill = Object.entries(used).map(([key, count]) => [key, count, count * prices[key]]);
  const usd = sum(bill.map(([, , dollars]) => dollars));
  note(`${what}: $${usd.toFixed(2)} per million writes`);
  for (const [key, count, dollars] of bill) note(`  ${key.padEnd(16)} ${count.toFixed(key === "object_gb_s" ? 6 : 3).padStart(11)} × $${prices[key]} per million = $${dollars.toFixed(3)}`);
  const by = Object.entries(spent).map(([name, worker]) => `${name} ${(worker.d1_rows_written / writes).toFixed(2)}`).join(", ");
  note(`  rows written in D1 by ${by}; by the gate's object ${each("object_rows_written").toFixed(2)}`);
  return { rowsWritten: each("d1_rows_written"), usd };
}
