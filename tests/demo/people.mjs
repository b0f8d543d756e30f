// The people the demo writes about: those of recorded answers of HubSpot where a folder of them is beside the repository,
// else made-up ones.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { at } from "../../scripts/repo.mjs";

const recorded = at("..", "shared", "data", "recorded", "hubspot");
const most = 6;

const madeUp = [
  { email: "ada.lovelace@example.com", first_name: "Ada", last_name: "Lovelace", company: "Analytical Engines", job_title: "Countess" },
  { email: "grace.hopper@example.com", first_name: "Grace", last_name: "Hopper", company: "Compilers & Sons" },
  { email: "zoe.o'neill@example.com", first_name: "Zoë", last_name: "O'Neill", phone: "+44 20 7946 0000" },
  { email: "nobody@example.com" },
];

/** { source, people }: contacts as the API takes them. */
export function people() {
  const found = existsSync(recorded) ? readdirSync(recorded).sort().flatMap((file) => contactsIn(JSON.parse(readFileSync(join(recorded, file), "utf8")))) : [];
  const unique = [...new Map(found.map((contact) => [contact.email, contact])).values()];
  // Those who have a name first: they show more.
  unique.sort((a, b) => Object.keys(b).length - Object.keys(a).length || a.email.localeCompare(b.email));
  return unique.length > 0 ? { source: "the recorded contacts", people: unique.slice(0, most) } : { source: "made-up people", people: madeUp };
}

/** Every contact with an e-mail address, wherever in the answer it stands. */
function contactsIn(value) {
  if (value === null || typeof value !== "object") return [];
  const given = value.properties;
  const here = typeof given?.email === "string" ? [contact(given)] : [];
  return [...here, ...Object.values(value).flatMap(contactsIn)];
}

function contact({ email, firstname, lastname, company, phone, jobtitle }) {
  const all = { email: email.toLowerCase(), first_name: firstname, last_name: lastname, company, phone, job_title: jobtitle };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => typeof value === "string" && value.trim() !== ""));
}
