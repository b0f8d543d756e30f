// doubles.* and losses.*: 10,000 outcomes through Conduit and through a client as the field's templates are (POST, three
// retries when no answer comes), with 1 % of answers lost, 1 % of effects answered 500 and 5 % of messages delivered twice.
// Runs natively, in simulated time: tests/simulator, storm/side_by_side.rs.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, toolEnv } from "../../scripts/repo.mjs";

export const prefixes = ["doubles", "losses"];

export async function run({ report, note }) {
  const folder = mkdtempSync(join(tmpdir(), "conduit-exactly-once-"));
  try {
    const json = join(folder, "figures.json");
    const args = ["run", "--profile", "storm", "--quiet", "-p", "simulator", "--", "--exactly-once", "10000", "--json", json];
    const { stdout, stderr, status } = spawnSync("cargo", args, { cwd: root, env: toolEnv(), encoding: "utf8" });
    for (const line of stdout.trimEnd().split("\n")) note(line);
    for (const [key, number] of Object.entries(JSON.parse(readFileSync(json, "utf8")))) report(key, number);
    if (status !== 0) throw new Error(stderr || "Conduit left doubles or losses");
  } finally {
    rmSync(folder, { recursive: true });
  }
}
