// One Conduit for a test file: every Worker's real wasm and the stand-in CRM under miniflare, with two workspaces.
//
//   const conduit = await startConduit();
//
// It ends by itself after the file's tests, and not without a search for leaks (leaks.mjs) and for answers that the API's
// description does not know (contract.mjs): a file whose tests pass fails when one is found. Nothing leaves the machine:
// what a Worker fetches from elsewhere is answered by `outside`, and noted.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Log, LogLevel, Miniflare, Response } from "miniflare";
import { migrate } from "../../scripts/database.mjs";
import { makeSecrets } from "../../scripts/secrets.mjs";
import { apiToken, serviceToken, serviceTokenHash } from "../../scripts/tokens.mjs";
import { miniflareWorkers, readWorkers, standIn } from "../../scripts/workers.mjs";
import { Browser } from "./browser.mjs";
import { findUndocumented } from "./contract.mjs";
import { Database, deskWorker, runCron } from "./desk.mjs";
import { findLeaks } from "./leaks.mjs";

export const origin = "https://conduit.test";
export const functions = `${origin}/functions/v1`;
export const crms = ["hubspot", "salesforce"];

/** Every message is printed before the processor sees it, so that the search for leaks sees it too. */
const tap = `
import worker from "./index.js";
export * from "./index.js";
export default {
  ...worker,
  queue(batch, env, ctx) {
    for (const message of batch.messages) console.log("queue message " + JSON.stringify(message.body));
    return worker.queue(batch, env, ctx);
  },
};`;

/** A Conduit for this test file, which ends with it. The options are those of `launch`. */
export async function startConduit(options) {
  const conduit = await launch(options);
  after(() => conduit.stop());
  return conduit;
}

/**
 * Starts everything, or the Workers named in `only`. `vars` are laid over every Worker's variables, those in `unset` are
 * taken away, so that the Worker's own default counts; `crm` are variables of the stand-in alone; `outside` answers what
 * a Worker fetches from the world, of which only what begins as one of `expected` may be fetched; `edit` may change a Worker's options, as miniflare takes them, before it starts.
 */
export async function launch({ only = null, vars = {}, unset = [], crm = {}, outside = () => null, expected = [], edit = () => {} } = {}) {
  const secrets = makeSecrets();
  const persisted = mkdtempSync(join(tmpdir(), "conduit-endpoints-"));
  const seen = { logs: [], responses: [], fetched: [], apiTokens: new Set(), onceOnly: new Set() };
  const workers = miniflareWorkers({ origin, secrets, vars: { EXPOSE_COUNTS: "true", ...vars }, only });
  for (const worker of workers) {
    for (const name of unset) delete worker.bindings[name];
    worker.outboundService = async (request) => {
      seen.fetched.push(request.url);
      return (await outside(request)) ?? new Response("nothing is out here", { status: 599 });
    };
    if (worker.name === standIn) Object.assign(worker.bindings, { STAND_IN_CONFIG: JSON.stringify(registered) }, crm);
    if (worker.name.endsWith("-write-processor")) {
      worker.modules.unshift({ type: "ESModule", path: join(worker.modulesRoot, "tap.js"), contents: tap });
    }
  }
  workers.forEach(edit);
  const crons = readWorkers().filter(({ name, cron }) => cron.length > 0 && workers.some((worker) => worker.name === name));
  const miniflare = new Miniflare({
    workers: [...workers, deskWorker(workers, crons.map(({ name }) => name))],
    cf: false,
    log: new Log(LogLevel.NONE),
    defaultPersistRoot: persisted,
    structuredWorkerdLogs: true,
    handleStructuredLogs: ({ level, message }) => void seen.logs.push({ level, message }),
  });
  await miniflare.ready;
  const conduit = new Conduit({ miniflare, secrets, persisted, seen, expected: ["https://keys.test/", ...expected] });
  await migrate(conduit.db);
  conduit.acme = await conduit.seed("acme");
  conduit.globex = await conduit.seed("globex");
  return conduit;
}

/** The apps' redirect addresses as registered with the stand-in; it knows their ids and secrets already. */
const registered = Object.fromEntries(crms.map((crm) => [crm, { redirect_uris: [`${functions}/${crm}-oauth-callback`] }]));

class Conduit {
  constructor(parts) {
    Object.assign(this, parts);
    this.db = new Database(parts.miniflare);
    this.standIn = new StandIn(parts.miniflare);
  }

  /** A workspace with an owner, an admin and a member, and a service token of an owner's and of a member's rights. */
  async seed(name) {
    const workspace = `ws_${name}`;
    const insert = (table, columns, ...values) =>
      this.db.prepare(`INSERT INTO ${table} (${columns}) VALUES (${values.map((_, n) => `?${n + 1}`)})`).bind(...values);
    const tokens = { service: serviceToken(), memberService: serviceToken() };
    for (const token of Object.values(tokens)) this.seen.apiTokens.add(token);
    await this.db.batch([
      insert("workspaces", "id, name, created_at", workspace, name, Date.now()),
      ...["owner", "admin", "member"].map((role) =>
        insert("workspace_members", "workspace_id, user_id, role, created_at", workspace, `us_${name}_${role}`, role, Date.now()),
      ),
      ...[["service", "owner"], ["memberService", "member"]].map(([which, role]) =>
        insert("service_tokens", "token_hash, workspace_id, name, role, created_at", serviceTokenHash(tokens[which]), workspace, which, role, Date.now()),
      ),
    ]);
    const people = Object.fromEntries(["owner", "admin", "member"].map((role) => [role, this.jwt({ user: `us_${name}_${role}` })]));
    return { workspace, ...people, ...tokens };
  }

