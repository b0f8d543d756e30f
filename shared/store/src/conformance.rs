//! One suite for every `Db`: what the statements of this crate rely on, run on SQLite natively and on D1 in workerd.
//!
//! In scope: the engine's rules (transactions, `changes()`, constraints, numbers, JSON lists) and each statement's contract as
//! its callers depend on it. Out of scope: flows. Only tests link it.

use crate::connections::{self, Connected, Connection, Failed, Refreshed};
use crate::db::{Bind, Db, DbError, Statement, nth, run};
use crate::leases;
use crate::oauth_states::{self, NewState, Unusable};
use crate::resealing::{self, Resealed};
use crate::writes::{self, Filter};
use crate::{WorkspaceScope, workspaces};
use model::oauth::Flow;
use model::{ConnectionId, Crm, Role, Timestamp, UserId, WorkspaceId, WriteId};
use serde_json::json;

use installs::{
    a_claim_is_won_once_and_fails_its_whole_batch_otherwise, a_declined_install_is_over_unless_it_is_being_claimed,
    a_journals_cursor_moves_on_only_from_where_it_was_found, a_link_opens_once_in_time_and_its_session_ends,
    a_removal_ends_what_was_there_before_it_and_nothing_else,
    a_renewal_is_begun_once_and_saved_for_the_generation_it_spent, a_second_install_refreshes_the_first,
    an_account_has_one_workspace, an_install_is_sealed_again_only_as_it_was_read,
    what_ended_is_listed_erased_and_deleted,
};

use retention::{
    a_person_has_one_open_erasure, a_policy_is_compared_and_set,
    a_seal_is_compared_and_set_and_the_loser_numbers_nothing, the_cursor_through_the_log_only_moves_forward,
    what_is_due_is_redacted_oldest_first_and_counted_in_its_batch,
};
use writes_of_a_lot::{
    a_lease_is_given_once_and_settled_under_its_name, a_settlement_too_large_to_bind_goes_in_parts,
    an_earlier_open_write_of_a_target_holds_back_later_ones, claim, planned, the_log_is_paged_newest_first,
    writes_are_planned_once_and_only_where_connected,
};

