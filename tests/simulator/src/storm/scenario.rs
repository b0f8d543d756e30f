//! What a seed stands for: what people and jobs do and when, the CRMs' habits, and which uses of which port fail and how.
//! Plain lists, so that a failing scenario can be made smaller by leaving things out.

use super::book::OF_DEALS;
use super::dice::Dice;
use super::fault::{Fault, Kind, Site};
use model::Crm;

/// The workspaces: the first two in the directory's own database, the third on another shard.
pub const TENANTS: usize = 3;

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants say what their fields are")]
pub enum Act {
    /// The product submits `count` outcomes from number `first` on.
    Submit { tenant: usize, crm: Crm, first: u32, count: u32, twist: Twist },
    /// `count` threads are said to belong to a deal, and outcomes of them and of the deal follow: the deal's first, or
    /// all at once.
    Thread { tenant: usize, crm: Crm, count: u32, deal_first: bool },
    /// An administrator removes the fields that keep our tasks, notes and leads apart, from every account of a CRM; HubSpot's
    /// may perhaps be made again.
    RemoveFields { crm: Crm, for_good: bool },
    /// An owner goes through the consent.
    Connect { tenant: usize, crm: Crm },
    /// An owner goes through the consent in the account of another workspace, which is connected to it.
    Trespass { tenant: usize, at: usize, crm: Crm },
    /// An owner disconnects.
    Disconnect { tenant: usize, crm: Crm },
    /// The customer removes the app in the CRM.
    Revoke { tenant: usize, crm: Crm },
    /// Somebody installs from the marketplace, into the account of a workspace.
    Install { tenant: usize, crm: Crm },
    /// The browsers of the last install claim it for a workspace, twice at once.
    Claim { tenant: usize },
    /// Every gate loses its memory.
    Evict,
    /// Two instances of one gate are told at once that the CRM refused the token.
    Twins { tenant: usize, crm: Crm },
    /// A workspace looks for another's writes.
    Pry { tenant: usize, at: usize },
    /// The reconciler runs out of turn.
    Reconcile,
    /// An operator looks at a workspace's dead letters, and replays them.
    Replay { tenant: usize },
    /// The hourly look for connections to be checked.
    Check,
    /// Unclaimed installs are purged.
    Purge,
    /// The operator switches dry run on or off.
    DryRun { on: bool },
    /// Another app uses up so much of the portal's budget.
    Rival { calls: usize },
    /// So many of Salesforce's rows are locked.
    Lock { rows: u32 },
    /// The CRM refuses the account's calls for so long, and says so.
    Limit { tenant: usize, crm: Crm, secs: i64 },
    /// A person is erased in a workspace: that of the outcomes with this number.
    Erase { tenant: usize, person: u32 },
    /// The retention's purge.
    Sweep,
    /// The audit trail is sealed.
    Seal,
    /// Alarms are delivered to the webhook.
    Alarms,
    /// The browser of the last install claims it for a workspace and declines it at once.
    Decline { tenant: usize },
}

/// How an outcome is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// Once.
    Plain,
    /// By two requests at the same time.
    Twice,
    /// And again later with another content under the same key.
    OtherContent,
}

/// When somebody does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Since the beginning.
    pub at_ms: i64,
    /// What.
    pub act: Act,
}

/// The CRMs' habits in one scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// 0 off, 1 on, 2 strict.
    pub rotation: u8,
    /// HubSpot's unique property on activities: 0 refused, 1 without the scope, 2 made plain, 3 made.
    pub unique: u8,
    /// Salesforce's External Id field: 0 absent, 1 unique, 2 not unique.
    pub key_field: u8,
    /// How far HubSpot's lists of associations are behind.
    pub association_lag_ms: i64,
    /// How far HubSpot's search is behind.
    pub search_lag_ms: i64,
    /// Outcomes of one scenario are about few people.
    pub shared_people: bool,
    /// Every tenth outcome is one that the CRM refuses.
    pub poison: bool,
    /// HubSpot's refresh tokens: 0 stay, 1 are replaced, 2 are replaced and a second use ends the grant.
    pub hubspot_rotation: u8,
    /// So many of HubSpot's batch reads leave out a record, without a word.
    pub incomplete_reads: u32,
    /// Salesforce's duplicate rules: 0 none, 1 allow saving when asked, 2 block.
    pub duplicate_rules: u8,
    /// The HubSpot app has the scopes for deals.
    pub deals: bool,
}

