//! The part of the suite about installs, accounts and sessions.

use super::{NOW, connect, words, workspace};
use crate::connect_sessions::{self, NewLink, Unusable};
use crate::db::{Db, DbError, run};
use crate::pending_installs::{self, Claim, Install, Parked, Renewed};
use crate::resealing::{self, InstallResealed};
use crate::{connections, crm_accounts, journal_cursors, uninstalls, workspaces};
use model::install::{Page, Proof};
use model::{ConnectionId, Crm, InstallId, InstallStatus, Role, Timestamp, UserId};

const END: Timestamp = NOW.plus_secs(3_600);

const fn parked<'a>(id: &'a InstallId, account: &'a str, generation: u64) -> Parked<'a> {
    Parked {
        id,
        crm: Crm::Hubspot,
        external_account_id: account,
        external_account_name: Some("Acme <b>"),
        external_user_id: None,
        instance_url: None,
        login_host: None,
        scopes_json: "[]",
        access_token_sealed: "v1.access",
        refresh_token_sealed: Some("v1.refresh"),
        token_expires_at: NOW,
        token_generation: generation,
        claim_secret_hash: "secret",
        proof: Proof::Browser,
        at: NOW,
        expires_at: END,
    }
}

fn install_id(text: &str) -> Result<InstallId, String> {
    InstallId::parse(text).ok_or_else(|| format!("{text} is no install id"))
}

async fn park(db: &dyn Db, id: &str, account: &str, generation: u64) -> Result<u64, String> {
    let id = install_id(id)?;
    Ok(run(db, pending_installs::park(&parked(&id, account, generation))).await.map_err(words)?.changes)
}

async fn fetch(db: &dyn Db, id: &str) -> Result<Install, String> {
    pending_installs::fetch(db, &install_id(id)?).await.map_err(words)?.ok_or_else(|| format!("no install {id}"))
}

pub(super) async fn an_account_has_one_workspace(db: &dyn Db) -> Result<(), String> {
    let ours = workspace(db, "ws_account1").await?;
    let theirs = workspace(db, "ws_account2").await?;
    let take = |scope: &crate::WorkspaceScope, at| crm_accounts::take(Crm::Hubspot, "900", scope.workspace_id(), at);
    run(db, take(&ours, NOW)).await.map_err(words)?;
    run(db, take(&ours, END)).await.map_err(words)?;
    let batch = vec![take(&theirs, NOW), workspaces::create(theirs.workspace_id(), "renamed", "DB", NOW)];
    let outcome = db.batch(batch).await;
    ensure!(outcome == Err(DbError::Constraint), "a foreign account was taken: {outcome:?}");
    let owner = crm_accounts::fetch_owner(db, Crm::Hubspot, "900").await.map_err(words)?.ok_or("no owner")?;
    ensure!((&owner.workspace_id, owner.acquired_at) == (ours.workspace_id(), NOW), "{owner:?}");
    run(db, crm_accounts::release(Crm::Hubspot, "900", theirs.workspace_id())).await.map_err(words)?;
    let stale = crm_accounts::Owner { acquired_at: END, ..owner.clone() };
    run(db, crm_accounts::release_stale(Crm::Hubspot, "900", &stale)).await.map_err(words)?;
    let still = crm_accounts::fetch_owner(db, Crm::Hubspot, "900").await.map_err(words)?;
    ensure!(still == Some(owner), "released by another: {still:?}");
    run(db, crm_accounts::release(Crm::Hubspot, "900", ours.workspace_id())).await.map_err(words)?;
    run(db, take(&theirs, NOW)).await.map_err(words)?;

    connect(db, &ours, Crm::Hubspot, "901", 1).await?;
    let id = ConnectionId::parse("cx_1").ok_or("no connection id")?;
    let hold = |generation| connections::must_hold(&ours, Crm::Hubspot, &id, generation);
    run(db, hold(1)).await.map_err(words)?;
    let outcome = run(db, hold(2)).await;
    ensure!(outcome == Err(DbError::Constraint), "a connection that is not held passed: {outcome:?}");
    Ok(())
}

