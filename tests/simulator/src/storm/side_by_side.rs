//! The same outcomes through Conduit and through a client as the field's templates are: a POST, three retries when no answer
//! comes, and a queue that delivers a failed message again. Both meet the same rates of faults in the same stand-in, without
//! the unique fields that would make it easy; what each leaves behind is counted.

use super::book::Intent;
use super::deeds;
use super::dice::Dice;
use super::fault::Kind;
use super::place::{Hazard, Place, Telling, account_choice};
use super::scenario::Scenario;
use crate::browser::brought;
use model::Crm;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;
use stub_crm::{Answer, Request, StubCrm};

/// One in a hundred answers is lost, one in a hundred effects is answered with 500, and five in a hundred messages come twice.
const HAZARD: Hazard = Hazard { lost: 10, failed: 10, twice: 50 };

/// What one way left in the CRMs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Tasks that are there more often than once, each further one counted.
    pub doubles: usize,
    /// Outcomes without a task.
    pub losses: usize,
    /// Requests to the CRMs.
    pub calls: u64,
}

/// `count` outcomes, half of them for each CRM, through Conduit.
pub fn conduit(count: u32) -> Left {
    let place = Place::new(Scenario::empty(7), None, Telling::Quiet);
    place.crm.borrow_mut().switches_mut().hubspot_unlimited = true;
    place.crm.borrow_mut().switches_mut().salesforce_daily_max = 1_000_000;
    let here = Rc::clone(&place);
    place.time.spawn(0, async move {
        for crm in Crm::ALL {
            deeds::connect(&here, 0, crm, 0).await;
        }
        here.hazard.set(Some(HAZARD));
        for number in 0..count {
            let intent = task(number);
            here.book.borrow_mut().intents.insert(number, intent);
            deeds::submit(&here, 0, &[number]).await;
            here.time.sleep(50).await;
        }
        // The hazards stay; the cron job goes on until everything is settled.
        for _ in 0..600 {
            deeds::reconcile(&here).await;
            here.time.sleep(600_000).await;
            if super::all_final(&here) {
                return;
            }
        }
    });
    place.time.run_until(|| false);
    let left = count_left(&place.crm.borrow(), count);
    place.dismantle();
    left
}

fn task(number: u32) -> Intent {
    // Every fourth number is a task of its kind.
    let crm = if number.is_multiple_of(2) { Crm::Hubspot } else { Crm::Salesforce };
    let mut intent = Intent::new(number, 0, crm, false, false);
    let text = format!("plain {}", intent.mark());
    intent.body["action"] = json!("create_task");
    intent.body["task"] = json!({"subject": text, "due_at": "2026-11-27T09:00:00Z"});
    if let Some(body) = intent.body.as_object_mut() {
        body.remove("rollup");
    }
    intent
}

fn count_left(crm: &StubCrm, count: u32) -> Left {
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for effect in crm.effects().into_iter().filter(|e| !e.archived && (e.object == "tasks" || e.object == "Task")) {
        *made.entry(effect.label).or_default() += 1;
    }
    let of = |number: u32| made.get(&format!("plain job{number}.")).copied().unwrap_or_default();
    Left {
        doubles: (0..count).map(|number| of(number).saturating_sub(1)).sum(),
        losses: (0..count).filter(|&number| of(number) == 0).count(),
        calls: crm.calls(),
    }
}

/// The same outcomes through the field's way.
pub fn naive(count: u32) -> Left {
    let place = Place::new(Scenario::empty(7), None, Telling::Quiet);
    place.crm.borrow_mut().switches_mut().hubspot_unlimited = true;
    place.crm.borrow_mut().switches_mut().salesforce_daily_max = 1_000_000;
    let client =
        Naive { place: &place, chance: Dice::new(7, 9), tokens: Crm::ALL.map(|crm| (crm, token(&place, crm))) };
    for number in 0..count {
        let intent = task(number);
        let deliveries = if client.chance.below(1_000) < HAZARD.twice { 2 } else { 1 };
        for _ in 0..deliveries {
            // The queue delivers a failed message again, as often as queues do by default.
            let _ = (0..4).find(|_| client.carry(&intent).is_some());
        }
    }
    let left = count_left(&place.crm.borrow(), count);
    place.dismantle();
    left
}

struct Naive<'a> {
    place: &'a Place,
    chance: Dice,
    tokens: [(Crm, String); 2],
}

