// jsforce, unpatched, judges the stand-in: if it is content, the answers have Salesforce's shape.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";
import jsforce from "jsforce";
import { app, approve, startStandIn } from "./stand-in.mjs";

const version = "67.0";
let standIn;
let conn;

before(async () => {
  standIn = await startStandIn({ switches: { salesforce_key_field: "unique", salesforce_query_page: 200 } });
  const oauth2 = new jsforce.OAuth2({ ...app, loginUrl: standIn.origin, useVerifier: true });
  const callback = await approve(oauth2.getAuthorizationUrl({ scope: "api refresh_token id", state: "a b" }));
  assert.equal(callback.searchParams.get("state"), "a b");
  const code = callback.searchParams.get("code");
  assert.ok(code.endsWith("=="));
  conn = new jsforce.Connection({ oauth2, version });
  const user = await conn.authorize(code);
  assert.equal(user.organizationId.length, 18);
  await assert.rejects(new jsforce.Connection({ oauth2, version }).authorize(code), /expired authorization code/);
});

after(() => standIn?.stop());

test("the token is signed, and identity, user and limits are there", async () => {
  const answer = await conn.oauth2.refreshToken(conn.refreshToken);
  const signature = createHmac("sha256", app.clientSecret).update(answer.id + answer.issued_at).digest("base64");
  assert.equal(answer.signature, signature);
  assert.equal(answer.refresh_token, undefined);
  assert.equal(answer.expires_in, undefined);
  assert.equal((await conn.identity()).organization_id, conn.userInfo.organizationId);
  assert.ok((await conn.limits()).DailyApiRequests.Remaining > 0);
  assert.ok(conn.limitInfo.apiUsage.used > 0);
});

test("an expired session is refreshed by the client and the call repeated", async () => {
  await standIn.control("clock", { advance_ms: 7_200_001 });
  const before = conn.accessToken;
  assert.ok((await conn.limits()).DailyApiRequests.Max > 0);
  assert.notEqual(conn.accessToken, before);
});

test("a lead is created, read, updated, described and deleted", async () => {
  const lead = conn.sobject("Lead");
  const made = await lead.create({ FirstName: "Ada", LastName: "Lovelace", Company: "Engines", Email: "Ada@x.example" });
  assert.ok(made.success && made.id.startsWith("00Q") && made.id.length === 18);
  const read = await lead.retrieve(made.id);
  assert.deepEqual([read.Name, read.Status, read.Email], ["Ada Lovelace", "Open - Not Contacted", "ada@x.example"]);
  assert.ok((await lead.update({ Id: made.id, Title: "Countess" })).success);
  const described = await lead.describe();
  assert.ok(described.fields.some(({ name, externalId }) => name === "Conduit_Key__c" && externalId));
  await assert.rejects(lead.create({ LastName: "Nobody" }), { errorCode: "REQUIRED_FIELD_MISSING" });
  await assert.rejects(lead.create({ LastName: "N", Company: "C", Nonsense: 1 }), { errorCode: "INVALID_FIELD" });
  await assert.rejects(lead.create({ LastName: "N".repeat(81), Company: "C" }), { errorCode: "STRING_TOO_LONG" });
  assert.ok((await lead.destroy(made.id)).success);
  await assert.rejects(lead.retrieve(made.id), { errorCode: "ENTITY_IS_DELETED" });
  assert.equal((await conn.query(`SELECT Id FROM Lead WHERE Id = '${made.id}'`)).totalSize, 0);
});

test("a task is upserted by its external id: new, then the same", async () => {
  const contact = await conn.sobject("Contact").create({ LastName: "Who" });
  const task = conn.sobject("Task");
  const first = await task.upsert({ Conduit_Key__c: "key-1", Subject: "Call", WhoId: contact.id }, "Conduit_Key__c");
  const second = await task.upsert({ Conduit_Key__c: "key-1", Subject: "Call again", WhoId: contact.id }, "Conduit_Key__c");
  assert.deepEqual([first.created, second.created, first.id === second.id], [true, false, true]);
  await assert.rejects(task.upsert({ Nope__c: "1", Subject: "x" }, "Nope__c"), { errorCode: "NOT_FOUND" });
  await assert.rejects(task.create({ Subject: "twin", Conduit_Key__c: "KEY-1" }), { errorCode: "DUPLICATE_VALUE" });
});

