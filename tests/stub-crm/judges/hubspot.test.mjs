// HubSpot's own client, unpatched, judges the stand-in: if it is content, the answers have HubSpot's shape.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Client } from "@hubspot/api-client";
import { app, approve, startStandIn } from "./stand-in.mjs";

const scopes = ["oauth", "contacts", "companies", "deals", "owners"]
  .flatMap((name) => (name === "oauth" ? [name] : [`crm.objects.${name}.read`, `crm.objects.${name}.write`]))
  .concat("crm.schemas.contacts.write", "crm.schemas.deals.write");

let standIn;
let hubspot;
let tokens;

before(async () => {
  standIn = await startStandIn({ switches: { hubspot_unlimited: true, hubspot_search_lag_ms: 0 } });
  const anonymous = new Client({ basePath: standIn.origin });
  const real = anonymous.oauth.getAuthorizationUrl(app.clientId, app.redirectUri, scopes.join(" "), undefined, "st&te");
  const callback = await approve(real.replace("https://app.hubspot.com", standIn.origin));
  assert.equal(callback.searchParams.get("state"), "st&te");
  const code = callback.searchParams.get("code");
  tokens = await anonymous.oauth.tokensApi.create("authorization_code", code, app.redirectUri, app.clientId, app.clientSecret);
  hubspot = new Client({ basePath: standIn.origin, accessToken: tokens.accessToken });
  await assert.rejects(
    anonymous.oauth.tokensApi.create("authorization_code", code, app.redirectUri, app.clientId, app.clientSecret),
    (error) => error.code === 400 && JSON.stringify(error.body).includes("BAD_AUTH_CODE"),
  );
});

after(() => standIn?.stop());

test("a refresh gives a new access token and the same refresh token", async () => {
  const fresh = await hubspot.oauth.tokensApi.create("refresh_token", undefined, undefined, app.clientId, app.clientSecret, tokens.refreshToken);
  assert.equal(fresh.refreshToken, tokens.refreshToken);
  assert.equal(fresh.expiresIn, 1800);
  assert.notEqual(fresh.accessToken, tokens.accessToken);
  const about = await hubspot.oauth.accessTokensApi.get(fresh.accessToken);
  assert.equal(about.hubId, 4242);
});

test("a contact is created, read, found by e-mail, updated and archived", async () => {
  const api = hubspot.crm.contacts.basicApi;
  const made = await api.create({ properties: { email: "Ada@X.example", firstname: "Ada" }, associations: [] });
  assert.equal(made.properties.email, "ada@x.example");
  assert.ok(made.createdAt instanceof Date && !Number.isNaN(made.createdAt.getTime()));
  await api.update(made.id, { properties: { lastname: "Lovelace" } });
  const read = await api.getById("ada@x.example", ["lastname", "nosuchthing"], undefined, undefined, false, "email");
  assert.deepEqual([read.id, read.properties.lastname], [made.id, "Lovelace"]);
  await assert.rejects(api.create({ properties: { email: "ada@x.example" }, associations: [] }), (error) => {
    assert.match(error.body.message, new RegExp(`Existing ID: ${made.id}`));
    return error.code === 409 && error.body.category === "CONFLICT";
  });
  await assert.rejects(api.update(made.id, { properties: { first000name: "x" } }), (error) => error.body.errors[0].code === "PROPERTY_DOESNT_EXIST");
  await api.archive(made.id);
  await assert.rejects(api.getById(made.id), { code: 404 });
});

test("a task is created with its contact, and the association is there both ways", async () => {
  const contact = await hubspot.crm.contacts.basicApi.create({ properties: { email: "task@x.example" }, associations: [] });
  const type = { associationCategory: "HUBSPOT_DEFINED", associationTypeId: 204 };
  const task = await hubspot.crm.objects.tasks.basicApi.create({
    properties: { hs_timestamp: "2026-11-20T09:00:00Z", hs_task_subject: "Call" },
    associations: [{ to: { id: contact.id }, types: [type] }],
  });
  const read = await hubspot.crm.objects.tasks.basicApi.getById(task.id, ["hs_task_subject"], undefined, ["contacts"]);
  assert.deepEqual(read.associations.contacts.results.map(({ id, type }) => [id, type]), [[contact.id, "task_to_contact"]]);
  const back = await hubspot.crm.associations.v4.basicApi.getPage("contacts", contact.id, "tasks");
  assert.equal(String(back.results[0].toObjectId), task.id);
  assert.equal(back.results[0].associationTypes[0].typeId, 203);
});