/// A scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Draws latencies and the order of what happens at once.
    pub seed: u64,
    /// The CRMs' habits.
    pub habits: Habits,
    /// When the calm begins.
    pub horizon_ms: i64,
    /// In any order.
    pub steps: Vec<Step>,
    /// Which uses fail.
    pub faults: Vec<Fault>,
}

/// Outcomes that meet a limit have numbers from here on.
const OF_LIMITS: u32 = 1_000;

/// So long a person waits at most for a deal before what follows from it.
pub const THREAD_WAITS_MS: i64 = 30 * 60_000;

/// How long steps go on.
pub const HORIZON_MS: i64 = 90 * 60_000;

impl Scenario {
    /// These things happen a minute apart, and nothing fails.
    pub fn of(acts: &[Act]) -> Self {
        let mut scenario = Self::empty(1);
        scenario.steps = (0..).zip(acts).map(|(nth, act)| Step { at_ms: nth * 60_000, act: *act }).collect();
        let last_ms = scenario.steps.last().map_or(0, |step| step.at_ms);
        scenario.horizon_ms = last_ms + 180_000;
        scenario
    }

    /// Nothing happens in it, and nothing fails.
    pub const fn empty(seed: u64) -> Self {
        let habits = Habits {
            rotation: 2,
            unique: 0,
            key_field: 0,
            association_lag_ms: 5_000,
            search_lag_ms: 10_000,
            shared_people: false,
            poison: false,
            hubspot_rotation: 0,
            incomplete_reads: 0,
            duplicate_rules: 0,
            deals: false,
        };
        Self { seed, habits, horizon_ms: HORIZON_MS, steps: Vec::new(), faults: Vec::new() }
    }

    /// The scenario of a seed.
    pub fn draw(seed: u64) -> Self {
        let dice = Dice::new(seed, 1);
        let mut habits = Habits {
            rotation: u8::try_from(dice.below(3)).unwrap_or_default(),
            unique: *dice.pick(&[0, 0, 1, 2, 3, 3]),
            key_field: *dice.pick(&[0, 0, 1, 1, 2]),
            association_lag_ms: *dice.pick(&[0, 0, 5_000, 30_000]),
            search_lag_ms: *dice.pick(&[0, 10_000, 45_000]),
            shared_people: dice.percent(20),
            poison: dice.percent(15),
            ..Self::empty(seed).habits
        };
        let mut steps = opening(&dice);
        let mut next = 0;
        for _ in 0..dice.between(4, 14) {
            let at_ms = dice.between(30_000, HORIZON_MS);
            let act = act(&dice, &mut next);
            steps.push(Step { at_ms, act });
        }
        // A draw of its own: every other seed stays the run that it was.
        let rare = Dice::new(seed, 5);
        if rare.percent(10) {
            let act = Act::Twins { tenant: rare.below(TENANTS), crm: *rare.pick(&Crm::ALL) };
            steps.push(Step { at_ms: rare.between(30_000, HORIZON_MS), act });
        }
        if rare.percent(10) {
            let tenant = rare.below(TENANTS);
            let act = Act::Trespass { tenant, at: (tenant + 1) % TENANTS, crm: *rare.pick(&Crm::ALL) };
            steps.push(Step { at_ms: rare.between(30_000, HORIZON_MS), act });
        }
        draw_later_additions(seed, &mut habits, &mut steps);
        draw_deals(seed, &mut habits, &mut steps);
        draw_threads(seed, &mut habits, &mut steps);
        draw_removal(seed, &mut habits, &mut steps);
        let count = dice.below(10);
        let faults = (0..count).map(|_| fault(&dice)).collect();
        Self { seed, habits, horizon_ms: HORIZON_MS, steps, faults }
    }
}

