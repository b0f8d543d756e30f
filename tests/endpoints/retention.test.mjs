// What a workspace keeps, what the nightly purge removes, how a person is erased, and what the audit trail proves: through the
// real Workers, D1 and R2.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { assertRefused, startConduit } from "./harness.mjs";

const conduit = await startConduit({ only: ["gateway", "retention-policy", "audit-events", "purge-retention", "seal-audit", "stub-crm"] });
const { acme, globex } = conduit;
const day = 86_400_000;
const policy = (who, options = {}) => conduit.fetch("retention-policy", { token: who.service, ...options });
const bucket = () => conduit.miniflare.getR2Bucket("ATTACHMENTS", "purge-retention");

const keep = (who, id, daysAgo, extra = {}) => {
  const insert = (table, row) =>
    conduit.db
      .prepare(`INSERT INTO ${table} (${Object.keys(row)}) VALUES (${Object.keys(row).map((_, n) => `?${n + 1}`)})`)
      .bind(...Object.values(row))
      .run();
  const received_at = Date.now() - daysAgo * day;
  return { insert, message: () => insert("messages", { workspace_id: who.workspace, id, thread_id: "th_1", subject: `subject of ${id}`, body: `body of ${id}`, received_at, ...extra }), attachment: (key) => insert("attachments", { workspace_id: who.workspace, id, message_id: id, object_key: key, file_name: "a.pdf", size_bytes: 3, received_at }) };
};

/** Each part behind its length in 8 bytes. */
const frame = (...parts) =>
  Buffer.concat(
    parts.flatMap((part) => {
      const [bytes, length] = [Buffer.from(part), Buffer.alloc(8)];
      length.writeBigUInt64BE(BigInt(bytes.length));
      return [length, bytes];
    }),
  );

/** `messages.contact_hmac` as schema/README.md tells a host product to make it. */
function contactHmac(workspace, email) {
  const hmac = (key, bytes) => createHmac("sha256", key).update(bytes);
  const own = hmac(Buffer.from(conduit.secrets.PII_HASH_KEY_B64, "base64"), frame("conduit pii v1", workspace)).digest();
  return hmac(own, frame("email", email.trim().toLowerCase())).digest("base64url");
}

const events = (name) => conduit.rows("SELECT workspace_id, detail_json FROM audit_events WHERE event = ?1 ORDER BY workspace_id, at", name);

test("a policy has defaults, is changed by an admin, and what is no policy is refused by name", async () => {
  const defaults = { message_days: 365, attachment_days: 90, write_days: 180 };
  const before = (await policy(acme)).body;
  assert.deepEqual([before.policy, before.is_default, before.updated_by], [defaults, true, null]);
  for (const [json, code] of [
    [[], "retention_policy_invalid"],
    [{ days: 3 }, "retention_field_unknown"],
    [{ message_days: "soon" }, "retention_days_invalid"],
    [{ write_days: 1 }, "retention_days_out_of_range"],
  ]) {
    assertRefused(await policy(acme, { method: "PUT", json }), 422, code);
  }
  assertRefused(await conduit.fetch("retention-policy", { method: "PUT", token: acme.memberService, json: {} }), 403, "admin_required");
  const changed = await policy(acme, { method: "PUT", json: { message_days: "30" } });
  assert.deepEqual(changed.body.policy, { message_days: 30, attachment_days: 30, write_days: 180 });
  assert.deepEqual((await conduit.fetch("retention-policy", { token: acme.member, query: { workspace_id: acme.workspace } })).body, changed.body);
  assert.deepEqual((await policy(globex)).body.policy, defaults);
  assert.equal((await events("retention_policy_changed")).length, 1);
});

