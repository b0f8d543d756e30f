// Listing and disconnecting, and that a workspace is a closed room: whatever is named from outside of it does not exist.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertRefused, crms, startConduit } from "./harness.mjs";
import { outcome } from "./outcomes.mjs";

const conduit = await startConduit();
const { acme, globex, standIn } = conduit;
const account = { hubspot: { acme: "4242", globex: "777" }, salesforce: { acme: 1, globex: 2 } };

const list = async (who, token = who.service) => {
  const answer = await conduit.fetch("crm-connections", { token });
  assert.equal(answer.status, 200, answer.text);
  return answer.body.connections;
};
const connection = async (who, crm) => (await list(who)).find((one) => one.crm === crm);
const disconnect = (crm, token, query = {}) => conduit.fetch("crm-disconnect", { token, query, json: { crm } });

test("a workspace without a connection has an empty list", async () => {
  assert.deepEqual(await list(acme), []);
  for (const crm of crms) assertRefused(await disconnect(crm, acme.service), 409, "not_connected");
  assertRefused(await conduit.fetch("crm-writes", { token: acme.service, json: outcome("hubspot", "upsert_contact") }), 409, "not_connected");
});

for (const crm of crms) {
  test(`${crm}: the list tells status, account, scopes and health, to members too, and never a token`, async () => {
    await conduit.connect(crm, acme, { account: account[crm].acme });
    for (const token of [acme.service, acme.memberService]) {
      const shown = (await list(acme, token)).find((one) => one.crm === crm);
      assert.deepEqual(Object.keys(shown).sort(), [
        "connected_at", "crm", "external_account_id", "external_account_name", "health", "heartbeat_at", "id", "instance_url",
        "last_error", "mechanisms", "scopes", "status", "updated_at",
      ]);
      assert.match(shown.id, /^cx_/);
      assert.deepEqual([shown.status, shown.health.status, shown.last_error], ["connected", "ok", null]);
      assert.ok(shown.scopes.length > 1);
      assert.equal(shown.instance_url === null, crm === "hubspot");
    }
    const answer = await conduit.fetch("crm-connections", { token: acme.member, query: { workspace_id: acme.workspace } });
    assert.equal(answer.status, 200);
    assert.doesNotMatch(answer.text, /sealed|"v1\.|"\w*token":/);
  });

  test(`${crm}: disconnecting revokes at the CRM and clears the tokens, once`, async () => {
    const [before] = await conduit.rows("SELECT * FROM crm_connections WHERE workspace_id = ?1 AND crm = ?2", acme.workspace, crm);
    assert.ok(before.access_token_sealed && before.refresh_token_sealed);
    assertRefused(await disconnect(crm, acme.memberService), 403, "admin_required");
    assertRefused(await disconnect(crm, acme.member, { workspace_id: acme.workspace }), 403, "admin_required");

    let answer;
    const calls = await standIn.calls(async () => (answer = await disconnect(crm, acme.admin, { workspace_id: acme.workspace })));
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(answer.body, { revoked: true, was_connected: true });
    assert.ok(Object.keys(calls).some((call) => call.startsWith(`${crm} `) && call.includes("/revoke")) || JSON.stringify(calls).includes("uninstall"), JSON.stringify(calls));

    const [row] = await conduit.rows("SELECT * FROM crm_connections WHERE workspace_id = ?1 AND crm = ?2", acme.workspace, crm);
    assert.deepEqual([row.status, row.access_token_sealed, row.refresh_token_sealed, row.id], ["disconnected", null, null, before.id]);
    assert.equal((await connection(acme, crm)).status, "disconnected");
    const events = await conduit.rows("SELECT actor FROM audit_events WHERE subject = ?1 AND event = 'connection_disconnected'", row.id);
    assert.deepEqual(events, [{ actor: "us_acme_admin" }]);
    assert.deepEqual((await disconnect(crm, acme.service)).body, { revoked: false, not_revoked: "no_tokens", was_connected: false });
    assert.equal((await conduit.rows("SELECT 1 FROM audit_events WHERE subject = ?1 AND event = 'connection_disconnected'", row.id)).length, 1);
  });

  test(`${crm}: disconnecting works while the CRM is down, and says that nothing was revoked there`, async () => {
    for (const fault of [{ status: 503, body: "html" }, { lose: "request" }]) {
      await conduit.connect(crm, acme, { account: account[crm].acme });
      await standIn.fault({ match: { provider: crm }, ...fault });
      const answer = await disconnect(crm, acme.service);
      await standIn.clearFaults();
      assert.deepEqual([answer.status, answer.body], [200, { revoked: false, not_revoked: "unconfirmed", was_connected: true }], answer.text);
      const [row] = await conduit.rows("SELECT * FROM crm_connections WHERE workspace_id = ?1 AND crm = ?2", acme.workspace, crm);
      assert.deepEqual([row.status, row.access_token_sealed, row.refresh_token_sealed], ["disconnected", null, null]);
    }
  });

  test(`${crm}: a write planned before the disconnect ends with a reason`, async () => {
    await conduit.connect(crm, acme, { account: account[crm].acme });
    // The message is on its way for a second: the disconnect comes first.
    const [write] = await conduit.submit(acme, outcome(crm, "upsert_contact"));
    assert.equal((await disconnect(crm, acme.service)).status, 200);
    const [ended] = await conduit.settled(acme, [write.id], { status: "permanent_failure" });
    assert.deepEqual([ended.error.class, ended.error.code], ["auth", "not_connected"]);
  });
}

test("another workspace's ids do not exist, at any endpoint, for any kind of caller", async () => {
  const writes = {};
  for (const who of [acme, globex]) {
    const name = who === acme ? "acme" : "globex";
    for (const crm of crms) await conduit.connect(crm, who, { account: account[crm][name] });
    writes[name] = await conduit.submit(who, crms.map((crm) => outcome(crm, "upsert_contact", { object_id: `${name}_object` })));
  }
  const before = { connections: await list(globex), writes: await conduit.rows("SELECT * FROM oauth_states") };

  // Callers of acme who name globex: as if there were no such workspace.
  const requests = [
    ...crms.map((crm) => ["GET", `${crm}-oauth-start`]),
    ["GET", "crm-connections"],
    ...crms.map((crm) => ["POST", "crm-disconnect", { crm }]),
    ["POST", "crm-writes", outcome("hubspot", "upsert_contact")],
    ["GET", "crm-writes"],
    ...writes.globex.map(({ id }) => ["GET", `crm-writes/${id}`]),
  ];
  for (const [method, path, json] of requests) {
    for (const token of [acme.owner, acme.admin, acme.member, acme.service]) {
      const ask = (workspace) => conduit.fetch(path, { method, json, token, query: { workspace_id: workspace } });
      const [foreign, none] = [await ask(globex.workspace), await ask("ws_nobody")];
      assertRefused(foreign, 404, "workspace_not_found");
      assert.equal(withoutId(foreign), withoutId(none), `${method} ${path}`);
    }
  }
  // Callers of acme in their own workspace, with ids of globex: as if there were no such write.
  const unknown = `wr_h${"A".repeat(writes.globex[0].id.length - 4)}`;
  const none = await conduit.fetch(`crm-writes/${unknown}`, { token: acme.service });
  for (const { id } of writes.globex) {
    const foreign = await conduit.fetch(`crm-writes/${id}`, { token: acme.service });
    assertRefused(foreign, 404, "write_not_found");
    assert.equal(withoutId(foreign), withoutId(none));
  }
  const theirs = (query) => conduit.fetch("crm-writes", { token: globex.service, query }).then(({ body }) => body);
  const { next_cursor: cursor } = await theirs({ limit: 1 });
  assert.ok(cursor);
  for (const query of [{}, { cursor }, { object_id: "globex_object" }]) {
    const answer = await conduit.fetch("crm-writes", { token: acme.service, query });
    assert.equal(answer.status, 200, answer.text);
    assert.ok(!answer.text.includes("globex"), answer.text);
  }

  // The same write in two workspaces is two writes; and disconnecting one leaves the other alone.
  const same = outcome("hubspot", "upsert_contact");
  const [[one], [two]] = [await conduit.submit(acme, same), await conduit.submit(globex, same)];
  assert.notEqual(one.id, two.id);
  assert.equal(two.duplicate, false);
  for (const crm of crms) await disconnect(crm, acme.service);
  const after = { connections: await list(globex), writes: await conduit.rows("SELECT * FROM oauth_states") };
  assert.deepEqual(
    after.connections.map(({ crm, status, id }) => [crm, status, id]),
    before.connections.map(({ crm, status, id }) => [crm, status, id]),
  );
  assert.deepEqual(after.writes, before.writes, "no flow was started");
});

/** A body without what differs from one request to the next. */
const withoutId = (answer) => answer.text.replace(answer.body.request_id, "");
