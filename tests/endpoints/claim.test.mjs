// Installs from the marketplaces and the pages that claim them, on the real Workers: what a browser sees, and the attacks that
// only HTTP shows. Those that a flow decides are in tests/simulator/tests/attacks*.rs.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { assertRefused, functions, origin, startConduit } from "./harness.mjs";
import { outcome } from "./outcomes.mjs";

const conduit = await startConduit();
const { acme, globex, standIn } = conduit;
const page = { accept: "text/html" };
const form = { "content-type": "application/x-www-form-urlencoded", accept: "text/html" };
let hubs = 5000;

/** What must not change under an attack. */
const standing = async () => {
  const tables = ["crm_connections", "crm_accounts", "pending_installs", "workspace_members"];
  const all = await Promise.all(tables.map((table) => conduit.rows(`SELECT * FROM ${table}`)));
  return JSON.stringify(all);
};

const unchanged = async (attack) => {
  const before = await standing();
  const answer = await attack();
  assert.equal(await standing(), before, "something changed");
  return answer;
};

/** A page of ours with its policy: nothing runs in it, nobody frames it, nobody learns its address. */
function assertPage(answer, status, { forms }) {
  assert.equal(answer.status, status, answer.text);
  const policy = answer.headers.get("content-security-policy");
  const hash = createHash("sha256").update(answer.text.match(/<style>([^]*?)<\/style>/)[1]).digest("base64");
  const action = forms ? "form-action 'self' https://*.hubspot.com https://*.salesforce.com" : "form-action 'none'";
  for (const part of ["default-src 'none'", `style-src 'sha256-${hash}'`, action, "frame-ancestors 'none'", "base-uri 'none'"]) {
    assert.ok(policy.includes(part), `${part} in ${policy}`);
  }
  assert.doesNotMatch(policy, /script-src|unsafe/);
  assert.equal(answer.headers.get("referrer-policy"), "no-referrer");
  assert.equal(answer.headers.get("cache-control"), "no-store");
  assert.doesNotMatch(answer.text, /<script|<iframe|<img|\son\w+=|javascript:/i);
}

const field = (html, name) => html.match(new RegExp(`name="${name}" value="([^"]*)"`))?.[1];

/** Opens our pages for a person through a link their product's back end minted; returns the browser. */
async function signedIn(browser, who, { user = null, as = "claim" } = {}) {
  const minted = await conduit.fetch("connect-sessions", {
    token: who.service,
    json: { user_id: user ?? `us_${who.workspace.slice(3)}_owner`, page: as, return_to: `${origin}/settings` },
  });
  assert.equal(minted.status, 201, minted.text);
  conduit.seen.onceOnly.add(new URL(minted.body.url).searchParams.get("link"));
  const opened = await browser.fetch(minted.body.url, { headers: page });
  assert.deepEqual([opened.status, opened.headers.get("location")], [303, as === "claim" ? "/claim-install" : "/connect"], opened.text);
  return browser;
}

/** An install through our own start; returns the browser and where it was sent. */
async function installed(crm, { account = hubs++, browser = conduit.browser() } = {}) {
  const started = await browser.fetch(`${crm}-oauth-start`, { headers: page });
  assert.equal(started.status, 302, started.text);
  const url = started.headers.get("location");
  conduit.seen.onceOnly.add(new URL(url).searchParams.get("state"));
  const back = await browser.callback(await browser.consent(url, { account }), { asPage: true });
  assert.equal(back.status, 303, back.text);
  return { browser, location: back.headers.get("location"), account };
}

const post = (browser, path, fields, headers = {}) =>
  browser.fetch(`${origin}${path}`, { method: "POST", body: new URLSearchParams(fields).toString(), headers: { ...form, ...headers } });

/** The claim page of a signed-in browser, and the fields of its form. */
async function claimPage(browser, query = "") {
  const answer = await browser.fetch(`${origin}/claim-install${query}`, { headers: page });
  const fields = Object.fromEntries(["form_token", "install_id", "workspace_id"].map((name) => [name, field(answer.text, name)]));
  return { answer, fields };
}

const press = async (path, fields) => {
  const answer = await conduit.miniflare.dispatchFetch(`${origin}/marketplace/hubspot/${path}`, {
    method: "POST", redirect: "manual", body: new URLSearchParams(fields).toString(), headers: { "content-type": form["content-type"] },
  });
  return answer.headers.get("location");
};