test("a note is tied by the default association, twice, once", async () => {
  const contact = await hubspot.crm.contacts.basicApi.create({ properties: { email: "note@x.example" }, associations: [] });
  const note = await hubspot.crm.objects.notes.basicApi.create({ properties: { hs_timestamp: "1795176000000", hs_note_body: "Weekly" }, associations: [] });
  for (let round = 0; round < 2; round += 1) {
    const tied = await hubspot.crm.associations.v4.basicApi.createDefault("notes", note.id, "contacts", contact.id);
    assert.deepEqual(tied.results.map((row) => row.associationSpec.associationTypeId).sort(), [201, 202]);
  }
  const read = await hubspot.crm.associations.v4.batchApi.getPage("notes", "contacts", { inputs: [{ id: note.id }] });
  assert.equal(read.results[0].to.length, 1);
  const labels = await hubspot.crm.associations.v4.schema.definitionsApi.getAll("notes", "contacts");
  assert.equal(labels.results[0].typeId, 202);
});

test("batches: create, upsert, read, update, and partial failure with traces", async () => {
  const api = hubspot.crm.contacts.batchApi;
  const emails = Array.from({ length: 20 }, (_, n) => `batch${n}@x.example`);
  const made = await api.create({ inputs: emails.map((email) => ({ properties: { email }, associations: [] })) });
  assert.equal(made.results.length, 20);
  assert.notDeepEqual(made.results.map((row) => row.properties.email), emails, "results are not in the inputs' order");
  const upserted = await api.upsert({
    inputs: [
      { id: "batch0@x.example", idProperty: "email", properties: { firstname: "Old" } },
      { id: "fresh@x.example", idProperty: "email", properties: { firstname: "New" } },
    ],
  });
  assert.deepEqual(upserted.results.map((row) => [row.properties.email, row._new]).sort(), [["batch0@x.example", false], ["fresh@x.example", true]]);
  const read = await api.read({ idProperty: "email", properties: ["firstname"], propertiesWithHistory: [], inputs: [{ id: "batch0@x.example" }, { id: "nobody@x.example" }] });
  assert.deepEqual([read.results.length, read.numErrors, read.errors[0].category], [1, 1, "OBJECT_NOT_FOUND"]);
  const mixed = await api.create({
    inputs: ["batch1@x.example", "other@x.example"].map((email, n) => ({ properties: { email }, associations: [], objectWriteTraceId: `t${n}` })),
  });
  assert.deepEqual(mixed.errors[0].context.objectWriteTraceId, ["t0"]);
  assert.equal(mixed.results[0].objectWriteTraceId, "t1");
  const updated = await api.update({ inputs: made.results.slice(0, 2).map(({ id }) => ({ id, properties: { lastname: "B" } })) });
  assert.equal(updated.results.length, 2);
  await api.archive({ inputs: made.results.slice(0, 1).map(({ id }) => ({ id })) });
});

test("search finds, sorts and pages", async () => {
  const api = hubspot.crm.contacts.searchApi;
  const ask = { filterGroups: [{ filters: [{ propertyName: "email", operator: "CONTAINS_TOKEN", value: "batch*" }] }], sorts: ["-email"], properties: ["email"], limit: 7 };
  const first = await api.doSearch({ ...ask, after: "0" });
  const second = await api.doSearch({ ...ask, after: first.paging.next.after });
  assert.equal(first.results.length, 7);
  assert.ok(first.total >= 19 && first.results[6].properties.email > second.results[0].properties.email);
});

test("the list pages to its end", async () => {
  const all = await hubspot.crm.contacts.getAll(5, undefined, ["email"]);
  const ids = new Set(all.map(({ id }) => id));
  assert.ok(all.length > 20 && ids.size === all.length);
});

test("properties, pipelines and owners are read, and a unique property upserts", async () => {
  const made = await hubspot.crm.properties.coreApi.create("contacts", {
    name: "conduit_key", label: "Conduit key", groupName: "contactinformation", type: "string", fieldType: "text", hasUniqueValue: true,
  });
  assert.equal(made.hasUniqueValue, true);
  assert.equal((await hubspot.crm.properties.coreApi.getByName("contacts", "conduit_key")).hasUniqueValue, true);
  for (const isNew of [true, false]) {
    const { results } = await hubspot.crm.contacts.batchApi.upsert({ inputs: [{ id: "K1", idProperty: "conduit_key", properties: { firstname: "K" } }] });
    assert.equal(results[0]._new, isNew);
  }
  const unique = { name: "conduit_key", label: "K", groupName: "task_information", type: "string", fieldType: "text", hasUniqueValue: true };
  for (const [policy, code] of [["missing_scopes", 403], ["refused", 400]]) {
    await standIn.control("faults", { switches: { hubspot_unique_on_activities: policy } });
    await assert.rejects(hubspot.crm.properties.coreApi.create("tasks", unique), { code });
  }
  await standIn.control("faults", { switches: { hubspot_unique_on_activities: "accepted" } });
  assert.equal((await hubspot.crm.properties.coreApi.create("tasks", unique)).hasUniqueValue, true);
  assert.equal((await hubspot.crm.properties.coreApi.create("notes", unique)).hasUniqueValue, true);
  const pipelines = await hubspot.crm.pipelines.pipelinesApi.getAll("deals");
  assert.ok(pipelines.results[0].stages.some(({ id }) => id === "contractsent"));
  assert.ok((await hubspot.crm.owners.ownersApi.getPage()).results.length > 0);
});

