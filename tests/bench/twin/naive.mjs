// The way most integrations write an outcome, as a client would be written by hand: search the person by e-mail, create
// or update it, create the task, tie it to the person. One outcome after the other, one request for each step. In
// Salesforce the task names its person when it is created.

import assert from "node:assert/strict";
import { functions, origin } from "../../endpoints/harness.mjs";

/** A client of its own, connected to an account that nobody else writes to. */
export async function naive(crm, conduit) {
  const worker = await conduit.miniflare.getWorker("stub-crm");
  const send = async (method, path, { token, json, form } = {}) => {
    const answer = await worker.fetch(origin + path, {
      method,
      redirect: "manual",
      headers: { ...(token && { authorization: `Bearer ${token}` }), ...(json && { "content-type": "application/json" }), ...(form && { "content-type": "application/x-www-form-urlencoded" }) },
      body: json ? JSON.stringify(json) : form && new URLSearchParams(form).toString(),
    });
    const text = await answer.text();
    assert.ok(answer.status < 400, `${method} ${path}: ${answer.status} ${text}`);
    return answer.status === 302 ? new URL(answer.headers.get("location")).searchParams : text && JSON.parse(text);
  };
  const token = await connect[crm](send, conduit.secrets);
  const api = (method, path, json) => send(method, path, { token, json });
  return {
    async carryAll(writes) {
      for (const write of writes) await carry[crm](api, write);
    },
  };
}

const connect = {
  async hubspot(send, secrets) {
    const client = { client_id: secrets.HUBSPOT_CLIENT_ID, redirect_uri: `${functions}/hubspot-oauth-callback` };
    const scope = ["oauth", ...["contacts", "companies", "deals"].flatMap((object) => ["read", "write"].map((right) => `crm.objects.${object}.${right}`))].join(" ");
    const back = await send("GET", `/oauth/authorize?${new URLSearchParams({ ...client, scope, hub_id: "99", state: "s", decision: "approve" })}`);
    const form = { ...client, client_secret: secrets.HUBSPOT_CLIENT_SECRET, grant_type: "authorization_code", code: back.get("code") };
    return (await send("POST", "/oauth/v1/token", { form })).access_token;
  },
  async salesforce(send, secrets) {
    const client = { client_id: secrets.SALESFORCE_CLIENT_ID, redirect_uri: `${functions}/salesforce-oauth-callback` };
    const back = await send("GET", `/services/oauth2/authorize?${new URLSearchParams({ ...client, response_type: "code", scope: "api refresh_token", org: "9", state: "s", decision: "approve" })}`);
    const form = { ...client, client_secret: secrets.SALESFORCE_CLIENT_SECRET, grant_type: "authorization_code", code: back.get("code") };
    return (await send("POST", "/services/oauth2/token", { form })).access_token;
  },
};

const carry = {
  async hubspot(api, { contact, task }) {
    const filters = [{ propertyName: "email", operator: "EQ", value: contact.email }];
    const found = await api("POST", "/crm/v3/objects/contacts/search", { filterGroups: [{ filters }], properties: ["email"], limit: 1 });
    const properties = { email: contact.email, firstname: contact.first_name, lastname: contact.last_name, company: contact.company };
    const known = found.results[0]?.id;
    const { id: person } = known
      ? await api("PATCH", `/crm/v3/objects/contacts/${known}`, { properties })
      : await api("POST", "/crm/v3/objects/contacts", { properties });
    const made = await api("POST", "/crm/v3/objects/tasks", {
      properties: { hs_task_subject: task.subject, hs_task_body: task.text, hs_timestamp: task.due_at, hs_task_status: "NOT_STARTED", hs_task_priority: "HIGH" },
    });
    await api("PUT", `/crm/v4/objects/tasks/${made.id}/associations/default/contacts/${person}`);
  },
  async salesforce(api, { contact, task }) {
    const data = "/services/data/v67.0";
    const soql = `SELECT Id FROM Lead WHERE Email = '${contact.email}' LIMIT 1`;
    const found = await api("GET", `${data}/query?${new URLSearchParams({ q: soql })}`);
    const fields = { Email: contact.email, FirstName: contact.first_name, LastName: contact.last_name, Company: contact.company };
    const known = found.records[0]?.Id;
    if (known) await api("PATCH", `${data}/sobjects/Lead/${known}`, fields);
    const person = known ?? (await api("POST", `${data}/sobjects/Lead`, fields)).id;
    await api("POST", `${data}/sobjects/Task`, { WhoId: person, Subject: task.subject, Description: task.text, ActivityDate: task.due_at.slice(0, 10), Status: "Not Started" });
  },
};
