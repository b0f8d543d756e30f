// The JavaScript twin of functions/hubspot-oauth-start: what a careful person would write by hand for this one endpoint.
//
// The same work in the same order: an HS256 JWT by WebCrypto, membership by one query, return_to against the allowed
// origins, state, cookie and PKCE, the verifier as an HMAC of the state, the same insert, log line and headers.
// What it stores is what functions/hubspot-oauth-callback opens: the bench finishes a flow that began here before it
// measures. It has no other refusals than a caller of this endpoint can meet, and keeps its imported keys, as one would.

const text = new TextEncoder();
const json = new TextDecoder("utf-8", { fatal: true });
const { subtle } = crypto;

const headers = {
  "Cache-Control": "no-store",
  "Referrer-Policy": "no-referrer",
  "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
  "X-Content-Type-Options": "nosniff",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
};

export default {
  async fetch(request, env) {
    const id = request.headers.get("x-request-id") ?? request.headers.get("cf-ray") ?? hex(random(12));
    try {
      return await start(request, env, id);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return refused(error, id);
    }
  },
};

async function start(request, env, id) {
  if (request.method !== "GET") throw new Refusal(405, "method_not_allowed", "this path does not have this method");
  const query = new URL(request.url).searchParams;
  const caller = await authenticate(request, env, only(query, "workspace_id"));
  if (caller.role !== "owner" && caller.role !== "admin") throw new Refusal(403, "admin_required", "only an admin or owner may do this");
  const returnTo = checkedReturnTo(only(query, "return_to"), env);
  if (only(query, "login_host") !== null) throw new Refusal(400, "login_host_refused", "HubSpot has no login host");

  const [state, cookie] = [random(32), random(32)].map(base64url);
  const { verifier, id: keyId } = await verifierOf(env, state);
  const [stateHash, cookieHash, challenge] = await Promise.all([
    sha256(frame("conduit.oauth-state.v1", state)),
    sha256(frame("conduit.browser-cookie.v1", cookie)),
    sha256(text.encode(verifier)),
  ]);
  const now = Date.now();
  const expiresAt = now + 600_000;
  await env.DB.prepare(
    `INSERT INTO oauth_states (state_hash, crm, flow, workspace_id, user_id, browser_hash, verifier_key_id, return_to, login_host, created_at, expires_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)`,
  )
    .bind(stateHash, "hubspot", "connect", caller.workspace, caller.user, cookieHash, keyId, returnTo, null, now, expiresAt)
    .run();
  console.log(JSON.stringify({ crm: "hubspot", event: "oauth_started", request_id: id, worker: "hubspot-oauth-start", workspace_id: caller.workspace }));

  const asked = [
    ["client_id", env.HUBSPOT_CLIENT_ID],
    ["redirect_uri", `${env.PUBLIC_ORIGIN}/functions/v1/hubspot-oauth-callback`],
    ["scope", env.HUBSPOT_SCOPES],
    ["optional_scope", env.HUBSPOT_OPTIONAL_SCOPES],
    ["state", state],
    ["code_challenge", challenge],
    ["code_challenge_method", "S256"],
  ];
  const url = `${env.STAND_IN_ORIGIN ?? "https://app.hubspot.com"}/oauth/authorize?${asked.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
  const set = { ...headers, "X-Request-Id": id, "Set-Cookie": `__Host-conduit-hubspot=${cookie}; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax` };
  if (request.headers.get("accept")?.includes("text/html")) return new Response(null, { status: 302, headers: { ...set, Location: url } });
  const body = JSON.stringify({ authorize_url: url, expires_at: new Date(expiresAt).toISOString() });
  return new Response(body, { headers: { ...set, "Content-Type": "application/json" } });
}

async function authenticate(request, env, workspace) {
  const bearer = request.headers.get("authorization")?.match(/^bearer +(\S+)$/i)?.[1];
  if (!bearer) throw new Refusal(401, "token_required", "send `Authorization: Bearer`");
  const invalid = new Refusal(401, "token_invalid", "the access token is not valid");
  const parts = bearer.split(".");
  if (parts.length !== 3 || bearer.length > 8192) throw invalid;
  let header, claims, signature;
  try {
    [header, claims] = parts.slice(0, 2).map((part) => JSON.parse(json.decode(fromBase64url(part))));
    signature = fromBase64url(parts[2]);
  } catch {
    throw invalid;
  }
  if (header?.alg !== "HS256" || ["crit", "jwk", "jku", "x5u", "x5c"].some((name) => name in header)) throw invalid;
  const { jwt } = await keysOf(env);
  if (!(await subtle.verify("HMAC", jwt, signature, text.encode(`${parts[0]}.${parts[1]}`)))) throw invalid;
  const now = Date.now() / 1000;
  if (typeof claims.exp !== "number" || typeof claims.sub !== "string" || claims.sub === "") throw invalid;
  if (now >= claims.exp + 60) throw new Refusal(401, "token_expired", "the access token has expired");
  if (Math.max(claims.nbf ?? 0, claims.iat ?? 0) > now + 60) throw invalid;
  if (workspace === null) throw new Refusal(400, "workspace_required", "name the workspace in the query");
  const user = claims.sub.startsWith("us_") ? claims.sub : `us_${claims.sub}`;
  const row = await env.DB.prepare(
    `SELECT w.id AS workspace_id, w.shard, m.role, NULL AS token_name
     FROM workspace_members m JOIN workspaces w ON w.id = m.workspace_id
     WHERE m.workspace_id = ?1 AND m.user_id = ?2`,
  )
    .bind(workspace, user)
    .first();
  if (row === null) throw new Refusal(404, "workspace_not_found", "there is no such workspace, or you are not a member of it");
  return { workspace: row.workspace_id, user, role: row.role };
}

/** A parameter given once, or null. */
function only(query, name) {
  const values = query.getAll(name);
  if (values.length > 1) throw new Refusal(400, "invalid_parameter", `\`${name}\` must be given once`);
  return values[0] ?? null;
}

