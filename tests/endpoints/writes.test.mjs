// The main job: a submitted write becomes a row, a message, calls to the CRM and a record there, once; and is read back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertRefused, crms, startConduit } from "./harness.mjs";
import { actions, outcome } from "./outcomes.mjs";

const conduit = await startConduit();
const { acme, standIn } = conduit;
for (const crm of crms) await conduit.connect(crm, acme);

const objects = {
  hubspot: { person: "contacts", create_task: "tasks", create_weekly_rollup: "notes" },
  salesforce: { person: "Lead", create_task: "Task", create_weekly_rollup: "Task" },
};
const record = async (object, id) => (await standIn.records(object)).find((one) => (one.id ?? one.Id) === id);
const list = async (query) => {
  const answer = await conduit.fetch("crm-writes", { token: acme.service, query });
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
};

for (const crm of crms) {
  for (const action of actions) {
    test(`${crm}: ${action} is planned, carried over and proven, with the ids the CRM gave`, async () => {
      const write = outcome(crm, action);
      const [accepted] = await conduit.submit(acme, write);
      assert.deepEqual([accepted.duplicate, accepted.crm, accepted.action], [false, crm, action]);
      const [done] = await conduit.settled(acme, [accepted.id]);
      assert.deepEqual([done.permanent_failure, done.next_retry_at, done.error, done.dry_run], [false, null, null, null]);
      assert.deepEqual(done.attempts.map(({ outcome, error_code: code }) => [outcome, code]), [["succeeded", null]]);
      assert.ok(done.attempts[0].calls >= 1 && done.attempts[0].ended_at >= done.attempts[0].started_at);
      await assertThere[crm](write, done);
      const events = await conduit.rows("SELECT event FROM audit_events WHERE detail_json LIKE ?1", `%${accepted.id}%`);
      assert.deepEqual(events.map(({ event }) => event).sort(), ["writes_planned", "writes_settled"]);
    });
  }

  test(`${crm}: the same person twice is one record, whose new facts are taken`, async () => {
    const first = outcome(crm, "upsert_contact");
    const [one] = await conduit.settled(acme, (await conduit.submit(acme, first)).map(({ id }) => id));
    const again = outcome(crm, "upsert_contact", { person: { email: first.contact.email.toUpperCase(), job_title: "Countess" } });
    const [two] = await conduit.settled(acme, (await conduit.submit(acme, again)).map(({ id }) => id));
    assert.deepEqual(two.external_ids, one.external_ids);
    const { person } = objects[crm];
    const there = await record(person, Object.values(two.external_ids)[0]);
    assert.equal(crm === "hubspot" ? there.properties.jobtitle : there.Title, "Countess");
    assert.equal((await effectsOf(person, first.contact.email)).length, 1);
  });

  test(`${crm}: a repeat is answered with the first one's row, and changes nothing in the CRM`, async () => {
    const write = outcome(crm, "create_task");
    const [first] = await conduit.submit(acme, write);
    await conduit.settled(acme, [first.id]);
    const calls = await standIn.calls(async () => {
      const [again, within] = await conduit.submit(acme, [write, write]);
      for (const answer of [again, within]) {
        assert.deepEqual([answer.id, answer.duplicate, answer.status, answer.request_id], [first.id, true, "succeeded", first.request_id]);
      }
    });
    assert.deepEqual(calls, {});
  });

  test(`${crm}: the key of a write with other content is refused, and the others of the request go on`, async () => {
    const write = outcome(crm, "create_task");
    const [first] = await conduit.submit(acme, write);
    const other = { ...write, task: { ...write.task, subject: "Something else" } };
    assertRefused(await conduit.fetch("crm-writes", { token: acme.service, json: other }), 409, "idempotency_key_reused");

    const fresh = outcome(crm, "upsert_contact");
    const mixed = await conduit.fetch("crm-writes", { token: acme.service, json: { writes: [other, fresh] } });
    assert.equal(mixed.status, 207);
    assert.deepEqual([mixed.body.writes[0].error.code, mixed.body.writes[0].error.status], ["idempotency_key_reused", 409]);
    await conduit.settled(acme, [first.id, mixed.body.writes[1].id]);
    assert.equal((await effectsOf(objects[crm].create_task, first.id)).length, 1);
  });

  test(`${crm}: a CRM that is away for a moment costs an attempt, not the write`, async () => {
    const path = { hubspot: "/crm/objects", salesforce: "/services/data" }[crm];
    await standIn.fault({ match: { provider: crm, path, count: 1 }, status: 503 });
    const [accepted] = await conduit.submit(acme, outcome(crm, "upsert_contact"));
    const [done] = await conduit.settled(acme, [accepted.id], { seconds: 30 });
    assert.deepEqual(done.attempts.map(({ outcome, http_status: status }) => [outcome, status]), [["failed", 503], ["succeeded", null]]);
  });

  test(`${crm}: content the CRM refuses is a dead letter with the CRM's reason, and the rest of the lot lands`, async () => {
    // HubSpot and Salesforce both refuse it in their own way; here the fault says it for the one record.
    const poison = outcome(crm, "create_task", { task: { subject: "poison", due_at: "2026-11-27T09:00:00Z" } });
    const good = outcome(crm, "upsert_contact");
    if (crm === "hubspot") await standIn.fault({ match: { provider: crm, body_contains: "poison" }, status: 400 });
    else await standIn.fault({ match: { provider: crm, body_contains: "poison" }, status: 400, code: "MALFORMED_ID" });
    const [bad, fine] = await conduit.submit(acme, [poison, good]);
    await conduit.settled(acme, [bad.id], { status: "permanent_failure" });
    await standIn.clearFaults();
    await conduit.settled(acme, [fine.id]);
    const { writes } = await list({ permanent_failure: "true", crm });
    assert.deepEqual(writes.map(({ id, status, error }) => [id, status, error.class]), [[bad.id, "permanent_failure", "mapping"]]);
  });
}

