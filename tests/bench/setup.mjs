// setup.cold_s, setup.second_start_s: `npm start` in a clean clone of what is committed, to a working address, and once more with
// nothing changed. Each must end by Ctrl-C and leave nothing behind. "Cold" is everything but the downloads of the machine's cargo
// and npm, which keep theirs.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { root } from "../../scripts/repo.mjs";

export const prefixes = ["setup"];

const READY = /ready in ([\d.]+) s/;
const SERVICE_TOKEN = /service token\s+(\S+)/;

export async function run({ report, note }) {
  const parent = mkdtempSync(join(tmpdir(), "conduit-setup-"));
  const clone = join(parent, "clone");
  try {
    execFileSync("git", ["clone", "--quiet", root, clone]);
    for (const key of ["setup.cold_s", "setup.second_start_s"]) {
      const { seconds, steps } = await start(clone);
      report(key, seconds);
      note(`${key}: ${steps.join(", ")}`);
    }
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
}

/** `npm start` until its address answers; then Ctrl-C, until it has gone. The steps are those it prints. */
async function start(clone) {
  const port = await freePort();
  const { CONDUIT_BEGAN: _, CARGO_TARGET_DIR: __, PATH, ...rest } = process.env;
  // Without this checkout's own tools.
  const env = { ...rest, PATH: PATH.split(delimiter).filter((folder) => !folder.startsWith(root)).join(delimiter) };
  const child = spawn("npm", ["start", "--", "--port", String(port)], { cwd: clone, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise((resolve) => child.once("close", resolve));
  let said = "";
  try {
    await new Promise((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (text) => {
          said += text;
          if (READY.test(said) && SERVICE_TOKEN.test(said)) resolve();
        });
      }
      child.once("close", (code) => reject(new Error(`npm start ended with ${code}:\n${said.slice(-2000)}`)));
    });
    const authorization = `Bearer ${SERVICE_TOKEN.exec(said)[1]}`;
    const answer = await fetch(`http://localhost:${port}/functions/v1/crm-connections`, { headers: { authorization } });
    if (answer.status !== 200) throw new Error(`the address answers ${answer.status}`);
  } finally {
    // As a terminal does it: to the whole group.
    if (child.exitCode === null) process.kill(-child.pid, "SIGINT");
    await ended;
  }
  if (!(await isFree(port))) throw new Error(`something still listens on ${port}`);
  return { seconds: Number(READY.exec(said)[1]), steps: [...said.matchAll(/✓ (.+ \([\d.]+ s\))/g)].map(([, step]) => step) };
}

const listen = (port) =>
  new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });

async function freePort() {
  const server = await listen(0);
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

async function isFree(port) {
  try {
    (await listen(port)).close();
    return true;
  } catch {
    return false;
  }
}
