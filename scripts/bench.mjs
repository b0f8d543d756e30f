// npm run bench: measures, each on this machine in this run. Prints a table; docs name what each key must reach.
//
//   npm run bench -- --only wasm_gzip_kb     the parts and keys that begin with the word
//   npm run bench -- --json FILE             also one flat JSON object
//
// A part is a module tests/bench/<name>.mjs with `prefixes` (its keys' first words) and `run({ report, only, note })`:
// `report(key, number)` takes a measure, `note(text)` prints a line for people. A part that fails is printed as such, its
// keys stay absent, and the run ends with exit code 1.

import { readdirSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { at } from "./repo.mjs";
import { main, option, seconds } from "./steps.mjs";
import { continueUnderPinnedNode, ensureToolchain } from "./toolchain.mjs";

main(import.meta, async () => {
  const only = option("only", "");
  const json = option("json", null);
  await ensureToolchain();
  await continueUnderPinnedNode();
  const { buildWorkers } = await import("./build.mjs");
  await buildWorkers();

  const wanted = (prefix) => prefix.startsWith(only) || only.startsWith(prefix);
  const measured = {};
  let failed = 0;
  for (const file of readdirSync(at("tests", "bench")).filter((name) => name.endsWith(".mjs")).sort()) {
    const part = await import(pathToFileURL(at("tests", "bench", file)));
    if (!part.run || !part.prefixes.some(wanted)) continue;
    console.log(`· ${part.prefixes.join(", ")}`);
    const began = performance.now();
    const report = (key, number) => {
      if (!Number.isFinite(number)) throw new Error(`${key} is ${number}`);
      if (key.startsWith(only)) measured[key] = number;
    };
    try {
      await part.run({ report, only, note: (text) => console.log(`  ${text}`) });
      console.log(`✓ ${file} (${seconds(began)})`);
    } catch (error) {
      failed += 1;
      console.error(`✗ ${file} (${seconds(began)}):`, error);
    }
  }

  const rounded = Object.fromEntries(Object.entries(measured).sort().map(([key, number]) => [key, Number(number.toPrecision(5))]));
  const width = Math.max(0, ...Object.keys(rounded).map((key) => key.length));
  for (const [key, number] of Object.entries(rounded)) console.log(`${key.padEnd(width)}  ${String(number).padStart(12)}`);
  if (json) writeFileSync(json, `${JSON.stringify(rounded, null, 2)}\n`);
  process.exit(failed === 0 ? 0 : 1);
});
