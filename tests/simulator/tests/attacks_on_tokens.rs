//! Attacks on what is sealed, signed and answered by a CRM: each with its refusal, and nothing changed by it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use async_trait::async_trait;
use flows::claim_install::claim_install;
use flows::finish_oauth::{Callback, finish_oauth};
use flows::world::{Http, World};
use flows::{Error, return_to};
use model::{Crm, Role, Secret};
use pollster::block_on;
use providers::http::{Answer, Request};
use simulator::{Browser, Sim};
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use store::db::run;
use store::{Bind, Db, DbError, Outcome, Statement};

/// A CRM, or someone in between, that writes something else into its token answers.
struct Forging<'a> {
    sim: &'a Sim,
    field: &'static str,
    value: serde_json::Value,
}

#[async_trait(?Send)]
impl Http for Forging<'_> {
    async fn send(&self, request: Request) -> Answer {
        let is_token = request.url.ends_with("/token");
        let mut response = self.sim.ports.send(request).await?;
        if is_token && let Some(mut body) = response.json() {
            body[self.field] = self.value.clone();
            response.body = Secret::new(body.to_string().into_bytes());
        }
        Ok(response)
    }
}

/// Installs from Salesforce while its token answer says something else; answers the refusal.
fn salesforce_answers(field: &'static str, value: &str) -> Error {
    let sim = Sim::new(82);
    let mut browser = Browser::new(&sim);
    let url = browser.start_install(Crm::Salesforce).unwrap();
    let callback = browser.consent(&url, "approve");
    let before = sim.standing();
    let forging = Forging { sim: &sim, field, value: value.into() };
    let world = World { http: &forging, ..sim.world() };
    let refused = block_on(finish_oauth(&world, Crm::Salesforce, &callback)).unwrap_err();
    assert_eq!(sim.standing(), before, "{field}={value}");
    refused.error
}

fn instance_url_is_refused(url: &str) {
    assert!(matches!(salesforce_answers("instance_url", url), Error::ExchangeFailed { .. }), "{url}");
}

#[test]
fn an_instance_url_at_loopback_is_refused() {
    instance_url_is_refused("https://127.0.0.1");
    instance_url_is_refused("https://localhost");
    instance_url_is_refused("https://[::1]");
}

#[test]
fn an_instance_url_at_a_private_or_link_local_address_is_refused() {
    instance_url_is_refused("https://10.0.0.1");
    instance_url_is_refused("https://169.254.169.254/latest/meta-data");
    instance_url_is_refused("https://0xA9FEA9FE");
}

#[test]
fn an_instance_url_on_another_domain_is_refused() {
    instance_url_is_refused("https://evil.example");
    instance_url_is_refused("https://acme.my.salesforce.com.evil.example");
    instance_url_is_refused("https://evilmy.salesforce.com");
}

#[test]
fn an_instance_url_with_userinfo_port_or_plain_http_is_refused() {
    instance_url_is_refused("https://acme.my.salesforce.com@evil.example");
    instance_url_is_refused("https://acme.my.salesforce.com:8443");
    instance_url_is_refused("http://acme.my.salesforce.com");
}

#[test]
fn a_token_answer_signed_with_another_secret_is_refused() {
    let error = salesforce_answers("signature", "knFZntK7+4kjJHhYCVY/vKnLRyuTnNyJjVBeodT9fdc=");
    assert_eq!(error, Error::SignatureInvalid(Crm::Salesforce));
}

#[test]
fn a_token_answer_that_names_another_org_is_refused() {
    let error = salesforce_answers("id", "https://login.salesforce.com/id/00DXX0000000666AAA/005XX0000000666AAA");
    assert_eq!(error, Error::SignatureInvalid(Crm::Salesforce));
}

#[test]
fn a_login_host_elsewhere_is_refused() {
    let sim = Sim::new(83);
    for host in
        ["evil.example", "login.salesforce.com.evil.example", "169.254.169.254", "login.salesforce.com@evil.example"]
    {
        let start = flows::start_oauth::Start { login_host: Some(host.to_owned()), return_to: None };
        let started = block_on(flows::start_install::start_install(&sim.world(), Crm::Salesforce, &start));
        assert_eq!(started.err(), Some(Error::LoginHostRefused), "{host}");
    }
}

#[test]
fn a_way_back_to_another_origin_is_refused() {
    let sim = Sim::new(83);
    let world = sim.world();
    for url in ["https://evil.example/", "https://app.example.evil.example/", "//evil.example", "javascript:alert(1)"] {
        assert_eq!(return_to::check(world.settings, url), Err(Error::ReturnToRefused), "{url}");
    }
}

fn sql(sim: &Sim, statement: &'static str, binds: &[&str]) {
    let binds: Vec<Bind> = binds.iter().map(|&bind| bind.into()).collect();
    block_on(run(&sim.ports.db, Statement::new(statement, binds))).unwrap();
}

/// Two installs, of both CRMs; someone with the database moves sealed bytes; the claim of the first must not open them.
fn sealed_bytes_moved(statement: &'static str) {
    let sim = Sim::new(84);
    let first = Browser::new(&sim).install(Crm::Hubspot).unwrap();
    let second = Browser::new(&sim).install(Crm::Salesforce).unwrap();
    sql(&sim, statement, &[first.install_id.as_str(), second.install_id.as_str()]);
    let before = sim.standing();
    let cookie = first.claim_cookie.expose();
    let claimed = block_on(claim_install(&sim.world(), &sim.caller(Role::Owner), Some(cookie), None));
    assert_eq!(claimed, Err(Error::Unsealable));
    assert_eq!(sim.standing(), before);
}

