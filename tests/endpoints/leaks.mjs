// The search for leaks: everything secret that a run has known, looked for everywhere it must not be.
//
// Secret are: every code and token the stand-in ever gave out, the configured secrets, API tokens, and the states and
// cookies of OAuth flows. Searched are: every value of D1, every file miniflare has written (D1, KV, Durable Objects, as
// bytes), every log line, every queue message (printed by the harness), and every response of Conduit. Not searched is
// the stand-in itself. States and cookies may stand in the responses that hand them out.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What was found where, as sentences that do not repeat it: none is good. `more` are further secrets by name. */
export async function findLeaks(conduit, more = {}) {
  const needles = await secretsOf(conduit, more);
  const places = [...(await databaseValues(conduit)), ...files(conduit.persisted), ...logs(conduit), ...responses(conduit)];
  const found = [];
  for (const { place, text, isResponse = false } of places) {
    for (const { what, forms, mayBeAnswered } of needles) {
      if (isResponse && mayBeAnswered) continue;
      if (forms.some((form) => text.includes(form))) found.push(`${what} in ${place}`);
    }
  }
  return found;
}

async function secretsOf({ secrets, seen, standIn }, more) {
  const needles = [];
  const add = (what, value, mayBeAnswered = false) => {
    // Shorter than this it would be found by chance.
    if (value && value.length >= 16) needles.push({ what, forms: formsOf(value), mayBeAnswered });
  };
  for (const [name, value] of Object.entries(secrets)) {
    if (!name.endsWith("_CLIENT_ID")) add(name, value);
    if (name.endsWith("_B64")) add(`${name}, decoded`, Buffer.from(value, "base64").toString("latin1"));
  }
  const issued = await standIn.tokens();
  issued.forEach((token, n) => add(`the stand-in's secret number ${n}`, token));
  for (const [name, value] of Object.entries(more)) add(name, value);
  for (const token of seen.apiTokens) add("an API token", token);
  for (const value of seen.onceOnly) add("a state or cookie", value, true);
  return needles;
}

/** A value as it is, in a URL, and in the alphabets in which bytes are written. */
function formsOf(value) {
  const bytes = Buffer.from(value, "latin1");
  const encoded = ["base64", "base64url", "hex"].map((encoding) => bytes.toString(encoding).replace(/=+$/, ""));
  return [...new Set([value, encodeURIComponent(value), ...encoded])];
}

async function databaseValues({ db }) {
  const { results: tables } = await db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'").all();
  const values = [];
  for (const { name } of tables) {
    const { results } = await db.prepare(`SELECT * FROM "${name}"`).all();
    for (const row of results) {
      for (const [column, value] of Object.entries(row)) values.push({ place: `D1 ${name}.${column}`, text: String(value) });
    }
  }
  return values;
}

function files(root) {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.includes("StubCrmObject"))
    .map((path) => ({ place: `the file ${path.slice(root.length + 1)}`, text: readFileSync(path, "latin1") }));
}

const logs = ({ seen }) => seen.logs.map(({ message }) => ({ place: `the log line ${message.slice(0, 60)}…`, text: message }));

const responses = ({ seen }) =>
  seen.responses.map(({ url, status, headers, text }) => ({
    place: `the response ${status} of ${url}`,
    text: `${headers.map((pair) => pair.join(": ")).join("\n")}\n\n${text}`,
    isResponse: true,
  }));
