// npm run simulate: the simulator (tests/simulator), compiled with optimisation because it runs for thousands of seeds.
//
//   npm run simulate -- --seeds N [--from S] [--json FILE]
//   npm run simulate -- --day [CONNECTIONS] [WRITES]         a day of 2,000 connections and 200,000 writes (examples/day)

import { spawn } from "node:child_process";
import { root, toolEnv } from "./repo.mjs";
import { main } from "./steps.mjs";
import { ensureToolchain } from "./toolchain.mjs";

main(import.meta, async () => {
  await ensureToolchain();
  const given = process.argv.slice(2);
  const program = given[0] === "--day" ? ["--example", "day"] : ["--bin", "simulator"];
  const args = ["run", "--profile", "storm", "--quiet", "-p", "simulator", ...program, "--", ...given];
  const child = spawn("cargo", args, { cwd: root, stdio: "inherit", env: toolEnv() });
  process.exit(await new Promise((resolve) => child.on("close", (code) => resolve(code ?? 1))));
});