pub(super) async fn a_second_install_refreshes_the_first(db: &dyn Db) -> Result<(), String> {
    for (id, generation, changes, why) in [
        ("in_first", 1, 1, "the first"),
        ("in_first", 1, 0, "a repeat"),
        ("in_other", 2, 0, "another id for the same account"),
        ("in_first", 3, 0, "a generation that was never read"),
        ("in_first", 2, 1, "the second install"),
    ] {
        let seen = park(db, id, "910", generation).await?;
        ensure!(seen == changes, "{why}: {seen} changes");
    }
    let rows: Vec<Install> =
        run(db, pending_installs::select_pending(Crm::Hubspot, "910")).await.map_err(words)?.rows().map_err(words)?;
    ensure!(rows.len() == 1 && rows.iter().all(|row| row.token_generation == 2), "{rows:?}");
    Ok(())
}

pub(super) async fn a_claim_is_won_once_and_fails_its_whole_batch_otherwise(db: &dyn Db) -> Result<(), String> {
    let ours = workspace(db, "ws_claim1").await?;
    let theirs = workspace(db, "ws_claim2").await?;
    park(db, "in_claim", "920", 1).await?;
    let id = install_id("in_claim")?;
    let begin = |scope: &crate::WorkspaceScope, generation, at: Timestamp| {
        pending_installs::begin_claim(&Claim {
            id: &id,
            token_generation: generation,
            workspace_id: scope.workspace_id(),
            actor: "us_ada",
            at,
            stale_before: at.plus_secs(-600),
        })
    };
    for (scope, generation, at, why) in [(&ours, 2, NOW, "another generation"), (&ours, 1, END, "too late")] {
        let outcome = run(db, begin(scope, generation, at)).await;
        ensure!(outcome == Err(DbError::Constraint), "{why}: {outcome:?}");
    }
    run(db, begin(&ours, 1, NOW)).await.map_err(words)?;
    run(db, begin(&ours, 1, NOW)).await.map_err(words)?;
    let outcome = run(db, begin(&theirs, 1, NOW)).await;
    ensure!(outcome == Err(DbError::Constraint), "claimed by two at once: {outcome:?}");
    let finish =
        |scope: &crate::WorkspaceScope| pending_installs::finish_claim(&id, scope.workspace_id(), "us_ada", NOW);
    ensure!(run(db, finish(&theirs)).await.map_err(words)?.changes == 0, "finished by another");
    ensure!(run(db, finish(&ours)).await.map_err(words)?.changes == 1, "not finished");
    let row = fetch(db, "in_claim").await?;
    ensure!(row.status == InstallStatus::Claimed && row.access_token_sealed.is_none(), "{row:?}");
    let outcome = run(db, begin(&ours, 1, NOW)).await;
    ensure!(outcome == Err(DbError::Constraint), "claimed again: {outcome:?}");
    ensure!(park(db, "in_claim2", "920", 1).await? == 1, "an account whose install was claimed can be installed again");
    Ok(())
}

pub(super) async fn what_ended_is_listed_erased_and_deleted(db: &dyn Db) -> Result<(), String> {
    park(db, "in_ended", "930", 1).await?;
    let id = install_id("in_ended")?;
    let early = run(db, pending_installs::expire(&id, NOW)).await.map_err(words)?;
    ensure!(early.changes == 0, "expired early");
    ensure!(
        run(db, pending_installs::erase(&id, true, END)).await.map_err(words)?.changes == 0,
        "erased while pending"
    );
    let ended = pending_installs::list_ended(db, END, None, 10).await.map_err(words)?;
    ensure!(ended.iter().any(|row| row.id == id), "{ended:?}");
    ensure!(run(db, pending_installs::expire(&id, END)).await.map_err(words)?.changes == 1, "not expired");
    ensure!(run(db, pending_installs::erase(&id, true, END)).await.map_err(words)?.changes == 1, "not erased");
    let ended = pending_installs::list_ended(db, END, None, 10).await.map_err(words)?;
    ensure!(ended.iter().all(|row| row.id != id), "{ended:?}");
    run(db, pending_installs::delete_old(END, 10)).await.map_err(words)?;
    ensure!(fetch(db, "in_ended").await.is_ok(), "deleted early");
    run(db, pending_installs::delete_old(END.plus_ms(1), 10)).await.map_err(words)?;
    ensure!(fetch(db, "in_ended").await.is_err(), "not deleted");
    Ok(())
}

