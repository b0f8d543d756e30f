// The two credentials of the API, made outside of it: the host product's JWT, and a service token with its stored hash.

import { createHash, createHmac, randomBytes } from "node:crypto";

const url = (value) => Buffer.from(value).toString("base64url");

/** An HS256 JWT as the host product signs it. `claims` is merged over { sub, iat, exp }; times are seconds. */
export function apiToken({ secret, user, hours = 12, claims = {}, now = Date.now() }) {
  const iat = Math.floor(now / 1000);
  const body = { iss: "conduit-local", sub: user, iat, exp: iat + hours * 3600, ...claims };
  const signed = `${url('{"alg":"HS256","typ":"JWT"}')}.${url(JSON.stringify(body))}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** A new service token: `cst_` and 256 random bits. */
export const serviceToken = () => `cst_${randomBytes(32).toString("base64url")}`;

/** What service_tokens.token_hash holds; crypto::service_token::hash is the same function. */
export function serviceTokenHash(token) {
  const hash = createHash("sha256");
  for (const part of ["conduit.service-token.v1", token]) {
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(Buffer.byteLength(part)));
    hash.update(length).update(part);
  }
  return hash.digest("base64url");
}
