// Everything a caller can get wrong: each has its status and its code, as docs/api/errors.md says, and stores nothing.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { at } from "../../scripts/repo.mjs";
import { serviceToken } from "../../scripts/tokens.mjs";
import { assertRefused, crms, origin, startConduit } from "./harness.mjs";
import { outcome } from "./outcomes.mjs";

const conduit = await startConduit();
const { acme, globex } = conduit;
for (const crm of crms) await conduit.connect(crm, acme);

/** Code to status, from the tables of docs/api/errors.md. */
const documented = new Map(
  [...readFileSync(at("docs", "api", "errors.md"), "utf8").matchAll(/^\| `(\w+)` \| (\d{3}) \|/gm)].map(([, code, status]) => [code, Number(status)]),
);

const encode = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
const signed = (header, claims, secret = conduit.secrets.JWT_HS256_SECRET) => {
  const input = `${encode(header)}.${encode(claims)}`;
  return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
};
const seconds = Math.floor(Date.now() / 1000);
const claims = { sub: "us_acme_owner", iat: seconds, exp: seconds + 600 };
const hs256 = { alg: "HS256", typ: "JWT" };

const here = { workspace_id: acme.workspace };
const list = (token, query = here) => ({ path: "crm-connections", token, query });
const submit = (json, more = {}) => ({ path: "crm-writes", token: acme.service, json, ...more });
const start = (query, crm = "hubspot") => ({ path: `${crm}-oauth-start`, token: acme.owner, query: { ...here, ...query } });
const task = (changes = {}, part = {}) => {
  const write = outcome("hubspot", "create_task", changes);
  return { ...write, task: { ...write.task, ...part } };
};
const person = (changes) => outcome("hubspot", "upsert_contact", { person: changes });

