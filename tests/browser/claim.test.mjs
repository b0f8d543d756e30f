// From the marketplace's page to a claimed connection that writes a task, in headless Chromium, as a person goes it: HubSpot's
// both shapes and Salesforce. The Workers run as `npm start` runs them; the CRMs are the stand-in's.
//
//   CONDUIT_IMAGES=docs/images node --test tests/browser/*.test.mjs     also keeps the pictures that the documentation shows

import assert from "node:assert/strict";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { at } from "../../scripts/repo.mjs";
import { chromium, startChromium } from "./chromium.mjs";

// Data of its own, new each time: what a person keeps in .local is not touched, and the stand-in's memory and D1's begin together.
process.env.CONDUIT_LOCAL = ".local/browser";
const port = Number(process.env.CONDUIT_BROWSER_PORT ?? "8797");
const images = process.env.CONDUIT_IMAGES ? at(process.env.CONDUIT_IMAGES) : null;
const skip = chromium === null ? "no Chromium on this machine (Debian: apt-get install chromium, or set CHROMIUM)" : false;
let local = null;
let finished = null;
let browser = null;

before(async () => {
  if (skip) return;
  if (images) mkdirSync(images, { recursive: true });
  rmSync(at(process.env.CONDUIT_LOCAL), { recursive: true, force: true });
  const { withLocal } = await import("../../scripts/local.mjs");
  browser = await startChromium();
  await new Promise((resolve, reject) => {
    finished = { end: null };
    finished.done = withLocal(
      (running) => {
        local = running;
        resolve();
        return new Promise((end) => (finished.end = end));
      },
      { port },
    ).catch(reject);
  });
});

/** Every test begins with nothing connected and nothing in the CRMs. */
beforeEach(async () => {
  if (skip) return;
  for (const crm of ["hubspot", "salesforce"]) await disconnect(crm);
  await standIn("reset", {});
});

after(async () => {
  try {
    await browser?.stop();
  } finally {
    finished?.end?.();
    await finished?.done;
  }
});

