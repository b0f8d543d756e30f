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
  const child = spawn(chromium, [...flags, `--user-data-dir=${profile}`, "about:blank"], {
    // A group of its own: its helpers outlive it, and go on writing into the profile.
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
  });
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
      process.kill(-child.pid, "SIGKILL");
      await ended;
      rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
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

  /** The window's size, and the colours the person's system prefers. */
  async look({ width, height, scheme = "light" }) {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
    await this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  }

  /** Texts whose contrast with what is behind them is under WCAG's 4.5 : 1, and anything wider than the window. */
  flaws() {
    return this.evaluate(`(() => {
      const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
      const channel = (value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
      const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
      const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
          const colour = numbers(getComputedStyle(at).backgroundColor);
          if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
      };
      const flaws = [];
      for (const element of document.querySelectorAll("main, main *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        if (!own) continue;
        const [a, b] = [numbers(getComputedStyle(element).color), behind(element)].map(luminance).sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) flaws.push(element.tagName + " has a contrast of " + ratio.toFixed(2) + ": " + element.textContent.trim().slice(0, 40));
      }
      if (document.documentElement.scrollWidth > innerWidth) flaws.push("the page is " + document.documentElement.scrollWidth + " wide in a window of " + innerWidth);
      return flaws;
    })()`);
  }

  /** A picture of the page, as high as it is. */
  async screenshot(file) {
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    writeFileSync(file, Buffer.from(data, "base64"));
  }
}
