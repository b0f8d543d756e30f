// calls_per_outcome.*: what one curated outcome (contact or lead, task, and the tie between them) costs in requests to the
// CRM, counted by the stand-in; OAuth and token requests are left out. Single: the worst of a new and a known person, each
// submitted and settled alone. Bulk: 1,000 outcomes of new people queued at once. The keys are with the mechanisms the CRM may
// accept (HubSpot's unique property on activities, a unique External Id field in Salesforce); without them is printed.
//
// Beside it the way most integrations go (twin/naive.mjs): search the person, create or update it, create the task, tie it.

import assert from "node:assert/strict";
import { crms } from "../endpoints/harness.mjs";
import { against, bench, outcomes, sum } from "./observe.mjs";
import { naive } from "./twin/naive.mjs";

export const prefixes = ["calls_per_outcome"];

const queued = 1000;
const bounds = { hubspot: { single: 3, bulk: 0.06 }, salesforce: { single: 1, bulk: 0.1 } };
const objects = { hubspot: ["contacts", "tasks"], salesforce: ["Lead", "Task"] };
const tied = { hubspot: ({ associations }) => associations?.contacts?.results.length === 1, salesforce: ({ WhoId: who }) => Boolean(who) };

export async function run({ report, note }) {
  const bed = await bench();
  try {
    for (const which of ["on", "off"]) {
      for (const crm of crms) {
        const found = await ours(bed, crm, which);
        for (const kind of ["single", "bulk"]) {
          const [name, { calls, patterns }] = [`${crm}_${kind}`, found[kind]];
          if (which === "on") report(`calls_per_outcome.${name}`, calls);
          note(`${which === "on" ? against(name, calls, bounds[crm][kind]) : `${name} without the mechanism: ${calls.toFixed(3)}`}: ${patterns}`);
        }
      }
    }
    for (const crm of crms) {
      await bed.fresh("on");
      const client = await naive(crm, bed.conduit);
      const calls = await counted(bed, () => client.carryAll(outcomes(crm, queued)));
      await assertDone(bed, crm, queued);
      report(`calls_per_outcome.naive_${crm}`, sum(Object.values(calls)) / queued);
      note(`naive_${crm}: ${(sum(Object.values(calls)) / queued).toFixed(3)}: ${shown(calls)}`);
    }
  } finally {
    await bed.stop();
  }
}

async function ours(bed, crm, which) {
  const who = bed.acme;
  const singles = [];
  await bed.fresh(which, [[crm, who]]);
  // The first write of a connection may ask for what later ones know.
  await bed.carry([[who, outcomes(crm, 1)]]);
  for (let n = 0; n < 3; n += 1) {
    const [first] = outcomes(crm, 1);
    const [again] = outcomes(crm, 1, { contact: first.contact });
    for (const write of [first, again]) singles.push(await counted(bed, () => bed.carry([[who, [write]]])));
  }
  const single = singles.reduce((worst, calls) => (sum(Object.values(calls)) > sum(Object.values(worst)) ? calls : worst));
  await bed.fresh(which, [[crm, who]]);
  await bed.carry([[who, outcomes(crm, 1)]]);
  const bulk = await counted(bed, () => bed.carry([[who, outcomes(crm, queued)]]));
  await assertDone(bed, crm, queued + 1);
  return {
    single: { calls: sum(Object.values(single)), patterns: shown(single) },
    bulk: { calls: sum(Object.values(bulk)) / queued, patterns: shown(bulk) },
  };
}

/** The calls while `work` ran, by pattern, without those for tokens. */
async function counted(bed, work) {
  const calls = await bed.standIn.calls(work);
  return Object.fromEntries(Object.entries(calls).filter(([pattern]) => !pattern.includes("/oauth")));
}

/** Few calls count only when the work is done: every person and every task once, and tied. */
async function assertDone(bed, crm, count) {
  const [people, tasks] = await Promise.all(objects[crm].map((object) => bed.standIn.records(object)));
  assert.deepEqual([people.length, tasks.length], [count, count], `${crm}: people and tasks`);
  assert.equal(tasks.filter(tied[crm]).length, count, `${crm}: tasks tied to their person`);
}

const shown = (calls) => Object.entries(calls).map(([pattern, count]) => `${count} × ${pattern.replace(/^\w+ /, "")}`).join(", ") || "none";
