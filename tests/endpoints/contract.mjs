// Every answer of a run against docs/api/openapi.json: that path, method, status and content type must be described there.
// The shapes of the bodies are the tests' own business.

import { readFileSync } from "node:fs";
import { at } from "../../scripts/repo.mjs";

const document = JSON.parse(readFileSync(at("docs", "api", "openapi.json"), "utf8"));
const resolve = (part) => (part.$ref ? part.$ref.split("/").slice(1).reduce((node, name) => node[name], document) : part);
// A concrete path before one with a parameter, as OpenAPI has it.
const templates = Object.entries(document.paths).sort(([one], [other]) => one.includes("{") - other.includes("{"));
const paths = templates.map(([template, methods]) => ({
  matches: new RegExp(`^/functions/v1${template.replaceAll(".", "\\.").replace(/\{\w+\}/g, "[^/]+")}$`),
  methods,
}));

/** What the document does not say of these answers, each once: none is good. */
export function findUndocumented(responses) {
  const found = new Set();
  for (const { method, url, status, headers } of responses) {
    const path = paths.find(({ matches }) => matches.test(url));
    // Nobody's path is answered by the gateway, and a method that a path does not have has no place of its own.
    if (!path || (status === 405 && !path.methods[method.toLowerCase()])) continue;
    const answer = path.methods[method.toLowerCase()]?.responses[status];
    const type = Object.fromEntries(headers)["content-type"]?.split(";")[0];
    const types = answer && Object.keys(resolve(answer).content ?? {});
    if (!answer) found.add(`${method} ${url}: ${status} is not documented`);
    else if (type ? !types.includes(type) : types.length > 0) found.add(`${method} ${url}: ${status} with ${type ?? "no content"} is not documented`);
  }
  return [...found];
}
