// A Salesforce whose answers are not signed with our client secret is not believed.

import { test } from "node:test";
import { assertRefused, startConduit } from "./harness.mjs";

const conduit = await startConduit({
  only: ["gateway", "salesforce-oauth-start", "salesforce-oauth-callback", "connection-gate", "stub-crm"],
  // Without the secret it checks none, and signs with an empty one.
  crm: { SALESFORCE_CLIENT_SECRET: "" },
});

test("a token answer with a wrong signature connects nothing", async () => {
  assertRefused(await conduit.browser().connect("salesforce", { who: conduit.acme }), 502, "signature_invalid");
});