const table = [
  // Who is calling.
  ["no token", list(null), "token_required"],
  ["another scheme", { ...list(null), headers: { authorization: `Basic ${encode("a:b")}` } }, "token_required"],
  ["an empty bearer token", { ...list(null), headers: { authorization: "Bearer " } }, "token_required"],
  ["not a token", list("hello"), "token_invalid"],
  ["a token of two parts", list(signed(hs256, claims).split(".").slice(0, 2).join(".")), "token_invalid"],
  ["a token that is not base64url", list("a!.b!.c!"), "token_invalid"],
  ["a token too long to read", list(signed(hs256, { ...claims, padding: "x".repeat(9000) })), "token_invalid"],
  ["an expired token", list(conduit.jwt({ user: "us_acme_owner", hours: -1 })), "token_expired"],
  ["alg none", list(`${encode({ alg: "none" })}.${encode(claims)}.`), "token_invalid"],
  ["alg None", list(`${encode({ alg: "None" })}.${encode(claims)}.${signed(hs256, claims).split(".")[2]}`), "token_invalid"],
  ["no alg", list(signed({ typ: "JWT" }, claims)), "token_invalid"],
  ["another secret's signature", list(signed(hs256, claims, "k".repeat(44))), "token_invalid"],
  ["an empty secret's signature", list(signed(hs256, claims, "")), "token_invalid"],
  ["claims changed after signing", list(signed(hs256, claims).replace(/\.[^.]+\./, `.${encode({ ...claims, sub: "us_acme_admin" })}.`)), "token_invalid"],
  ["no exp", list(signed(hs256, { sub: claims.sub })), "token_invalid"],
  ["exp as text", list(signed(hs256, { ...claims, exp: "never" })), "token_invalid"],
  ["not valid yet", list(signed(hs256, { ...claims, nbf: seconds + 3600 })), "token_invalid"],
  ["no sub", list(signed(hs256, { exp: claims.exp })), "token_invalid"],
  ["a key the token brings along", list(signed({ ...hs256, jwk: { kty: "oct", k: encode("k".repeat(44)) } }, claims, "k".repeat(44))), "token_invalid"],
  ["a critical extension", list(signed({ ...hs256, crit: ["x"], x: 1 }, claims)), "token_invalid"],
  ["a header with a name twice", list(signed('{"alg":"none","alg":"HS256"}', claims)), "token_invalid"],
  ["a service token that is none", list(serviceToken(), {}), "token_invalid"],
  ["a service token cut short", list(acme.service.slice(0, -1), {}), "token_invalid"],

  // For which workspace.
  ["a JWT without a workspace", list(acme.owner, {}), "workspace_required"],
  ["a workspace of someone else", list(acme.owner, { workspace_id: globex.workspace }), "workspace_not_found"],
  ["a workspace that is none", list(acme.owner, { workspace_id: "ws_nobody" }), "workspace_not_found"],
  ["a workspace id that is no id", list(acme.owner, { workspace_id: "' OR 1=1 --" }), "workspace_not_found"],
  ["a service token beside another workspace", list(acme.service, { workspace_id: globex.workspace }), "workspace_not_found"],
  ["a user nobody knows", list(conduit.jwt({ user: "us_stranger" })), "workspace_not_found"],
  ["a workspace named twice", { path: `crm-connections?workspace_id=${acme.workspace}&workspace_id=${globex.workspace}`, token: acme.owner }, "invalid_parameter"],
  ["a member who starts a flow", { ...start({}), token: acme.member }, "admin_required"],
  ["a member's service token that disconnects", { path: "crm-disconnect", token: acme.memberService, json: { crm: "hubspot" } }, "admin_required"],

  // Where to.
  ["return_to elsewhere", start({ return_to: "https://evil.example/" }), "return_to_refused"],
  ["return_to on a host that begins like ours", start({ return_to: `${origin}.evil.example/` }), "return_to_refused"],
  ["return_to with ours as its user", start({ return_to: "https://conduit.test@evil.example/" }), "return_to_refused"],
  ["return_to on another port", start({ return_to: `${origin}:8443/` }), "return_to_refused"],
  ["return_to without TLS", start({ return_to: origin.replace("https", "http") }), "return_to_refused"],
  ["return_to without a scheme", start({ return_to: "//evil.example/" }), "return_to_refused"],
  ["return_to with a backslash", start({ return_to: "/\\evil.example/" }), "return_to_refused"],
  ["return_to as a script", start({ return_to: "javascript:alert(1)" }), "return_to_refused"],
  ["return_to with a line break", start({ return_to: `${origin}/\r\nSet-Cookie: a=b` }), "return_to_refused"],
  ["a login host elsewhere", start({ login_host: "evil.example" }, "salesforce"), "login_host_refused"],
  ["a login host that ends like one", start({ login_host: "evilsalesforce.com" }, "salesforce"), "login_host_refused"],
  ["a login host that begins like one", start({ login_host: "acme.my.salesforce.com.evil.example" }, "salesforce"), "login_host_refused"],
  ["a login host with a path", start({ login_host: "evil.example/.my.salesforce.com" }, "salesforce"), "login_host_refused"],
  ["a login host with a user", start({ login_host: "evil.example@acme.my.salesforce.com" }, "salesforce"), "login_host_refused"],
  ["a login host with a port", start({ login_host: "login.salesforce.com:8443" }, "salesforce"), "login_host_refused"],
  ["an address as login host", start({ login_host: "127.0.0.1" }, "salesforce"), "login_host_refused"],
  ["a login host for HubSpot", start({ login_host: "login.salesforce.com" }), "login_host_refused"],

  // Which CRM.
  ["a CRM nobody knows, disconnected", { path: "crm-disconnect", token: acme.service, json: { crm: "pipedrive" } }, "unknown_crm"],
  ["no CRM at all", { path: "crm-disconnect", token: acme.service, json: {} }, "unknown_crm"],
  ["a CRM nobody knows, listed", { path: "crm-writes", token: acme.service, query: { crm: "pipedrive" } }, "unknown_crm"],
  ["a CRM nobody knows, started", { path: "pipedrive-oauth-start", token: acme.owner, query: here }, "not_found"],
  ["a CRM nobody knows, written to", submit(task({ crm: "pipedrive" })), "writes_refused", "invalid_write"],
  ["a CRM that is not connected", submit(task(), { token: globex.service }), "not_connected"],

  // What is in the body.
  ["no body", { path: "crm-writes", token: acme.service, method: "POST" }, "malformed_json"],
  ["malformed JSON", submit(undefined, { body: '{"writes": [' }), "malformed_json"],
  ["JSON with more behind it", submit(undefined, { body: "{} {}" }), "malformed_json"],
  ["JSON that is not UTF-8", submit(undefined, { body: Buffer.from([0x22, 0xff, 0x22]) }), "malformed_json"],
  ["JSON nested too deep", submit(undefined, { body: "[".repeat(5000) }), "malformed_json"],
  ["writes that are no list", submit({ writes: {} }), "malformed_json"],
  ["no writes", submit({ writes: [] }), "malformed_json"],
  ["101 writes", submit({ writes: Array.from({ length: 101 }, () => task()) }), "too_many_writes"],
  ["a body too large", submit(undefined, { body: " ".repeat(1_800_000) }), "body_too_large"],
  ["a large body of a small endpoint", { path: "crm-disconnect", token: acme.service, body: JSON.stringify({ crm: "hubspot", padding: "x".repeat(2000) }) }, "body_too_large"],
  ["an array as a write", submit([task()]), "writes_refused", "invalid_write"],
  ["text as a write", submit({ writes: ["hello"] }), "writes_refused", "invalid_write"],
  ["a bad e-mail address", submit(person({ email: "mallory@localhost" })), "writes_refused", "invalid_email"],
  ["two e-mail addresses", submit(person({ email: "mallory@example.com, eve@example.com" })), "writes_refused", "invalid_email"],
  ["an e-mail address with a name", submit(person({ email: "Mallory <mallory@example.com>" })), "writes_refused", "invalid_email"],
  ["no e-mail address", submit(person({ email: undefined })), "writes_refused", "invalid_write"],
  ["a raw body", submit({ ...task(), raw_body: "From: mallory@example.com" }), "writes_refused", "not_curated"],
  ["a raw body in the task", submit(task({}, { body_html: "<p>hello</p>" })), "writes_refused", "not_curated"],
  ["a raw body in other letters", submit({ ...task(), Raw_Body: "From: mallory@example.com" }), "writes_refused", "not_curated"],
  ["attachments", submit({ ...task(), attachments: [{ name: "a.pdf" }] }), "writes_refused", "not_curated"],
  ["an attachment deep inside", submit(task({ person: { notes: [{ attachment: "a.pdf" }] } })), "writes_refused", "not_curated"],
  ["an oversized write", submit(task({}, { text: "x".repeat(17_000) })), "writes_refused", "payload_too_large"],
  ["a text too long", submit(task({}, { text: "x".repeat(10_001) })), "writes_refused", "invalid_text"],
  ["an empty subject", submit(task({}, { subject: "  " })), "writes_refused", "invalid_text"],
  ["a subject of two lines", submit(task({}, { subject: "a\nb" })), "writes_refused", "invalid_text"],
  ["a due date that is no time", submit(task({}, { due_at: "tomorrow" })), "writes_refused", "invalid_time"],
  ["a task without its task", submit({ ...task(), task: undefined }), "writes_refused", "invalid_write"],
  ["a rollup in a task", submit({ ...task(), rollup: { week_of: "2026-11-16", text: "x" } }), "writes_refused", "invalid_write"],
  ["a field nobody knows", submit({ ...task(), colour: "red" }), "writes_refused", "invalid_write"],
  ["an action nobody knows", submit(task({ action: "delete_everything" })), "writes_refused", "invalid_write"],
  ["one bad write among good ones", submit({ writes: [task(), person({ email: "nobody" }), task()] }), "writes_refused", "invalid_email"],

  // What is asked for.
  ["a write nobody knows", { path: "crm-writes/wr_nothing", token: acme.service }, "write_not_found"],
  ["an id that is no id", { path: "crm-writes/..%2f..%2fetc", token: acme.service }, "write_not_found"],
  ["a status nobody knows", { path: "crm-writes", token: acme.service, query: { status: "lost" } }, "invalid_parameter"],
  ["a page of none", { path: "crm-writes", token: acme.service, query: { limit: "0" } }, "invalid_parameter"],
  ["a page too large", { path: "crm-writes", token: acme.service, query: { limit: "101" } }, "invalid_parameter"],
  ["a cursor of our own", { path: "crm-writes", token: acme.service, query: { cursor: "1.wr_x" } }, "invalid_parameter"],
  ["a filter given twice", { path: "crm-writes?crm=hubspot&crm=salesforce", token: acme.service }, "invalid_parameter"],
  ["a function nobody knows", { path: "crm-secrets", token: acme.service }, "not_found"],
  ["a Worker that is no function", { path: "connection-gate", token: acme.service }, "not_found"],
  ["a method there is not", { path: "crm-writes", token: acme.service, method: "DELETE" }, "method_not_allowed"],
  ["another method there is not", { path: "crm-connections", token: acme.service, json: {} }, "method_not_allowed"],
];

