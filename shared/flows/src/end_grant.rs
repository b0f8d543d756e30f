//! Ending a grant at a CRM: the one way by which uninstalls and revocations leave. In dry run none does.

use crate::World;
use model::Crm;
use providers::http::{Answer, Request};
use providers::{Provider, provider};

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The CRM confirmed it, or there was nothing to confirm.
    Confirmed,
    /// No answer, or not one that confirms.
    Unconfirmed,
    /// Dry run: nothing was sent.
    HeldBack,
}

/// What to do when the CRM is away in the middle of several calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Send no more of them: somebody still has the tokens, and comes back.
    Stop,
    /// Send the others: nobody will be able to.
    GoOn,
}

/// Makes the calls. One that is confirmed is enough: a removed app's tokens are dead.
pub(crate) async fn end_grant(world: &World<'_>, crm: Crm, requests: Vec<Request>, trouble: Trouble) -> Ending {
    if requests.is_empty() {
        return Ending::Confirmed;
    }
    if world.settings.dry_run {
        return Ending::HeldBack;
    }
    let mut ending = Ending::Unconfirmed;
    for request in requests {
        let answer = world.http.send(request).await;
        if provider(crm).confirms_end(&answer) {
            ending = Ending::Confirmed;
        } else if trouble == Trouble::Stop && is_passing(&answer) {
            return Ending::Unconfirmed;
        }
    }
    ending
}

/// Whether some of the calls need an access token that works: uninstalling does, revoking does not.
pub(crate) fn needs_access_token(requests: &[Request]) -> bool {
    requests.iter().any(|request| request.bearer.is_some())
}

/// The same call may work later.
fn is_passing(answer: &Answer) -> bool {
    answer.as_ref().map_or(true, |response| matches!(response.status, 300..=399 | 408 | 429 | 500..=599))
}