for (const crm of ["hubspot", "salesforce"]) {
  test(`${crm}: from our start to a claimed connection that writes a task`, async () => {
    const { browser, location } = await installed(crm, { account: crm === "hubspot" ? 4242 : 1 });
    assert.match(location, new RegExp(`^/claim-install\\?crm=${crm}&install_id=in_\\w+$`));
    const before = await browser.fetch(`${origin}${location}`, { headers: page });
    assertPage(before, 200, { forms: true });
    assert.match(before.text, /One step left/);
    await signedIn(browser, acme);
    const { answer, fields } = await claimPage(browser);
    assertPage(answer, 200, { forms: true });
    assert.equal(fields.workspace_id, acme.workspace);
    const claimed = await post(browser, "/claim-install", fields, { origin: "null", "sec-fetch-site": "same-origin" });
    assertPage(claimed, 200, { forms: false });
    assert.match(claimed.text, /is connected/);
    assert.match(claimed.text, new RegExp(`href="${origin}/settings"`));
    assert.equal(browser.cookies.has("__Host-conduit-claim"), false, "the claim cookie is spent");

    const [write] = await conduit.submit(acme, outcome(crm, "create_task"));
    await conduit.settled(acme, [write.id]);
    assert.equal((await standIn.effects(crm === "hubspot" ? "tasks" : "Task")).length, 1);
  });
}

test("HubSpot's marketplace with a sign-in: both legs, a SameSite=None cookie, back to HubSpot, claimed", async () => {
  const browser = conduit.browser();
  const first = await browser.fetch(await press("install-with-sign-in", { hub_id: 4300 }), { headers: page });
  assert.equal(first.status, 303, first.text);
  assert.match(first.headers.get("set-cookie"), /^__Host-conduit-hubspot-install=[^;]+; Path=\/; Max-Age=600; Secure; HttpOnly; SameSite=None$/);
  const consent = new URL(first.headers.get("location"));
  conduit.seen.onceOnly.add(consent.searchParams.get("state"));
  assert.equal(consent.pathname, "/marketplace/hubspot/consent");
  const second = await browser.fetch(await press("consent", Object.fromEntries(consent.searchParams)), { headers: page });
  assert.equal(second.status, 303, second.text);
  assert.match(second.headers.get("location"), /\/marketplace\/hubspot\/finish\?hub_id=4300$/, "the person does not loop");
  await signedIn(browser, globex);
  const { fields } = await claimPage(browser);
  assert.equal((await post(browser, "/claim-install", fields)).status, 200);
  const [row] = await conduit.rows("SELECT * FROM crm_accounts WHERE external_account_id = '4300'");
  assert.equal(row.workspace_id, globex.workspace);
  const gone = await conduit.fetch("crm-disconnect", { token: globex.service, json: { crm: "hubspot" } });
  assert.equal(gone.status, 200);
});

test("HubSpot's marketplace without a sign-in: parked, back to HubSpot, settled by a consent to the same account", async () => {
  const browser = conduit.browser();
  const landed = await browser.fetch(await press("install", { hub_id: 4301 }), { headers: page });
  assert.match(landed.headers.get("location"), /\/marketplace\/hubspot\/finish\?hub_id=4301$/);
  await signedIn(browser, globex);
  const { answer, fields } = await claimPage(browser);
  assert.match(answer.text, /Confirm in HubSpot/);
  assert.match(answer.text, /4301/);
  const stolen = await unchanged(() => post(browser, "/claim-install", { ...fields, install_id: "" }));
  assert.equal(stolen.status, 403, "the browser's cookie is no proof here");
  const sent = await post(browser, "/functions/v1/hubspot-oauth-start", fields);
  assert.equal(sent.status, 303, sent.text);
  const url = sent.headers.get("location");
  conduit.seen.onceOnly.add(new URL(url).searchParams.get("state"));
  const done = await browser.callback(await browser.consent(url, { account: 4301 }), { asPage: true });
  assert.equal(done.status, 303);
  assert.match(done.headers.get("location"), /settings\?conduit=connected&crm=hubspot$/);
  const [install] = await conduit.rows("SELECT * FROM pending_installs WHERE external_account_id = '4301'");
  assert.deepEqual([install.status, install.claim_workspace_id, install.access_token_sealed], ["claimed", globex.workspace, null]);
});

test("the page's data are for the cookie's browser only", async () => {
  const { browser, location } = await installed("hubspot");
  const own = await browser.fetch("claim-install");
  assert.equal(own.body.install.status, "pending");
  assert.doesNotMatch(own.text, /sealed|token/);
  const stranger = conduit.browser();
  assertRefused(await stranger.fetch(`${origin}${location}`), 403, "install_not_proven");
});

