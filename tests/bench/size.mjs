// wasm_gzip_kb.<function>: gzip -9 of each built wasm, in KB of 1,000 bytes. The budget is checked by npm test.

import { wasmSizes } from "../../scripts/sizes.mjs";

export const prefixes = ["wasm_gzip_kb"];

export async function run({ report }) {
  for (const { name, gzipKb } of wasmSizes()) report(`wasm_gzip_kb.${name}`, gzipKb);
}
