// What each Worker's wasm weighs over the wire, and what it may weigh. The size test and the bench read this one list.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { readWorkers, standIn } from "./workers.mjs";

/** The budget of a Worker in KB (1,000 bytes) after gzip -9. A person waits for an OAuth start. */
const budget = (name) => (name.endsWith("-oauth-start") ? 110 : 160);

/** Of every Worker that is deployed: { name, gzipKb, budgetKb }. */
export const wasmSizes = () =>
  readWorkers()
    .filter((worker) => worker.name !== standIn)
    .map(({ name, build }) => ({
      name,
      gzipKb: gzipSync(readFileSync(join(build, "index_bg.wasm")), { level: 9 }).length / 1000,
      budgetKb: budget(name),
    }));
