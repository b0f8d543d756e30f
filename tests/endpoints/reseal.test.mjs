// After the key that seals tokens was changed: `npm run reseal` moves everything under the new one, and counts what is left.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { promisify } from "node:util";
import { at } from "../../scripts/repo.mjs";
import { origin, startConduit } from "./harness.mjs";

const renewed = randomBytes(32).toString("base64");
// The other Workers seal under the key that was; the one that seals again has the new one and knows the old.
const conduit = await startConduit({
  edit: (worker) => {
    if (worker.name !== "reseal-tokens") return;
    worker.bindings.TOKEN_ENC_KEY_PREVIOUS_B64 = worker.bindings.TOKEN_ENC_KEY_B64;
    worker.bindings.TOKEN_ENC_KEY_B64 = renewed;
  },
});
const { acme } = conduit;

const keys = async (table) => {
  const rows = await conduit.rows(`SELECT access_token_sealed AS a, refresh_token_sealed AS r FROM ${table} WHERE access_token_sealed IS NOT NULL`);
  return [...new Set(rows.flatMap(({ a, r }) => [a, r]).map((sealed) => sealed.split(".")[1]))];
};

/** Runs the command; answers the report it printed, or what it said instead. */
async function reseal(token = conduit.secrets.OPERATOR_TOKEN) {
  const url = await conduit.miniflare.ready;
  const env = { ...process.env, OPERATOR_TOKEN: token };
  const command = [at("scripts", "job.mjs"), "reseal-tokens", "--origin", url.origin];
  return promisify(execFile)(process.execPath, command, { env }).then(
    ({ stdout }) => JSON.parse(stdout).report,
    ({ code, stdout, stderr }) => ({ code, said: stdout + stderr }),
  );
}

test("connections and installs that wait are sealed again, counted, and the old key may go", async () => {
  await conduit.connect("salesforce", acme);
  const browser = conduit.browser();
  const started = await browser.fetch("hubspot-oauth-start", { headers: { accept: "text/html" } });
  const url = started.headers.get("location");
  conduit.seen.onceOnly.add(new URL(url).searchParams.get("state"));
  const parked = await browser.callback(await browser.consent(url), { asPage: true });
  assert.equal(parked.status, 303, parked.text);
  const [old] = await keys("pending_installs");
  assert.deepEqual(await keys("crm_connections"), [old]);

  const { found, installs, resealed, moved, unknown_key: unknown } = await reseal();
  assert.deepEqual({ found, installs, resealed, moved, unknown }, { found: 2, installs: 1, resealed: 2, moved: 0, unknown: 0 });
  assert.equal((await reseal()).found, 0, "the old key may go");
  const [fresh] = await keys("pending_installs");
  assert.notEqual(fresh, old);
  assert.deepEqual([await keys("pending_installs"), await keys("crm_connections")], [[fresh], [fresh]]);
});

test("a row under a key that nobody has is told and kept, however often it is run", async () => {
  // "v1." and the eight characters of a key's id.
  await conduit.db.prepare("UPDATE pending_installs SET access_token_sealed = 'v1.0badf00d' || substr(access_token_sealed, 12)").bind().run();
  const before = await conduit.rows("SELECT access_token_sealed FROM pending_installs");
  for (const _ of [1, 2]) {
    const { found, resealed, unknown_key: unknown } = await reseal();
    assert.deepEqual({ found, resealed, unknown }, { found: 1, resealed: 0, unknown: 1 });
  }
  assert.deepEqual(await conduit.rows("SELECT access_token_sealed FROM pending_installs"), before);
});

test("without the operator's token nothing is done", async () => {
  const refused = await reseal("x".repeat(32));
  assert.equal(refused.code, 1);
  assert.match(refused.said, /operator/);
  assert.ok(origin);
});
