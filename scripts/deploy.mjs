// npm run deploy: every Worker to the Cloudflare account wrangler is logged in to, from their wrangler.toml, each after
// the Workers it is bound to, so the gateway comes last. The stand-in CRM stays here.
//
//   npm run deploy -- --dry-run           builds and packs everything, sends nothing, needs no account
//   npm run deploy -- --secrets FILE      also sets secrets: a JSON object of all of them, of which each Worker gets its own
//
// Stops before the first upload when the id of a database or a KV namespace is still the local placeholder. A Worker that would lack a secret it
// requires is refused by wrangler, which names it.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bin } from "./repo.mjs";
import { main, option, run, step, Stop } from "./steps.mjs";
import { continueUnderPinnedNode, ensureToolchain } from "./toolchain.mjs";

const dryRun = process.argv.includes("--dry-run");

main(import.meta, async () => {
  await ensureToolchain();
  await continueUnderPinnedNode();
  const { buildWorkers } = await import("./build.mjs");
  const { secretsOf, standIn } = await import("./workers.mjs");
  const workers = inOrder((await buildWorkers()).filter((worker) => worker.name !== standIn));
  const given = option("secrets", null);
  const secrets = given === null ? {} : JSON.parse(readFileSync(given, "utf8"));
  if (!dryRun) {
    checkIds(workers);
    await migrateRemote(workers);
  }
  for (const worker of workers) {
    await step(`${worker.name}${worker.secrets.length > 0 ? ` (secrets: ${worker.secrets.join(", ")})` : ""}`, async () => {
      const must = `wrangler deploy of ${worker.name} failed: see above.`;
      await withSecretsFile(secretsOf(worker, secrets), (file) =>
        run(bin("wrangler"), ["deploy", "-c", worker.configFile, ...(dryRun ? ["--dry-run"] : []), ...file], { must }),
      );
    }, { announce: false });
  }
});

/** Calls `work` with the option that names a file of these secrets, readable by us alone and gone afterwards. */
async function withSecretsFile(values, work) {
  if (dryRun || Object.keys(values).length === 0) return work([]);
  const folder = mkdtempSync(join(tmpdir(), "conduit-"));
  try {
    const file = join(folder, "secrets.json");
    writeFileSync(file, JSON.stringify(values), { mode: 0o600 });
    return await work(["--secrets-file", file]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Each Worker after those it calls (service bindings) and those whose Durable Objects it uses (script_name). */
function inOrder(workers) {
  const ordered = [];
  const entered = new Set();
  const visit = (worker) => {
    if (entered.has(worker.name)) return;
    entered.add(worker.name);
    const { services = [], durable_objects: objects = {} } = worker.config;
    const needed = [...services.map((s) => s.service), ...(objects.bindings ?? []).map((b) => b.script_name)];
    workers.filter((other) => needed.includes(other.name)).forEach(visit);
    ordered.push(worker);
  };
  workers.forEach(visit);
  return ordered;
}

const databases = (workers) => new Map(workers.flatMap((w) => (w.config.d1_databases ?? []).map((d) => [d.database_name, { ...d, worker: w }])));

function checkIds(workers) {
  for (const { database_name: name, database_id: id } of databases(workers).values()) {
    if (/^[0-]+$/.test(id)) {
      throw new Stop(`D1 "${name}" has no id yet: run \`npx wrangler d1 create ${name}\` and put the id in place of ${id} in every wrangler.toml.`);
    }
  }
  for (const { binding, id } of workers.flatMap((worker) => worker.config.kv_namespaces ?? [])) {
    if (/^0+$/.test(id)) {
      throw new Stop(`The KV namespace has no id yet: run \`npx wrangler kv namespace create ${binding}\` and put the id in place of ${id} in every wrangler.toml.`);
    }
  }
}

async function migrateRemote(workers) {
  for (const { database_name: name, worker } of databases(workers).values()) {
    await step(`migrations of D1 "${name}"`, () =>
      run(bin("wrangler"), ["d1", "migrations", "apply", name, "--remote", "-c", worker.configFile], {
        env: { CI: "true" }, // answers the confirmation
        must: `The migrations of "${name}" failed: see above; is wrangler logged in?`,
      }),
    );
  }
}