test("the purge removes bytes before references and bodies by each workspace's policy; two runs at once do it once", async () => {
  const r2 = await bucket();
  for (const who of [acme, globex]) {
    for (const [n, days] of [400, 40, 1].entries()) {
      const key = `${who.workspace}/file${n}`;
      await r2.put(key, "abc");
      const kept = keep(who, `m${n}`, days);
      await kept.message();
      await kept.attachment(key);
    }
  }
  // The reference is there, the bytes are gone already: as after a crash in between.
  await r2.delete(`${acme.workspace}/file0`);
  await Promise.all([conduit.cron("purge-retention"), conduit.cron("purge-retention")]);
  const left = (await r2.list()).objects.map(({ key }) => key);
  assert.deepEqual(left, [`${acme.workspace}/file2`, `${globex.workspace}/file1`, `${globex.workspace}/file2`]);
  const bodies = await conduit.rows("SELECT workspace_id, id FROM messages WHERE is_redacted = 0 ORDER BY workspace_id, id");
  assert.deepEqual(bodies.map((row) => `${row.workspace_id}/${row.id}`), ["ws_acme/m2", "ws_globex/m1", "ws_globex/m2"]);
  const kept = await conduit.rows("SELECT object_key FROM attachments WHERE object_key IS NOT NULL ORDER BY object_key");
  assert.deepEqual(kept.map((row) => row.object_key), left);
  const sums = {};
  for (const { workspace_id: workspace, detail_json: text } of await events("retention_purge_completed")) {
    const detail = JSON.parse(text);
    sums[workspace] ??= [0, 0];
    sums[workspace][0] += detail.messages_redacted;
    sums[workspace][1] += detail.attachments_removed;
  }
  assert.deepEqual(sums, { ws_acme: [2, 2], ws_globex: [1, 1] });
  const before = (await events("retention_purge_completed")).length;
  await conduit.cron("purge-retention");
  assert.equal((await events("retention_purge_completed")).length, before, "nothing is left for today");
});

test("a run that is stopped half-way is gone on with, without loss or double count", async () => {
  const rows = 3_000;
  await conduit.db
    .prepare(
      `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
       INSERT INTO messages (workspace_id, id, thread_id, body, received_at) SELECT 'ws_globex', 'x' || i, 'th_x', 'body', 1 FROM n`,
    )
    .bind(rows)
    .run();
  // As a run leaves it that was stopped between two slices: a thousand are redacted and counted, and nobody has told of it.
  await conduit.db.batch([
    conduit.db.prepare(
      "UPDATE messages SET body = NULL, is_redacted = 1, redacted_at = 1 WHERE workspace_id = 'ws_globex' AND id IN (SELECT id FROM messages WHERE workspace_id = 'ws_globex' AND thread_id = 'th_x' LIMIT 1000)",
    ),
    conduit.db.prepare("INSERT INTO retention_progress (workspace_id, began_at, messages_redacted) VALUES ('ws_globex', 1, 1000)"),
  ]);
  const before = await events("retention_purge_completed");
  await conduit.cron("purge-retention");
  const told = await events("retention_purge_completed");
  const detail = told.filter((event) => !before.some((old) => old.detail_json === event.detail_json)).map((event) => JSON.parse(event.detail_json));
  assert.deepEqual(detail.map((one) => one.messages_redacted), [rows]);
  assert.deepEqual(await conduit.rows("SELECT * FROM retention_progress"), []);
});

