// npm test: everything, with its own set-up. Every step runs even when one before it failed, except that what needs the
// built Workers needs the build. Ends with one line, `N passed, N failed`, and exit code 0 only when nothing failed. Only the
// browser's tests may be skipped, where there is no Chromium and none may be installed; the last line then says so.
//
//   npm test -- --only clippy     the steps whose name contains the word

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { at, bin, cargoTools } from "./repo.mjs";
import { main, option, run, seconds, Stop } from "./steps.mjs";
import { continueUnderPinnedNode, ensureChromium, ensureToolchain } from "./toolchain.mjs";

const wasm = ["--target", "wasm32-unknown-unknown"];
const total = { passed: 0, failed: 0, skipped: 0 };
const only = option("only", "");
let built = null;

main(import.meta, async () => {
  await ensureToolchain();
  await continueUnderPinnedNode();
  const { readWorkers } = await import("./workers.mjs");
  const workers = readWorkers({ withTests: true }).flatMap((worker) => ["-p", worker.name]);

  await check("format", () => cargo("fmt", "--all", "--check"));
  await check("clippy, native", () => cargo("clippy", "--quiet", "--all-targets", "--", "-D", "warnings"));
  await check("clippy, the edge and the Workers", () => cargo("clippy", "--quiet", ...wasm, "-p", "edge", ...workers, "--", "-D", "warnings"));
  await check("native tests", async () => rustCounts(await run("cargo", ["test", "--no-fail-fast"])));
  await check("crypto compiled to wasm", async () => {
    const runner = join(cargoTools, "bin", "wasm-bindgen-test-runner");
    const env = { CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER: runner };
    return rustCounts(await run("cargo", ["test", ...wasm, "-p", "crypto", "--lib", "--no-fail-fast"], { env }));
  });
  await check("build of every Worker", async () => {
    const { buildWorkers } = await import("./build.mjs");
    built = await buildWorkers({ withTests: true });
    return { passed: 1, failed: 0, output: "" };
  });
  await check("size budget", withBuild(sizes));
  await check("the stand-in CRM before its judges", withBuild(() => nodeTests("tests/stub-crm/judges")));
  await check("endpoints", withBuild(() => nodeTests("tests/endpoints")));
  await check("browser", withBuild(browser));

  console.log(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`);
  process.exit(total.failed === 0 ? 0 : 1);
});

/** Runs a check that returns { passed, failed, output }, prints its line, and its output when something failed. */
async function check(name, work) {
  if (!name.includes(only)) return;
  console.log(`· ${name}`);
  const began = performance.now();
  let result;
  try {
    result = await work();
  } catch (error) {
    result = { passed: 0, failed: 1, output: error instanceof Stop ? error.message : error.stack };
  }
  total.passed += result.passed;
  total.failed += result.failed;
  total.skipped += result.skipped ?? 0;
  if (result.failed > 0) console.log(result.output.trimEnd());
  const skipped = result.skipped ? `, ${result.skipped} skipped: no Chromium (Debian: apt-get install chromium, or set CHROMIUM)` : "";
  console.log(`${result.failed === 0 ? "✓" : "✗"} ${name}: ${result.passed} passed, ${result.failed} failed${skipped} (${seconds(began)})`);
}

const withBuild = (work) => async () => {
  if (built === null && !only) throw new Stop("Not run: the Workers did not build.");
  return work();
};

/** A command that is one check by itself. */
async function cargo(...args) {
  const { code, output } = await run("cargo", args);
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, output };
}

/** Sums what every test binary of `cargo test` printed. A run that failed without a failed test did not compile. */
function rustCounts({ code, output }) {
  return counted(code, output, [...output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed/gm)]);
}

async function browser() {
  await ensureChromium();
  return nodeTests("tests/browser");
}

async function nodeTests(folder) {
  if (!existsSync(at(folder))) throw new Stop(`${folder} is missing.`);
  // Not globSync: this module is loaded by the machine's Node before the pinned one takes over, and Node 20 has none.
  const files = readdirSync(at(folder), { recursive: true })
    .filter((name) => name.endsWith(".test.mjs"))
    .map((name) => join(folder, name))
    .sort();
  if (files.length === 0) throw new Stop(`${folder} holds no *.test.mjs.`);
  const { code, output } = await run(bin("node"), ["--test", "--test-reporter=spec", "--test-timeout=180000", ...files], { env: { FORCE_COLOR: "0" } });
  const pass = [...output.matchAll(/^ℹ pass (\d+)[^]*?^ℹ fail (\d+)/gm)];
  const skipped = Number(output.match(/^ℹ skipped (\d+)/m)?.[1] ?? 0);
  return { ...counted(code, output, pass), skipped };
}

function counted(code, output, runs) {
  const sum = (index) => runs.reduce((count, found) => count + Number(found[index]), 0);
  const [passed, failed] = [sum(1), sum(2)];
  return { passed, failed: code !== 0 && failed === 0 ? 1 : failed, output };
}

async function sizes() {
  const { wasmSizes } = await import("./sizes.mjs");
  const all = wasmSizes();
  const lines = all.map(
    ({ name, gzipKb, budgetKb }) => `  ${name.padEnd(28)}${gzipKb.toFixed(1).padStart(8)} of ${budgetKb} KB${gzipKb > budgetKb ? "  TOO LARGE" : ""}`,
  );
  console.log(lines.join("\n"));
  const tooLarge = all.filter(({ gzipKb, budgetKb }) => gzipKb > budgetKb);
  const output = `Too large: ${tooLarge.map(({ name }) => name).join(", ")}`;
  return { passed: all.length - tooLarge.length, failed: tooLarge.length, output };
}
