// Every Worker of this repository, read from its wrangler.toml, and the shapes a local run needs it in.
//
// A Worker is a folder with a wrangler.toml: functions/*, cron/*, tests/stub-crm, and the gateway, whose wrangler.toml
// is the one at the root. The folder's name is the package's and the Worker's name. wrangler.toml is what production
// gets; a local run lays an overlay over it, and nothing else:
//
// - vars: STAND_IN_ORIGIN, PUBLIC_ORIGIN, RETURN_TO_ORIGINS and SIGN_IN_URL are this machine's origin, DRY_RUN is "false";
// - a service binding STAND_IN to the Worker stub-crm, the stand-in CRM. Production has no such Worker and no binding.
//
// `npm start` writes the overlaid configuration to .local/workers/<name>/wrangler.json for `wrangler dev`
// (`wranglerConfig`); the endpoint tests and benches hand the same to miniflare (`miniflareWorkers`).

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { parse } from "smol-toml";
import { at, root } from "./repo.mjs";
import { optionalSecrets, secrets as secretList } from "./secrets.mjs";
import { Stop } from "./steps.mjs";

export const standIn = "stub-crm";

/** Workers that only the endpoint tests run. */
const testOnly = ["conformance"];

/** Every Worker of a run, the gateway first: { name, folder, configFile, config, build, wasm, objects, secrets, cron }. */
export function readWorkers({ withTests = false } = {}) {
  const folders = ["functions", "cron"].flatMap((group) =>
    existsSync(at(group)) ? readdirSync(at(group)).sort().map((name) => join(group, name)) : [],
  );
  folders.push(...[standIn, ...(withTests ? testOnly : [])].map((name) => join("tests", name)));
  const files = ["wrangler.toml", ...folders.map((folder) => join(folder, "wrangler.toml"))];
  return files.filter((file) => existsSync(at(file))).map(readWorker);
}

function readWorker(file) {
  const config = parse(readFileSync(at(file), "utf8"));
  const build = dirname(resolve(dirname(at(file)), config.main));
  const folder = relative(root, dirname(build));
  const name = basename(folder);
  if (config.name !== name) throw new Stop(`${file}: name is "${config.name}", but the Worker's folder is ${folder}.`);
  const required = config.secrets?.required ?? [];
  const unknown = required.filter((secret) => !(secret in secretList));
  if (unknown.length > 0) throw new Stop(`${file}: unknown secret ${unknown.join(", ")}; the list is in scripts/secrets.mjs.`);
  return {
    name,
    folder,
    configFile: file,
    config,
    build,
    wasm: `${name.replaceAll("-", "_")}.wasm`,
    objects: (config.durable_objects?.bindings ?? []).filter((b) => !b.script_name).map((b) => b.class_name),
    secrets: required,
    cron: config.triggers?.crons ?? [],
  };
}

/** The variables of a local run on `origin`. */
export const localVars = (origin) => ({
  DRY_RUN: "false",
  PUBLIC_ORIGIN: origin,
  RETURN_TO_ORIGINS: origin,
  SIGN_IN_URL: `${origin}/`,
  STAND_IN_ORIGIN: origin,
});

/** A Worker's configuration with the local overlay, for a wrangler.json in `folder`; paths are made relative to it. */
export function wranglerConfig(worker, { origin, folder }) {
  const { secrets: _, triggers: __, ...config } = structuredClone(worker.config);
  const from = dirname(at(worker.configFile));
  const moved = (path) => relative(folder, resolve(from, path));
  config.main = moved(config.main);
  config.vars = { ...config.vars, ...localVars(origin) };
  for (const database of config.d1_databases ?? []) {
    if (database.migrations_dir) database.migrations_dir = moved(database.migrations_dir);
  }
  if (worker.name !== standIn) config.services = [...(config.services ?? []), { binding: "STAND_IN", service: standIn }];
  // The build is bundled already: wrangler only has to load it.
  config.no_bundle = true;
  config.find_additional_modules = true;
  config.base_dir = dirname(config.main);
  config.rules = [{ type: "CompiledWasm", globs: ["*.wasm"], fallthrough: false }];
  return config;
}

/** The secrets a Worker declares, and the optional ones that go with them, out of `values`. */
export const secretsOf = (worker, values) => {
  const names = worker.secrets.flatMap((name) => [name, ...(optionalSecrets[name] ?? [])]);
  return Object.fromEntries(names.filter((name) => name in values).map((name) => [name, values[name]]));
};

/**
 * All Workers as miniflare's `workers: [...]`, the gateway first. `secrets` are values as `makeSecrets()` gives,
 * `vars` further variables for every Worker, `only` the names of the Workers to take (bindings to others are dropped).
 */
export function miniflareWorkers({ origin, secrets, vars = {}, only = null }) {
  const taken = readWorkers({ withTests: only !== null }).filter((worker) => only === null || only.includes(worker.name));
  const names = new Set(taken.map((worker) => worker.name));
  return taken.map((worker) => {
    const config = wranglerConfig(worker, { origin, folder: root });
    const producers = (config.queues?.producers ?? []).map((p) => [p.binding, { queueName: p.queue, deliveryDelay: p.delivery_delay }]);
    const consumers = (config.queues?.consumers ?? []).map((c) => [c.queue, consumer(c)]);
    return {
      name: worker.name,
      modulesRoot: worker.build,
      modules: [
        { type: "ESModule", path: join(worker.build, "index.js") },
        { type: "CompiledWasm", path: join(worker.build, "index_bg.wasm") },
      ],
      compatibilityDate: config.compatibility_date,
      compatibilityFlags: config.compatibility_flags ?? [],
      bindings: { ...config.vars, ...secretsOf(worker, secrets), ...vars },
      serviceBindings: Object.fromEntries(
        (config.services ?? []).filter((s) => names.has(s.service)).map((s) => [s.binding, s.service]),
      ),
      d1Databases: byBinding(config.d1_databases, "database_id"),
      kvNamespaces: byBinding(config.kv_namespaces, "id"),
      r2Buckets: byBinding(config.r2_buckets, "bucket_name"),
      durableObjects: Object.fromEntries(
        (config.durable_objects?.bindings ?? [])
          .filter((b) => !b.script_name || names.has(b.script_name))
          .map((b) => [b.name, { className: b.class_name, scriptName: b.script_name, useSQLite: true }]),
      ),
      queueProducers: Object.fromEntries(producers),
      queueConsumers: Object.fromEntries(consumers),
    };
  });
}

const byBinding = (list = [], field) => Object.fromEntries(list.map((entry) => [entry.binding, entry[field] ?? entry.binding]));

const consumer = (config) => ({
  maxBatchSize: config.max_batch_size,
  maxBatchTimeout: config.max_batch_timeout,
  maxRetries: config.max_retries,
  deadLetterQueue: config.dead_letter_queue,
  retryDelay: config.retry_delay,
});
