// The host product's JWT by shared secret and by JWKS, and service tokens.

import assert from "node:assert/strict";
import { createHmac, createSign, generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { Response } from "miniflare";
import { serviceToken, serviceTokenHash } from "../../scripts/tokens.mjs";
import { assertRefused, startConduit } from "./harness.mjs";

const keys = {
  RS256: generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ES256: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  stranger: generateKeyPairSync("rsa", { modulusLength: 2048 }),
};
const jwk = (name, more) => ({ ...keys[name].publicKey.export({ format: "jwk" }), kid: name, ...more });
const document = {
  keys: [
    jwk("RS256", { alg: "RS256", use: "sig" }),
    jwk("ES256", { use: "sig", key_ops: ["verify"] }),
    { ...jwk("stranger"), kid: "for encryption", use: "enc" },
  ],
};

// What the host product's server answers: at first it is down.
let answer = () => new Response("down", { status: 500 });
const byJwks = await startConduit({
  only: ["gateway", "crm-connections", "crm-writes", "stub-crm"],
  vars: { JWKS_URL: "https://keys.test/jwks.json", JWT_ISSUER: "https://host.test", JWT_AUDIENCE: "conduit" },
  outside: (request) => (request.url === "https://keys.test/jwks.json" ? answer() : null),
});
const bySecret = await startConduit({ only: ["gateway", "crm-connections", "stub-crm"] });

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const now = Math.floor(Date.now() / 1000);
const claims = { iss: "https://host.test", aud: ["other", "conduit"], sub: "us_acme_owner", iat: now, exp: now + 600 };

/** A JWT by one of the keys. `dsaEncoding` "der" is what OpenSSL writes by itself, and JOSE does not allow. */
function jwt(key, { header = {}, dsaEncoding = "ieee-p1363", ...changes } = {}) {
  const alg = key === "ES256" ? "ES256" : "RS256";
  const input = `${encode({ alg, kid: key, ...header })}.${encode({ ...claims, ...changes })}`;
  const token = `${input}.${createSign("SHA256").update(input).sign({ key: keys[key].privateKey, dsaEncoding }, "base64url")}`;
  byJwks.seen.apiTokens.add(token);
  return token;
}

const ask = (conduit, token, { path = "crm-connections", workspace = conduit.acme.workspace } = {}) =>
  conduit.fetch(path, { token, query: workspace ? { workspace_id: workspace } : {} });
const fetches = () => byJwks.seen.fetched.length;

test("jwks: while the keys cannot be had, callers are told to come again", async () => {
  for (const down of [answer, () => new Response("<html>", { status: 200 }), () => Response.redirect("https://keys.test/elsewhere", 302)]) {
    answer = down;
    const refused = await ask(byJwks, jwt("RS256"));
    assertRefused(refused, 503, "keys_unavailable");
    assert.ok(Number(refused.headers.get("retry-after")) > 0);
  }
  assert.ok(!byJwks.seen.fetched.includes("https://keys.test/elsewhere"), "a redirect is not followed");
  // A service token needs no key.
  assert.equal((await ask(byJwks, byJwks.acme.service)).status, 200);
});

test("jwks: RS256 and ES256 tokens are accepted, and the keys fetched once for all Workers", async () => {
  answer = () => Response.json(document);
  const before = fetches();
  for (const key of ["RS256", "ES256"]) {
    for (const path of ["crm-connections", "crm-writes"]) {
      const accepted = await ask(byJwks, jwt(key), { path });
      assert.equal(accepted.status, 200, accepted.text);
    }
  }
  assert.equal(fetches() - before, 1);
  assert.equal((await ask(byJwks, jwt("RS256", { header: { kid: undefined } }))).status, 200, "without a kid, every fitting key is tried");
});

test("jwks: an unknown kid is refused, and a hundred of them fetch no key a hundred times", async () => {
  const before = fetches();
  for (const answered of await Promise.all(Array.from({ length: 100 }, (_, n) => ask(byJwks, jwt("RS256", { header: { kid: `forged-${n}` } }))))) {
    assertRefused(answered, 401, "token_invalid");
  }
  assert.ok(fetches() - before <= 1, `${fetches() - before} fetches`);
});

test("jwks: HS256 is not accepted, whatever public thing it is signed with", async () => {
  const before = fetches();
  const publicKey = keys.RS256.publicKey;
  const secrets = [
    publicKey.export({ format: "pem", type: "spki" }),
    publicKey.export({ format: "pem", type: "pkcs1" }),
    publicKey.export({ format: "der", type: "spki" }),
    JSON.stringify(jwk("RS256")),
    JSON.stringify(document),
    jwk("RS256").n,
    "",
    byJwks.secrets.JWT_HS256_SECRET,
  ];
  for (const secret of secrets) {
    for (const kid of ["RS256", undefined]) {
      const input = `${encode({ alg: "HS256", kid })}.${encode(claims)}`;
      const forged = `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
      assertRefused(await ask(byJwks, forged), 401, "token_invalid");
    }
  }
  assert.equal(fetches(), before);
});

test("jwks: a signature that is not of the key the token names, or not of its kind", async () => {
  const good = jwt("RS256");
  const refused = [
    jwt("stranger", { header: { kid: "RS256" } }),
    jwt("stranger", { header: { kid: "for encryption" } }),
    jwt("stranger", { header: { kid: undefined } }),
    jwt("RS256", { header: { alg: "ES256", kid: "ES256" } }),
    jwt("RS256", { header: { kid: "ES256" } }),
    jwt("ES256", { dsaEncoding: "der" }),
    jwt("RS256", { header: { alg: "RS512" } }),
    jwt("RS256", { header: { alg: "none" } }),
    jwt("RS256", { header: { jku: "https://keys.test/mine.json" } }),
    `${good.slice(0, -8)}AAAAAAAA`,
    good.slice(0, good.lastIndexOf(".") + 1),
  ];
  for (const [n, token] of refused.entries()) {
    const answered = await ask(byJwks, token);
    assert.equal(answered.body?.code, "token_invalid", `${n}: ${answered.text}`);
  }
});

test("jwks: issuer, audience and time are checked after the signature", async () => {
  for (const [changes, code] of [
    [{ iss: "https://other.test" }, "token_invalid"],
    [{ iss: undefined }, "token_invalid"],
    [{ aud: "other" }, "token_invalid"],
    [{ aud: undefined }, "token_invalid"],
    [{ exp: now - 61 }, "token_expired"],
    [{ nbf: now + 3600 }, "token_invalid"],
  ]) {
    for (const key of ["RS256", "ES256"]) assertRefused(await ask(byJwks, jwt(key, changes)), 401, code);
  }
  assert.equal((await ask(byJwks, jwt("RS256", { exp: now - 30, aud: "conduit" }))).status, 200, "a minute of leeway");
});

test("secret: the user's role counts, not the token's claims", async () => {
  for (const user of ["us_acme_owner", "us_acme_member"]) {
    assert.equal((await ask(bySecret, bySecret.jwt({ user, claims: { role: "owner", workspace_id: "ws_globex" } }))).status, 200);
  }
  assertRefused(await ask(bySecret, bySecret.jwt({ user: "us_globex_owner", claims: { role: "owner" } })), 404, "workspace_not_found");
  const input = `${encode({ alg: "RS256", kid: "RS256" })}.${encode(claims)}`;
  const rs256 = `${input}.${createSign("SHA256").update(input).sign(keys.RS256.privateKey, "base64url")}`;
  assertRefused(await ask(bySecret, rs256), 401, "token_invalid");
});

test("a member who is removed, or whose role changes, is so at the next request", async () => {
  const token = bySecret.jwt({ user: "us_globex_admin" });
  const there = { workspace: bySecret.globex.workspace };
  assert.equal((await ask(bySecret, token, there)).status, 200);
  await bySecret.db.prepare("DELETE FROM workspace_members WHERE user_id = 'us_globex_admin'").run();
  assertRefused(await ask(bySecret, token, there), 404, "workspace_not_found");
});

test("a service token is stored as a hash, is one workspace's, and can be revoked and run out", async () => {
  const { acme, globex, db } = bySecret;
  const rows = await bySecret.rows("SELECT token_hash FROM service_tokens");
  assert.ok(rows.some((row) => row.token_hash === serviceTokenHash(acme.service)));
  assert.ok(rows.every((row) => !row.token_hash.startsWith("cst_")));

  assert.equal((await ask(bySecret, acme.service, { workspace: null })).status, 200, "it names its workspace itself");
  assertRefused(await ask(bySecret, acme.service, { workspace: globex.workspace }), 404, "workspace_not_found");
  // Its hash is no token.
  assertRefused(await ask(bySecret, `cst_${serviceTokenHash(acme.service)}`), 401, "token_invalid");

  const token = serviceToken();
  bySecret.seen.apiTokens.add(token);
  const set = (column, value) => db.prepare(`UPDATE service_tokens SET ${column} = ?1 WHERE token_hash = ?2`).bind(value, serviceTokenHash(token)).run();
  await db
    .prepare("INSERT INTO service_tokens (token_hash, workspace_id, name, role, created_at, expires_at) VALUES (?1, ?2, 'brief', 'owner', ?3, ?4)")
    .bind(serviceTokenHash(token), acme.workspace, Date.now(), Date.now() + 60_000)
    .run();
  assert.equal((await ask(bySecret, token)).status, 200);
  await set("expires_at", Date.now());
  assertRefused(await ask(bySecret, token), 401, "token_invalid");
  await set("expires_at", null);
  assert.equal((await ask(bySecret, token)).status, 200);
  await set("revoked_at", Date.now());
  assertRefused(await ask(bySecret, token), 401, "token_invalid");
});
