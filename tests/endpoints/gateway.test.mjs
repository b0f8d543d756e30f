// The one public door: what it answers itself, what it passes on, and that the described API is the one there is.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertRefused, functions, origin, startConduit } from "./harness.mjs";

const conduit = await startConduit();
const everywhere = {
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "strict-transport-security": "max-age=31536000; includeSubDomains",
  "x-content-type-options": "nosniff",
};

const described = (await conduit.fetch("openapi.json")).body;

test("the API is described, in OpenAPI 3.1", () => {
  assert.match(described.openapi, /^3\.1\./);
  assert.ok(Object.keys(described.paths).length >= 8);
});

for (const [path, methods] of Object.entries(described.paths)) {
  for (const method of Object.keys(methods).filter((name) => ["get", "post", "put", "patch", "delete"].includes(name))) {
    test(`${method} ${path} is there, and nothing of it without a token`, async () => {
      const answer = await conduit.fetch(path.slice(1).replace("{id}", "wr_x"), { method: method.toUpperCase() });
      for (const [name, value] of Object.entries(everywhere)) assert.equal(answer.headers.get(name), value, name);
      assert.match(answer.headers.get("content-security-policy"), /default-src 'none'/);
      assert.match(answer.headers.get("x-request-id"), /^[\w-]{8,}$/);
      const refusals = { "get /claim-install": [403, "install_not_proven"], "get /connect-sessions": [401, "session_required"] };
      for (const crm of ["hubspot", "salesforce"]) refusals[`post /${crm}-oauth-start`] = [401, "session_required"];
      if (described.paths[path][method].security?.some((one) => "operatorToken" in one)) refusals[`${method} ${path}`] = [401, "operator_required"];
      const open = { "/health": 200, "/health/ready": 200, "/openapi.json": 200, "/hubspot-oauth-callback": 400, "/salesforce-oauth-callback": 400 };
      // Without a workspace a start is an install's, which is for everybody.
      if (method === "get" && path.endsWith("-oauth-start")) open[path] = 200;
      if (method === "get" && path in open) assert.equal(answer.status, open[path], answer.text);
      else assertRefused(answer, ...(refusals[`${method} ${path}`] ?? [401, "token_required"]));
    });
  }
}

test("the landing page and the health check need nobody", async () => {
  const page = await conduit.fetch(`${origin}/`);
  assert.deepEqual([page.status, page.headers.get("content-type")], [200, "text/html; charset=utf-8"]);
  assert.deepEqual((await conduit.fetch("health")).body, { status: "ok" });
  for (const path of ["health", "openapi.json"]) assertRefused(await conduit.fetch(path, { method: "POST" }), 405, "method_not_allowed");
});

test("only functions are reached through it", async () => {
  const paths = ["", "gateway", "stub-crm", "connection-gate", "hubspot-write-processor", "salesforce-write-processor", "reconcile-crm-writes", "CRM-WRITES", "crm-writes2", "..%2fcrm-writes"];
  for (const path of paths) assertRefused(await conduit.fetch(`${functions}/${path}`, { token: conduit.acme.service }), 404, "not_found");
});
