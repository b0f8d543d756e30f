// A browser as far as OAuth needs one: cookies by origin, pages on request, and the consent form of the stand-in CRM.

import assert from "node:assert/strict";

const page = { accept: "text/html,application/xhtml+xml" };

export class Browser {
  constructor(conduit) {
    this.conduit = conduit;
    this.cookies = new Map();
  }

  /** A request to Conduit with this browser's cookies; keeps those it sets. */
  async fetch(path, options = {}) {
    const cookie = [...this.cookies].map((pair) => pair.join("=")).join("; ");
    const answer = await this.conduit.fetch(path, { ...options, headers: { ...(cookie && { cookie }), ...options.headers } });
    for (const line of answer.headers.getSetCookie()) this.keep(line);
    return answer;
  }

  keep(line) {
    const [pair, ...attributes] = line.split("; ");
    const [name, value] = pair.split("=");
    // What a real browser demands of this prefix.
    if (name.startsWith("__Host-")) assert.ok(attributes.includes("Secure") && attributes.includes("Path=/") && !/domain/i.test(line), line);
    if (attributes.includes("Max-Age=0")) return this.cookies.delete(name);
    this.cookies.set(name, value);
    this.conduit.seen.onceOnly.add(value);
  }

  /** Asks for the CRM's consent page: as a program (JSON), or as a person (`asPage`: a redirect). */
  async start(crm, { who, token = who.owner, asPage = false, query = {} }) {
    const answer = await this.fetch(`${crm}-oauth-start`, {
      token,
      query: { workspace_id: who.workspace, ...query },
      headers: asPage ? page : {},
    });
    const url = answer.headers.get("location") ?? answer.body?.authorize_url;
    if (url) this.conduit.seen.onceOnly.add(new URL(url).searchParams.get("state"));
    return { ...answer, url };
  }

  /** Reads the stand-in's consent page and answers it; returns where it sends the browser. */
  async consent(url, { decision = "approve", account = null } = {}) {
    const asked = await this.conduit.miniflare.dispatchFetch(url, { headers: page });
    const html = await asked.text();
    assert.equal(asked.status, 200, html);
    const form = new URLSearchParams();
    for (const [tag] of html.matchAll(/<input [^>]*>/g)) {
      const attribute = (name) => unescape(tag.match(new RegExp(`${name}="([^"]*)"`))?.[1] ?? "");
      const isAccount = !tag.includes('type="hidden"');
      form.append(attribute("name"), isAccount && account !== null ? String(account) : attribute("value"));
    }
    form.append("decision", decision);
    const action = new URL(unescape(html.match(/<form [^>]*action="([^"]*)"/)[1]), url).href;
    const answer = await this.conduit.miniflare.dispatchFetch(action, {
      method: "POST",
      body: form.toString(),
      redirect: "manual",
      headers: { "content-type": "application/x-www-form-urlencoded" },
    });
    assert.equal(answer.status, 302, await answer.text());
    return answer.headers.get("location");
  }

  /** Follows the CRM's redirect back, as a person or as a program. */
  callback(url, { asPage = false } = {}) {
    assert.ok(url.startsWith("https://conduit.test/functions/v1/"), url);
    return this.fetch(url, { headers: asPage ? page : {} });
  }

  /** The whole way. */
  async connect(crm, { who, account = null, query = {}, asPage = false }) {
    const started = await this.start(crm, { who, query });
    assert.equal(started.status, 200, started.text);
    return this.callback(await this.consent(started.url, { account }), { asPage });
  }
}

const entities = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" };
const unescape = (text) => text.replace(/&(amp|lt|gt|quot|#39);/g, (_, name) => entities[name]);