test("an install id in the address shows and opens nothing in another browser", async () => {
  const { location, account } = await installed("hubspot");
  const thief = await signedIn(conduit.browser(), globex);
  const { answer, fields } = await claimPage(thief, location.slice(location.indexOf("?")));
  assert.doesNotMatch(answer.text, new RegExp(String(account)));
  const id = new URL(location, origin).searchParams.get("install_id");
  const stolen = await unchanged(() => post(thief, "/claim-install", { ...fields, install_id: id }));
  assert.equal(stolen.status, 403);
  assert.match(stolen.text, /install_not_proven/);
});

test("a claim form from another site, or without its token, changes nothing", async () => {
  const { browser } = await installed("salesforce", { account: 7 });
  await signedIn(browser, globex);
  const { fields } = await claimPage(browser);
  const other = await claimPage(await signedIn(conduit.browser(), globex));
  for (const [why, changes, headers] of [
    ["another origin", {}, { origin: "https://evil.example" }],
    ["a null origin", {}, { origin: "null" }],
    ["a null origin from another site", {}, { origin: "null", "sec-fetch-site": "cross-site" }],
    ["a cross-site fetch", {}, { "sec-fetch-site": "cross-site" }],
    ["a same-site fetch", {}, { "sec-fetch-site": "same-site" }],
    ["no token", { form_token: "" }, {}],
    ["a guessed token", { form_token: "A".repeat(43) }, {}],
    ["the token of another session", { form_token: other.fields.form_token ?? "x" }, {}],
  ]) {
    const answer = await unchanged(() => post(browser, "/claim-install", { ...fields, ...changes }, { ...headers, accept: "application/json" }));
    assertRefused(answer, 403, "form_refused", why);
  }
});

test("a disconnect or connect form from another site changes nothing", async () => {
  const browser = await signedIn(conduit.browser(), acme, { as: "connect" });
  const shown = await browser.fetch(`${origin}/connect`, { headers: page });
  assertPage(shown, 200, { forms: true });
  const fields = { workspace_id: acme.workspace, crm: "hubspot", form_token: field(shown.text, "form_token") };
  for (const [path, changes, headers] of [
    ["/functions/v1/crm-disconnect", {}, { origin: "https://evil.example" }],
    ["/functions/v1/crm-disconnect", { form_token: "" }, {}],
    ["/functions/v1/hubspot-oauth-start", {}, { "sec-fetch-site": "cross-site" }],
    ["/functions/v1/hubspot-oauth-start", { form_token: "x" }, {}],
  ]) {
    const answer = await unchanged(() => post(browser, path, { ...fields, ...changes }, { ...headers, accept: "application/json" }));
    assertRefused(answer, 403, "form_refused");
  }
});

/** The fields of the form that declines. */
function declineFields(html) {
  const [, form_] = html.match(/<form method="post" action="\/functions\/v1\/crm-disconnect" class="aside">([^]*?)<\/form>/);
  return { form_token: field(form_, "form_token"), install_id: field(form_, "install_id") };
}

for (const crm of ["hubspot", "salesforce"]) {
  test(`${crm}: a person declines without an account, and the app is out of theirs at once`, async () => {
    const { browser, account } = await installed(crm, { account: crm === "hubspot" ? hubs++ : 2 });
    const shown = await browser.fetch(`${origin}/claim-install`, { headers: page });
    const fields = declineFields(shown.text);
    const calls = await standIn.calls(async () => {
      const said = await post(browser, "/functions/v1/crm-disconnect", fields);
      assertPage(said, 200, { forms: false });
      assert.match(said.text, /Declined/);
      assert.match(said.text, /no longer has access/);
    });
    assert.ok(Object.keys(calls).some((call) => /revoke/.test(call)), JSON.stringify(calls));
    assert.equal(Object.keys(calls).some((call) => /DELETE .*external-install/.test(call)), crm === "hubspot", JSON.stringify(calls));
    const [row] = await conduit.rows("SELECT status, access_token_sealed, refresh_token_sealed, revoked FROM pending_installs WHERE id = ?1", fields.install_id);
    assert.deepEqual(row, { status: "expired", access_token_sealed: null, refresh_token_sealed: null, revoked: 1 });
    assert.equal(browser.cookies.has("__Host-conduit-claim"), false, "the claim cookie is gone");
    assert.ok(account);
  });
}

