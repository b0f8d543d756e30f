//! What an operator's dashboard reads, as Prometheus text (exposition format 0.0.4): states and ages as they are now. How many of
//! what happened when is in Analytics Engine (docs/observability.md).

use crate::{Error, World};
use model::Timestamp;
use std::fmt::Write as _;
use store::jobs;
use store::metrics::{self, Counts};

/// The text.
pub async fn read_metrics(world: &World<'_>) -> Result<String, Error> {
    let mut page = Page::default();
    let mut failed = Vec::new();
    let mut shards = Vec::new();
    for shard in world.shards.names() {
        let Some(db) = world.shards.open(&shard) else { continue };
        match metrics::count(db, world.now).await {
            Ok(counts) => shards.push((shard, counts)),
            Err(error) => {
                world.log.event("shard_failed", &[("shard", &shard), ("code", Error::Db(error).code())]);
                failed.push(shard);
            }
        }
    }
    writes(&mut page, world.now, &shards);
    connections(&mut page, world.now, &shards);
    page.family("conduit_alarms_undelivered", "gauge", "Alarms that the webhook has not taken yet.");
    for (shard, counts) in &shards {
        page.sample(&[("shard", shard)], counts.alarms);
    }
    page.family("conduit_shard_unreadable", "gauge", "1 for a database that did not answer.");
    for (shard, _) in &shards {
        page.sample(&[("shard", shard)], 0);
    }
    for shard in &failed {
        page.sample(&[("shard", shard)], 1);
    }
    jobs(&mut page, world).await?;
    Ok(page.text)
}

fn writes(page: &mut Page, now: Timestamp, shards: &[(String, Counts)]) {
    page.family(
        "conduit_writes_open",
        "gauge",
        "Writes that are not final, by state and class of the last failure; 10,000 are counted at most.",
    );
    for (shard, counts) in shards {
        for of in &counts.writes {
            let class = of.class.as_deref().unwrap_or("none");
            let labels =
                [("shard", shard.as_str()), ("crm", of.crm.as_str()), ("status", &of.status), ("class", class)];
            page.sample(&labels, of.count);
        }
    }
    page.family(
        "conduit_writes_dead_letters",
        "gauge",
        "Writes in permanent_failure, by class; 10,000 are counted at most.",
    );
    for (shard, counts) in shards {
        for of in &counts.dead_letters {
            let class = of.class.as_deref().unwrap_or("none");
            page.sample(&[("shard", shard.as_str()), ("crm", of.crm.as_str()), ("class", class)], of.count);
        }
    }
    page.family("conduit_writes_oldest_due_seconds", "gauge", "For how long the longest due write has been due.");
    for (shard, counts) in shards {
        page.sample(&[("shard", shard)], age_secs(counts.oldest_due_at, now));
    }
}

fn connections(page: &mut Page, now: Timestamp, shards: &[(String, Counts)]) {
    let each =
        || shards.iter().flat_map(|(shard, counts)| counts.connections.iter().map(move |of| (shard.as_str(), of)));
    page.family("conduit_connections", "gauge", "Connections by state and health.");
    for (shard, of) in each() {
        let health = of.health.as_deref().unwrap_or("unknown");
        page.sample(
            &[("shard", shard), ("crm", of.crm.as_str()), ("status", &of.status), ("health", health)],
            of.count,
        );
    }
    page.family(
        "conduit_tokens_stored_total",
        "counter",
        "Tokens stored since the connections were made: connects and refreshes.",
    );
    for (shard, of) in each() {
        let health = of.health.as_deref().unwrap_or("unknown");
        let labels = [("shard", shard), ("crm", of.crm.as_str()), ("status", &of.status), ("health", health)];
        page.sample(&labels, of.tokens_stored);
    }
    page.family(
        "conduit_connections_oldest_check_seconds",
        "gauge",
        "For how long the longest due health check has been due.",
    );
    for (shard, of) in each().filter(|(_, of)| of.oldest_check_at.is_some()) {
        let health = of.health.as_deref().unwrap_or("unknown");
        let labels = [("shard", shard), ("crm", of.crm.as_str()), ("status", of.status.as_str()), ("health", health)];
        page.sample(&labels, age_secs(of.oldest_check_at, now));
    }
    page.family(
        "conduit_crm_limit_used_permille_max",
        "gauge",
        "Used thousandths of an account's nearest request limit, of the account that has used most, at its last check.",
    );
    for (shard, of) in each() {
        if let Some(permille) = of.limit_used_permille {
            let health = of.health.as_deref().unwrap_or("unknown");
            let labels =
                [("shard", shard), ("crm", of.crm.as_str()), ("status", of.status.as_str()), ("health", health)];
            page.sample(&labels, permille);
        }
    }
}

async fn jobs(page: &mut Page, world: &World<'_>) -> Result<(), Error> {
    let rows = jobs::list(world.directory).await?;
    page.family("conduit_job_last_run_timestamp_seconds", "gauge", "When the job's last run began.");
    for row in &rows {
        let outcome = row.outcome.as_deref().unwrap_or("running");
        let secs = u64::try_from(row.started_at.0 / 1_000).unwrap_or_default();
        page.sample(&[("job", &row.job), ("outcome", outcome)], secs);
    }
    Ok(())
}

fn age_secs(at: Option<Timestamp>, now: Timestamp) -> u64 {
    at.map_or(0, |at| u64::try_from(now.0.saturating_sub(at.0) / 1_000).unwrap_or_default())
}

#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Label values are our own words and shard names, which hold nothing that would need escaping.
    fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        self.text.push_str(self.name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.text, "}} {value}");
    }
}