test("deals and companies are created and tied with a label", async () => {
  const deal = await hubspot.crm.deals.basicApi.create({ properties: { dealname: "Deal", dealstage: "contractsent", pipeline: "default" }, associations: [] });
  const company = await hubspot.crm.companies.basicApi.create({ properties: { domain: "acme.example" }, associations: [] });
  const tied = await hubspot.crm.associations.v4.basicApi.create("deals", deal.id, "companies", company.id, [{ associationCategory: "HUBSPOT_DEFINED", associationTypeId: 5 }]);
  assert.deepEqual(tied.labels, ["Primary"]);
  await hubspot.crm.associations.v4.basicApi.archive("deals", deal.id, "companies", company.id);
  assert.equal((await hubspot.crm.associations.v4.basicApi.getPage("deals", deal.id, "companies")).results.length, 0);
});

test("tasks, notes and deals upsert by a unique property, partly with traces, and are tied in one call", async () => {
  await hubspot.crm.properties.coreApi.create("deals", {
    name: "conduit_key", label: "Conduit key", groupName: "dealinformation", type: "string", fieldType: "text", hasUniqueValue: true,
  });
  const fields = {
    tasks: { hs_timestamp: "1795176000000", hs_task_subject: "Call" },
    notes: { hs_timestamp: "1795176000000", hs_note_body: "Note" },
    deals: { dealname: "D", dealstage: "77011", pipeline: "77001" },
  };
  const contact = await hubspot.crm.contacts.basicApi.create({ properties: { email: "tied@x.example" }, associations: [] });
  const input = (n, properties) => ({ id: `key${n}`, idProperty: "conduit_key", objectWriteTraceId: `key${n}`, properties });
  for (const [kind, properties] of Object.entries(fields)) {
    const api = kind === "deals" ? hubspot.crm.deals : hubspot.crm.objects[kind];
    for (const isNew of [true, false]) {
      const inputs = [0, 1, 2].map((n) => input(n, properties)).concat(input(3, { no_such_property: "x" }));
      const answer = await api.batchApi.upsert({ inputs });
      assert.deepEqual(answer.results.map((row) => row._new), [isNew, isNew, isNew], kind);
      assert.deepEqual([answer.numErrors, answer.errors[0].context.objectWriteTraceId], [1, ["key3"]], kind);
    }
    const found = await api.batchApi.read({ idProperty: "conduit_key", properties: ["conduit_key"], propertiesWithHistory: [], inputs: [{ id: "key0" }, { id: "key9" }] });
    assert.deepEqual([found.results.length, found.numErrors], [1, 1], kind);
    const pairs = { inputs: [{ _from: { id: found.results[0].id }, to: { id: contact.id } }] };
    for (let round = 0; round < 2; round += 1) {
      const tied = await hubspot.crm.associations.v4.batchApi.createDefault(kind, "contacts", pairs);
      assert.deepEqual(tied.results.map((row) => row._from.id).sort(), [contact.id, found.results[0].id].sort());
    }
    const listed = await hubspot.crm.associations.v4.batchApi.getPage("contacts", kind, { inputs: [{ id: contact.id }] });
    assert.equal(listed.results[0].to.length, 1, kind);
  }
});

test("a list of associations may lag behind its record, and a batch read may be silently incomplete", async () => {
  await standIn.control("faults", { switches: { hubspot_association_lag_ms: 60_000, hubspot_incomplete_reads: 1 } });
  const contact = await hubspot.crm.contacts.basicApi.create({ properties: { email: "late@x.example" }, associations: [] });
  const note = await hubspot.crm.objects.notes.basicApi.create({
    properties: { hs_timestamp: "1795176000000" },
    associations: [{ to: { id: contact.id }, types: [{ associationCategory: "HUBSPOT_DEFINED", associationTypeId: 202 }] }],
  });
  const late = await hubspot.crm.associations.v4.batchApi.getPage("contacts", "notes", { inputs: [{ id: contact.id }] });
  assert.equal(late.errors[0].subCategory, "crm.associations.NO_ASSOCIATIONS_FOUND");
  await standIn.control("clock", { advance_ms: 60_000 });
  const listed = await hubspot.crm.associations.v4.batchApi.getPage("contacts", "notes", { inputs: [{ id: contact.id }] });
  assert.equal(String(listed.results[0].to[0].toObjectId), note.id);
  const inputs = [{ id: note.id }];
  const read = () => hubspot.crm.objects.notes.batchApi.read({ properties: [], propertiesWithHistory: [], inputs });
  assert.deepEqual([(await read()).results.length, (await read()).results.length], [0, 1]);
  await standIn.control("faults", { switches: { hubspot_association_lag_ms: 0 } });
});
