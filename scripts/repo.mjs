// Where things are in this repository, and the environment its tools run in. Node 20 and no packages: the set-up uses it.

import { readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const at = (...parts) => join(root, ...parts);

/** Everything a local run leaves behind: secrets, data, generated configuration, logs. Ignored by git. CONDUIT_LOCAL is another folder. */
export const local = (...parts) => at(process.env.CONDUIT_LOCAL ?? ".local", ...parts);

export const cargoTarget = process.env.CARGO_TARGET_DIR ?? at("target");
export const cargoTools = at("target", "tools");
export const bin = (name) => at("node_modules", ".bin", name);

/** node_modules/.bin first, so that wrangler and wasm-opt run under the pinned Node whatever Node the machine has. */
export const toolEnv = (extra = {}) => ({
  ...process.env,
  PATH: [at("node_modules", ".bin"), join(cargoTools, "bin"), process.env.PATH].join(delimiter),
  WRANGLER_SEND_METRICS: "false",
  ...extra,
});

/** The exact version Cargo.lock holds of a crate: tools that must match it are installed at that version. */
export function lockedVersion(crate) {
  const lock = readFileSync(at("Cargo.lock"), "utf8");
  const found = lock.match(new RegExp(`name = "${crate}"\\nversion = "([^"]+)"`));
  if (!found) throw new Error(`Cargo.lock has no ${crate}; run cargo generate-lockfile.`);
  return found[1];
}
