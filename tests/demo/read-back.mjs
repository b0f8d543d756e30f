// Reads back what the demo wrote, with the CRMs' own clients, unpatched, pointed at the stand-in. They have their own
// consent and tokens: those Conduit holds are sealed, and nobody gets at them.

import assert from "node:assert/strict";
import { Client } from "@hubspot/api-client";
import jsforce from "jsforce";
import { Browser } from "./browser.mjs";

const scopes = "oauth crm.objects.contacts.read";

/** The app's registration, with a redirect address that is only read, never opened. */
const registration = (origin, secrets, crm) => ({
  clientId: secrets[`${crm}_CLIENT_ID`],
  clientSecret: secrets[`${crm}_CLIENT_SECRET`],
  redirectUri: `${origin}/demo-reader`,
});

const codeFrom = async (url, account) => new URL(await new Browser().approve(url, account)).searchParams.get("code");

/** @hubspot/api-client: what `read(write)` finds in the CRM for a write that succeeded. */
export async function hubspotReader({ origin, secrets, account }) {
  const app = registration(origin, secrets, "HUBSPOT");
  const client = new Client({ basePath: origin });
  const consent = new URL(client.oauth.getAuthorizationUrl(app.clientId, app.redirectUri, scopes));
  const code = await codeFrom(`${origin}${consent.pathname}${consent.search}`, account);
  const { accessToken } = await client.oauth.tokensApi.create("authorization_code", code, app.redirectUri, app.clientId, app.clientSecret);
  client.setAccessToken(accessToken);
  const { contacts, objects } = client.crm;
  const kinds = {
    task: [objects.tasks, ["hs_task_subject", "hs_task_body", "hs_timestamp", "hs_task_priority"]],
    note: [objects.notes, ["hs_note_body", "hs_timestamp"]],
  };
  return async ({ external_ids: ids }) => {
    const found = { person: await contacts.basicApi.getById(ids.contact, ["email", "firstname", "lastname", "company", "phone", "jobtitle"]) };
    for (const [kind, [api, properties]] of Object.entries(kinds)) {
      if (ids[kind]) found[kind] = await api.basicApi.getById(ids[kind], properties, undefined, ["contacts"]);
    }
    return found;
  };
}

/** jsforce, likewise. */
export async function salesforceReader({ origin, secrets, account }) {
  const oauth2 = new jsforce.OAuth2({ ...registration(origin, secrets, "SALESFORCE"), loginUrl: origin });
  const connection = new jsforce.Connection({ oauth2, version: "67.0" });
  await connection.authorize(await codeFrom(oauth2.getAuthorizationUrl({ scope: "api refresh_token id" }), account));
  return async ({ external_ids: ids }) => ({
    person: await connection.sobject(ids.lead ? "Lead" : "Contact").retrieve(ids.lead ?? ids.contact),
    ...(ids.task && { task: await connection.sobject("Task").retrieve(ids.task) }),
  });
}

/** Compares what is in HubSpot with what was submitted; returns a line for people. */
export function matchHubspot(submitted, write, { person, task, note }) {
  const given = submitted.contact;
  const properties = { email: given.email, firstname: given.first_name, lastname: given.last_name, company: given.company, phone: given.phone, jobtitle: given.job_title };
  for (const [name, value] of Object.entries(properties)) {
    if (value !== undefined) assert.equal(person.properties[name], value, `${name} of contact ${person.id}`);
  }
  const made = task ?? note;
  assert.deepEqual(made.associations.contacts.results.map(({ id }) => id), [person.id], `the contact of ${made.id}`);
  const text = made.properties.hs_task_body ?? made.properties.hs_note_body;
  assert.ok(text.includes(`[conduit:${write.id}]`), `the mark of ${write.id}`);
  const wanted = submitted.task ?? submitted.rollup;
  assert.ok(text.startsWith(wanted.text), `the text of ${made.id}`);
  assert.equal(Date.parse(made.properties.hs_timestamp), Date.parse(wanted.due_at ?? wanted.week_of), `the time of ${made.id}`);
  if (task) assert.equal(task.properties.hs_task_subject, submitted.task.subject);
  return `contact ${person.id} ${person.properties.email} ← ${task ? "task" : "note"} ${made.id} "${submitted.task?.subject ?? submitted.rollup.text}"`;
}

/** The same for Salesforce. */
export function matchSalesforce(submitted, write, { person, task }) {
  const given = submitted.contact;
  const local = given.email.split("@");
  assert.equal(person.Email, given.email);
  // Salesforce demands a last name, and a company of a lead: the address stands in for them.
  assert.equal(person.LastName, given.last_name ?? local[0], `LastName of ${person.Id}`);
  if (person.attributes.type === "Lead") assert.equal(person.Company, given.company ?? local[1], `Company of ${person.Id}`);
  for (const [name, value] of Object.entries({ FirstName: given.first_name, Phone: given.phone, Title: given.job_title })) {
    if (value !== undefined) assert.equal(person[name], value, `${name} of ${person.Id}`);
  }
  assert.equal(task.WhoId, person.Id, `the person of task ${task.Id}`);
  assert.ok(task.Description.includes(`[conduit:${write.id}]`), `the mark of ${write.id}`);
  assert.ok(task.Description.startsWith((submitted.task ?? submitted.rollup).text), `the text of ${task.Id}`);
  assert.equal(task.Subject, submitted.task?.subject ?? "Weekly deal summary");
  assert.equal(task.ActivityDate, (submitted.task?.due_at ?? submitted.rollup.week_of).slice(0, 10));
  return `${person.attributes.type.toLowerCase()} ${person.Id} ${person.Email} ← task ${task.Id} "${task.Subject}"`;
}