  /** A JWT of the host product; see scripts/tokens.mjs. */
  jwt(options) {
    const token = apiToken({ secret: this.secrets.JWT_HS256_SECRET, ...options });
    this.seen.apiTokens.add(token);
    return token;
  }

  /**
   * A request to a path under /functions/v1/ or to a whole URL; redirects are not followed. `json` is sent as the body,
   * `query` added to the URL. The answer has its text in `text` and, where it is JSON, in `body`.
   */
  async fetch(path, { method = null, token = null, query = {}, json, body, headers = {} } = {}) {
    const url = new URL(path.includes("://") ? path : `${functions}/${path}`);
    for (const [name, value] of Object.entries(query)) url.searchParams.append(name, value);
    const sent = json === undefined ? body : JSON.stringify(json);
    const verb = method ?? (sent === undefined ? "GET" : "POST");
    const response = await this.miniflare.dispatchFetch(url.href, {
      method: verb,
      redirect: "manual",
      headers: { ...(token && { authorization: `Bearer ${token}` }), ...(sent !== undefined && { "content-type": "application/json" }), ...headers },
      body: sent,
    });
    const text = await response.text();
    const isOurs = url.pathname.startsWith("/functions/") || url.pathname === "/";
    if (isOurs) this.seen.responses.push({ method: verb, url: url.pathname, status: response.status, headers: [...response.headers], text });
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: /\bjson\b/.test(response.headers.get("content-type") ?? "") ? JSON.parse(text) : undefined,
    };
  }

  browser() {
    return new Browser(this);
  }

  /** Connects a workspace's CRM through the redirects; `account` is a hub id or an organisation's number. */
  async connect(crm, who, { account = null } = {}) {
    const answer = await this.browser().connect(crm, { who, account });
    assert.equal(answer.status, 200, answer.text);
  }

  async submit(who, writes, headers = {}) {
    const answer = await this.fetch("crm-writes", { token: who.service, json: Array.isArray(writes) ? { writes } : writes, headers });
    assert.equal(answer.status, 202, answer.text);
    return answer.body.writes;
  }

  /** Waits until every write is `succeeded` (or what else is wanted), and returns them as GET shows them. */
  async settled(who, ids, { status = "succeeded", seconds = 20 } = {}) {
    return until(`${ids.length} writes to be ${status}`, seconds, async () => {
      const shown = await Promise.all(ids.map((id) => this.fetch(`crm-writes/${id}`, { token: who.service })));
      const dead = shown.find(({ body }) => body.status === "permanent_failure" && status !== "permanent_failure");
      assert.equal(dead, undefined, dead?.text);
      return shown.every(({ body }) => body.status === status) ? shown.map(({ body }) => body) : null;
    });
  }

  /** Runs a cron Worker now. */
  async cron(name) {
    assert.equal(await runCron(this.miniflare, name), "ok");
  }

  rows(sql, ...binds) {
    return this.db.prepare(sql).bind(...binds).all().then(({ results }) => results);
  }

  async stop() {
    try {
      assert.deepEqual(await findLeaks(this), []);
      assert.deepEqual(findUndocumented(this.seen.responses), []);
      assert.deepEqual(this.seen.fetched.filter((url) => !this.expected.some((known) => url.startsWith(known))), [], "nothing left the machine");
      const panics = this.seen.logs.filter(({ message }) => /"event":"panic"|^Panic/.test(message));
      assert.deepEqual(panics, []);
    } finally {
      await this.miniflare.dispose();
      rmSync(this.persisted, { recursive: true, force: true });
    }
  }
}

/** The stand-in's control plane; see tests/stub-crm. */
class StandIn {
  constructor(miniflare) {
    this.miniflare = miniflare;
  }

  async control(path, body) {
    const response = await this.miniflare.dispatchFetch(`${origin}/stand-in/${path}`, {
      method: body === undefined ? "GET" : "POST",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  }

  tokens() {
    return this.control("tokens").then(({ tokens }) => tokens);
  }

  ledger() {
    return this.control("ledger");
  }

  /** The records of an object type that were created, of one account where it is given. */
  async effects(object) {
    return (await this.control(`ledger?object=${object}`)).effects;
  }

  records(object) {
    return this.control(`records/${object}`).then(({ records }) => records);
  }

  /** The calls that arrived while `work` ran, by pattern; of one CRM only, where it is named. */
  async calls(work, crm = "") {
    const before = (await this.ledger()).calls;
    await work();
    const now = (await this.ledger()).calls;
    const more = Object.entries(now).map(([key, count]) => [key, count - (before[key] ?? 0)]);
    return Object.fromEntries(more.filter(([key, count]) => key.startsWith(crm) && count > 0));
  }

  /** Moves the stand-in's clock on. */
  later(seconds) {
    return this.control("clock", { advance_ms: seconds * 1000 });
  }

  fault(...faults) {
    return this.control("faults", { faults });
  }

  clearFaults() {
    return this.control("faults", { clear: true });
  }
}

/** Calls `probe` until it returns something, for at most so many seconds. */
export async function until(what, seconds, probe) {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const found = await probe();
    if (found) return found;
    assert.ok(performance.now() < deadline, `waited ${seconds} s for ${what}`);
    await sleep(100);
  }
}

/** Asserts a refusal: status, code, and the form every refusal has. */
export function assertRefused(answer, status, code) {
  assert.deepEqual([answer.status, answer.body?.code], [status, code], answer.text);
  assert.equal(answer.headers.get("content-type"), "application/problem+json");
  assert.deepEqual(
    [answer.body.type, answer.body.status, answer.body.request_id],
    [`urn:conduit:problem:${code}`, status, answer.headers.get("x-request-id")],
  );
  assert.match(answer.body.detail, /^\S.{10,}/);
}