pub(super) async fn a_link_opens_once_in_time_and_its_session_ends(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_session").await?;
    let other = workspace(db, "ws_session2").await?;
    let user = UserId::parse("us_session").ok_or("no user id")?;
    for of in [&scope, &other] {
        run(db, workspaces::admit_member(of.workspace_id(), &user, Role::Admin, NOW)).await.map_err(words)?;
    }
    for (link, confined) in [("link1", true), ("link2", false), ("late", true)] {
        let mint = connect_sessions::mint(&NewLink {
            link_hash: link,
            workspace_id: scope.workspace_id(),
            user_id: &user,
            confined,
            minted_by: "token:ci",
            page: Page::Claim,
            return_to: None,
            created_at: NOW,
            link_expires_at: NOW.plus_secs(120),
        });
        run(db, mint).await.map_err(words)?;
    }
    let open = |link: &'static str, session: &'static str, now: Timestamp| async move {
        let opened = connect_sessions::open(db, link, session, now, END).await.map_err(words)?;
        Ok::<_, String>(opened.map(|session| session.expires_at))
    };
    for (link, session, now, expected) in [
        ("never", "s0", NOW, Err(Unusable::Unknown)),
        ("late", "s0", NOW.plus_secs(120), Err(Unusable::Expired)),
        ("link1", "s1", NOW, Ok(END)),
        ("link1", "s1b", NOW, Err(Unusable::Used)),
        ("link2", "s2", NOW, Ok(END)),
    ] {
        let seen = open(link, session, now).await?;
        ensure!(seen == expected, "{link}: {seen:?}");
    }
    for (session, now, workspaces) in
        [("s1", NOW, Some(1)), ("s2", NOW, Some(2)), ("s1", END, None), ("s1b", NOW, None)]
    {
        let seen = connect_sessions::fetch(db, session, now).await.map_err(words)?.map(|(_, choices)| choices.len());
        ensure!(seen == workspaces, "{session}: {seen:?}");
    }
    run(db, connect_sessions::end("s1", NOW)).await.map_err(words)?;
    let ended = connect_sessions::fetch(db, "s1", NOW).await.map_err(words)?;
    ensure!(ended.is_none(), "{ended:?}");
    let all = connect_sessions::list_choices(db, &user).await.map_err(words)?;
    ensure!(all.len() == 2, "{all:?}");
    run(db, connect_sessions::delete_old(END.plus_ms(1), 10)).await.map_err(words)?;
    let gone = connect_sessions::fetch(db, "s2", NOW).await.map_err(words)?;
    ensure!(gone.is_none(), "{gone:?}");
    Ok(())
}

pub(super) async fn a_declined_install_is_over_unless_it_is_being_claimed(db: &dyn Db) -> Result<(), String> {
    let ours = workspace(db, "ws_decline").await?;
    park(db, "in_decline", "940", 1).await?;
    let id = install_id("in_decline")?;
    let begin = pending_installs::begin_claim(&Claim {
        id: &id,
        token_generation: 1,
        workspace_id: ours.workspace_id(),
        actor: "us_ada",
        at: NOW,
        stale_before: NOW.plus_secs(-600),
    });
    run(db, begin).await.map_err(words)?;
    let decline = |stale_before| pending_installs::decline(&id, NOW.plus_secs(1), stale_before);
    ensure!(run(db, decline(NOW)).await.map_err(words)?.changes == 0, "declined under a claim");
    ensure!(run(db, decline(END)).await.map_err(words)?.changes == 1, "not declined after a claim that died");
    ensure!(run(db, decline(END)).await.map_err(words)?.changes == 0, "declined twice");
    let row = fetch(db, "in_decline").await?;
    ensure!(row.status == InstallStatus::Expired && row.expires_at == NOW.plus_secs(1), "{row:?}");
    let ended = pending_installs::list_ended(db, NOW.plus_secs(1), None, 100).await.map_err(words)?;
    ensure!(ended.iter().any(|row| row.id == id), "not for the purge: {ended:?}");
    Ok(())
}

