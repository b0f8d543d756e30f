// The suite that every database must pass (shared/store/src/conformance.rs), on D1 in workerd. SQLite passes the same one
// natively, in tests/stub-db.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Log, LogLevel, Miniflare } from "miniflare";
import { migrate } from "../../scripts/database.mjs";
import { makeSecrets } from "../../scripts/secrets.mjs";
import { miniflareWorkers } from "../../scripts/workers.mjs";

const workers = miniflareWorkers({ origin: "https://conduit.test", secrets: makeSecrets(), only: ["conformance"] });
const miniflare = new Miniflare({ workers, cf: false, log: new Log(LogLevel.NONE) });
after(() => miniflare.dispose());

test("D1 in workerd passes the suite", async () => {
  await migrate(await miniflare.getD1Database("DB", "conformance"));
  const answer = await miniflare.dispatchFetch("https://conduit.test/");
  const { checks, failures } = await answer.json();
  assert.ok(checks >= 12, `${checks} checks ran`);
  assert.deepEqual(failures, []);
});