// Nothing of these requests may be stored: what is there at the beginning is there at the end.
const stored = async () => {
  const counts = {};
  for (const name of ["oauth_states", "crm_connections", "crm_write_log", "crm_write_attempts", "audit_events"]) {
    counts[name] = (await conduit.rows(`SELECT count(*) AS n FROM ${name}`))[0].n;
  }
  return counts;
};
const before = await stored();

for (const [name, { path, ...request }, code, refusal] of table) {
  test(`${name}: ${code}${refusal ? `, ${refusal}` : ""}`, async () => {
    const answer = await conduit.fetch(path, request);
    assert.ok(documented.has(code), `${code} is in docs/api/errors.md`);
    assertRefused(answer, documented.get(code), code);
    if (refusal) {
      assert.deepEqual(answer.body.errors.map((error) => error.code), [refusal], answer.text);
      assert.equal(answer.body.errors[0].index, name.startsWith("one bad") ? 1 : 0);
      assert.ok(documented.has(refusal), `${refusal} is in docs/api/errors.md`);
    }
    if (answer.status === 401) {
      assert.equal(answer.headers.get("www-authenticate"), code === "token_required" ? "Bearer" : 'Bearer error="invalid_token"');
    }
    // What was sent is not repeated, nor anything of the inside.
    for (const said of ["mallory", "evil.example", "SELECT", "panicked"]) assert.ok(!answer.text.toLowerCase().includes(said.toLowerCase()), answer.text);
  });
}

