// warm_p50_ratio.oauth_start and first_request_extra_ms.oauth_start: functions/hubspot-oauth-start beside its twin in
// JavaScript (twin/oauth-start.mjs), on one workerd, with the same bindings, the same D1 and the same request.
//
// Each Worker has a socket of its own: no gateway and no proxy of miniflare's is in between. Warm: rounds of sequential
// requests, ours and the twin in turn, the order changing; the ratio of the p50s of a round, and of these the median. First
// request: a workerd of its own for each of them, again in turn, from ready to the whole answer.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Log, LogLevel, Miniflare } from "miniflare";
import { migrate, seedWorkspace } from "../../scripts/database.mjs";
import { at } from "../../scripts/repo.mjs";
import { makeSecrets } from "../../scripts/secrets.mjs";
import { apiToken, serviceToken } from "../../scripts/tokens.mjs";
import { miniflareWorkers } from "../../scripts/workers.mjs";

export const prefixes = ["warm_p50_ratio", "first_request_extra_ms"];

const rounds = 7;
const perRound = 400;
const starts = 8;

const ours = "hubspot-oauth-start";
const twin = "oauth-start-twin";
const origin = "http://localhost:8787";
const workspace = "ws_bench";
const user = "us_bench";

export async function run({ report, note, only }) {
  const wanted = (key) => key.startsWith(only) || only.startsWith(key);
  const bench = { secrets: makeSecrets(), persisted: mkdtempSync(join(tmpdir(), "conduit-bench-")) };
  bench.token = apiToken({ secret: bench.secrets.JWT_HS256_SECRET, user });
  try {
    await prepare(bench);
    if (wanted("warm_p50_ratio.oauth_start")) report("warm_p50_ratio.oauth_start", await warm(bench, note));
    if (wanted("first_request_extra_ms.oauth_start")) report("first_request_extra_ms.oauth_start", await first(bench, note));
  } finally {
    rmSync(bench.persisted, { recursive: true, force: true });
  }
}

/** The Workers named, the twin with everything ours has but its code. */
async function launch({ secrets, persisted }, names) {
  const functions = names.filter((name) => name !== twin);
  const all = miniflareWorkers({ origin, secrets, only: [...new Set([...functions, ours])] });
  const own = all.find((worker) => worker.name === ours);
  const workers = all.filter((worker) => names.includes(worker.name));
  if (names.includes(twin)) {
    workers.push({ ...own, name: twin, modulesRoot: at("tests", "bench", "twin"), modules: [{ type: "ESModule", path: at("tests", "bench", "twin", "oauth-start.mjs") }] });
  }
  for (const worker of workers) worker.unsafeDirectSockets = [{ host: "127.0.0.1", port: 0 }];
  const miniflare = new Miniflare({
    workers,
    cf: false,
    log: new Log(LogLevel.NONE),
    defaultPersistRoot: persisted,
    handleRuntimeStdio: (out, err) => [out, err].forEach((stream) => stream.resume()),
  });
  await miniflare.ready;
  return miniflare;
}

