// d1_round_trips.* and provider_calls.*: what one request costs, told by the Workers themselves (EXPOSE_COUNTS) and
// counted by the stand-in CRM. Of several answers the worst is reported.

import assert from "node:assert/strict";
import { crms, launch } from "../endpoints/harness.mjs";
import { actions, outcome } from "../endpoints/outcomes.mjs";

export const prefixes = ["d1_round_trips", "provider_calls"];

export async function run({ report }) {
  const conduit = await launch();
  try {
    const { acme, standIn } = conduit;
    const work = (answer) => {
      assert.ok(answer.status < 400, answer.text);
      return Number(answer.headers.get("conduit-d1-round-trips").match(/work=(\d+)/)[1]);
    };
    const worst = { oauth_start: 0, oauth_callback: 0, writes_submit: 0 };
    const note = (name, answer) => (worst[name] = Math.max(worst[name], work(answer)));
    for (const crm of crms) {
      const browser = conduit.browser();
      const started = await browser.start(crm, { who: acme });
      note("oauth_start", started);
      const url = await browser.consent(started.url);
      const calls = await standIn.calls(async () => note("oauth_callback", await browser.callback(url)), crm);
      report(`provider_calls.oauth_callback_${crm}`, Object.values(calls).reduce((sum, count) => sum + count, 0));
      for (const count of [1, 100]) {
        const writes = Array.from({ length: count }, (_, n) => outcome(crm, actions[n % actions.length]));
        note("writes_submit", await conduit.fetch("crm-writes", { token: acme.service, json: { writes } }));
      }
    }
    for (const [name, count] of Object.entries(worst)) report(`d1_round_trips.${name}`, count);
  } finally {
    await conduit.stop();
  }
}
