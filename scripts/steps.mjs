// Steps a person can follow: one line when a step begins, one when it ends, with the time it took. Node 20, no packages.

import { spawn } from "node:child_process";
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { root, toolEnv } from "./repo.mjs";

/** A mistake of the surroundings, not of the program: shown as its sentence alone, without a stack. */
export class Stop extends Error {}

export const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** Runs `work` under a name. `work` may return a few words to print beside the time. */
export async function step(name, work, { announce = true } = {}) {
  const began = performance.now();
  if (announce) console.log(`· ${name}`);
  const words = await work();
  console.log(`✓ ${name}${words ? `: ${words}` : ""} (${seconds(began)})`);
}

/**
 * Runs a command to its end and returns { code, output }. The output is kept, and also shown when `show` is set.
 * With `must`, a failure prints what the command said and stops with that sentence.
 */
export function run(command, args, { cwd = root, env = {}, show = false, must = null } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env: toolEnv(env), stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const keep = (stream) => (chunk) => {
      output += chunk;
      if (show) stream.write(chunk);
    };
    child.stdout.on("data", keep(process.stdout));
    child.stderr.on("data", keep(process.stderr));
    child.on("error", (error) => {
      if (error.code === "ENOENT") resolve({ code: 127, output: `${command}: not found` });
      else reject(error);
    });
    child.on("close", (code, signal) => {
      if (code !== 0 && must) {
        if (!show) process.stderr.write(output);
        reject(new Stop(must));
      } else resolve({ code: code ?? `signal ${signal}`, output });
    });
  });
}

/** Runs `work` over `items`, at most `width` at a time. */
export async function parallel(items, width, work) {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    }),
  );
}

/**
 * Runs a script's body when the script is the command, not an import of another one. A Stop prints its sentence,
 * anything else its stack; both exit with 1.
 */
export function main(meta, body) {
  if (realpathSync(process.argv[1]) !== realpathSync(fileURLToPath(meta.url))) return;
  body().catch((error) => {
    console.error(error instanceof Stop ? `✗ ${error.message}` : error);
    process.exit(1);
  });
}

/** The value after `--name` among the command's arguments, or `fallback`. */
export function option(name, fallback) {
  const index = process.argv.indexOf(`--${name}`);
  return index === -1 ? fallback : process.argv[index + 1];
}