pub(super) async fn a_renewal_is_begun_once_and_saved_for_the_generation_it_spent(db: &dyn Db) -> Result<(), String> {
    park(db, "in_renew", "950", 1).await?;
    let id = install_id("in_renew")?;
    let begin = |found, at| pending_installs::begin_renewal(&id, 1, found, at);
    ensure!(run(db, begin(None, NOW)).await.map_err(words)?.changes == 0, "begun while pending");
    run(db, pending_installs::expire(&id, END)).await.map_err(words)?;
    for (found, at, changes, why) in [
        (None, NOW, 1, "the first"),
        (None, END, 0, "a second run"),
        (Some(END), END, 0, "one that read something else"),
        (Some(NOW), END, 1, "one that takes over"),
    ] {
        let seen = run(db, begin(found, at)).await.map_err(words)?.changes;
        ensure!(seen == changes, "{why}: {seen}");
    }
    let renewed = Renewed {
        expected_generation: 1,
        access_token_sealed: "v1.access2",
        refresh_token_sealed: "v1.refresh2",
        token_expires_at: END,
        at: END,
    };
    for changes in [1, 0] {
        let seen = run(db, pending_installs::save_renewal(&id, &renewed)).await.map_err(words)?.changes;
        ensure!(seen == changes, "saved {seen} for {changes}");
    }
    let row = fetch(db, "in_renew").await?;
    let as_saved = row.token_generation == 2
        && row.renewal_started_at.is_none()
        && row.refresh_token_sealed.as_deref() == Some("v1.refresh2");
    ensure!(as_saved, "{row:?}");
    run(db, pending_installs::begin_renewal(&id, 2, None, END)).await.map_err(words)?;
    run(db, pending_installs::abandon_renewal(&id, 1)).await.map_err(words)?;
    ensure!(fetch(db, "in_renew").await?.renewal_started_at == Some(END), "abandoned by an older one");
    run(db, pending_installs::abandon_renewal(&id, 2)).await.map_err(words)?;
    ensure!(fetch(db, "in_renew").await?.renewal_started_at.is_none(), "not abandoned");
    Ok(())
}

pub(super) async fn an_install_is_sealed_again_only_as_it_was_read(db: &dyn Db) -> Result<(), String> {
    for (id, account) in [("in_seal1", "961"), ("in_seal2", "962")] {
        park(db, id, account, 1).await?;
    }
    let all = resealing::list_installs_sealed_otherwise(db, "v2.", None, 1_000).await.map_err(words)?;
    let rows: Vec<_> = all.iter().filter(|row| row.id.as_str().starts_with("in_seal")).collect();
    ensure!(rows.len() == 2, "{all:?}");
    let page = resealing::list_installs_sealed_otherwise(db, "v2.", Some(&install_id("in_seal1")?), 1).await;
    ensure!(page.map_err(words)?.iter().all(|row| row.id.as_str() > "in_seal1"), "not after the last");
    park(db, "in_seal2", "962", 2).await?;
    let sealed: Vec<_> = rows
        .iter()
        .map(|row| InstallResealed {
            row,
            access_token_sealed: "v2.access".to_owned(),
            refresh_token_sealed: Some("v2.refresh".to_owned()),
        })
        .collect();
    let stored = run(db, resealing::reseal_installs(&sealed)).await.map_err(words)?.changes;
    ensure!(stored == 1, "{stored} stored");
    let left = resealing::list_installs_sealed_otherwise(db, "v2.", None, 1_000).await.map_err(words)?;
    let left: Vec<&str> = left.iter().map(|row| row.id.as_str()).filter(|id| id.starts_with("in_seal")).collect();
    ensure!(left == ["in_seal2"], "{left:?}");
    Ok(())
}