/// A failed check: which, and what was seen.
pub type Failure = (&'static str, String);

const NOW: Timestamp = Timestamp(1_795_165_200_123);

macro_rules! ensure {
    ($condition:expr, $($seen:tt)+) => {
        if !$condition {
            return Err(format!($($seen)+));
        }
    };
}

mod installs;
mod retention;
mod writes_of_a_lot;

/// Runs every check on an empty, migrated database; answers the number of checks and what failed.
pub async fn run_all(db: &dyn Db) -> (usize, Vec<Failure>) {
    let mut failures = Vec::new();
    let mut checks = 0;
    macro_rules! check {
        ($($name:ident),+ $(,)?) => {$(
            checks += 1;
            if let Err(seen) = $name(db).await {
                failures.push((stringify!($name), seen));
            }
        )+};
    }
    check!(
        whole_numbers_stay_whole,
        text_that_looks_like_a_number_stays_text,
        a_failing_statement_undoes_the_whole_batch,
        changes_is_seen_by_the_next_statement,
        membership_and_service_tokens_open_their_own_workspace_only,
        a_state_is_consumed_once_by_its_browser_before_its_end,
        a_connection_is_compared_and_set,
        a_refresh_is_saved_for_the_generation_it_began_with,
        tokens_that_come_late_heal_what_was_marked_for_them,
        a_row_is_sealed_again_only_as_it_was_read,
        writes_are_planned_once_and_only_where_connected,
        a_lease_is_given_once_and_settled_under_its_name,
        an_earlier_open_write_of_a_target_holds_back_later_ones,
        a_settlement_too_large_to_bind_goes_in_parts,
        the_log_is_paged_newest_first,
        a_workspace_sees_nothing_of_another,
        an_account_has_one_workspace,
        a_second_install_refreshes_the_first,
        a_claim_is_won_once_and_fails_its_whole_batch_otherwise,
        what_ended_is_listed_erased_and_deleted,
        a_declined_install_is_over_unless_it_is_being_claimed,
        a_renewal_is_begun_once_and_saved_for_the_generation_it_spent,
        an_install_is_sealed_again_only_as_it_was_read,
        a_journals_cursor_moves_on_only_from_where_it_was_found,
        a_removal_ends_what_was_there_before_it_and_nothing_else,
        a_link_opens_once_in_time_and_its_session_ends,
        a_policy_is_compared_and_set,
        what_is_due_is_redacted_oldest_first_and_counted_in_its_batch,
        the_cursor_through_the_log_only_moves_forward,
        a_seal_is_compared_and_set_and_the_loser_numbers_nothing,
        a_person_has_one_open_erasure,
    );
    (checks, failures)
}

fn words(error: DbError) -> String {
    error.to_string()
}

fn scope(id: &str) -> Result<WorkspaceScope, String> {
    WorkspaceId::parse(id).map(WorkspaceScope::of).ok_or_else(|| format!("{id} is no workspace id"))
}

async fn workspace(db: &dyn Db, id: &str) -> Result<WorkspaceScope, String> {
    let scope = scope(id)?;
    run(db, workspaces::create(scope.workspace_id(), id, "DB", NOW)).await.map_err(words)?;
    Ok(scope)
}

async fn whole_numbers_stay_whole(db: &dyn Db) -> Result<(), String> {
    workspace(db, "ws_numbers").await?;
    let read = Statement::new(
        "SELECT created_at, typeof(created_at) AS kind FROM workspaces WHERE id = ?1",
        [Bind::from("ws_numbers")],
    );
    let rows = run(db, read).await.map_err(words)?.rows;
    let row = rows.first().ok_or("no row")?;
    ensure!(row.get("created_at") == Some(&json!(NOW.0)), "{row:?}");
    ensure!(row.get("kind") == Some(&json!("integer")), "{row:?}");
    Ok(())
}

async fn text_that_looks_like_a_number_stays_text(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_digits").await?;
    connect(db, &scope, Crm::Hubspot, "4242", 1).await?;
    let row = connections::fetch(db, &scope, Crm::Hubspot).await.map_err(words)?.ok_or("no row")?;
    ensure!(row.external_account_id == "4242", "{}", row.external_account_id);
    Ok(())
}

async fn a_failing_statement_undoes_the_whole_batch(db: &dyn Db) -> Result<(), String> {
    let scope = scope("ws_undone")?;
    let bad_role = Statement::new(
        "INSERT INTO workspace_members (workspace_id, user_id, role, created_at) VALUES (?1, 'us_x', 'king', ?2)",
        [Bind::from("ws_undone"), NOW.into()],
    );
    let outcome = db.batch(vec![workspaces::create(scope.workspace_id(), "x", "DB", NOW), bad_role]).await;
    ensure!(outcome == Err(DbError::Constraint), "{outcome:?}");
    let read = Statement::new("SELECT id FROM workspaces WHERE id = ?1", [Bind::from("ws_undone")]);
    let rows = run(db, read).await.map_err(words)?.rows;
    ensure!(rows.is_empty(), "{rows:?}");
    Ok(())
}

const fn failed(expected_generation: u64) -> Failed<'static> {
    Failed { expected_generation, refresh_id: None, code: "x", advice: "y", at: NOW }
}

async fn changes_is_seen_by_the_next_statement(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_changes").await?;
    connect(db, &scope, Crm::Hubspot, "1", 1).await?;
    let count = || {
        Statement::new(
            "SELECT COUNT(*) AS n FROM connection_health WHERE workspace_id = ?1",
            [Bind::from("ws_changes")],
        )
    };
    for (generation, expected) in [(9, 0), (1, 1)] {
        let outcomes = db
            .batch(vec![
                connections::mark_error(&scope, Crm::Hubspot, &failed(generation)),
                connections::set_health_if_changed(&scope, Crm::Hubspot, model::Health::Error, None, None, NOW),
                count(),
            ])
            .await
            .map_err(words)?;
        let row = nth(&outcomes, 2).map_err(words)?.rows.first().cloned().unwrap_or_default();
        ensure!(row.get("n") == Some(&json!(expected)), "generation {generation}: {row:?}");
    }
    Ok(())
}

async fn membership_and_service_tokens_open_their_own_workspace_only(db: &dyn Db) -> Result<(), String> {
    let ours = workspace(db, "ws_members").await?;
    let theirs = workspace(db, "ws_members2").await?;
    let user = UserId::parse("us_ada").ok_or("no user id")?;
    run(db, workspaces::admit_member(ours.workspace_id(), &user, Role::Admin, NOW)).await.map_err(words)?;
    let access = workspaces::fetch_member(db, ours.workspace_id(), &user).await.map_err(words)?.ok_or("no access")?;
    ensure!((access.role, access.shard.as_str()) == (Role::Admin, "DB"), "{access:?}");
    let foreign = workspaces::fetch_member(db, theirs.workspace_id(), &user).await.map_err(words)?;
    ensure!(foreign.is_none(), "{foreign:?}");

    let until = Some(NOW.plus_secs(60));
    let issue = workspaces::issue_service_token("hash-1", ours.workspace_id(), "ci", Role::Member, until, NOW);
    run(db, issue).await.map_err(words)?;
    let good = workspaces::fetch_service_token(db, "hash-1", NOW).await.map_err(words)?;
    ensure!(good.as_ref().is_some_and(|a| a.workspace_id == *ours.workspace_id()), "{good:?}");
    let late = workspaces::fetch_service_token(db, "hash-1", NOW.plus_secs(60)).await.map_err(words)?;
    ensure!(late.is_none(), "{late:?}");
    Ok(())
}