/// What was added after the others, by draws of its own for the same reason.
fn draw_later_additions(seed: u64, habits: &mut Habits, steps: &mut Vec<Step>) {
    let dice = Dice::new(seed, 6);
    habits.hubspot_rotation = *dice.pick(&[0, 0, 0, 0, 1, 2]);
    habits.incomplete_reads = *dice.pick(&[0, 0, 0, 0, 0, 3]);
    habits.duplicate_rules = *dice.pick(&[0, 0, 0, 0, 1, 2]);
    let (tenant, crm) = (dice.below(TENANTS), *dice.pick(&Crm::ALL));
    if dice.percent(15) {
        let (at_ms, secs) = (dice.between(30_000, HORIZON_MS - 60_000), dice.between(30, 90));
        steps.push(Step { at_ms, act: Act::Limit { tenant, crm, secs } });
        // Outcomes that meet the limit, that come when it was met, and that come towards its end.
        for (nth, later_ms) in [1_000, 9_000, 25_000].into_iter().enumerate() {
            let first = OF_LIMITS + u32::try_from(nth).unwrap_or_default();
            let act = Act::Submit { tenant, crm, first, count: 1, twist: Twist::Plain };
            steps.push(Step { at_ms: at_ms + later_ms, act });
        }
    }
    if dice.percent(25) {
        for _ in 0..dice.between(1, 5) {
            let at_ms = dice.between(30_000, HORIZON_MS);
            match dice.below(10) {
                0..4 => steps.extend(erasure(&dice, steps)),
                4..6 => steps.push(Step { at_ms, act: Act::Sweep }),
                6..8 => steps.push(Step { at_ms, act: Act::Seal }),
                _ => steps.push(Step { at_ms, act: Act::Alarms }),
            }
        }
    }
    if dice.percent(5) {
        let at_ms = dice.between(30_000, HORIZON_MS - 60_000);
        steps.push(Step { at_ms, act: Act::Install { tenant, crm } });
        steps.push(Step { at_ms: at_ms + 5_000, act: Act::Decline { tenant } });
    }
}

/// Outcomes about deals: one of Salesforce's, or two of one HubSpot deal, together or one after the other.
fn draw_deals(seed: u64, habits: &mut Habits, steps: &mut Vec<Step>) {
    let dice = Dice::new(seed, 7);
    habits.deals = dice.percent(20);
    if !habits.deals {
        return;
    }
    let (tenant, at_ms) = (dice.below(TENANTS), dice.between(30_000, HORIZON_MS - 60_000));
    let mut submit = |at_ms, crm, first, count| {
        let twist = *dice.pick(&[Twist::Plain, Twist::Plain, Twist::Twice, Twist::OtherContent]);
        steps.push(Step { at_ms, act: Act::Submit { tenant, crm, first, count, twist } });
    };
    match dice.below(3) {
        0 => submit(at_ms, Crm::Salesforce, OF_DEALS, 1),
        1 => submit(at_ms, Crm::Hubspot, OF_DEALS, 2),
        _ => {
            submit(at_ms, Crm::Hubspot, OF_DEALS, 1);
            submit(at_ms + dice.between(1_000, 60_000), Crm::Hubspot, OF_DEALS + 1, 1);
        }
    }
}

/// Threads that belong to a deal, in an account that is connected then, as most are.
fn draw_threads(seed: u64, habits: &mut Habits, steps: &mut Vec<Step>) {
    let dice = Dice::new(seed, 8);
    if !dice.percent(10) {
        return;
    }
    habits.deals = true;
    let (tenant, crm) = (dice.below(TENANTS), *dice.pick(&[Crm::Hubspot, Crm::Hubspot, Crm::Salesforce]));
    let at_ms = dice.between(30_000, HORIZON_MS - THREAD_WAITS_MS);
    let count = *dice.pick(&[1, 1, 3]);
    steps.push(Step { at_ms: at_ms - 25_000, act: Act::Connect { tenant, crm } });
    steps.push(Step { at_ms, act: Act::Thread { tenant, crm, count, deal_first: dice.percent(70) } });
}