test("a person is erased by the address, which stays nowhere", async () => {
  const erase = (who, json) => conduit.fetch("retention-policy/erase", { method: "POST", token: who.service, json });
  const written = (n, email) =>
    conduit.db
      .prepare(
        `INSERT INTO crm_write_log (workspace_id, crm, idempotency_key, request_hash, action, object_type, object_id, source_event_id, payload_json, status, request_id, created_at, updated_at)
         VALUES ('ws_acme', 'hubspot', ?1, 'h', 'upsert_contact', 't', 'o', 'e', ?2, 'succeeded', 'r', ?3, ?3)`,
      )
      .bind(`key${n}`, JSON.stringify({ contact: { email } }), Date.now() - 1000 * n)
      .run();
  for (let n = 1; n <= 4; n += 1) await written(n, n % 2 ? "ada@example.com" : "bob@example.com");
  const r2 = await bucket();
  for (const [id, email] of [["from_ada", "ADA@example.com "], ["from_bob", "bob@example.com"]]) {
    const kept = keep(acme, id, 1, { contact_hmac: contactHmac(acme.workspace, email) });
    await r2.put(`${acme.workspace}/${id}`, "abc");
    await kept.message();
    await kept.attachment(`${acme.workspace}/${id}`);
  }
  for (const email of [undefined, "", "ada", "@x"]) assertRefused(await erase(acme, { email }), 400, "invalid_parameter");
  assertRefused(await conduit.fetch("retention-policy/erase", { method: "POST", token: acme.memberService, json: { email: "ada@example.com" } }), 403, "admin_required");
  const answer = await erase(acme, { email: " Ada@Example.com" });
  assert.deepEqual([answer.status, answer.body.status, answer.body.writes_redacted], [200, "finished", 2], answer.text);
  const messages = await conduit.rows("SELECT id, body, contact_hmac FROM messages WHERE id LIKE 'from_%' ORDER BY id");
  assert.deepEqual(messages.map((row) => row.body), [null, "body of from_bob"]);
  assert.deepEqual(messages.map((row) => row.contact_hmac), [null, contactHmac(acme.workspace, "bob@example.com")]);
  const files = (await r2.list({ prefix: `${acme.workspace}/from_` })).objects.map(({ key }) => key);
  assert.deepEqual(files, [`${acme.workspace}/from_bob`]);
  const payloads = await conduit.rows("SELECT payload_json FROM crm_write_log ORDER BY idempotency_key");
  assert.deepEqual(payloads.map((row) => row.payload_json.includes("bob@")), [false, true, false, true]);
  assert.deepEqual((await erase(acme, { email: "ada@example.com" })).body.writes_redacted, 0);
  assert.equal((await events("person_erased")).length, 2);
  const everywhere = JSON.stringify([await conduit.rows("SELECT * FROM audit_events"), await conduit.rows("SELECT * FROM erasures"), conduit.seen.logs]);
  assert.ok(!everywhere.includes("ada@") && !everywhere.includes("Ada@"));
});

test("the audit trail is sealed by its cron, listed, exported and verified, and what is done to it is found", async () => {
  const get = (path, query = {}, who = acme) => conduit.fetch(`audit-events${path}`, { token: who.service, query });
  assertRefused(await conduit.fetch("audit-events", { token: acme.memberService }), 403, "admin_required");
  assertRefused(await get("", { limit: "0" }), 400, "invalid_parameter");
  assertRefused(await get("/nothing"), 404, "not_found");
  const all = (await get("", { limit: "100" })).body.events;
  assert.ok(all.length >= 5 && all.every(({ seq }) => seq === null), "too young to be sealed");
  const changed = (await get("", { event: "retention_policy_changed" })).body;
  assert.deepEqual([changed.events.length, changed.next_cursor], [1, null]);
  const first = (await get("", { limit: "2" })).body;
  const second = (await get("", { limit: "2", cursor: first.next_cursor })).body;
  assert.deepEqual([...first.events, ...second.events].map(({ id }) => id), all.slice(0, 4).map(({ id }) => id));

  // An hour passes: what is there was an hour ago.
  await conduit.db.prepare("UPDATE audit_events SET at = at - 3600000").run();
  await Promise.all([conduit.cron("seal-audit"), conduit.cron("seal-audit")]);
  const verified = (await get("/verify")).body;
  assert.deepEqual([verified.status, verified.verified, verified.sealed, verified.broken], ["intact", all.length, all.length, null]);
  const exported = await get("/export");
  assert.equal(exported.headers.get("content-type"), "application/x-ndjson");
  const lines = exported.text.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ seq }) => seq), all.map((_, n) => n + 1));
  assert.deepEqual(lines.map(({ id }) => id), all.map(({ id }) => id).reverse());

  await conduit.db.prepare("UPDATE audit_events SET actor = 'us_eve' WHERE workspace_id = 'ws_acme' AND seq = 2").run();
  const broken = (await get("/verify")).body;
  assert.deepEqual([broken.status, broken.broken.fault, broken.broken.seq, broken.broken.event_id], ["broken", "tampered", 2, lines[1].id]);
  assert.equal((await get("/verify", {}, globex)).body.status, "intact");
});