/** Makes the database, and shows that both do the same: what either starts, our callback finishes. */
async function prepare(bench) {
  const callback = "hubspot-oauth-callback";
  const miniflare = await launch(bench, [ours, twin, callback, "connection-gate", "stub-crm"]);
  try {
    const db = await miniflare.getD1Database("DB", ours);
    await migrate(db);
    await seedWorkspace(db, { workspace, user, token: serviceToken() });
    const answers = {};
    for (const name of [ours, twin]) {
      const base = await miniflare.unsafeGetDirectURL(name);
      const answer = await fetch(target(base), { headers: headersOf(bench) });
      assert.equal(answer.status, 200, await answer.clone().text());
      answers[name] = { ...(await answer.json()), headers: [...answer.headers].map(([header]) => header).sort() };

      const asked = new URL(answers[name].authorize_url);
      asked.searchParams.set("decision", "approve");
      const standIn = await miniflare.unsafeGetDirectURL("stub-crm");
      const approved = await fetch(new URL(asked.pathname + asked.search, standIn), { redirect: "manual" });
      const back = new URL(approved.headers.get("location"));
      const cookie = answer.headers.get("set-cookie").split(";")[0];
      const finished = await fetch(new URL(back.pathname + back.search, await miniflare.unsafeGetDirectURL(callback)), {
        headers: { cookie },
        redirect: "manual",
      });
      assert.equal(finished.headers.get("location"), `${origin}/settings?conduit=connected&crm=hubspot`, `${name}: ${await finished.text()}`);
    }
    const shape = ({ authorize_url: url, headers }) => ({ headers, path: url.split("?")[0], query: [...new URL(url).searchParams.keys()] });
    assert.deepEqual(shape(answers[twin]), shape(answers[ours]));
  } finally {
    await miniflare.dispose();
  }
}

const target = (base) => new URL(`/functions/v1/hubspot-oauth-start?workspace_id=${workspace}&return_to=${encodeURIComponent(`${origin}/settings`)}`, base);
const headersOf = ({ token }) => ({ authorization: `Bearer ${token}`, accept: "application/json" });

/** One request; its time from sending to the whole answer, in milliseconds. */
function timed(url, options) {
  return new Promise((resolve, reject) => {
    const began = performance.now();
    const sent = request(url, options, (response) => {
      response.on("data", () => {});
      response.on("end", () => {
        const ms = performance.now() - began;
        if (response.statusCode === 200) resolve(ms);
        else reject(new Error(`${url.pathname} answered ${response.statusCode}`));
      });
    });
    sent.on("error", reject);
    sent.end();
  });
}

async function warm(bench, note) {
  const miniflare = await launch(bench, [ours, twin]);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  try {
    const sides = {};
    for (const name of [ours, twin]) {
      const url = target(await miniflare.unsafeGetDirectURL(name));
      sides[name] = async (count) => {
        const times = [];
        for (let n = 0; n < count; n += 1) times.push(await timed(url, { agent, headers: headersOf(bench) }));
        return times;
      };
      await sides[name](perRound);
    }
    const ratios = [];
    const medians = { [ours]: [], [twin]: [] };
    for (let round = 0; round < rounds; round += 1) {
      const times = { [ours]: [], [twin]: [] };
      // In turn and in short stretches: what the machine does besides hits both.
      for (let stretch = 0; stretch < 8; stretch += 1) {
        for (const name of (round + stretch) % 2 === 0 ? [ours, twin] : [twin, ours]) times[name].push(...(await sides[name](perRound / 8)));
      }
      for (const name of [ours, twin]) medians[name].push(median(times[name]));
      ratios.push(median(times[ours]) / median(times[twin]));
    }
    note(`warm p50: ours ${median(medians[ours]).toFixed(2)} ms, twin ${median(medians[twin]).toFixed(2)} ms`);
    note(`ratios of ${rounds} rounds of ${perRound}: ${ratios.map((ratio) => ratio.toFixed(3)).join(" ")}`);
    return median(ratios);
  } finally {
    agent.destroy();
    await miniflare.dispose();
  }
}

async function first(bench, note) {
  const times = { [ours]: [], [twin]: [] };
  for (let start = 0; start < starts; start += 1) {
    for (const name of start % 2 === 0 ? [ours, twin] : [twin, ours]) {
      const miniflare = await launch(bench, [name]);
      try {
        times[name].push(await timed(target(await miniflare.unsafeGetDirectURL(name)), { headers: headersOf(bench) }));
      } finally {
        await miniflare.dispose();
      }
    }
  }
  for (const name of [ours, twin]) note(`first request, ${name}: ${times[name].map((ms) => ms.toFixed(1)).join(" ")} ms`);
  return median(times[ours]) - median(times[twin]);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