test("collections create, update, upsert, read and delete in order", async () => {
  const contacts = await conn.sobject("Contact").create([{ LastName: "One" }, { LastName: "Two" }, {}]);
  assert.deepEqual(contacts.map(({ success }) => success), [true, true, false]);
  assert.equal(contacts[2].errors[0].statusCode, "REQUIRED_FIELD_MISSING");
  const ids = contacts.slice(0, 2).map(({ id }) => id);
  const updated = await conn.sobject("Contact").update(ids.map((Id) => ({ Id, Title: "Dr" })));
  assert.ok(updated.every(({ success }) => success));
  const read = await conn.sobject("Contact").retrieve(ids);
  assert.deepEqual(read.map(({ LastName, Title }) => [LastName, Title]), [["One", "Dr"], ["Two", "Dr"]]);
  const upserted = await conn.sobject("Lead").upsert([1, 2].map((n) => ({ Conduit_Key__c: `l${n}`, LastName: `L${n}`, Company: "C" })), "Conduit_Key__c");
  assert.ok(upserted.every(({ success, created }) => success && created));
  const whole = await conn.sobject("Contact").create([{ LastName: "Good" }, {}], { allOrNone: true });
  assert.deepEqual(whole.map(({ errors }) => errors[0].statusCode), ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"]);
  assert.equal(await conn.sobject("Contact").count({ LastName: "Good" }), 0);
  assert.ok((await conn.sobject("Contact").destroy(ids)).every(({ success }) => success));
});

test("queries filter, sort and page to the end", async () => {
  for (let from = 0; from < 450; from += 150) {
    await conn.sobject("Lead").create(Array.from({ length: 150 }, (_, n) => ({ LastName: `P${from + n}`, Company: "O'Brien & \\ Co" })));
  }
  const rows = await conn.query("SELECT Id, LastName FROM Lead WHERE Company = 'O\\'Brien & \\\\ Co' ORDER BY LastName", { autoFetch: true, maxFetch: 1000 });
  assert.equal(rows.totalSize, 450);
  const first = await conn.query("SELECT Id FROM Lead WHERE LastName LIKE 'P%'");
  assert.deepEqual([first.records.length, first.done], [200, false]);
  let page = first;
  let seen = page.records.length;
  while (!page.done) {
    page = await conn.queryMore(page.nextRecordsUrl);
    seen += page.records.length;
  }
  assert.equal(seen, 450);
  const found = await conn.sobject("Lead").find({ LastName: { $in: ["P1", "P2", "P449"] } }, ["Id", "LastName"]).sort("-LastName").limit(2);
  assert.deepEqual(found.map(({ LastName }) => LastName), ["P449", "P2"]);
  await assert.rejects(conn.query("SELECT Id FROM Leed"), { errorCode: "INVALID_TYPE" });
  await assert.rejects(conn.query("SELECT Nope FROM Lead"), { errorCode: "INVALID_FIELD" });
  await assert.rejects(conn.query("SELECT Id FROM Lead WHERE"), { errorCode: "MALFORMED_QUERY" });
});

test("a composite refers to its own parts, and is undone as a whole", async () => {
  const base = `/services/data/v${version}`;
  const parts = (subject) => [
    { method: "PATCH", url: `${base}/sobjects/Lead/Conduit_Key__c/c1`, referenceId: "lead", body: { LastName: "C", Company: "C" } },
    { method: "POST", url: `${base}/sobjects/Task`, referenceId: "task", body: { WhoId: "@{lead.id}", ...subject } },
  ];
  const bad = await conn.requestPost("/composite", { allOrNone: true, compositeRequest: parts({ Nope: 1 }) });
  assert.deepEqual(bad.compositeResponse.map(({ body }) => body[0].errorCode), ["PROCESSING_HALTED", "INVALID_FIELD"]);
  const good = await conn.requestPost("/composite", { allOrNone: true, compositeRequest: parts({ Subject: "Call" }) });
  assert.deepEqual(good.compositeResponse.map(({ httpStatusCode }) => httpStatusCode), [201, 201]);
  const task = await conn.sobject("Task").retrieve(good.compositeResponse[1].body.id);
  assert.equal(task.WhoId, good.compositeResponse[0].body.id);
});

test("an opportunity is upserted by its external id, and its stages are listed", async () => {
  const described = await conn.sobject("Opportunity").describe();
  assert.ok(described.fields.some(({ name, externalId, unique }) => name === "Conduit_Key__c" && externalId && unique));
  const stages = await conn.query("SELECT ApiName FROM OpportunityStage WHERE IsActive = true ORDER BY SortOrder");
  assert.deepEqual(stages.records.map(({ ApiName }) => ApiName).slice(-2), ["Closed Won", "Closed Lost"]);
  const deal = { Conduit_Key__c: "deal-1", Name: "Engine", StageName: stages.records[0].ApiName, CloseDate: "2026-12-31" };
  const made = await conn.sobject("Opportunity").upsert(deal, "Conduit_Key__c");
  const again = await conn.sobject("Opportunity").upsert({ ...deal, Amount: 7 }, "Conduit_Key__c");
  assert.deepEqual([made.created, again.created, made.id === again.id], [true, false, true]);
});

test("the loser of a race for a key is refused, and finds the record when it comes again", async () => {
  await standIn.control("faults", { switches: { salesforce_key_races: 1 } });
  const task = () => conn.sobject("Task").upsert({ Conduit_Key__c: "race", Subject: "Call" }, "Conduit_Key__c");
  await assert.rejects(task(), { errorCode: "DUPLICATE_VALUE" });
  assert.equal((await task()).created, false);
});

test("a composite takes collections, and refers into their results", async () => {
  const base = `/services/data/v${version}`;
  const answer = await conn.requestPost("/composite", { allOrNone: false, compositeRequest: [
    { method: "POST", url: `${base}/composite/sobjects`, referenceId: "people", body: { records: [{ attributes: { type: "Contact" }, LastName: "List" }] } },
    { method: "POST", url: `${base}/composite/sobjects`, referenceId: "tasks", body: { records: [{ attributes: { type: "Task" }, WhoId: "@{people[0].id}" }] } },
  ] });
  const [people, tasks] = answer.compositeResponse.map(({ body }) => body);
  assert.equal((await conn.sobject("Task").retrieve(tasks[0].id)).WhoId, people[0].id);
});

test("a rotated refresh token works once; showing it again ends the connection", async () => {
  await standIn.control("faults", { switches: { salesforce_rotation: "strict" } });
  const first = await conn.oauth2.refreshToken(conn.refreshToken);
  await assert.rejects(conn.oauth2.refreshToken(conn.refreshToken), { name: "invalid_grant" });
  await assert.rejects(conn.oauth2.refreshToken(first.refresh_token), { name: "invalid_grant" });
  await assert.rejects(new jsforce.Connection({ instanceUrl: standIn.origin, accessToken: first.access_token, version }).limits(), { errorCode: "INVALID_SESSION_ID" });
});
