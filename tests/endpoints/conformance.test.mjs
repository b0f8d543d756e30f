// The suite every database must pass (store::conformance; stub-db runs it on SQLite), on D1 in workerd.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startConduit } from "./harness.mjs";

const conduit = await startConduit({ only: ["conformance", "stub-crm"] });

test("D1 does what the store relies on", async () => {
  const worker = await conduit.miniflare.getWorker("conformance");
  const answer = await worker.fetch("https://conformance.test/");
  const { checks, failures } = await answer.json();
  assert.deepEqual(failures, []);
  assert.ok(checks > 10, `${checks} checks`);
});
