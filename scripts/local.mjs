// A local run: all Workers under one `wrangler dev`, the stand-in CRM among them, on one origin and offline.
//
// Everything it writes is in .local/: secrets.json and people.json (made once), state/ (D1, KV, R2, Durable Objects:
// kept between starts), workers/ (each Worker's configuration with the overlay scripts/workers.mjs describes, and its
// secrets in .dev.vars), wrangler.log, running.json (while it runs: origin, workspace, tokens).

import { spawn } from "node:child_process";
import { createWriteStream, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Miniflare } from "miniflare";
import { fireCrons } from "./crons.mjs";
import { migrate, seedWorkspace } from "./database.mjs";
import { at, bin, local, toolEnv } from "./repo.mjs";
import { localSecrets } from "./secrets.mjs";
import { Stop } from "./steps.mjs";
import { apiToken, serviceToken } from "./tokens.mjs";
import { readWorkers, secretsOf, wranglerConfig } from "./workers.mjs";

const state = local("state");

/** Stops with a sentence when something else listens on the port. */
export async function ensurePortFree(port) {
  for (const host of ["127.0.0.1", "::1"]) {
    const server = createServer();
    const error = await new Promise((resolve) => {
      server.once("error", resolve);
      server.listen({ port, host }, () => resolve(null));
    });
    if (error === null) await new Promise((resolve) => server.close(resolve));
    if (error?.code === "EADDRINUSE") {
      throw new Stop(`Port ${port} is taken: stop what listens there, or choose another with \`npm start -- --port ${port + 1}\`.`);
    }
  }
}

/** Migrates the local D1 and seeds its workspace. Returns who is in it: { workspace, user, token }. */
export async function prepareData() {
  const file = local("people.json");
  mkdirSync(local(), { recursive: true });
  if (!existsSync(file)) {
    const people = { workspace: "ws_local", user: "us_owner", token: serviceToken() };
    writeFileSync(file, `${JSON.stringify(people, null, 2)}\n`, { mode: 0o600 });
  }
  const people = JSON.parse(readFileSync(file, "utf8"));
  // Every database gets every migration: a shard is DB without its directory tables in use.
  const databases = Object.fromEntries(
    readWorkers().flatMap((worker) => (worker.config.d1_databases ?? []).map((d) => [d.binding, d.database_id])),
  );
  const miniflare = new Miniflare({
    modules: true,
    script: "export default {}",
    cf: false,
    d1Databases: databases,
    d1Persist: join(state, "v3", "d1"), // where `wrangler dev --persist-to` looks
  });
  try {
    for (const binding of Object.keys(databases)) {
      const db = await miniflare.getD1Database(binding);
      await migrate(db);
      if (binding === "DB") await seedWorkspace(db, people);
    }
  } finally {
    await miniflare.dispose();
  }
  return people;
}

/** Writes every Worker's configuration, that of the first one (scripts/local-front.mjs) before the others. */
function writeConfigurations(workers, origin) {
  const secrets = localSecrets();
  rmSync(local("workers"), { recursive: true, force: true });
  const write = (name, configuration) => {
    const folder = local("workers", name);
    mkdirSync(folder, { recursive: true });
    const file = join(folder, "wrangler.json");
    writeFileSync(file, JSON.stringify(configuration(folder), null, 2));
    return file;
  };
  const front = write("local-front", (folder) => ({
    name: "local-front",
    main: relative(folder, at("scripts", "local-front.mjs")),
    no_bundle: true,
    find_additional_modules: false,
    compatibility_date: workers[0].config.compatibility_date,
    compatibility_flags: ["service_binding_extra_handlers"], // gives a service binding the method `scheduled`
    services: [
      { binding: "GATEWAY", service: "gateway" },
      ...workers.filter((worker) => worker.cron.length > 0).map(({ name }) => ({ binding: `CRON:${name}`, service: name })),
    ],
  }));
  const files = workers.map((worker) => {
    const file = write(worker.name, (folder) => wranglerConfig(worker, { origin, folder }));
    const values = Object.entries(secretsOf(worker, secrets)).map(([name, value]) => `${name}="${value}"\n`);
    writeFileSync(join(dirname(file), ".dev.vars"), values.join(""), { mode: 0o600 });
    return file;
  });
  return [front, ...files];
}

