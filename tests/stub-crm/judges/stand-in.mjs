// Starts the stand-in as a native server for a test, and walks an OAuth consent without a browser.
//
// Not a judge itself. The server stops when its standard input closes: also when the test process dies.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));

export const app = {
  clientId: "11111111-2222-3333-4444-555555555555",
  clientSecret: "s3cr3t-of-the-connected-app",
  redirectUri: "http://localhost:9/callback",
};

/** The stand-in's origin and a way to end it. */
export async function startStandIn(config = {}) {
  const credentials = { client_id: app.clientId, client_secret: app.clientSecret };
  const whole = JSON.stringify({ seed: 1, hubspot: credentials, salesforce: credentials, ...config });
  const child = spawn("cargo", ["run", "-q", "-p", "stub-crm", "--example", "serve", "--", "--config", whole], {
    cwd: root,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  const [origin] = await Promise.race([
    once(lines, "line"),
    once(child, "exit").then(() => {
      throw new Error("the stand-in did not start");
    }),
  ]);
  return {
    origin,
    async control(path, body) {
      const answer = await fetch(`${origin}/stand-in/${path}`, body === undefined ? {} : { method: "POST", body: JSON.stringify(body) });
      return answer.json();
    },
    async stop() {
      child.stdin.end();
      if (child.exitCode === null) await once(child, "exit");
    },
  };
}

/** Opens a consent page, presses Approve as a browser would, and returns the callback's URL. */
export async function approve(url) {
  const page = await fetch(url);
  const html = await page.text();
  const unescape = (text) => text.replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
  const form = new URLSearchParams();
  for (const [input] of html.matchAll(/<input [^>]*>/g)) {
    const field = (name) => unescape(input.match(new RegExp(`${name}="([^"]*)"`))?.[1] ?? "");
    form.set(field("name"), field("value"));
  }
  form.set("decision", "approve");
  const action = new URL(unescape(html.match(/action="([^"]*)"/)[1]), url);
  const answer = await fetch(action, { method: "POST", body: form, redirect: "manual" });
  return new URL(answer.headers.get("location"));
}
