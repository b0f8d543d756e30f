// A browser as far as the demo needs one: it keeps cookies, follows redirects one by one, and presses Approve on a
// consent page.

const entities = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" };
const unescape = (text) => text.replace(/&(amp|lt|gt|quot|#39);/g, (_, name) => entities[name]);
const path = (url) => new URL(url).pathname;

export class Browser {
  cookies = new Map();
  /** What it did, a line for each page and redirect, without what is secret in the URLs. */
  trail = [];

  /** A page or a redirect; nothing is followed. */
  async open(url, { headers = {}, ...options } = {}) {
    const cookie = [...this.cookies].map((pair) => pair.join("=")).join("; ");
    const response = await fetch(url, { redirect: "manual", ...options, headers: { accept: "text/html", ...(cookie && { cookie }), ...headers } });
    for (const line of response.headers.getSetCookie()) {
      const [name, value] = line.split(";")[0].split("=");
      if (/max-age=0/i.test(line)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    const location = response.headers.get("location");
    this.trail.push(`${options.method ?? "GET"} ${path(url)} → ${response.status}${location ? ` to ${path(new URL(location, url))}` : ""}`);
    return { status: response.status, location: location && new URL(location, url).href, text: await response.text() };
  }

  /** Fills in the consent page at `url` and approves; returns where the CRM sends the browser. */
  async approve(url, account = null) {
    const { text } = await this.open(url);
    const form = new URLSearchParams();
    for (const [input] of text.matchAll(/<input [^>]*>/g)) {
      const attribute = (name) => unescape(input.match(new RegExp(`${name}="([^"]*)"`))?.[1] ?? "");
      const isAccount = !input.includes('type="hidden"');
      form.append(attribute("name"), isAccount && account !== null ? account : attribute("value"));
    }
    form.append("decision", "approve");
    const action = text.match(/<form [^>]*action="([^"]*)"/);
    if (!action) throw new Error(`There is no consent form at ${path(url)}.`);
    const { location } = await this.open(new URL(unescape(action[1]), url).href, { method: "POST", body: form });
    if (!location) throw new Error(`The CRM did not send the browser back from ${path(url)}.`);
    return location;
  }
}