/** The records of an object type with that e-mail address, mark or label. */
async function effectsOf(object, text) {
  const wanted = text.toLowerCase();
  return (await standIn.effects(object)).filter((effect) => JSON.stringify([effect.label, effect.text_end]).toLowerCase().includes(wanted));
}

/** The record in the CRM, its content, our mark on it, and the person it is tied to. */
const assertThere = {
  async hubspot(write, { id, external_ids: ids }) {
    const contact = await record("contacts", ids.contact);
    assert.equal(contact.properties.email, write.contact.email);
    assert.equal(contact.properties.lastname, "Lovelace");
    if (write.action === "upsert_contact") return;
    const made = await record(objects.hubspot[write.action], ids.task ?? ids.note);
    const text = made.properties.hs_task_body ?? made.properties.hs_note_body;
    assert.ok(text.includes(`[conduit:${id}]`), text);
    assert.deepEqual(made.associations.contacts.results.map((tied) => tied.id), [ids.contact]);
    if (write.task) {
      assert.equal(made.properties.hs_task_subject, write.task.subject);
      assert.equal(made.properties.hs_task_priority, "HIGH");
      assert.equal(Date.parse(made.properties.hs_timestamp), Date.parse(write.task.due_at));
      assert.ok(text.startsWith("Asked for a price &amp; a date."), "plain text, made safe for HTML");
    }
  },
  async salesforce(write, { id, external_ids: ids }) {
    const lead = await record("Lead", ids.lead);
    assert.deepEqual([lead.Email, lead.LastName, lead.Company], [write.contact.email, "Lovelace", "Engines Ltd"]);
    if (write.action === "upsert_contact") return;
    const made = await record("Task", ids.task);
    assert.ok(made.Description.includes(`[conduit:${id}]`), made.Description);
    assert.equal(made.WhoId, ids.lead);
    const expected = write.task ? ["Send the offer", "2026-11-27", "Not Started"] : ["Weekly deal summary", "2026-11-16", "Completed"];
    assert.deepEqual([made.Subject, made.ActivityDate, made.Status], expected);
  },
};