test("nothing of all this was stored", async () => {
  assert.deepEqual(await stored(), before);
});

test("a state that was used, has expired, or came to another browser", async () => {
  for (const crm of crms) {
    const arrive = async () => {
      const browser = conduit.browser();
      return { browser, url: await browser.consent((await browser.start(crm, { who: acme })).url) };
    };
    const reused = await arrive();
    assert.equal((await reused.browser.callback(reused.url)).status, 200);
    assertRefused(await reused.browser.callback(reused.url), documented.get("state_used"), "state_used");
    const late = await arrive();
    await conduit.db.prepare("UPDATE oauth_states SET expires_at = ?1 WHERE used_at IS NULL").bind(Date.now()).run();
    assertRefused(await late.browser.callback(late.url), documented.get("state_expired"), "state_expired");
    const foreign = await arrive();
    assertRefused(await conduit.browser().callback(foreign.url), documented.get("state_foreign_browser"), "state_foreign_browser");
  }
});

test("a workspace of someone else and one that does not exist get the same answer, byte for byte", async () => {
  for (const path of ["crm-connections", "crm-writes", "hubspot-oauth-start", "salesforce-oauth-start"]) {
    const [foreign, none] = await Promise.all(
      [globex.workspace, "ws_nobody"].map((workspace) => conduit.fetch(path, { token: acme.owner, query: { workspace_id: workspace } })),
    );
    const bare = (answer) => [
      answer.text.replace(answer.body.request_id, ""),
      [...answer.headers].filter(([name]) => name !== "x-request-id"),
    ];
    assert.deepEqual(bare(foreign), bare(none));
  }
});

test("a request id of the caller's own is not taken over", async () => {
  const answer = await conduit.fetch("crm-connections", { token: acme.service, headers: { "x-request-id": "chosen-by-me-0001" } });
  assert.notEqual(answer.headers.get("x-request-id"), "chosen-by-me-0001");
});
