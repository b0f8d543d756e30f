// The app is removed in HubSpot's own settings: the job that reads HubSpot's journal ends the connection here.

import assert from "node:assert/strict";
import { test } from "node:test";
import { origin, startConduit } from "./harness.mjs";

const conduit = await startConduit();
const { acme, globex, standIn } = conduit;
const connection = async (who) => {
  const { body } = await conduit.fetch("crm-connections", { token: who.service });
  return body.connections.find(({ crm }) => crm === "hubspot");
};

test("a removal in HubSpot is shown as one, its tokens are erased, and another workspace may connect the account", async () => {
  await conduit.cron("watch-installs");
  await conduit.connect("hubspot", acme);
  await standIn.control("uninstall/4242", {});
  await conduit.cron("watch-installs");
  const shown = await connection(acme);
  assert.deepEqual([shown.status, shown.last_error.code, shown.health.status], ["disconnected", "app_uninstalled", "error"]);
  assert.match(shown.last_error.advice, /install it again/);
  const [row] = await conduit.rows("SELECT access_token_sealed, refresh_token_sealed FROM crm_connections WHERE workspace_id = ?1", acme.workspace);
  assert.deepEqual(row, { access_token_sealed: null, refresh_token_sealed: null });
  const refused = await conduit.fetch("crm-writes", { token: acme.service, json: { writes: [] } });
  assert.notEqual(refused.status, 500);
  await conduit.connect("hubspot", globex);
  await conduit.cron("watch-installs");
  assert.equal((await connection(globex)).status, "connected");
  assert.equal((await connection(acme)).status, "disconnected");
});

test("the page of connections says why, and how to connect again", async () => {
  const { body } = await conduit.fetch("connect-sessions", { token: acme.service, json: { user_id: "us_acme_owner", page: "connect" } });
  conduit.seen.onceOnly.add(new URL(body.url).searchParams.get("link"));
  const browser = conduit.browser();
  await browser.fetch(body.url, { headers: { accept: "text/html" } });
  const shown = await browser.fetch(`${origin}/connect`, { headers: { accept: "text/html" } });
  assert.equal(shown.status, 200, shown.text);
  assert.match(shown.text, /Not connected\. The app was removed in HubSpot/);
});

test("the job says what it did, and never where a file was", async () => {
  const lines = conduit.seen.logs.map(({ message }) => message).filter((message) => message.includes('"worker":"watch-installs"'));
  assert.ok(lines.some((line) => /"event":"journal_read"/.test(line) && /"uninstalls":"1"/.test(line)), lines.join("\n"));
  assert.ok(lines.every((line) => !/amazonaws|X-Amz|not on the allow-list/.test(line)), lines.join("\n"));
});
