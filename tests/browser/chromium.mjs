// A headless Chromium, driven over its DevTools protocol: as much of it as a person's way through our pages needs. Node has
// the WebSocket; there is no dependency. The Chromium is the machine's own (Debian: `chromium`), or CHROMIUM names one.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Where a Chromium is now, or null. */
export const findChromium = () =>
  [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => path && existsSync(path)) ?? null;

export const chromium = findChromium();

/** Starts one, with one page of its own: { page, stop }. */
export async function startChromium({ width = 960, height = 720 } = {}) {
  const profile = mkdtempSync(join(tmpdir(), "conduit-chromium-"));
  const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--remote-debugging-port=0"];
  const child = spawn(chromium, [...flags, `--user-data-dir=${profile}`, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
  const address = await new Promise((resolve, reject) => {
    let said = "";
    child.stderr.on("data", (chunk) => {
      said += chunk;
      const found = said.match(/DevTools listening on (ws:\S+)/);
      if (found) resolve(found[1]);
    });
    child.once("exit", () => reject(new Error(`Chromium ended: ${said}`)));
  });
  const { port } = new URL(address);
  const [target] = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()).filter(({ type }) => type === "page");
  const page = new Page(new WebSocket(target.webSocketDebuggerUrl));
  await page.open();
  await page.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
  return {
    page,
    stop: async () => {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

class Page {
  constructor(socket) {
    this.socket = socket;
    this.waiting = new Map();
    this.count = 0;
    this.loads = 0;
    /** What the page's console and its security policy complained of. */
    this.complaints = [];
  }

  async open() {
    await new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.socket.onerror = reject;
    });
    this.socket.onmessage = ({ data }) => this.hear(JSON.parse(data));
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await this.send(`${domain}.enable`);
  }

  hear({ id, result, error, method, params }) {
    if (id !== undefined) {
      const { resolve, reject } = this.waiting.get(id);
      this.waiting.delete(id);
      return error ? reject(new Error(error.message)) : resolve(result);
    }
    if (method === "Page.loadEventFired") this.loads += 1;
    if (method === "Log.entryAdded" && params.entry.level === "error") this.complaints.push(`${params.entry.text} ${params.entry.url ?? ""}`);
  }

  send(method, params = {}) {
    const id = ++this.count;
    this.socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(`${exceptionDetails.text} ${exceptionDetails.exception?.description ?? ""} in ${expression}`);
    return result.value;
  }

  /** Does something that loads a page, and waits until it has. */
  async loading(work, seconds = 20) {
    const before = this.loads;
    await work();
    const deadline = performance.now() + seconds * 1000;
    while (this.loads === before) {
      if (performance.now() > deadline) throw new Error(`no page was loaded; still at ${await this.url()}: ${await this.text()}; ${this.complaints}`);
      await sleep(30);
    }
    // A redirect chain ends in one load, and a page of ours has nothing that comes later.
    await sleep(50);
  }

  goto(url) {
    return this.loading(() => this.send("Page.navigate", { url }));
  }

  /** Presses the button or link with this text, as a mouse does: the page needs no script, and none of ours runs in it. */
  async press(text) {
    const found = await this.evaluate(`(() => {
      const element = [...document.querySelectorAll("button, a")].find((e) => e.textContent.trim() === ${JSON.stringify(text)});
      if (!element) return null;
      element.scrollIntoView({ block: "center" });
      const { x, y, width, height } = element.getBoundingClientRect();
      return { x: x + width / 2, y: y + height / 2 };
    })()`);
    if (!found) throw new Error(`no button “${text}” on ${await this.url()}: ${await this.text()}`);
    await this.loading(async () => {
      for (const type of ["mousePressed", "mouseReleased"]) {
        await this.send("Input.dispatchMouseEvent", { type, ...found, button: "left", clickCount: 1 });
      }
    });
  }

  fill(selector, value) {
    return this.evaluate(`(() => { document.querySelector(${JSON.stringify(selector)}).value = ${JSON.stringify(value)}; })()`);
  }

  check(selector) {
    return this.evaluate(`(() => { document.querySelector(${JSON.stringify(selector)}).checked = true; })()`);
  }

  url() {
    return this.evaluate("location.href");
  }

  text() {
    return this.evaluate("document.body.innerText");
  }

  /** A picture of the page, as high as it is. */
  async screenshot(file) {
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    writeFileSync(file, Buffer.from(data, "base64"));
  }
}