async fn a_state_is_consumed_once_by_its_browser_before_its_end(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_states").await?;
    let end = NOW.plus_secs(600);
    let mint = |hash: &'static str| {
        oauth_states::mint(&NewState {
            state_hash: hash,
            crm: Crm::Hubspot,
            flow: Flow::Connect,
            workspace_id: Some(scope.workspace_id()),
            started_by: Some("us_ada"),
            browser_hash: "browser",
            verifier_key_id: Some("3b71b459"),
            return_to: None,
            login_host: None,
            created_at: NOW,
            expires_at: end,
        })
    };
    db.batch(vec![mint("once"), mint("late"), mint("foreign")]).await.map_err(words)?;
    let before_end = end.plus_ms(-1);
    for (crm, hash, browser, now, expected) in [
        (Crm::Salesforce, "once", "browser", NOW, Err(Unusable::Unknown)),
        (Crm::Hubspot, "never", "browser", NOW, Err(Unusable::Unknown)),
        (Crm::Hubspot, "once", "browser", before_end, Ok(())),
        (Crm::Hubspot, "once", "browser", NOW, Err(Unusable::Used)),
        (Crm::Hubspot, "late", "browser", end, Err(Unusable::Expired)),
        (Crm::Hubspot, "late", "browser", end, Err(Unusable::Used)),
        (Crm::Hubspot, "foreign", "another", NOW, Err(Unusable::ForeignBrowser)),
        (Crm::Hubspot, "foreign", "browser", NOW, Err(Unusable::Used)),
    ] {
        let seen = oauth_states::consume(db, crm, hash, browser, now).await.map_err(words)?;
        if let Ok(consumed) = &seen {
            ensure!(consumed.shard.as_deref() == Some("DB"), "{consumed:?}");
        }
        let seen = seen.map(|_| ());
        ensure!(seen == expected, "{hash} in {browser}: {seen:?}");
    }
    Ok(())
}

fn connected<'a>(id: &'a ConnectionId, crm: Crm, account: &'a str, generation: u64) -> Connected<'a> {
    Connected {
        id,
        crm,
        external_account_id: account,
        external_account_name: None,
        external_user_id: None,
        instance_url: None,
        login_host: None,
        scopes_json: "[\"oauth\"]",
        access_token_sealed: "v1.access",
        refresh_token_sealed: Some("v1.refresh"),
        expires_at: Some(NOW),
        token_generation: generation,
        connected_by: "us_ada",
        at: NOW,
    }
}

async fn connect(db: &dyn Db, scope: &WorkspaceScope, crm: Crm, account: &str, generation: u64) -> Result<u64, String> {
    let id = ConnectionId::parse("cx_1").ok_or("no connection id")?;
    let statement = connections::connect(scope, &connected(&id, crm, account, generation));
    Ok(run(db, statement).await.map_err(words)?.changes)
}

async fn fetch(db: &dyn Db, scope: &WorkspaceScope) -> Result<Connection, String> {
    connections::fetch(db, scope, Crm::Hubspot).await.map_err(words)?.ok_or_else(|| "no connection".to_owned())
}

async fn a_connection_is_compared_and_set(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_connect").await?;
    for (account, generation, changes, why) in [
        ("1", 1, 1, "the first"),
        ("1", 1, 0, "a repeat"),
        ("1", 2, 1, "a reconnect"),
        ("2", 3, 0, "another account"),
        ("1", 5, 0, "a generation that was never read"),
    ] {
        let seen = connect(db, &scope, Crm::Hubspot, account, generation).await?;
        ensure!(seen == changes, "{why}: {seen} changes");
    }
    run(db, connections::disconnect(&scope, Crm::Hubspot, NOW)).await.map_err(words)?;
    let row = fetch(db, &scope).await?;
    ensure!(row.access_token_sealed.is_none() && row.token_generation == 3, "{row:?}");
    let seen = connect(db, &scope, Crm::Hubspot, "2", 4).await?;
    ensure!(seen == 1, "another account after a disconnect: {seen} changes");
    Ok(())
}