function checkedReturnTo(given, env) {
  if (given === null) return null;
  const origins = env.RETURN_TO_ORIGINS.split(",").map((origin) => origin.trim());
  try {
    const url = new URL(given.startsWith("/") && !given.startsWith("//") ? origins[0] + given : given);
    if (given.length <= 2048 && !/[\s\\]/.test(given) && !url.username && !url.password && origins.includes(url.origin)) return url.href;
  } catch {
    // Not a URL.
  }
  throw new Refusal(400, "return_to_refused", "`return_to` must be a URL on one of the allowed origins");
}

let kept = null;

/** The imported keys: once per isolate. */
function keysOf(env) {
  kept ??= importKeys(env);
  return kept;
}

async function importKeys(env) {
  const raw = Uint8Array.from(atob(env.STATE_MAC_KEY_B64), (character) => character.charCodeAt(0));
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const [jwt, states] = await Promise.all([
    subtle.importKey("raw", text.encode(env.JWT_HS256_SECRET), hmac, false, ["verify"]),
    subtle.importKey("raw", raw, hmac, false, ["sign"]),
  ]);
  const check = await subtle.sign("HMAC", states, text.encode("conduit key id v1"));
  return { jwt, states, id: hex(new Uint8Array(check, 0, 4)) };
}

async function verifierOf(env, state) {
  const { states, id } = await keysOf(env);
  const tag = await subtle.sign("HMAC", states, frame("conduit.pkce-verifier.v1", state));
  return { verifier: base64url(new Uint8Array(tag)), id };
}

/** Every part behind its length in eight bytes. */
function frame(...parts) {
  const encoded = parts.map((part) => (typeof part === "string" ? text.encode(part) : part));
  const framed = new Uint8Array(encoded.reduce((sum, part) => sum + 8 + part.length, 0));
  const view = new DataView(framed.buffer);
  let at = 0;
  for (const part of encoded) {
    view.setBigUint64(at, BigInt(part.length));
    framed.set(part, at + 8);
    at += 8 + part.length;
  }
  return framed;
}

const sha256 = async (bytes) => base64url(new Uint8Array(await subtle.digest("SHA-256", bytes)));
const random = (count) => crypto.getRandomValues(new Uint8Array(count));
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const fromBase64url = (part) => Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));

class Refusal extends Error {
  constructor(status, code, detail) {
    super(detail);
    Object.assign(this, { status, code });
  }
}

function refused({ status, code, message }, id) {
  const body = JSON.stringify({ type: `urn:conduit:problem:${code}`, title: code, status, code, detail: message, request_id: id });
  const more = status === 401 ? { "WWW-Authenticate": "Bearer" } : {};
  return new Response(body, { status, headers: { ...headers, ...more, "X-Request-Id": id, "Content-Type": "application/problem+json" } });
}