/// Fields that were there are removed, while outcomes are on their way or between them.
fn draw_removal(seed: u64, habits: &mut Habits, steps: &mut Vec<Step>) {
    let dice = Dice::new(seed, 9);
    if !dice.percent(6) {
        return;
    }
    let crm = *dice.pick(&Crm::ALL);
    match crm {
        Crm::Hubspot => habits.unique = 3,
        Crm::Salesforce => habits.key_field = 1,
    }
    let submits: Vec<i64> = steps
        .iter()
        .filter(|step| matches!(step.act, Act::Submit { crm: of, .. } if of == crm))
        .map(|step| step.at_ms)
        .collect();
    let at_ms = if submits.is_empty() || dice.percent(30) {
        dice.between(30_000, HORIZON_MS)
    } else {
        dice.pick(&submits) + dice.between(0, 10_000)
    };
    steps.push(Step { at_ms, act: Act::RemoveFields { crm, for_good: dice.percent(60) } });
}

/// A person is erased while the outcome about them is on its way; perhaps an operator replays what became of it.
fn erasure(dice: &Dice, steps: &[Step]) -> Vec<Step> {
    let submits = steps.iter().filter_map(|step| match step.act {
        Act::Submit { tenant, first, count, .. } => Some((step.at_ms, tenant, first, count)),
        _ => None,
    });
    let submits: Vec<(i64, usize, u32, u32)> = submits.collect();
    let Some(&(at_ms, tenant, first, count)) = submits.get(dice.below(submits.len())) else { return Vec::new() };
    let person = first + u32::try_from(dice.below(usize::try_from(count).unwrap_or(1))).unwrap_or_default();
    let at_ms = at_ms + *dice.pick(&[0, 1_000, 5_000, 60_000, 900_000]);
    let mut steps = vec![Step { at_ms, act: Act::Erase { tenant, person } }];
    if dice.percent(40) {
        steps.push(Step { at_ms: at_ms + dice.between(30_000, 1_800_000), act: Act::Replay { tenant } });
    }
    steps
}

/// Two of three workspaces are connected to begin with.
fn opening(dice: &Dice) -> Vec<Step> {
    let mut steps = Vec::new();
    for tenant in 0..TENANTS {
        for crm in Crm::ALL {
            if dice.percent(55) {
                steps.push(Step { at_ms: dice.between(0, 5_000), act: Act::Connect { tenant, crm } });
            }
        }
    }
    steps
}

fn act(dice: &Dice, next: &mut u32) -> Act {
    let tenant = dice.below(TENANTS);
    let crm = *dice.pick(&Crm::ALL);
    match dice.below(100) {
        0..46 => {
            let count = *dice.pick(&[1, 1, 1, 2, 3, 8]);
            let first = *next;
            *next += count;
            let twist = *dice.pick(&[Twist::Plain, Twist::Plain, Twist::Plain, Twist::Twice, Twist::OtherContent]);
            Act::Submit { tenant, crm, first, count, twist }
        }
        46..50 => Act::Replay { tenant },
        50..52 => Act::Check,
        52..60 => Act::Connect { tenant, crm },
        60..66 => Act::Disconnect { tenant, crm },
        66..70 => Act::Revoke { tenant, crm },
        70..75 => Act::Install { tenant, crm },
        75..80 => Act::Claim { tenant },
        80..85 => Act::Evict,
        85..88 => Act::Pry { tenant, at: (tenant + 1) % TENANTS },
        88..91 => Act::Reconcile,
        91..93 => Act::Purge,
        93..96 => Act::DryRun { on: dice.percent(50) },
        96..98 => Act::Rival { calls: 20 * dice.below(6) },
        _ => Act::Lock { rows: 3 },
    }
}

fn fault(dice: &Dice) -> Fault {
    let (kind, site) = *dice.pick(&Kind::DRAWN);
    let calls = match site {
        Site::Http => 60,
        Site::Database => 120,
        Site::Gate => 30,
        Site::Report => 12,
        Site::Forget => 8,
        Site::Queue | Site::Clock => 40,
    };
    let nth = u64::try_from(dice.between(1, calls)).unwrap_or(1);
    let count = if dice.percent(15) { 12 } else { 1 };
    Fault { site, nth, count, kind, extent_ms: dice.between(1, 1_000) }
}