async fn a_refresh_is_saved_for_the_generation_it_began_with(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_refresh").await?;
    connect(db, &scope, Crm::Hubspot, "1", 1).await?;
    let refreshed = |expected_generation| Refreshed {
        expected_generation,
        access_token_sealed: "v1.access2",
        refresh_token_sealed: "v1.refresh2",
        expires_at: Some(NOW.plus_secs(1_800)),
        instance_url: None,
        refused_at: None,
        at: NOW,
    };
    let save = |generation| connections::save_refresh(&scope, Crm::Hubspot, &refreshed(generation));
    ensure!(run(db, save(2)).await.map_err(words)?.changes == 0, "a generation that is not there was saved");
    ensure!(run(db, save(1)).await.map_err(words)?.changes == 1, "the refresh was not saved");
    ensure!(run(db, save(1)).await.map_err(words)?.changes == 0, "the refresh was saved twice");
    let row = fetch(db, &scope).await?;
    ensure!(row.token_generation == 2 && row.access_token_sealed.as_deref() == Some("v1.access2"), "{row:?}");
    Ok(())
}

async fn tokens_that_come_late_heal_what_was_marked_for_them(db: &dyn Db) -> Result<(), String> {
    for (code, healed) in [("refresh_interrupted", 1), ("token_refused", 0)] {
        let scope = workspace(db, &format!("ws_heal_{code}")).await?;
        connect(db, &scope, Crm::Hubspot, "1", 1).await?;
        let marked = connections::mark_error(&scope, Crm::Hubspot, &Failed { code, ..failed(1) });
        ensure!(run(db, marked).await.map_err(words)?.changes == 1, "the connection was not marked");
        let late = Refreshed {
            expected_generation: 1,
            access_token_sealed: "v1.access2",
            refresh_token_sealed: "v1.refresh2",
            expires_at: None,
            instance_url: None,
            refused_at: None,
            at: NOW,
        };
        let heal = || connections::heal_refresh(&scope, Crm::Hubspot, &late);
        ensure!(run(db, heal()).await.map_err(words)?.changes == healed, "{code} healed otherwise than it should");
        ensure!(run(db, heal()).await.map_err(words)?.changes == 0, "{code} healed twice");
    }
    Ok(())
}

async fn a_row_is_sealed_again_only_as_it_was_read(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_reseal").await?;
    connect(db, &scope, Crm::Hubspot, "1", 1).await?;
    connect(db, &scope, Crm::Salesforce, "2", 1).await?;
    let list = async |after| resealing::list_sealed_otherwise(db, "v2.new.", after, 100).await.map_err(words);
    let rows = list(None).await?;
    let ours: Vec<_> = rows.iter().filter(|row| row.workspace_id == *scope.workspace_id()).collect();
    ensure!(ours.len() == 2, "{} rows were found under another key", ours.len());
    let after = list(Some((scope.workspace_id(), Crm::Hubspot))).await?;
    ensure!(after.first().is_some_and(|row| row.crm == Crm::Salesforce), "the next page begins elsewhere");
    let again = |row| Resealed {
        row,
        access_token_sealed: "v2.new.a".to_owned(),
        refresh_token_sealed: Some("v2.new.r".to_owned()),
    };
    let again: Vec<_> = ours.into_iter().map(again).collect();
    ensure!(run(db, resealing::reseal(&again)).await.map_err(words)?.changes == 2, "not both were stored");
    ensure!(run(db, resealing::reseal(&again)).await.map_err(words)?.changes == 0, "stored although changed since");
    let left = list(None).await?;
    ensure!(left.iter().all(|row| row.workspace_id != *scope.workspace_id()), "found again");
    Ok(())
}

async fn a_workspace_sees_nothing_of_another(db: &dyn Db) -> Result<(), String> {
    let ours = workspace(db, "ws_ours").await?;
    let theirs = workspace(db, "ws_theirs").await?;
    connect(db, &ours, Crm::Hubspot, "1", 1).await?;
    planned(db, &ours, &["secret"]).await?;
    let id = WriteId::of(Crm::Hubspot, "secret").ok_or("no write id")?;
    ensure!(writes::fetch(db, &theirs, &id).await.map_err(words)?.is_none(), "a foreign write was read");
    let all = Filter { limit: 10, ..Filter::default() };
    ensure!(writes::list(db, &theirs, &all).await.map_err(words)?.is_empty(), "a foreign log was read");
    ensure!(connections::list(db, &theirs).await.map_err(words)?.is_empty(), "a foreign connection was read");
    let lease = leases::lease(&theirs, Crm::Hubspot, &["secret".to_owned()], &claim("at_1", NOW));
    ensure!(run(db, lease).await.map_err(words)?.rows.is_empty(), "a foreign write was leased");
    Ok(())
}
