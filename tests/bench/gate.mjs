// The gate: refresh calls, the request budget, and what asking it costs.
//
// refresh_calls.concurrent_1000, .slow_endpoint, .two_instances and gate.* are measured in workerd, on the real Durable
// Object. refresh_calls.revoked_hour and budget.* take an hour or many minutes of simulated time: they are printed by the
// native tests gate_token and gate_budget, which run the same code over the stand-in.

import { at } from "../../scripts/repo.mjs";
import { spawnSync } from "node:child_process";
import { admitAtOnce, expire, gateRequests, tokenCalls, withCallers } from "../endpoints/gate-callers.mjs";
import { launch } from "../endpoints/harness.mjs";
import { outcome } from "../endpoints/outcomes.mjs";

export const prefixes = ["refresh_calls", "budget", "gate"];

const callers = 1000;
const samples = 500;

export async function run({ report, note, only }) {
  const wanted = (key) => key.startsWith(only) || only.startsWith(key);
  if (wanted("budget") || wanted("refresh_calls.revoked_hour")) native(report, note);
  const inWorkerd = ["refresh_calls.concurrent_1000", "refresh_calls.slow_endpoint", "refresh_calls.two_instances", "gate"];
  if (!inWorkerd.some(wanted)) return;
  const conduit = await launch({ edit: withCallers });
  try {
    await conduit.standIn.control("faults", { switches: { hubspot_rotation: "strict" } });
    await conduit.connect("hubspot", conduit.acme);
    await refreshes(conduit, report, wanted);
    if (wanted("gate.added")) await added(conduit, report, note);
    if (wanted("gate.requests_per_100_writes")) await perHundredWrites(conduit, report);
  } finally {
    await conduit.stop();
  }
}

/** Lines `measure KEY NUMBER` of the native tests. */
function native(report, note) {
  const tests = ["--test", "gate_budget", "--test", "gate_token"];
  const { status, stdout, stderr } = spawnSync("cargo", ["test", "-q", "-p", "flows", ...tests, "--", "--nocapture"], { cwd: at("."), encoding: "utf8" });
  if (status !== 0) throw new Error(`the native tests fail:\n${stdout}\n${stderr}`);
  for (const [, key, number] of stdout.matchAll(/measure (\S+) (\S+)/g)) {
    if (key === "budget.interactive_p99_ms") note(`a person waits ${number} ms at most in 99 of 100 cases, beside a full queue and another consumer`);
    else report(key, Number(number));
  }
}

async function refreshes(conduit, report, wanted) {
  const measure = async (key, options, fault) => {
    if (!wanted(key)) return;
    await expire(conduit);
    if (fault) await conduit.standIn.fault(fault);
    let answers;
    const calls = await tokenCalls(conduit, async () => void (answers = await admitAtOnce(conduit, { callers, ...options })));
    if (answers.admitted !== callers || answers.tokens !== 1) throw new Error(`${key}: ${JSON.stringify(answers)}`);
    report(key, calls);
  };
  await measure("refresh_calls.concurrent_1000", {});
  await measure("refresh_calls.two_instances", { gates: ["GATE", "GATE_B"] });
  const match = { path_contains: "/token", body_contains: "grant_type=refresh_token", count: 1 };
  await measure("refresh_calls.slow_endpoint", {}, { match, delay_ms: 30_000 });
}

/**
 * One request through a Worker that asks the gate, beside the same request that does not, in turn: both figures are above
 * the median without the gate, so that the noise of the slowest requests counts as the gate's.
 */
async function added(conduit, report, note) {
  const timed = async (options) => {
    const began = performance.now();
    await admitAtOnce(conduit, options);
    return performance.now() - began;
  };
  const [withGate, without] = [[], []];
  for (let n = 0; n < samples + 50; n += 1) {
    withGate.push(await timed({ callers: 1, ask: {} }));
    without.push(await timed({ callers: 0 }));
  }
  const at = (times, share) => times.slice(50).sort((a, b) => a - b)[Math.floor(samples * share)];
  note(`a request without the gate: p50 ${at(without, 0.5).toFixed(2)} ms, p99 ${at(without, 0.99).toFixed(2)} ms`);
  report("gate.added_p50_ms", Math.max(0, at(withGate, 0.5) - at(without, 0.5)));
  report("gate.added_p99_ms", Math.max(0, at(withGate, 0.99) - at(without, 0.5)));
}

async function perHundredWrites(conduit, report) {
  const lot = async (count) => {
    const writes = Array.from({ length: count }, () => outcome("hubspot", "create_task"));
    const planned = await conduit.submit(conduit.acme, writes);
    await conduit.settled(conduit.acme, planned.map(({ id }) => id));
  };
  // The first lot reports the limits it meets: they are not known before.
  await lot(1);
  const requests = await gateRequests(conduit, () => lot(100));
  report("gate.requests_per_100_writes", Object.values(requests).reduce((sum, count) => sum + count, 0));
}
