// What a request costs: round trips to D1 after authentication, and calls to the CRM. The Workers tell the first in a
// header, because EXPOSE_COUNTS is set; the stand-in counts the second.

import assert from "node:assert/strict";
import { test } from "node:test";
import { crms, startConduit } from "./harness.mjs";
import { actions, outcome } from "./outcomes.mjs";

const conduit = await startConduit();
const { acme, standIn } = conduit;

const rounds = (answer) => answer.headers.get("conduit-d1-round-trips");

for (const crm of crms) {
  test(`${crm}: a start is one round trip, a callback three at most and two calls`, async () => {
    const browser = conduit.browser();
    const started = await browser.start(crm, { who: acme });
    assert.equal(rounds(started), "auth=1, work=1");
    const url = await browser.consent(started.url);
    let answer;
    const calls = await standIn.calls(async () => (answer = await browser.callback(url)), crm);
    assert.equal(answer.status, 200, answer.text);
    const [, work] = rounds(answer).match(/^auth=0, work=(\d+)$/);
    assert.ok(Number(work) <= 3, rounds(answer));
    const total = Object.values(calls).reduce((sum, count) => sum + count, 0);
    assert.ok(total <= 2, JSON.stringify(calls));
  });

  test(`${crm}: a submit is one round trip, of one write and of a hundred, and again`, async () => {
    for (const count of [1, 100]) {
      const writes = Array.from({ length: count }, (_, n) => outcome(crm, actions[n % actions.length]));
      for (const _ of ["first", "again"]) {
        const answer = await conduit.fetch("crm-writes", { token: acme.service, json: { writes } });
        assert.equal(answer.status, 202, answer.text);
        assert.equal(rounds(answer), "auth=1, work=1");
      }
    }
  });
}

test("reading costs one round trip, and two for a write with its attempts", async () => {
  assert.equal(rounds(await conduit.fetch("crm-connections", { token: acme.service })), "auth=1, work=1");
  const list = await conduit.fetch("crm-writes?limit=1", { token: acme.service });
  assert.equal(rounds(list), "auth=1, work=1");
  assert.equal(rounds(await conduit.fetch(`crm-writes/${list.body.writes[0].id}`, { token: acme.service })), "auth=1, work=2");
});

test("a token that does not hold is refused without a round trip", async () => {
  assert.equal(rounds(await conduit.fetch("crm-connections", { token: "not.a.token" })), "auth=0, work=0");
});