test("an install is declined by its own browser's form only: not from another site, by another token, or by its id", async () => {
  const { browser } = await installed("hubspot");
  const fields = declineFields((await browser.fetch(`${origin}/claim-install`, { headers: page })).text);
  const { browser: stranger } = await installed("hubspot");
  const theirs = declineFields((await stranger.fetch(`${origin}/claim-install`, { headers: page })).text);
  const as = { accept: "application/json" };
  for (const [why, by, changes, headers, code] of [
    ["from another site", browser, {}, { origin: "https://evil.example" }, "form_refused"],
    ["from another site, as Chromium says", browser, {}, { "sec-fetch-site": "cross-site" }, "form_refused"],
    ["without the token", browser, { form_token: "" }, {}, "form_refused"],
    ["with the token of another browser", browser, { form_token: theirs.form_token }, {}, "form_refused"],
    ["another browser's, by its id", stranger, { form_token: theirs.form_token }, {}, "install_not_proven"],
    ["by a browser without the cookie", conduit.browser(), {}, {}, "install_not_proven"],
  ]) {
    const answer = await unchanged(() => post(by, "/functions/v1/crm-disconnect", { ...fields, ...changes }, { ...headers, ...as }));
    assertRefused(answer, 403, code, why);
  }
});

test("a claimed install cannot be declined", async () => {
  await conduit.fetch("crm-disconnect", { token: globex.service, json: { crm: "hubspot" } });
  const { browser } = await installed("hubspot");
  const cookie = browser.cookies.get("__Host-conduit-claim");
  const fields = declineFields((await browser.fetch(`${origin}/claim-install`, { headers: page })).text);
  await signedIn(browser, globex);
  const claimed = await post(browser, "/claim-install", (await claimPage(browser)).fields);
  assert.match(claimed.text, /is connected/);
  browser.cookies.set("__Host-conduit-claim", cookie);
  const answer = await unchanged(() => post(browser, "/functions/v1/crm-disconnect", fields, { accept: "application/json" }));
  assertRefused(answer, 409, "install_claimed");
  const gone = await conduit.fetch("crm-disconnect", { token: globex.service, json: { crm: "hubspot" } });
  assert.deepEqual([gone.status, gone.body.revoked], [200, true], gone.text);
});

test("consent declined at the CRM has its page, and nothing is parked", async () => {
  for (const crm of ["hubspot", "salesforce"]) {
    const browser = conduit.browser();
    const started = await browser.fetch(`${crm}-oauth-start`, { headers: page });
    const url = started.headers.get("location");
    conduit.seen.onceOnly.add(new URL(url).searchParams.get("state"));
    const denied = await browser.consent(url, { decision: "deny" });
    const answer = await unchanged(() => browser.callback(denied, { asPage: true }));
    assertPage(answer, 403, { forms: false });
    assert.match(answer.text, /Access was declined in/);
    assert.match(answer.text, /consent_denied/);
    assert.match(answer.text, new RegExp(`href="/functions/v1/${crm}-oauth-start"`), "the way to begin again");
  }
});

test("a session's cookie alone is no caller of the API", async () => {
  const browser = await signedIn(conduit.browser(), acme);
  for (const [path, options] of [
    ["crm-connections", { query: { workspace_id: acme.workspace } }],
    ["crm-disconnect", { json: { crm: "hubspot" } }],
    ["crm-writes", { query: { workspace_id: acme.workspace } }],
    ["claim-install", { json: { install_id: "in_x", workspace_id: acme.workspace } }],
    ["connect-sessions", { json: {} }],
  ]) {
    assertRefused(await unchanged(() => browser.fetch(path, options)), 401, "token_required");
  }
});

test("a person who may not administer is told so, and claims nothing", async () => {
  const { browser } = await installed("hubspot");
  await signedIn(browser, globex, { user: "us_globex_member" });
  const { answer } = await claimPage(browser);
  assert.equal(answer.status, 403);
  assert.match(answer.text, /admin_required/);
});

test("a session cannot claim for a workspace it was not opened for", async () => {
  const { browser } = await installed("hubspot");
  await signedIn(browser, globex);
  const { fields } = await claimPage(browser);
  const answer = await unchanged(() => post(browser, "/claim-install", { ...fields, workspace_id: acme.workspace }, { accept: "application/json" }));
  assertRefused(answer, 404, "workspace_not_found");
});

test("a service token cannot claim, nor a token of nobody", async () => {
  const { browser, location } = await installed("hubspot");
  const json = { install_id: new URL(location, origin).searchParams.get("install_id"), workspace_id: globex.workspace };
  assertRefused(await unchanged(() => browser.fetch("claim-install", { token: globex.service, json })), 403, "user_required");
  assertRefused(await unchanged(() => browser.fetch("claim-install", { token: globex.member, json })), 403, "admin_required");
  assertRefused(await unchanged(() => browser.fetch("claim-install", { token: acme.owner, json })), 404, "workspace_not_found");
  assertRefused(await unchanged(() => browser.fetch("claim-install", { token: globex.owner, json: { ...json, install_id: "in_other" } })), 403, "install_not_proven");
});

