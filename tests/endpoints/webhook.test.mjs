// The outgoing webhook: what was written off is told, signed so that the `standardwebhooks` package accepts it, and told
// again with jitter until it is taken.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Response } from "miniflare";
import { Webhook } from "standardwebhooks";
import { crms, startConduit, until } from "./harness.mjs";
import { outcome } from "./outcomes.mjs";

const url = "https://hooks.test/conduit?of=conduit";
const received = [];
let answer = () => new Response(null, { status: 204 });

const conduit = await startConduit({
  vars: { WEBHOOK_URL: url },
  expected: [url],
  outside: async (request) => {
    if (!request.url.startsWith("https://hooks.test/")) return null;
    received.push({ url: request.url, method: request.method, headers: Object.fromEntries(request.headers), body: await request.text() });
    return answer();
  },
  edit: (worker) => {
    // The one that delivers reaches the world, which here is `outside`.
    if (worker.name === "reconcile-crm-writes") delete worker.serviceBindings.STAND_IN;
  },
});
const { acme, standIn, secrets } = conduit;
for (const crm of crms) await conduit.connect(crm, acme);

const alarms = () => conduit.rows("SELECT * FROM alarms ORDER BY created_at");
const dueNow = () => conduit.db.prepare("UPDATE alarms SET try_at = ?1 WHERE try_at IS NOT NULL").bind(Date.now() - 1).run();

/** A write that its CRM refuses for good. */
async function fail(crm) {
  const object = { hubspot: "/crm/", salesforce: "/composite" }[crm];
  await standIn.fault({ match: { provider: crm, path_contains: object }, status: 400, code: "FIELD_CUSTOM_VALIDATION_EXCEPTION" });
  const [{ id }] = await conduit.submit(acme, outcome(crm, "create_task"));
  await conduit.settled(acme, [id], { status: "permanent_failure" });
  await standIn.clearFaults();
  return id;
}

for (const crm of crms) {
  test(`${crm}: a permanent failure is told once, signed, and without anything personal`, async () => {
    received.length = 0;
    const id = await fail(crm);
    const audited = await conduit.rows("SELECT detail_json FROM audit_events WHERE event = 'writes_settled' AND detail_json LIKE ?1", `%${id}%`);
    assert.ok(audited.some(({ detail_json: detail }) => JSON.parse(detail).writes.permanent_failure?.includes(id)), "and audited");
    await conduit.cron("reconcile-crm-writes");
    assert.equal(received.length, 1);
    const [{ method, headers, body }] = received;
    assert.equal(method, "POST");
    assert.equal(received[0].url, url);
    const told = new Webhook(secrets.WEBHOOK_SECRET).verify(body, headers);
    assert.equal(told.type, "crm.writes_failed");
    assert.ok(Math.abs(Date.parse(told.timestamp) - Date.now()) < 60_000);
    assert.deepEqual(told.data.writes.map((write) => write.id), [id]);
    assert.deepEqual([told.data.workspace_id, told.data.crm], [acme.workspace, crm]);
    assert.ok(told.data.writes[0].code);
    assert.deepEqual(Object.keys(told.data.writes[0]).sort(), ["class", "code", "id"]);
    assert.doesNotMatch(body, /@|Ada|example\.com/);
    assert.throws(() => new Webhook(secrets.WEBHOOK_SECRET).verify(body.replace(id, id.toUpperCase()), headers));

    await conduit.cron("reconcile-crm-writes");
    assert.equal(received.length, 1, "taken is taken");
    assert.ok((await alarms()).every((alarm) => alarm.delivered_at !== null && alarm.try_at === null));
  });
}

test("what is not taken is tried again with jitter, under the same id, and given up in the end", async () => {
  received.length = 0;
  answer = () => new Response("busy", { status: 503 });
  await fail("hubspot");
  const waits = [];
  for (let tries = 1; tries <= 10; tries += 1) {
    await dueNow();
    await conduit.cron("reconcile-crm-writes");
    assert.equal(received.length, tries);
    const alarm = (await alarms()).at(-1);
    assert.deepEqual([alarm.tries, alarm.last_error, alarm.delivered_at], [tries, "http_503", null]);
    if (tries < 10) waits.push((alarm.try_at - Date.now()) / 1000);
    else assert.equal(alarm.try_at, null, "given up");
  }
  waits.forEach((wait, n) => assert.ok(wait <= Math.min(300 * 2 ** n, 43_200), `wait ${n + 1}: ${wait} s`));
  assert.ok(waits.at(-1) !== 43_200 && new Set(waits.map((wait, n) => (wait / (300 * 2 ** n)).toFixed(4))).size > 5, `jitter: ${waits}`);
  assert.equal(new Set(received.map(({ headers }) => headers["webhook-id"])).size, 1);
  for (const { body, headers } of received) new Webhook(secrets.WEBHOOK_SECRET).verify(body, headers);
  await dueNow();
  await conduit.cron("reconcile-crm-writes");
  assert.equal(received.length, 10);
});

test("a redirect is not followed, and a receiver that is gone is not asked again", async () => {
  for (const [given, retried] of [[new Response(null, { status: 307, headers: { location: "https://elsewhere.test/" } }), true], [new Response(null, { status: 410 }), false]]) {
    received.length = 0;
    answer = () => given;
    await fail("hubspot");
    await conduit.cron("reconcile-crm-writes");
    assert.equal(received.length, 1);
    const alarm = (await alarms()).at(-1);
    assert.equal(alarm.last_error, `http_${given.status}`);
    assert.equal(alarm.try_at !== null, retried);
    await conduit.db.exec("UPDATE alarms SET try_at = NULL");
  }
  answer = () => new Response(null, { status: 204 });
});

test("a connection that a person must look after is told", async () => {
  received.length = 0;
  await standIn.fault({ match: { provider: "hubspot", path_contains: "/account-info/" }, status: 403 });
  await conduit.db.exec("UPDATE connection_health SET consecutive_refusals = 2, check_at = 0 WHERE crm = 'hubspot'");
  await conduit.cron("reconcile-connections");
  await until("the connection to fail", 20, async () => (await conduit.rows("SELECT 1 FROM crm_connections WHERE status = 'error'")).length === 1);
  await conduit.cron("reconcile-crm-writes");
  assert.equal(received.length, 1);
  const told = new Webhook(secrets.WEBHOOK_SECRET).verify(received[0].body, received[0].headers);
  assert.deepEqual([told.type, told.data.code, told.data.crm], ["crm.connection_failed", "access_refused", "hubspot"]);
});