test("the log pages from the newest to the oldest, each write once", async () => {
  const all = [];
  for (let cursor = null, pages = 0; pages === 0 || cursor; pages += 1) {
    assert.ok(pages < 20);
    const page = await list({ limit: 5, ...(cursor && { cursor }) });
    assert.ok(page.writes.length === 5 || page.next_cursor === null);
    all.push(...page.writes);
    cursor = page.next_cursor;
  }
  const rows = await conduit.rows("SELECT count(*) AS n FROM crm_write_log WHERE workspace_id = ?1", acme.workspace);
  assert.equal(all.length, rows[0].n);
  assert.equal(new Set(all.map(({ id }) => id)).size, all.length);
  assert.deepEqual(all.map((write) => write.created_at), all.map((write) => write.created_at).sort().reverse());
});

test("the log is filtered by CRM, status and object, and together", async () => {
  const write = outcome("salesforce", "upsert_contact", { object_id: "one & only" });
  await conduit.settled(acme, (await conduit.submit(acme, write)).map(({ id }) => id));
  assert.deepEqual((await list({ object_id: "one & only" })).writes.map((one) => one.source_event_id), [write.source_event_id]);
  assert.deepEqual((await list({ object_id: "one & only", crm: "hubspot" })).writes, []);
  for (const crm of crms) assert.ok((await list({ crm, limit: 100 })).writes.every((one) => one.crm === crm));
  assert.ok((await list({ status: "succeeded", limit: 100 })).writes.every((one) => one.status === "succeeded"));
  assert.deepEqual((await list({ status: "planned" })).writes, []);
  assert.ok((await list({ permanent_failure: "false" })).writes.length > 0);
});

test("500 concurrent submits with 50 duplicates among them: 450 rows, 450 effects, each duplicate with the first one's row", async () => {
  const distinct = Array.from({ length: 450 }, (_, n) => outcome(crms[n % 2], "create_task", { object_type: "storm" }));
  const submitted = [...distinct, ...distinct.slice(0, 50)];
  // Shuffled the same way every time, so that some duplicates come before their originals.
  submitted.sort((a, b) => order(a) - order(b));
  const before = await marked();
  const answers = await Promise.all(submitted.map((write) => conduit.fetch("crm-writes", { token: acme.service, json: write })));
  for (const answer of answers) assert.equal(answer.status, 202, answer.text);

  const byEvent = Map.groupBy(answers.map(({ body }) => body.writes[0]), (write) => write.source_event_id);
  assert.equal(byEvent.size, 450);
  for (const [event, same] of byEvent) {
    const isTwice = distinct.slice(0, 50).some((write) => write.source_event_id === event);
    assert.deepEqual(same.map(({ duplicate }) => duplicate).sort(), isTwice ? [false, true] : [false]);
    const [first] = same.filter(({ duplicate }) => !duplicate);
    for (const other of same) {
      assert.deepEqual([other.id, other.request_id, other.created_at], [first.id, first.request_id, first.created_at]);
    }
  }
  const rows = await conduit.rows("SELECT crm, idempotency_key FROM crm_write_log WHERE object_type = 'storm'");
  assert.equal(rows.length, 450);

  const ids = [...byEvent.values()].map(([write]) => write.id);
  await conduit.settled(acme, ids, { seconds: 90 });
  const effects = (await marked()).filter((effect) => !before.includes(effect));
  assert.equal(effects.length, 450);
  assert.equal(new Set(effects).size, 450);
  assert.deepEqual(effects.sort(), ids.map((id) => `[conduit:${id}]`).sort());
  for (const [object, email] of [["contacts", "email"], ["Lead", "Email"]]) {
    const people = (await standIn.effects(object)).map(({ keys }) => keys[email]);
    const wanted = new Set(distinct.map(({ contact }) => contact.email));
    assert.equal(people.filter((address) => wanted.has(address)).length, 225, object);
  }
});

const order = (write) => (Number(write.source_event_id.slice(4)) * 7919) % 503;

/** Our marks on every task there is. */
async function marked() {
  const effects = [...(await standIn.effects("tasks")), ...(await standIn.effects("Task"))];
  return effects.flatMap((effect) => effect.text_end.match(/\[conduit:[^\]]+\]/g) ?? []);
}