pub(super) async fn a_journals_cursor_moves_on_only_from_where_it_was_found(db: &dyn Db) -> Result<(), String> {
    let crm = Crm::Salesforce;
    let seen = journal_cursors::fetch(db, crm).await.map_err(words)?;
    ensure!(seen.is_none(), "{seen:?}");
    run(db, journal_cursors::note_subscribed(crm, NOW)).await.map_err(words)?;
    for (from, to, changes, why) in [
        (None, Some("a"), 1, "the first"),
        (None, Some("b"), 0, "a run that began at the same time"),
        (Some("a"), Some("b"), 1, "the next"),
        (Some("b"), None, 1, "anew"),
        (None, Some("c"), 1, "from the earliest"),
    ] {
        let seen = run(db, journal_cursors::advance(crm, from, to, END)).await.map_err(words)?.changes;
        ensure!(seen == changes, "{why}: {seen}");
    }
    let seen = journal_cursors::fetch(db, crm).await.map_err(words)?.ok_or("no cursor")?;
    let expected =
        journal_cursors::Cursor { read_after: Some("c".to_owned()), read_at: Some(END), subscribed_at: Some(NOW) };
    ensure!(seen == expected, "{seen:?}");
    Ok(())
}

pub(super) async fn a_removal_ends_what_was_there_before_it_and_nothing_else(db: &dyn Db) -> Result<(), String> {
    let ours = workspace(db, "ws_removed").await?;
    let theirs = workspace(db, "ws_kept").await?;
    connect(db, &ours, Crm::Hubspot, "970", 1).await?;
    connect(db, &theirs, Crm::Hubspot, "971", 1).await?;
    let found = uninstalls::list_connected(db, Crm::Hubspot, "[\"970\",\"972\"]", 10).await.map_err(words)?;
    ensure!(found.len() == 1 && found.iter().all(|c| c.workspace_id == *ours.workspace_id()), "{found:?}");
    let removal = |removed_at| uninstalls::Removal {
        external_account_id: "970",
        removed_at,
        code: "app_uninstalled",
        advice: "connect again",
        at: END,
    };
    let take = crm_accounts::take(Crm::Hubspot, "970", ours.workspace_id(), NOW);
    run(db, take).await.map_err(words)?;
    for (removed_at, changes, why) in
        [(NOW.plus_secs(-1), 0, "before it was connected"), (NOW, 1, "since"), (END, 0, "again")]
    {
        let batch = vec![
            uninstalls::disconnect(&ours, Crm::Hubspot, &removal(removed_at)),
            uninstalls::release_if_changed(Crm::Hubspot, "970", ours.workspace_id()),
        ];
        let outcomes = db.batch(batch).await.map_err(words)?;
        let seen: Vec<u64> = outcomes.iter().map(|outcome| outcome.changes).collect();
        ensure!(seen == [changes, changes], "{why}: {seen:?}");
    }
    let row = connections::fetch(db, &ours, Crm::Hubspot).await.map_err(words)?.ok_or("no connection")?;
    ensure!(row.access_token_sealed.is_none() && row.last_error_code.as_deref() == Some("app_uninstalled"), "{row:?}");
    let kept = connections::fetch(db, &theirs, Crm::Hubspot).await.map_err(words)?.ok_or("no connection")?;
    ensure!(kept.access_token_sealed.is_some(), "{kept:?}");

    park(db, "in_removed", "970", 1).await?;
    let waiting = uninstalls::list_waiting(db, Crm::Hubspot, "[\"970\"]", 10).await.map_err(words)?;
    ensure!(waiting.len() == 1, "{waiting:?}");
    let id = install_id("in_removed")?;
    for (removed_at, changes) in [(NOW.plus_secs(-1), 0), (NOW, 1), (END, 0)] {
        let seen = run(db, uninstalls::expire(&id, removed_at, NOW, END)).await.map_err(words)?.changes;
        ensure!(seen == changes, "{removed_at:?}: {seen}");
    }
    let row = fetch(db, "in_removed").await?;
    ensure!(row.status == InstallStatus::Expired && row.access_token_sealed.is_none(), "{row:?}");
    Ok(())
}
