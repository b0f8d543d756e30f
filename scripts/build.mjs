// npm run build [-- --with-tests]: every Worker, from Rust to `<folder>/build/index.js` and `index_bg.wasm`, the two files that are deployed.
//
// One `cargo build` for all of them, so that shared crates compile once; then wasm-bindgen, wasm-opt and esbuild for
// each Worker whose raw wasm has changed, two at a time. `strip` must not be set in the release profile: it removes a
// section wasm-bindgen reads; wasm-opt drops the names anyway.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bin, cargoTarget, cargoTools, lockedVersion } from "./repo.mjs";
import { entryModule } from "./entry.mjs";
import { main, parallel, run, seconds, step, Stop } from "./steps.mjs";
import { ensureToolchain } from "./toolchain.mjs";
import { withoutExports, withoutUnusedClasses } from "./unused-exports.mjs";

const target = "wasm32-unknown-unknown";

// wasm-opt -O1 takes half of what -Os takes, for 1% more bytes after gzip: rustc has optimised for size already.
// The features are named one by one, so that no encoding is used that workerd does not read.
const optimise = ["-O1"].concat(
  ["mutable-globals", "sign-ext", "nontrapping-float-to-int", "bulk-memory", "multivalue", "reference-types", "exception-handling"].map(
    (feature) => `--enable-${feature}`,
  ),
);

// The compact forms of SHA-256 and AES: a request hashes and opens a few hundred bytes, and they are 3 KB gzip a Worker less.
const compact = ["sha2_backend_soft", "aes_backend_soft"].map((name) => `--cfg=${name}=\\"compact\\"`);
const rustflags = `target.${target}.rustflags=[${compact.map((flag) => `"${flag}"`).join(", ")}]`;

// The entry module starts a new instance after a panic; these two options give it the means.
const bindgen = ["--target", "module", "--no-typescript", "--out-name", "index", "--experimental-reset-state-function", "--force-enable-abort-handler"];

/** Builds what has changed and returns the Workers, on request with those that only tests run. */
export async function buildWorkers({ withTests = false } = {}) {
  const { readWorkers } = await import("./workers.mjs");
  const workers = readWorkers({ withTests });
  if (workers.length === 0) throw new Stop("There is no Worker to build: no wrangler.toml at the root, in functions/ or in cron/.");
  const wasm = (worker) => join(cargoTarget, target, "release", worker.wasm);
  await step(`cargo build, ${workers.length} Workers`, async () => {
    const packages = workers.flatMap((worker) => ["-p", worker.name]);
    const show = process.stderr.isTTY === true;
    await run("cargo", ["build", "--release", "--target", target, "--config", rustflags, ...packages], { show, must: "cargo build failed: see above." });
  });

  const changed = workers.filter((worker) => {
    worker.hash = contentHash(worker, wasm(worker));
    const stamp = join(worker.build, ".hash");
    return !existsSync(stamp) || readFileSync(stamp, "utf8") !== worker.hash;
  });
  if (changed.length > 0) {
    await step(`wasm-bindgen and wasm-opt, ${changed.length} of ${workers.length} Workers`, () =>
      parallel(changed, 2, async (worker) => {
        const began = performance.now();
        await finish(worker, wasm(worker));
        console.log(`  ${worker.name} (${seconds(began)})`);
      }),
    );
  }
  return workers;
}

const recipe = JSON.stringify([optimise, bindgen, String(entryModule), String(withoutUnusedClasses), String(withoutExports)]);

function contentHash(worker, file) {
  const hash = createHash("sha256").update(recipe).update(lockedVersion("wasm-bindgen")).update(worker.objects.join());
  return hash.update(readFileSync(file)).digest("hex");
}

/** From the raw wasm to the two files, in a folder of its own that then takes the place of build/. */
async function finish(worker, raw) {
  const { build } = await import("esbuild");
  const staging = `${worker.build}.${process.pid}`;
  const file = (name) => join(staging, name);
  const failed = (tool) => `${tool} failed on ${worker.name}: see above.`;
  try {
    mkdirSync(staging, { recursive: true });
    await run(join(cargoTools, "bin", "wasm-bindgen"), [raw, "--out-dir", staging, ...bindgen], { must: failed("wasm-bindgen") });
    // workerd has no source phase imports yet; a plain import of a .wasm file gives it the same compiled module.
    const glue = withoutUnusedClasses(readFileSync(file("index.js"), "utf8").replaceAll("import source ", "import "), worker.objects);
    writeFileSync(file("index.js"), glue);
    const isUsed = (name) => new RegExp(`\\b${name}\\b`).test(glue);
    writeFileSync(file("used.wasm"), withoutExports(readFileSync(file("index_bg.wasm")), isUsed));
    const optimised = run(bin("wasm-opt"), [file("used.wasm"), "-o", file("optimised.wasm"), ...optimise], { must: failed("wasm-opt") });

    const exports = [...glue.matchAll(/^export (?:async )?(?:function|class) (\w+)/gm)].map(([, name]) => name);
    const missing = worker.objects.filter((name) => !exports.includes(name));
    if (missing.length > 0) throw new Stop(`${worker.name} exports no Durable Object class ${missing.join(", ")}, which its wrangler.toml binds.`);
    writeFileSync(file("entry.js"), entryModule(exports, worker.objects));
    await build({
      entryPoints: [file("entry.js")],
      outfile: file("bundle.js"),
      bundle: true,
      minify: true,
      format: "esm",
      external: ["./index_bg.wasm", "cloudflare:*"],
      logLevel: "warning",
    });
    await optimised;

    mkdirSync(worker.build, { recursive: true });
    rmSync(join(worker.build, ".hash"), { force: true });
    renameSync(file("optimised.wasm"), join(worker.build, "index_bg.wasm"));
    renameSync(file("bundle.js"), join(worker.build, "index.js"));
    writeFileSync(join(worker.build, ".hash"), worker.hash);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

main(import.meta, async () => {
  await ensureToolchain();
  await buildWorkers({ withTests: process.argv.includes("--with-tests") });
});
