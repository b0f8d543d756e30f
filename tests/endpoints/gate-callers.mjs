// Callers of a connection's gate inside of workerd: a Worker in JavaScript that asks the real Durable Object, many times at
// once, and a second instance of the gate on the same database.
//
//   const conduit = await startConduit({ edit: withCallers });
//   await admitAtOnce(conduit, { callers: 1000, gates: ["GATE", "GATE_B"] })   // { admitted: 1000, tokens: 1 }
//
// Every request to a gate is printed by a tap, so that they can be counted. No token leaves the callers' Worker.

import assert from "node:assert/strict";
import { join } from "node:path";
import { until } from "./harness.mjs";

const tap = `
import worker, { ConnectionGate as Gate } from "./index.js";
export default worker;
export class ConnectionGate extends Gate {
  async fetch(request) {
    console.log("gate request " + new URL(request.url).pathname);
    return super.fetch(request);
  }
}`;

const callers = `
export default {
  async fetch(request, env) {
    const { callers, gates, connection, ask } = await request.json();
    const stubs = gates.map((gate) => env[gate].get(env[gate].idFromName(connection.workspace_id + ":" + connection.crm)));
    const body = JSON.stringify({ connection, request_id: "test", call: { admit: ask } });
    const one = async (nth) => {
      try {
        const answer = await stubs[nth % stubs.length].fetch("https://gate/admit", { method: "POST", body });
        return await answer.json();
      } catch (error) {
        return "thrown: " + error.message;
      }
    };
    const verdicts = await Promise.all(Array.from({ length: callers }, (_, nth) => one(nth)));
    const counts = {};
    for (const verdict of verdicts) {
      const name = typeof verdict === "string" ? verdict : Object.keys(verdict)[0];
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return Response.json({ ...counts, tokens: new Set(verdicts.map((verdict) => verdict.admitted?.access_token)).size });
  },
};`;

/** For the harness's option `edit`: adds the callers and the second instance beside the gate. */
export function withCallers(worker, _, workers) {
  if (worker.name !== "connection-gate") return;
  worker.modules.unshift({ type: "ESModule", path: join(worker.modulesRoot, "gate-tap.js"), contents: tap });
  const gate = (scriptName) => ({ className: "ConnectionGate", scriptName, useSQLite: true });
  const own = { CONNECTION_GATE: { className: "ConnectionGate", useSQLite: true } };
  worker.durableObjects = own;
  workers.push(
    { ...worker, name: "connection-gate-b", durableObjects: own },
    {
      name: "gate-callers",
      modules: [{ type: "ESModule", path: join(worker.modulesRoot, "callers.js"), contents: callers }],
      modulesRoot: worker.modulesRoot,
      compatibilityDate: worker.compatibilityDate,
      durableObjects: { GATE: gate("connection-gate"), GATE_B: gate("connection-gate-b") },
    },
  );
}

/** Asks the gates so many times at once for a token, without permits unless `ask` says otherwise. */
export async function admitAtOnce(conduit, { workspace = "ws_acme", crm = "hubspot", callers = 1, gates = ["GATE"], ask = {} } = {}) {
  const worker = await conduit.miniflare.getWorker("gate-callers");
  const asked = { calls: 0, searches: 0, purpose: "writes", refused_generation: null, ...ask };
  const connection = { workspace_id: workspace, shard: "DB", crm };
  const answer = await worker.fetch("https://callers.test/", { method: "POST", body: JSON.stringify({ callers, gates, connection, ask: asked }) });
  assert.equal(answer.status, 200);
  return answer.json();
}

/** The connection's access token is over, as far as the database knows, and the gates remember none. */
export async function expire(conduit, { workspace = "ws_acme", crm = "hubspot" } = {}) {
  const { meta } = await conduit.db
    .prepare("UPDATE crm_connections SET expires_at = ?1 WHERE workspace_id = ?2 AND crm = ?3")
    .bind(Date.now() - 1000, workspace, crm)
    .run();
  assert.equal(meta.changes, 1);
  const connection = { workspace_id: workspace, shard: "DB", crm };
  for (const name of ["connection-gate", "connection-gate-b"]) {
    const gates = await conduit.miniflare.getDurableObjectNamespace("CONNECTION_GATE", name);
    const stub = gates.get(gates.idFromName(`${workspace}:${crm}`));
    const body = JSON.stringify({ connection, request_id: "test", call: "forget" });
    const answer = await stub.fetch("https://gate/forget", { method: "POST", body });
    assert.equal(answer.status, 200);
    await answer.text();
  }
}

/** The calls to token endpoints while `work` ran. */
export async function tokenCalls(conduit, work) {
  const calls = await conduit.standIn.calls(work);
  return Object.entries(calls)
    .filter(([call]) => /POST .*\/token$/.test(call))
    .reduce((sum, [, count]) => sum + count, 0);
}

/** The requests to gates while `work` ran, by path. */
export async function gateRequests(conduit, work) {
  const before = conduit.seen.logs.length;
  await work();
  // Lines come a moment later than what they tell of.
  await until("the gate's lines", 5, async () => conduit.seen.logs.length > before);
  await new Promise((resolve) => setTimeout(resolve, 500));
  const lines = conduit.seen.logs.slice(before).map(({ message }) => message);
  const paths = lines.map((line) => /^gate request (\/\w+)/.exec(line)?.[1]).filter(Boolean);
  return paths.reduce((counts, path) => ({ ...counts, [path]: (counts[path] ?? 0) + 1 }), {});
}