impl Naive<'_> {
    /// A request, and three retries while no answer comes; `None` when it failed.
    fn ask(&self, crm: Crm, method: &str, url: &str, body: Option<&Value>) -> Option<Value> {
        let token = self.tokens.iter().find(|(of, _)| *of == crm).map(|(_, token)| token.clone()).unwrap_or_default();
        let request = Request {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: vec![
                ("authorization".to_owned(), format!("Bearer {token}")),
                ("content-type".to_owned(), "application/json".to_owned()),
            ],
            body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
        };
        for _ in 0..4 {
            let answer = self.place.crm.borrow_mut().handle(&request, self.place.time.now_ms());
            match HAZARD.of_request(&self.chance) {
                Some(Kind::AnswerLost) => {}
                Some(_) => return None,
                None => return (answer.status < 400).then(|| answer.value()),
            }
        }
        None
    }

    fn carry(&self, intent: &Intent) -> Option<()> {
        let email = intent.body["contact"]["email"].as_str()?;
        let (name, subject) = (&intent.body["contact"]["last_name"], &intent.body["task"]["subject"]);
        match intent.crm {
            Crm::Hubspot => {
                let api = "https://api.hubapi.com/crm/v3/objects";
                let inputs = json!({"inputs": [{"id": email, "idProperty": "email", "properties": {"email": email, "lastname": name}}]});
                let person = self.ask(Crm::Hubspot, "POST", &format!("{api}/contacts/batch/upsert"), Some(&inputs))?;
                let properties = json!({"hs_task_subject": subject, "hs_timestamp": "2026-11-27T09:00:00Z"});
                let ties = json!([{"to": {"id": person["results"][0]["id"]}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 204}]}]);
                let body = json!({"properties": properties, "associations": ties});
                self.ask(Crm::Hubspot, "POST", &format!("{api}/tasks"), Some(&body)).map(|_| ())
            }
            Crm::Salesforce => {
                let api = "https://acme.my.salesforce.com/services/data/v67.0";
                let query = format!(
                    "{api}/query?q=SELECT+Id+FROM+Lead+WHERE+Email+%3D+%27{}%27+LIMIT+1",
                    email.replace('@', "%40")
                );
                let known =
                    self.ask(Crm::Salesforce, "GET", &query, None)?["records"][0]["Id"].as_str().map(str::to_owned);
                let lead = if let Some(id) = known {
                    id
                } else {
                    let body = json!({"Email": email, "LastName": name, "Company": "t0.example"});
                    let made = self.ask(Crm::Salesforce, "POST", &format!("{api}/sobjects/Lead"), Some(&body))?;
                    made["id"].as_str()?.to_owned()
                };
                let body =
                    json!({"Subject": subject, "WhoId": lead, "ActivityDate": "2026-11-27", "Status": "Not Started"});
                self.ask(Crm::Salesforce, "POST", &format!("{api}/sobjects/Task"), Some(&body)).map(|_| ())
            }
        }
    }
}

/// An access token of an app of the naive client's own.
fn token(place: &Place, crm: Crm) -> String {
    let redirect = format!("https%3A%2F%2Fconduit.example%2Ffunctions%2Fv1%2F{crm}-oauth-callback");
    let choice = account_choice(0, crm);
    let (authorize, exchange, scope) = match crm {
        Crm::Hubspot => (
            "https://app.hubspot.com/oauth/authorize",
            "https://api.hubapi.com/oauth/v1/token",
            "oauth+crm.objects.contacts.read+crm.objects.contacts.write",
        ),
        Crm::Salesforce => (
            "https://login.salesforce.com/services/oauth2/authorize",
            "https://login.salesforce.com/services/oauth2/token",
            "api+refresh_token",
        ),
    };
    let ask = |method: &str, url: String, form: String| -> Answer {
        let headers = vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
        let request = Request { method: method.to_owned(), url, headers, body: form.into_bytes() };
        place.crm.borrow_mut().handle(&request, place.time.now_ms())
    };
    let client = format!("client_id={crm}-client&redirect_uri={redirect}");
    let url = format!("{authorize}?response_type=code&{client}&scope={scope}&{choice}&state=s&decision=approve");
    let consent = ask("GET", url, String::new());
    let code = brought(consent.header("location").unwrap_or_default(), None).code;
    let code = code.map(|code| code.expose().replace('=', "%3D")).unwrap_or_default();
    let form = format!("grant_type=authorization_code&{client}&client_secret={crm}-secret&code={code}");
    let answer = ask("POST", exchange.to_owned(), form).value();
    answer["access_token"].as_str().unwrap_or_default().to_owned()
}
