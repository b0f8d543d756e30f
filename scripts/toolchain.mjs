// The set-up: checks what must be there (Rust by rustup, Node 20, npm) and installs what the project brings itself.
//
// - npm packages by `npm ci`, again when package-lock.json changes;
// - the wasm32 target, clippy and rustfmt by rustup, for the toolchain rust-toolchain.toml names;
// - wasm-bindgen-cli at the exact version of Cargo.lock, into target/tools. It is compiled without optimisation:
//   installing takes a third of the time, and it needs 0.4 s per Worker instead of 0.1.
//
// worker-build, the usual front of these tools, is not installed: it costs another 80 s of compiling, and what it adds
// to wasm-bindgen is the entry module of scripts/entry.mjs. wasm-opt comes from the npm package binaryen.
//
// With nothing missing this takes a tenth of a second. Node 20 and no packages: it runs before they are there.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { at, bin, cargoTools, lockedVersion, toolEnv } from "./repo.mjs";
import { main, run, step, Stop } from "./steps.mjs";

export async function ensureToolchain() {
  const [major] = process.versions.node.split(".");
  if (Number(major) < 20) throw new Stop(`Node ${process.versions.node} is too old: install Node 20 or newer from https://nodejs.org.`);
  // npm is waiting for the network most of the time, cargo for the processor.
  await Promise.all([ensurePackages(), ensureRust().then(ensureWasmBindgen)]);
}

async function ensurePackages() {
  const stamp = at("node_modules", ".conduit-lock");
  const lock = createHash("sha256").update(readFileSync(at("package-lock.json"))).digest("hex");
  if (existsSync(bin("node")) && existsSync(stamp) && readFileSync(stamp, "utf8") === lock) return;
  if ((await run("npm", ["--version"])).code !== 0) throw new Stop("npm is missing: install it (it comes with Node from https://nodejs.org).");
  await step("npm packages", async () => {
    // Not under the Node that lives in node_modules: npm ci deletes that folder first.
    const path = process.env.PATH.split(delimiter).filter((folder) => !folder.endsWith(join("node_modules", ".bin")));
    const env = { PATH: path.join(delimiter) };
    await run("npm", ["ci", "--loglevel=error"], { env, must: "npm ci failed: see above; is the package registry reachable?" });
    writeFileSync(stamp, lock);
  });
}

async function ensureRust() {
  if ((await run("rustup", ["--version"])).code !== 0) {
    throw new Stop("Rust is missing: install it with rustup (https://rustup.rs), open a new terminal and run this again.");
  }
  const target = "wasm32-unknown-unknown";
  const installed = await run("rustup", ["target", "list", "--installed"]);
  if (installed.code === 0 && installed.output.includes(target) && (await hasComponents())) return;
  await step("Rust's wasm target, clippy and rustfmt", async () => {
    const channel = readFileSync(at("rust-toolchain.toml"), "utf8").match(/channel = "([^"]+)"/)[1];
    const args = ["toolchain", "install", channel, "--profile", "minimal", "--no-self-update", "-t", target, "-c", "clippy", "-c", "rustfmt"];
    // `target add` alone never upgrades a toolchain that is there; `toolchain install` is for one that is not.
    const wanted = installed.code === 0 ? ["target", "add", target] : args;
    await run("rustup", wanted, { must: "rustup could not install the wasm target: see above." });
    if (installed.code === 0 && !(await hasComponents())) {
      await run("rustup", ["component", "add", "clippy", "rustfmt"], { must: "rustup could not install clippy and rustfmt: see above." });
    }
  });
}

async function hasComponents() {
  const [clippy, rustfmt] = await Promise.all([run("cargo", ["clippy", "--version"]), run("cargo", ["fmt", "--version"])]);
  return clippy.code === 0 && rustfmt.code === 0;
}

async function ensureWasmBindgen() {
  const version = lockedVersion("wasm-bindgen");
  const there = await run(join(cargoTools, "bin", "wasm-bindgen"), ["--version"]);
  if (there.code === 0 && there.output.trim() === `wasm-bindgen ${version}`) return;
  await step(`wasm-bindgen-cli ${version}, compiled once (about a minute)`, async () => {
    const build = join(cargoTools, "build");
    const quick = ["--debug", "--config", "profile.dev.debug=false"];
    const what = ["install", "wasm-bindgen-cli", "--version", version, "--locked", "--force", "--root", cargoTools, "--target-dir", build];
    await run("cargo", [...what, ...quick], { must: `cargo could not install wasm-bindgen-cli ${version}: see above; is the crate registry reachable?` });
    rmSync(build, { recursive: true, force: true });
  });
}

/**
 * The browser tests need a Chromium. None comes from npm without a download of its own, so it is Debian's: installed where
 * this process may (root, with apt-get: a CI machine), asked for elsewhere. Answers whether there is one.
 */
export async function ensureChromium() {
  const { findChromium } = await import("../tests/browser/chromium.mjs");
  if (findChromium() !== null) return true;
  if (process.getuid?.() !== 0 || (await run("apt-get", ["--version"])).code !== 0) return false;
  await step("Chromium for the browser tests, by apt-get", async () => {
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    await run("apt-get", ["update", "-q"], { env });
    await run("apt-get", ["install", "-qy", "--no-install-recommends", "chromium"], { env, must: "apt-get could not install chromium: see above." });
  });
  return findChromium() !== null;
}

/** wrangler, miniflare and node:test need the pinned Node: goes on in it when this process is an older one. */
export async function continueUnderPinnedNode() {
  const [major] = process.versions.node.split(".");
  if (Number(major) >= 22) return;
  const child = spawn(bin("node"), process.argv.slice(1), { stdio: "inherit", env: toolEnv() });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  process.exit(await new Promise((resolve) => child.on("close", (code) => resolve(code ?? 1))));
}

main(import.meta, ensureToolchain);
