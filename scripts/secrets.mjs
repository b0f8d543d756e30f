// The one list of secrets, and the ones a local run makes for itself.
//
// Each Worker's wrangler.toml declares the ones it needs in `[secrets] required = [...]` and gets no other, locally as
// in production. Local values are random, made once, and kept in .local/secrets.json, which git ignores: deleting that
// file makes every token sealed so far unreadable.

import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { local } from "./repo.mjs";

const key = () => randomBytes(32).toString("base64");
const word = () => randomBytes(24).toString("base64url");

/** Name to what makes a local value. */
export const secrets = {
  TOKEN_ENC_KEY_B64: key, // seals tokens: AES-256-GCM, current key
  STATE_MAC_KEY_B64: key, // makes PKCE verifiers of states; an OAuth start holds it, and cannot open tokens
  AUDIT_MAC_KEY_B64: key, // seals the ends of the audit chains
  PII_HASH_KEY_B64: key, // HMAC of e-mail addresses and telephone numbers
  JWT_HS256_SECRET: key, // shared with the host product, which signs API tokens with it
  HUBSPOT_CLIENT_ID: () => "stand-in-hubspot-client",
  HUBSPOT_CLIENT_SECRET: word,
  SALESFORCE_CLIENT_ID: () => "stand-in-salesforce-client",
  SALESFORCE_CLIENT_SECRET: word,
  WEBHOOK_SECRET: () => `whsec_${key()}`, // signs alarms for WEBHOOK_URL
  OPERATOR_TOKEN: word, // the operator's own endpoints
};

/** Secrets nobody has to have, by the one whose holders also get them: a previous key opens what it sealed, while keys rotate. */
export const optionalSecrets = {
  TOKEN_ENC_KEY_B64: ["TOKEN_ENC_KEY_PREVIOUS_B64"],
  AUDIT_MAC_KEY_B64: ["AUDIT_MAC_KEY_PREVIOUS_B64"],
};

/** A value for every secret. */
export const makeSecrets = () => Object.fromEntries(Object.entries(secrets).map(([name, make]) => [name, make()]));

/** The local secrets of this checkout: made at the first call, completed when the list has grown. */
export function localSecrets() {
  const file = local("secrets.json");
  const kept = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
  const all = { ...makeSecrets(), ...kept };
  if (Object.keys(all).length !== Object.keys(kept).length) {
    mkdirSync(local(), { recursive: true });
    writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`, { mode: 0o600 });
  }
  return all;
}