const api = async (path, body) => {
  const response = await fetch(`${local.origin}/functions/v1/${path}`, {
    method: body ? "POST" : "GET",
    headers: { authorization: `Bearer ${local.token}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  return { status: response.status, body: await response.json() };
};

const standIn = async (path, body) => {
  const response = await fetch(`${local.origin}/stand-in/${path}`, { method: body ? "POST" : "GET", body: body && JSON.stringify(body) });
  return response.json();
};

const cron = async (name) => {
  const response = await fetch(`${local.origin}/local/cron/${name}`, { method: "POST" });
  assert.equal(response.status, 200, await response.text());
};

const disconnect = (crm) => api("crm-disconnect", { crm });

/** What the product's back end does when the person signs in: it asks for a link and sends the browser there. */
async function signIn(page) {
  const { status, body } = await api("connect-sessions", { user_id: local.user, page: "claim", return_to: `${local.origin}/` });
  assert.equal(status, 201, JSON.stringify(body));
  await page.goto(body.url);
  assert.equal(await page.url(), `${local.origin}/claim-install`, "no secret stays in the address");
}

const desk = { width: 960, height: 720 };
const phone = { width: 390, height: 780 };

/** Looks at the page on a desk and on a telephone, by day and by night: everything can be read, nothing sticks out. */
async function picture(page, name) {
  for (const look of [{ ...desk, scheme: "dark" }, { ...phone, scheme: "dark" }, phone, desk]) {
    await page.look(look);
    assert.deepEqual(await page.flaws(), [], `${name}, ${JSON.stringify(look)}`);
    if (!images) continue;
    if (look === desk) await page.screenshot(join(images, `${name}.png`));
    if (look === phone && name.endsWith("-claim")) await page.screenshot(join(images, `${name}-phone.png`));
  }
}

/** The connection works: a task submitted to the API arrives in the CRM. */
async function writesATask(crm, object) {
  const { status, body } = await api("crm-writes", {
    crm,
    action: "create_task",
    source_event_id: `browser-${crm}-${Date.now()}`,
    object_type: "thread",
    object_id: "t-1",
    contact: { email: "ada@customer.example", last_name: "Lovelace" },
    task: { subject: "Call back", due_at: "2026-11-27T09:00:00Z", text: "Asked for a quote." },
  });
  assert.equal(status, 202, JSON.stringify(body));
  for (let tries = 0; tries < 150; tries += 1) {
    const { totals } = await standIn("ledger?effects=false");
    if (totals[`${crm} ${object}`]?.created > 0) return;
    await sleep(100);
  }
  assert.fail(`no ${object} arrived: ${JSON.stringify((await api(`crm-writes/${body.writes[0].id}`)).body)}`);
}

test("HubSpot, with a sign-in: marketplace, consent, claim, a task", { skip }, async () => {
  const { page } = browser;
  await page.goto(`${local.origin}/marketplace/hubspot`);
  await picture(page, "install-hubspot-1-marketplace");
  await page.press("Install app, with sign-in");
  assert.match(await page.url(), /\/marketplace\/hubspot\/consent\?/);
  await page.press("Approve");
  assert.match(await page.url(), /\/marketplace\/hubspot\/finish\?hub_id=4242$/, "back at HubSpot: no loop");
  await page.press("Open Conduit");
  assert.match(await page.text(), /One step left/);
  await picture(page, "install-hubspot-2-sign-in");
  await signIn(page);
  assert.match(await page.text(), /Connect this HubSpot account\?/);
  await picture(page, "install-hubspot-3-claim");
  await page.press("Connect HubSpot");
  assert.match(await page.text(), /HubSpot is connected/);
  await picture(page, "install-hubspot-4-connected");
  await writesATask("hubspot", "tasks");
  await page.goto(`${local.origin}/connect`);
  assert.match(await page.text(), /Connected to/);
  await picture(page, "connections");
  await page.press("Disconnect");
  assert.match(await page.text(), /Not connected/);
  assert.deepEqual(page.complaints, []);
});

test("HubSpot, without a sign-in: marketplace, claim page, consent, a task", { skip }, async () => {
  const { page } = browser;
  await page.goto(`${local.origin}/marketplace/hubspot`);
  await page.press("Install app");
  assert.match(await page.url(), /\/marketplace\/hubspot\/finish\?hub_id=4242$/, "back at HubSpot: no loop");
  await page.press("Open Conduit");
  await signIn(page);
  assert.match(await page.text(), /Confirm in HubSpot/);
  await picture(page, "install-hubspot-5-confirm");
  await page.press("Go on to HubSpot");
  await page.press("Approve");
  assert.match(await page.url(), /conduit=connected&crm=hubspot/);
  await writesATask("hubspot", "tasks");
  assert.deepEqual(page.complaints, []);
});

test("Salesforce: AppExchange, consent, claim, a task", { skip }, async () => {
  const { page } = browser;
  await page.goto(`${local.origin}/marketplace/salesforce`);
  await page.press("Get it now");
  await picture(page, "install-salesforce-1-consent");
  await page.press("Approve");
  assert.match(await page.url(), /\/claim-install\?crm=salesforce&install_id=in_/);
  await signIn(page);
  await picture(page, "install-salesforce-2-claim");
  await page.press("Connect Salesforce");
  assert.match(await page.text(), /Salesforce is connected/);
  await writesATask("salesforce", "Task");
  await page.goto(`${local.origin}/claim-install`);
  assert.deepEqual(page.complaints, []);
});

test("declining on the claim page, without an account: the app is out of HubSpot, and nothing is connected", { skip }, async () => {
  const { page } = browser;
  await page.goto(`${local.origin}/marketplace/hubspot`);
  await page.press("Install app, with sign-in");
  await page.press("Approve");
  await page.press("Open Conduit");
  assert.match(await page.text(), /Decline, and the app’s access to HubSpot ends/);
  await page.press("Decline");
  assert.match(await page.text(), /Declined/);
  assert.match(await page.text(), /no longer has access/);
  await picture(page, "install-hubspot-6-declined");
  const { calls } = await standIn("ledger?effects=false");
  assert.ok(Object.keys(calls).some((call) => /DELETE .*external-install/.test(call)), JSON.stringify(calls));
  await page.goto(`${local.origin}/claim-install`);
  assert.doesNotMatch(await page.text(), /Decline/, "there is nothing more to decline");
  assert.deepEqual(page.complaints, []);
});

test("declining at the CRM's own consent page: it says so, and how to begin again", { skip }, async () => {
  const { page } = browser;
  await page.goto(`${local.origin}/marketplace/salesforce`);
  await page.press("Get it now");
  await page.press("Deny");
  assert.match(await page.text(), /Salesforce was not connected/);
  assert.match(await page.text(), /Access was declined in Salesforce/);
  await picture(page, "install-salesforce-3-declined");
  await page.press("Begin again");
  await page.press("Approve");
  // The claim's page, which asks for a sign-in where there is none.
  assert.match(await page.text(), /One step left|Connect this Salesforce account\?/);
});

test("an app that was removed in HubSpot: the page of connections says so, and connects again", { skip }, async () => {
  const { page } = browser;
  await page.goto(`${local.origin}/marketplace/hubspot`);
  await page.press("Install app, with sign-in");
  await page.press("Approve");
  await page.press("Open Conduit");
  await cron("watch-installs");
  await signIn(page);
  await page.press("Connect HubSpot");
  await standIn("uninstall/4242", {});
  await cron("watch-installs");
  await page.goto(`${local.origin}/connect`);
  assert.match(await page.text(), /Not connected. The app was removed in HubSpot/);
  await picture(page, "connections-removed");
  await page.press("Connect");
  await page.press("Approve");
  await writesATask("hubspot", "tasks");
});
