// Connecting through the real redirects: what a browser and a program see, what the CRM sees, and every way it can fail.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { assertRefused, crms, functions, origin, startConduit } from "./harness.mjs";

const conduit = await startConduit();
const { acme, globex, standIn } = conduit;
const returnTo = `${origin}/settings/crm?tab=1#connections`;
const title = { hubspot: "HubSpot", salesforce: "Salesforce" };
const account = { hubspot: "4242", salesforce: /^00D\w{15}$/ };
// An account that no workspace is connected to.
const another = { hubspot: 777, salesforce: 3 };

/** A flow at the point where the CRM has sent the browser back: { browser, url }. */
async function upToCallback(crm, { who = acme, query = {}, ...consent } = {}) {
  const browser = conduit.browser();
  const { url } = await browser.start(crm, { who, query });
  return { browser, url: await browser.consent(url, consent) };
}

const withQuery = (url, changes) => {
  const changed = new URL(url);
  for (const [name, value] of Object.entries(changes)) value === null ? changed.searchParams.delete(name) : changed.searchParams.set(name, value);
  return changed.href;
};

/** A page of ours: nothing runs or loads in it but its own style sheet. */
function assertPage(answer, status) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers.get("content-type"), "text/html; charset=utf-8");
  assert.match(answer.text, /^<!doctype html>/);
  const policy = answer.headers.get("content-security-policy");
  const style = answer.text.match(/<style>([^]*?)<\/style>/)[1];
  const hash = createHash("sha256").update(style).digest("base64");
  for (const part of ["default-src 'none'", `style-src 'sha256-${hash}'`, "form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'"]) {
    assert.ok(policy.includes(part), `${part} in ${policy}`);
  }
  assert.doesNotMatch(answer.text, /<script|<iframe|<img|\son\w+=|javascript:/i);
}

/** A refused callback: its code, as a problem for programs. The flow's cookie goes whatever happened. */
async function assertCallback({ browser, url }, status, code) {
  const answer = await browser.callback(url);
  assertRefused(answer, status, code);
  assert.match(answer.headers.get("set-cookie"), /^__Host-conduit-\w+=; .*Max-Age=0/);
  return answer;
}