#[test]
fn sealed_bytes_of_another_install_do_not_open() {
    sealed_bytes_moved(
        "UPDATE pending_installs SET access_token_sealed =
             (SELECT access_token_sealed FROM pending_installs WHERE id = ?2) WHERE id = ?1",
    );
}

#[test]
fn a_sealed_refresh_token_does_not_open_as_an_access_token() {
    sealed_bytes_moved(
        "UPDATE pending_installs SET access_token_sealed = refresh_token_sealed WHERE id = ?1 AND id <> ?2",
    );
}

#[test]
fn sealed_bytes_of_another_generation_do_not_open() {
    sealed_bytes_moved(
        "UPDATE pending_installs SET token_generation = token_generation + 1 WHERE id = ?1 AND id <> ?2",
    );
}

#[test]
fn sealed_bytes_that_were_cut_or_replaced_do_not_open() {
    sealed_bytes_moved(
        "UPDATE pending_installs SET access_token_sealed = substr(access_token_sealed, 1, 60) WHERE id = ?1 AND id <> ?2",
    );
    sealed_bytes_moved("UPDATE pending_installs SET access_token_sealed = 'na1-plain' WHERE id = ?1 AND id <> ?2");
}

#[test]
fn a_connections_sealed_bytes_do_not_open_as_an_installs() {
    let sim = Sim::new(85);
    sim.connect(Crm::Salesforce);
    let parked = Browser::new(&sim).install(Crm::Hubspot).unwrap();
    sql(
        &sim,
        "UPDATE pending_installs SET access_token_sealed = (SELECT access_token_sealed FROM crm_connections)",
        &[],
    );
    let cookie = parked.claim_cookie.expose();
    let claimed = block_on(claim_install(&sim.world(), &sim.caller(Role::Owner), Some(cookie), None));
    assert_eq!(claimed, Err(Error::Unsealable));
}

/// A database that lets others go first, whenever it is asked: so that two requests are interleaved at every await.
struct Yielding<'a>(&'a Sim, Rc<Cell<u64>>);

#[async_trait(?Send)]
impl Db for Yielding<'_> {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Outcome>, DbError> {
        let mut yielded = false;
        std::future::poll_fn(|_| if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending })
            .await;
        self.1.set(self.1.get() + 1);
        self.0.ports.db.batch(statements).await
    }
}

impl flows::world::Shards for Yielding<'_> {
    fn open(&self, _: &str) -> Option<&dyn Db> {
        Some(self)
    }

    fn names(&self) -> Vec<String> {
        vec!["DB".to_owned()]
    }
}

/// Polls both to their ends, in an order drawn from the seed.
fn together<A, B>(seed: u64, a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut done_a, mut done_b) = (None, None);
    let mut context = Context::from_waker(Waker::noop());
    let mut bits = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while done_a.is_none() || done_b.is_none() {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        if bits & 1 == 0 && done_a.is_none() {
            if let Poll::Ready(value) = a.as_mut().poll(&mut context) {
                done_a = Some(value);
            }
        } else if done_b.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(&mut context)
        {
            done_b = Some(value);
        }
    }
    (done_a.unwrap(), done_b.unwrap())
}

#[test]
fn of_two_workspaces_claiming_at_once_one_wins_in_a_hundred_rounds() {
    let mut wins = [0, 0];
    for round in 0..100 {
        let sim = Sim::new(round);
        sim.seed_workspace("ws_evil");
        let parked = Browser::new(&sim).install(Crm::Hubspot).unwrap();
        let db = Yielding(&sim, Rc::default());
        let (ours, theirs) = (sim.caller(Role::Owner), sim.caller_of("ws_evil", "DB", Role::Owner));
        let world = || World { directory: &db, shards: &db, ..sim.world() };
        let (one, two) = (world(), world());
        let cookie = Some(parked.claim_cookie.expose().as_str());
        let (a, b) =
            together(round + 1, claim_install(&one, &ours, cookie, None), claim_install(&two, &theirs, cookie, None));
        assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1, "round {round}: {a:?} {b:?}");
        wins[usize::from(b.is_ok())] += 1;
        let lost = a.err().or(b.err()).unwrap();
        assert!(matches!(lost, Error::InstallClaimed | Error::AccountOwnedElsewhere(_)), "round {round}: {lost:?}");
        let standing = sim.standing();
        assert_eq!(standing.iter().filter(|v| v.starts_with("crm_connections.id=")).count(), 1, "round {round}");
        assert_eq!(standing.iter().filter(|v| v.starts_with("crm_accounts.workspace_id=")).count(), 1, "round {round}");
    }
    assert!(wins[0] > 10 && wins[1] > 10, "both orders happened: {wins:?}");
}

#[test]
fn one_callback_opened_twice_at_once_is_exchanged_once_in_a_hundred_rounds() {
    for round in 0..100 {
        let sim = Sim::new(round);
        let mut browser = Browser::new(&sim);
        let url = browser.start_install(Crm::Hubspot).unwrap();
        let callback: Callback = browser.consent(&url, "approve");
        let db = Yielding(&sim, Rc::default());
        let world = || World { directory: &db, shards: &db, ..sim.world() };
        let (one, two) = (world(), world());
        let (a, b) = together(
            round + 1,
            finish_oauth(&one, Crm::Hubspot, &callback),
            finish_oauth(&two, Crm::Hubspot, &callback),
        );
        assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1, "round {round}");
        assert_eq!(sim.ports.used(simulator::Port::Http), 2, "round {round}: one exchange and one look at the account");
    }
}
