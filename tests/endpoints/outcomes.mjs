// Curated writes to submit: made-up people, each with an event of its own unless one is given.

let events = 0;

/** A write of `action`; `changes` are laid over it, `person` over its contact. */
export function outcome(crm, action, { person = {}, ...changes } = {}) {
  events += 1;
  return {
    crm,
    action,
    object_type: "thread",
    object_id: `th_${events}`,
    source_event_id: `evt_${events}`,
    contact: { email: `person${events}@example.com`, first_name: "Ada", last_name: "Lovelace", company: "Engines Ltd", ...person },
    ...(action === "create_task" && { task: { subject: "Send the offer", due_at: "2026-11-27T09:00:00Z", text: "Asked for a price & a date.", priority: "high" } }),
    ...(action === "create_weekly_rollup" && { rollup: { week_of: "2026-11-16", text: "Two meetings; the offer is due." } }),
    ...changes,
  };
}

export const actions = ["upsert_contact", "create_task", "create_weekly_rollup"];