test("a link opens once, and nothing of it stays in an address", async () => {
  const minted = await conduit.fetch("connect-sessions", { token: acme.owner, query: { workspace_id: acme.workspace }, json: { page: "connect" } });
  const { url } = minted.body;
  const browser = conduit.browser();
  const opened = await browser.fetch(url, { headers: page });
  assert.match(opened.headers.get("set-cookie"), /^__Host-conduit-session=[^;]{43}; Path=\/; Max-Age=1800; Secure; HttpOnly; SameSite=Lax$/);
  assert.equal(opened.headers.get("location"), "/connect");
  const second = await conduit.browser().fetch(url, { headers: page });
  assert.equal(second.status, 401);
  assert.match(second.text, /link_unusable/);
  assertRefused(await conduit.fetch("connect-sessions?link=a&link=b"), 400, "invalid_parameter");
});

test("a callback with parameters twice, a foreign returnUrl or no state is refused, and no code is exchanged", async () => {
  const back = `${functions}/hubspot-oauth-callback`;
  const code = "na1-00000000-0000-0000-0000-000000000000";
  const app = encodeURIComponent("https://app.hubspot.com/x");
  const calls = await standIn.calls(async () => {
    for (const [query, code_] of [
      [`code=${code}&code=${code}&returnUrl=${app}`, "invalid_parameter"],
      [`code=${code}&returnUrl=${app}&returnUrl=${app}`, "invalid_parameter"],
      [`code=${code}&state=a&state=b`, "invalid_parameter"],
      [`code=${code}&returnUrl=${encodeURIComponent("https://app.hubspot.com.evil.example/")}`, "return_url_refused"],
      [`code=${code}&returnUrl=${encodeURIComponent("https://app.hubspot.com@evil.example/")}`, "return_url_refused"],
      [`step=authorize&returnUrl=${encodeURIComponent("https://evil.example/")}`, "return_url_refused"],
      ["step=authorize", "return_url_refused"],
      [`step=finalize&code=${code}&returnUrl=${app}`, "state_missing"],
      [`code=${code}`, "state_missing"],
      [`code=${code}&state=${"x".repeat(10_000)}`, "state_unknown"],
    ]) {
      assertRefused(await unchanged(() => conduit.fetch(`${back}?${query}`)), 400, code_);
    }
  });
  assert.deepEqual(calls, {});
});

test("headers that name another host, or another request, move nothing", async () => {
  const spoofed = { "x-forwarded-host": "evil.example", "x-forwarded-proto": "http", forwarded: "host=evil.example", "x-request-id": "planted-request-id", "x-original-url": "/functions/v1/crm-writes" };
  const started = await conduit.fetch("hubspot-oauth-start", { headers: { ...page, ...spoofed } });
  const url = new URL(started.headers.get("location"));
  conduit.seen.onceOnly.add(url.searchParams.get("state"));
  assert.equal(url.searchParams.get("redirect_uri"), `${functions}/hubspot-oauth-callback`);
  assert.notEqual(started.headers.get("x-request-id"), spoofed["x-request-id"]);
  const minted = await conduit.fetch("connect-sessions", { token: acme.service, json: { user_id: "us_acme_owner" }, headers: spoofed });
  assert.ok(minted.body.url.startsWith(`${functions}/connect-sessions?link=`), minted.text);
  conduit.seen.onceOnly.add(new URL(minted.body.url).searchParams.get("link"));
});

test("an oversized form or cookie is refused", async () => {
  const browser = await signedIn(conduit.browser(), globex);
  const { fields } = await claimPage(browser);
  const answer = await unchanged(() => post(browser, "/claim-install", { ...fields, pad: "x".repeat(5_000) }, { accept: "application/json" }));
  assertRefused(answer, 413, "body_too_large");
  const cookie = `__Host-conduit-claim=in_${"x".repeat(6_000)}.y`;
  assertRefused(await conduit.fetch("claim-install", { headers: { cookie } }), 403, "install_not_proven");
});

test("the pages cannot be framed and are answered to GET and POST only", async () => {
  for (const path of ["/claim-install", "/connect"]) {
    const answer = await conduit.fetch(`${origin}${path}`, { headers: page });
    assert.match(answer.headers.get("content-security-policy"), /frame-ancestors 'none'/);
    for (const method of ["PUT", "DELETE", "PATCH"]) {
      assertRefused(await conduit.fetch(`${origin}${path}`, { method }), 405, "method_not_allowed");
    }
  }
});
