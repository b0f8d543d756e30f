//! Retention: a workspace's policy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use flows::Error;
use flows::change_policy::change_policy;
use flows::read_policy::read_policy;
use model::Role;
use model::retention::Refusal;
use pollster::block_on;
use serde_json::{Value, json};
use simulator::Sim;

fn read(sim: &Sim, role: Role) -> Value {
    block_on(read_policy(&sim.world(), &sim.caller(role))).unwrap()
}

fn change(sim: &Sim, role: Role, body: &Value) -> Result<Value, Error> {
    block_on(change_policy(&sim.world(), &sim.caller(role), body))
}

/// The values of a column of the database.
fn column(sim: &Sim, table: &str, column: &str) -> Vec<String> {
    let values = sim.ports.db.dump().into_iter().filter(|v| v.table == table && v.column == column);
    values.map(|v| v.text).collect()
}

#[test]
fn a_policy_is_the_default_until_an_admin_changes_it_and_each_change_is_audited_once() {
    let sim = Sim::new(7);
    let defaults = json!({"message_days": 365, "attachment_days": 90, "write_days": 180});
    let seen = read(&sim, Role::Member);
    assert_eq!((&seen["policy"], &seen["is_default"], &seen["updated_by"]), (&defaults, &json!(true), &Value::Null));

    assert_eq!(change(&sim, Role::Member, &json!({})), Err(Error::AdminRequired));
    let refused = change(&sim, Role::Admin, &json!({"message_days": 0}));
    assert_eq!(refused, Err(Error::PolicyRefused(Refusal::OutOfRange { field: "message_days", min: 1 })));
    assert!(column(&sim, "audit_events", "event").is_empty(), "nothing was changed");

    let month = json!({"message_days": 30, "attachment_days": 30, "write_days": null});
    let given = json!({"message_days": "30", "write_days": null});
    for _ in 0..2 {
        let changed = change(&sim, Role::Admin, &given).unwrap();
        assert_eq!((&changed["policy"], &changed["updated_by"]), (&month, &json!("us_admin")));
        assert_eq!(read(&sim, Role::Member), changed);
    }
    change(&sim, Role::Owner, &json!({})).unwrap();
    assert_eq!(column(&sim, "audit_events", "event"), ["retention_policy_changed"; 2]);
    let told: Vec<Value> =
        column(&sim, "audit_events", "detail_json").iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    for detail in [json!({"before": defaults, "after": month}), json!({"before": month, "after": defaults})] {
        assert!(told.contains(&detail), "{told:?}");
    }
    let stored = column(&sim, "retention_policies", "version");
    assert_eq!(stored, ["2"], "a policy of its own, also where it says what the defaults say");
}