for (const crm of crms) {
  test(`${crm}: a program gets the consent page's address, a browser is sent there`, async () => {
    const program = await conduit.browser().start(crm, { who: acme });
    assert.equal(program.status, 200);
    assert.deepEqual(Object.keys(program.body).sort(), ["authorize_url", "expires_at"]);
    const life = Date.parse(program.body.expires_at) - Date.now();
    assert.ok(life > 9 * 60_000 && life <= 10 * 60_000, program.body.expires_at);

    const person = await conduit.browser().start(crm, { who: acme, asPage: true });
    assert.deepEqual([person.status, person.text], [302, ""]);
    for (const answer of [program, person]) {
      const asked = new URL(answer.url).searchParams;
      assert.equal(asked.get("code_challenge_method"), "S256");
      assert.match(asked.get("code_challenge"), /^[\w-]{43}$/);
      assert.match(asked.get("state"), /^[\w-]{43}$/);
      assert.equal(asked.get("redirect_uri"), `${functions}/${crm}-oauth-callback`);
      assert.match(answer.headers.get("set-cookie"), new RegExp(`^__Host-conduit-${crm}=[\\w-]{43}; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax$`));
      assert.equal(answer.headers.get("cache-control"), "no-store");
      assert.equal(answer.headers.get("referrer-policy"), "no-referrer");
    }
    const states = [program, person].map(({ url }) => new URL(url).searchParams.get("state"));
    assert.notEqual(states[0], states[1]);
    assert.equal((await conduit.rows("SELECT * FROM oauth_states WHERE state_hash IN (?1, ?2)", ...states)).length, 0, "only a hash of the state is stored");
  });

  test(`${crm}: authorize, approve, callback: connected, audited, and sent back without a secret`, async () => {
    const flow = await upToCallback(crm, { query: { return_to: returnTo } });
    const answer = await flow.browser.callback(flow.url, { asPage: true });
    assert.deepEqual([answer.status, answer.text], [303, ""]);
    assert.equal(answer.headers.get("location"), `${origin}/settings/crm?tab=1&conduit=connected&crm=${crm}#connections`);
    assert.equal(flow.browser.cookies.size, 0, "the flow's cookie is gone");

    const [row] = await conduit.rows("SELECT * FROM crm_connections WHERE workspace_id = ?1 AND crm = ?2", acme.workspace, crm);
    assert.equal(row.status, "connected");
    assert.match(row.external_account_id, new RegExp(account[crm]));
    assert.match(row.access_token_sealed, /^v1\.[0-9a-f]{8}\.[\w-]+\.[\w-]+$/);
    assert.match(row.refresh_token_sealed, /^v1\./);
    assert.ok(JSON.parse(row.scopes_json).length > 1, row.scopes_json);
    assert.ok(row.expires_at > Date.now(), "the token's end is known or assumed");
    assert.equal(row.connected_by, "us_acme_owner");
    const [event] = await conduit.rows("SELECT * FROM audit_events WHERE subject = ?1 AND event = 'connection_connected'", row.id);
    assert.deepEqual([event.actor, event.workspace_id], ["us_acme_owner", acme.workspace]);
  });

  test(`${crm}: without a return_to a page says that it is connected`, async () => {
    const flow = await upToCallback(crm);
    const answer = await flow.browser.callback(flow.url, { asPage: true });
    assertPage(answer, 200);
    assert.match(answer.text, new RegExp(`<h1>${title[crm]} is connected</h1>`));
  });

  test(`${crm}: a state is good once`, async () => {
    const flow = await upToCallback(crm);
    assert.equal((await flow.browser.callback(flow.url)).status, 200);
    await assertCallback(flow, 400, "state_used");
  });

  test(`${crm}: two callbacks of one state at the same time: one connects`, async () => {
    const { browser, url } = await upToCallback(crm);
    const cookie = [...browser.cookies].map((pair) => pair.join("=")).join("; ");
    const answers = await Promise.all([1, 2, 3].map(() => conduit.fetch(url, { headers: { cookie } })));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400, 400]);
    for (const answer of answers.filter(({ status }) => status === 400)) assertRefused(answer, 400, "state_used");
  });

  test(`${crm}: a state ends after ten minutes`, async () => {
    const flow = await upToCallback(crm);
    await conduit.db.prepare("UPDATE oauth_states SET expires_at = ?1 WHERE used_at IS NULL").bind(Date.now() - 1).run();
    await assertCallback(flow, 400, "state_expired");
  });

  test(`${crm}: a state of another browser is refused, and spent`, async () => {
    const flow = await upToCallback(crm);
    await assertCallback({ ...flow, browser: conduit.browser() }, 400, "state_foreign_browser");
    await assertCallback(flow, 400, "state_used");

    const other = conduit.browser();
    await other.start(crm, { who: acme });
    await assertCallback({ ...(await upToCallback(crm)), browser: other }, 400, "state_foreign_browser");
  });

  test(`${crm}: a state that was never minted, and none at all`, async () => {
    const flow = await upToCallback(crm);
    await assertCallback({ ...flow, url: withQuery(flow.url, { state: "A".repeat(43) }) }, 400, "state_unknown");
    await assertCallback({ ...flow, url: withQuery(flow.url, { state: null }) }, 400, "state_missing");
  });

  test(`${crm}: the other CRM's callback does not take it`, async () => {
    const flow = await upToCallback(crm);
    const other = crms.find((name) => name !== crm);
    const answer = await flow.browser.callback(flow.url.replace(`${crm}-oauth`, `${other}-oauth`));
    assertRefused(answer, 400, "state_unknown");
    assert.equal((await flow.browser.callback(flow.url)).status, 200, "and it is still good where it belongs");
  });

  test(`${crm}: denied consent has a code, a page that leads back, and stores nothing`, async () => {
    const rows = () => conduit.rows("SELECT count(*) AS n FROM crm_connections WHERE workspace_id = ?1", globex.workspace);
    const before = await rows();
    await assertCallback(await upToCallback(crm, { who: globex, decision: "deny" }), 403, "consent_denied");
    const flow = await upToCallback(crm, { who: globex, decision: "deny", query: { return_to: returnTo } });
    const page = await flow.browser.callback(flow.url, { asPage: true });
    assertPage(page, 403);
    assert.match(page.text, /<code>consent_denied<\/code>/);
    assert.match(page.text, new RegExp(`<code>${page.headers.get("x-request-id")}</code>`));
    assert.ok(page.text.includes(`href="${origin}/settings/crm?tab=1&amp;conduit=consent_denied&amp;crm=${crm}#connections"`), page.text);
    assert.deepEqual(await rows(), before);
  });

  test(`${crm}: neither a code nor an error`, async () => {
    const flow = await upToCallback(crm);
    await assertCallback({ ...flow, url: withQuery(flow.url, { code: null }) }, 400, "code_missing");
  });

  test(`${crm}: a failed exchange says so: a code of our own, a used code, a CRM that is down`, async () => {
    const forged = await upToCallback(crm);
    await assertCallback({ ...forged, url: withQuery(forged.url, { code: "na1-00000000-0000-4000-8000-000000000000" }) }, 502, "exchange_failed");

    const first = await upToCallback(crm);
    assert.equal((await first.browser.callback(first.url)).status, 200);
    const second = await upToCallback(crm);
    const code = new URL(first.url).searchParams.get("code");
    await assertCallback({ ...second, url: withQuery(second.url, { code }) }, 502, "exchange_failed");

    for (const fault of [{ status: 500 }, { status: 503, body: "html" }, { lose: "answer" }, { truncate: true }]) {
      const down = await upToCallback(crm);
      await standIn.fault({ match: { provider: crm, path_contains: "/token", method: "POST", count: 1 }, ...fault });
      await assertCallback(down, 502, "exchange_failed");
      await standIn.clearFaults();
    }
  });

  test(`${crm}: the CRM sees the PKCE challenge, and refuses a code whose verifier is not ours`, async () => {
    const browser = conduit.browser();
    const { url } = await browser.start(crm, { who: acme });
    const callback = await browser.consent(withQuery(url, { code_challenge: "B".repeat(43) }));
    await assertCallback({ browser, url: callback }, 502, "exchange_failed");
  });

  test(`${crm}: a reconnect keeps the connection, and refuses another account until it is disconnected`, async () => {
    const connection = async () => (await conduit.rows("SELECT id, external_account_id, token_generation FROM crm_connections WHERE workspace_id = ?1 AND crm = ?2", globex.workspace, crm))[0];
    await conduit.connect(crm, globex, { account: another[crm] });
    const first = await connection();
    await conduit.connect(crm, globex, { account: another[crm] });
    const again = await connection();
    assert.deepEqual([again.id, again.external_account_id], [first.id, first.external_account_id]);
    assert.ok(again.token_generation > first.token_generation);

    const wrong = await upToCallback(crm, { who: globex, account: 9 });
    const answer = await wrong.browser.callback(wrong.url, { asPage: true });
    assertPage(answer, 409);
    assert.match(answer.text, /<code>wrong_account<\/code>/);
    assert.deepEqual(await connection(), again);

    const gone = await conduit.fetch("crm-disconnect", { token: globex.service, json: { crm } });
    assert.equal(gone.status, 200, gone.text);
    await conduit.connect(crm, globex, { account: 9 });
    assert.notEqual((await connection()).external_account_id, first.external_account_id);
  });

  test(`${crm}: what comes in is never shown on a page`, async () => {
    const hostile = '"><script>alert(1)</script>';
    const flow = await upToCallback(crm);
    for (const changes of [
      { state: hostile },
      { code: hostile },
      { error: hostile, error_description: hostile, code: null },
      { [hostile]: hostile, state: null },
    ]) {
      const answer = await flow.browser.callback(withQuery(flow.url, changes), { asPage: true });
      assertPage(answer, answer.status);
      assert.ok(answer.status >= 400);
      assert.ok(!answer.text.includes("alert(1)"), answer.text);
    }
  });

  test(`${crm}: a parameter given twice is refused, as a page for people`, async () => {
    const flow = await upToCallback(crm);
    for (const name of ["state", "code", "error"]) {
      const twice = `${flow.url}&${name}=x&${name}=y`;
      assertRefused(await flow.browser.callback(twice), 400, "invalid_parameter");
      assertPage(await flow.browser.callback(twice, { asPage: true }), 400);
    }
    for (const name of ["workspace_id", "return_to", "login_host"]) {
      const answer = await conduit.fetch(`${crm}-oauth-start?workspace_id=${acme.workspace}&${name}=a&${name}=b`, { token: acme.owner });
      assertRefused(answer, 400, "invalid_parameter");
    }
    assert.equal((await conduit.rows("SELECT 1 FROM oauth_states WHERE used_at IS NULL AND expires_at > ?1", Date.now())).length > 0, true, "a refused query spends nothing");
  });

  test(`${crm}: other methods are refused, with those there are`, async () => {
    for (const door of ["start", "callback"]) {
      const answer = await conduit.fetch(`${crm}-oauth-${door}?workspace_id=${acme.workspace}`, { method: "POST", token: acme.owner });
      assertRefused(answer, 405, "method_not_allowed");
      assert.equal(answer.headers.get("allow"), "GET");
    }
  });
}

test("salesforce: a login host of a sandbox or My Domain is where the consent page is", async () => {
  for (const host of ["test.salesforce.com", "acme.my.salesforce.com", "acme--dev.sandbox.my.salesforce.com"]) {
    const browser = conduit.browser();
    const started = await browser.start("salesforce", { who: acme, query: { login_host: host } });
    assert.equal(started.status, 200, started.text);
    // Locally every consent page is the stand-in's; the state remembers the host, which the exchange then uses.
    const [row] = await conduit.rows("SELECT login_host FROM oauth_states ORDER BY created_at DESC, expires_at DESC LIMIT 1");
    assert.equal(row.login_host, host);
    assert.equal((await browser.callback(await browser.consent(started.url))).status, 200);
  }
});