/**
 * Starts everything on `port` and returns at once: { origin, workspace, user, token, apiToken, ready, ended, stop }.
 * `ready` resolves when the origin answers; `ended` when wrangler has ended, for whatever reason; `stop` ends it and
 * whatever it started. What the Workers log goes to `log` and to .local/wrangler.log.
 */
export function startLocal({ port, people, log = () => {} }) {
  const origin = `http://localhost:${port}`;
  const workers = readWorkers();
  const configurations = writeConfigurations(workers, origin).flatMap((file) => ["-c", file]);
  const options = ["--port", String(port), "--inspector-port", "0", "--persist-to", state, "--show-interactive-dev-session=false"];
  const child = spawn(bin("wrangler"), ["dev", ...configurations, ...options], {
    cwd: at(),
    // A group of its own: a terminal's Ctrl-C comes to us alone, and we end wrangler and workerd together.
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    // Its own registry: other wranglers on this machine may run Workers of the same names.
    env: toolEnv({ WRANGLER_REGISTRY_PATH: local("registry"), WRANGLER_LOG_PATH: local("logs"), FORCE_COLOR: "0" }),
  });
  const file = createWriteStream(local("wrangler.log"));
  const heard = { text: "", ready: false };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      file.write(chunk);
      if (heard.ready) log(String(chunk));
      else heard.text += chunk;
    });
  }
  const ended = new Promise((resolve) => child.once("close", resolve));
  const token = apiToken({ secret: localSecrets().JWT_HS256_SECRET, user: people.user });
  const addresses = { origin, ...people, apiToken: token };
  let stopCrons = () => {};
  ended.then(() => stopCrons());
  const ready = untilAnswered(origin, child, heard).then(() => {
    heard.ready = true;
    stopCrons = fireCrons(workers, (worker, cron) => runCron(origin, worker.name, cron).catch(() => {}));
    writeFileSync(local("running.json"), JSON.stringify(addresses, null, 2), { mode: 0o600 });
  });
  return { ...addresses, ready, ended, stop: () => stopWrangler(child) };
}

/** Runs a cron Worker of a local run now; answers miniflare's outcome, "ok" when all went well. */
export async function runCron(origin, name, cron = "") {
  const response = await fetch(`${origin}/local/cron/${name}?cron=${encodeURIComponent(cron)}`, { method: "POST" });
  return (await response.json()).outcome;
}

async function untilAnswered(origin, child, heard) {
  const deadline = performance.now() + 60_000;
  while (!(await answers(origin))) {
    if (child.exitCode !== null) throw new Stop(`wrangler ended before the Workers answered. It said:\n${heard.text.trim()}`);
    if (performance.now() > deadline) {
      await stopWrangler(child);
      throw new Stop(`The Workers did not answer on ${origin} within a minute. wrangler said:\n${heard.text.trim()}`);
    }
    await sleep(50);
  }
}

/** Asks wrangler to end, which then ends its workerd; kills the whole group if it has not within four seconds. */
async function stopWrangler(child) {
  const ended = new Promise((resolve) => (child.exitCode ?? child.signalCode) !== null ? resolve() : child.once("exit", resolve));
  child.kill("SIGINT");
  await Promise.race([ended, sleep(4000, undefined, { ref: false })]);
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // The group has no process left, as it should.
  }
  rmSync(local("running.json"), { force: true });
}

async function answers(origin) {
  try {
    const response = await fetch(origin, { redirect: "manual", signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.status < 500;
  } catch {
    return false;
  }
}

/**
 * Calls `work` with the local run of this checkout that answers now ({ origin, workspace, user, token, apiToken }), or
 * builds and starts one for as long as `work` takes.
 */
export async function withLocal(work, { port = 8787 } = {}) {
  const file = local("running.json");
  if (existsSync(file)) {
    const running = JSON.parse(readFileSync(file, "utf8"));
    if (await answers(running.origin)) return work(running);
  }
  await ensurePortFree(port);
  const { buildWorkers } = await import("./build.mjs");
  await buildWorkers();
  const running = startLocal({ port, people: await prepareData() });
  const stop = () => running.stop().then(() => process.exit(1));
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, stop);
  try {
    await running.ready;
    return await work(running);
  } finally {
    await running.stop();
  }
}
