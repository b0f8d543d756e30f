//! Every step of every flow may fail: the uses of each port are counted, and each is failed in each way, before and after its
//! effect and by a crash. Clients, the queue and the jobs try again as in life, and every rule of DESIGN section 4 is checked
//! after each batch and at the end. A new flow is one line of `FLOWS`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use model::Crm::{Hubspot, Salesforce};
use simulator::storm::{Act, Fault, Kind, Scenario, Site, Telling, Twist, run};

const fn connect(crm: model::Crm) -> Act {
    Act::Connect { tenant: 0, crm }
}

const fn submit(crm: model::Crm) -> Act {
    Act::Submit { tenant: 0, crm, first: 0, count: 4, twist: Twist::Plain }
}

/// What happens, by name. Each begins with nothing.
const FLOWS: [(&str, &[Act]); 11] = [
    ("connect to HubSpot", &[connect(Hubspot)]),
    ("connect to Salesforce", &[connect(Salesforce)]),
    ("connect, in a shard of its own", &[Act::Connect { tenant: 2, crm: Salesforce }]),
    ("install and claim from HubSpot", &[Act::Install { tenant: 0, crm: Hubspot }, Act::Claim { tenant: 0 }]),
    ("install and claim from Salesforce", &[Act::Install { tenant: 2, crm: Salesforce }, Act::Claim { tenant: 2 }]),
    ("write to HubSpot", &[connect(Hubspot), submit(Hubspot)]),
    ("write to Salesforce", &[connect(Salesforce), submit(Salesforce)]),
    (
        "disconnect while writes are under way",
        &[connect(Hubspot), submit(Hubspot), Act::Disconnect { tenant: 0, crm: Hubspot }],
    ),
    (
        "replay what died with the connection",
        &[
            connect(Salesforce),
            Act::DryRun { on: true },
            submit(Salesforce),
            Act::Revoke { tenant: 0, crm: Salesforce },
            Act::DryRun { on: false },
            Act::Disconnect { tenant: 0, crm: Salesforce },
            connect(Salesforce),
            Act::Replay { tenant: 0 },
        ],
    ),
    ("check connections", &[connect(Hubspot), Act::Check]),
    ("purge installs", &[Act::Install { tenant: 0, crm: Salesforce }, Act::Purge]),
];

/// How a port fails, before and after its effect.
const WAYS: [(Site, Kind); 16] = [
    (Site::Http, Kind::RequestLost),
    (Site::Http, Kind::AnswerLost),
    (Site::Http, Kind::Unavailable),
    (Site::Http, Kind::ServerErrorAfter),
    (Site::Http, Kind::CrashBeforeCall),
    (Site::Http, Kind::CrashAfterCall),
    (Site::Database, Kind::Refused),
    (Site::Database, Kind::LostBeforeCommit),
    (Site::Database, Kind::LostAfterCommit),
    (Site::Database, Kind::CrashBeforeBatch),
    (Site::Database, Kind::CrashAfterBatch),
    (Site::Queue, Kind::RingRefused),
    (Site::Queue, Kind::RingTakenUnsaid),
    (Site::Gate, Kind::GateUnreachable),
    (Site::Gate, Kind::GateAnswerLost),
    (Site::Forget, Kind::ForgetLost),
];

#[test]
fn every_step_of_every_flow_may_fail_and_no_rule_is_broken() {
    let mut runs = 0;
    for (name, acts) in FLOWS {
        let clean = run(&Scenario::of(acts), None, Telling::Quiet);
        assert_eq!(clean.wrongs, Vec::<String>::new(), "{name}: without a fault");
        for (site, kind) in WAYS {
            for nth in 1..=clean.uses.get(&site).copied().unwrap_or_default() {
                let mut scenario = Scenario::of(acts);
                scenario.faults.push(Fault { site, nth, count: 1, kind, extent_ms: 500 });
                let report = run(&scenario, None, Telling::Quiet);
                assert_eq!(report.wrongs, Vec::<String>::new(), "{name}: {} at use {nth} of {site:?}", kind.label());
                assert_eq!(report.coverage.reached(), 1, "{name}: {} at use {nth} of {site:?} was met", kind.label());
                runs += 1;
            }
        }
    }
    assert!(runs > 500, "{runs} failures were tried");
}
