//! What to do about a connection's access token, decided from what is known: use it, refresh it, wait for whoever is
//! refreshing it, find out how an interrupted refresh ended, or say that a person must act.
//!
//! In scope: one total function and its numbers. Out of scope: doing any of it (`flows::gate_keeper`).

use crate::backoff::Schedule;
use crate::oauth::REFRESH_AHEAD_SECS;
use crate::{ConnectionStatus, Timestamp};

/// The token endpoint's deadline: it has been seen to take half a minute, and giving up early leaves a rotated refresh
/// token in doubt.
pub const TOKEN_DEADLINE_MS: u32 = 45_000;

/// An open refresh of somebody else is left alone for this long: the token call's deadline, and the time to save.
pub const REFRESH_LEASE_SECS: i64 = 75;

/// After a call that was not answered, nothing is done with its refresh token for so long since it left: the CRM may still
/// be working on it, and would show it as unspent until it is done.
pub const UNANSWERED_SECS: i64 = 60;

/// A token is handed out only while it lives this much longer: the caller still has to make its call.
pub const USABLE_MARGIN_SECS: i64 = 15;

/// A new token that is refused within this time did not just expire: the shortest session an org can set is 15 minutes.
pub const REFUSED_AGAIN_SECS: i64 = 600;

/// A connection that nobody uses is refreshed when its tokens are this old, far inside of the idle limit of 30 days.
pub const IDLE_REFRESH_SECS: i64 = 7 * 86_400;

/// Between tries at a token endpoint that does not work: upper bounds 2 s, 4 s … 5 minutes.
pub const REFRESHES: Schedule = Schedule { base_ms: 2_000, cap_ms: 300_000, attempts_max: u32::MAX };

/// What the caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A token that works.
    Token,
    /// Another token than the one of this generation: the CRM refused it.
    OtherThan(u64),
    /// A token that works, also of a connection that health checks gave up: they see whether it works again.
    Check,
    /// Nothing now; that the grant stays alive.
    KeepAlive,
}

/// A refresh that began and whose end is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRefresh {
    /// When it began.
    pub started_at: Timestamp,
    /// What is known of whoever began it.
    pub holder: Holder,
}

/// Who holds an open refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This gate, and the call never left.
    OwnUnsent,
    /// This gate; the call left and how it ended is not known.
    OwnSent,
    /// Another instance, or this one before it lost its memory.
    Unknown,
}

/// What is known of a connection's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenFacts {
    /// Of the connection.
    pub status: ConnectionStatus,
    /// Health checks made it an error: its tokens are kept.
    pub given_up: bool,
    /// Of the stored token.
    pub generation: u64,
    /// When the access token ends, as far as known.
    pub expires_at: Option<Timestamp>,
    /// When the tokens were stored.
    pub stored_at: Timestamp,
    /// This token came of a refresh at that time because the one before was refused.
    pub refused_at: Option<Timestamp>,
    /// A refresh in progress, or interrupted.
    pub open_refresh: Option<OpenRefresh>,
    /// The token endpoint is not to be asked before.
    pub not_before: Timestamp,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hand out the stored token, and look again at this time.
    Use {
        /// At the latest.
        look_again_at: Timestamp,
    },
    /// There is no connection.
    NotConnected,
    /// It is already marked.
    Reconnect,
    /// The CRM refuses even a new token: mark the connection.
    MarkRefused,
    /// Somebody else is refreshing, or a call that was not answered may still be worked on: read the row again shortly.
    Await,
    /// A refresh was interrupted: find out whether the refresh token is spent.
    Recover,
    /// Refresh.
    Refresh,
    /// The token endpoint does not work now, and there is no token left.
    BackOff,
}

/// A token at hand is believed for this long before its row is read again: so long does a token outlive a disconnect or a
/// reconnect whose message to the gate got lost.
pub const TRUST_SECS: i64 = 60;

/// While a refresh is open or failing, the row is read again after this long.
const LOOK_AGAIN_SECS: i64 = 5;

/// Decides the next step. Total: every input has one.
pub fn next_step(facts: &TokenFacts, need: Need, now: Timestamp) -> Step {
    match facts.status {
        ConnectionStatus::Disconnected => return Step::NotConnected,
        ConnectionStatus::Error if !(facts.given_up && need == Need::Check) => return Step::Reconnect,
        ConnectionStatus::Error | ConnectionStatus::Connected => {}
    }
    let refused = need == Need::OtherThan(facts.generation);
    if refused && facts.refused_at.is_some_and(|at| now < at.plus_secs(REFUSED_AGAIN_SECS)) {
        return Step::MarkRefused;
    }
    let outlives = |secs: i64| !refused && facts.expires_at.is_some_and(|at| at > now.plus_secs(secs));
    let idle = need == Need::KeepAlive && now >= facts.stored_at.plus_secs(IDLE_REFRESH_SECS);
    if outlives(REFRESH_AHEAD_SECS) && !idle {
        let ahead = facts.expires_at.map_or(now, |at| at.plus_secs(-REFRESH_AHEAD_SECS));
        return Step::Use { look_again_at: ahead.min(now.plus_secs(TRUST_SECS)) };
    }
    // Refreshing is due. Whatever stands in its way, a token that still lives is used meanwhile.
    let meanwhile = |otherwise: Step| {
        if outlives(USABLE_MARGIN_SECS) {
            Step::Use { look_again_at: now.plus_secs(LOOK_AGAIN_SECS) }
        } else {
            otherwise
        }
    };
    if now < facts.not_before {
        return meanwhile(Step::BackOff);
    }
    match facts.open_refresh {
        None | Some(OpenRefresh { holder: Holder::OwnUnsent, .. }) => Step::Refresh,
        Some(OpenRefresh { started_at, holder }) => {
            let secs = if holder == Holder::OwnSent { UNANSWERED_SECS } else { REFRESH_LEASE_SECS };
            if now < started_at.plus_secs(secs) { meanwhile(Step::Await) } else { Step::Recover }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Holder, IDLE_REFRESH_SECS, Need, OpenRefresh, REFRESH_LEASE_SECS, Step, TRUST_SECS, TokenFacts, next_step,
    };
    use crate::{ConnectionStatus, Timestamp};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn facts(lives_secs: i64) -> TokenFacts {
        TokenFacts {
            status: ConnectionStatus::Connected,
            given_up: false,
            generation: 7,
            expires_at: Some(NOW.plus_secs(lives_secs)),
            stored_at: NOW.plus_secs(-1_000),
            refused_at: None,
            open_refresh: None,
            not_before: Timestamp(0),
        }
    }

    fn open(holder: Holder, ago_secs: i64) -> OpenRefresh {
        OpenRefresh { started_at: NOW.plus_secs(-ago_secs), holder }
    }

    fn using(secs: i64) -> Step {
        Step::Use { look_again_at: NOW.plus_secs(secs) }
    }

    #[test]
    fn two_minutes_are_the_line() {
        for (lives_secs, step) in [
            (1_800, using(TRUST_SECS)),
            (150, using(30)),
            (121, using(1)),
            (120, Step::Refresh),
            (1, Step::Refresh),
            (-5, Step::Refresh),
        ] {
            assert_eq!(next_step(&facts(lives_secs), Need::Token, NOW), step, "{lives_secs}");
        }
        let untold = TokenFacts { expires_at: None, ..facts(0) };
        assert_eq!(next_step(&untold, Need::Token, NOW), Step::Refresh, "a life nobody told is not assumed");
    }

    #[test]
    fn a_status_that_is_not_connected_ends_it() {
        for (status, step) in
            [(ConnectionStatus::Error, Step::Reconnect), (ConnectionStatus::Disconnected, Step::NotConnected)]
        {
            for need in [Need::Token, Need::OtherThan(7), Need::KeepAlive] {
                assert_eq!(next_step(&TokenFacts { status, ..facts(1_800) }, need, NOW), step);
            }
        }
    }

    #[test]
    fn only_a_check_gets_at_a_connection_that_checks_gave_up() {
        let given_up = TokenFacts { status: ConnectionStatus::Error, given_up: true, ..facts(1_800) };
        for (need, step) in [
            (Need::Check, using(TRUST_SECS)),
            (Need::Token, Step::Reconnect),
            (Need::OtherThan(7), Step::Reconnect),
            (Need::KeepAlive, Step::Reconnect),
        ] {
            assert_eq!(next_step(&given_up, need, NOW), step, "{need:?}");
        }
        let dead = TokenFacts { status: ConnectionStatus::Error, ..facts(1_800) };
        assert_eq!(next_step(&dead, Need::Check, NOW), Step::Reconnect);
    }

    #[test]
    fn a_refused_token_is_refreshed_once() {
        let need = Need::OtherThan(7);
        assert_eq!(next_step(&facts(1_800), need, NOW), Step::Refresh);
        assert_eq!(next_step(&facts(1_800), Need::OtherThan(6), NOW), using(TRUST_SECS), "an older one was meant");
        let born = |ago: i64| TokenFacts { refused_at: Some(NOW.plus_secs(-ago)), ..facts(1_800) };
        assert_eq!(next_step(&born(599), need, NOW), Step::MarkRefused);
        assert_eq!(next_step(&born(600), need, NOW), Step::Refresh, "by then it may have expired by itself");
        assert_eq!(next_step(&born(1), Need::Token, NOW), using(TRUST_SECS));
    }

    #[test]
    fn an_open_refresh_is_waited_for_and_then_looked_into() {
        let lease = REFRESH_LEASE_SECS;
        for (lives_secs, holder, ago_secs, step) in [
            (-5, Holder::Unknown, 1, Step::Await),
            (-5, Holder::Unknown, lease - 1, Step::Await),
            (-5, Holder::Unknown, lease, Step::Recover),
            (60, Holder::Unknown, 1, using(5)),
            (60, Holder::Unknown, lease, Step::Recover),
            (-5, Holder::OwnSent, 1, Step::Await),
            (-5, Holder::OwnSent, 60, Step::Recover),
            (60, Holder::OwnSent, 1, using(5)),
            (-5, Holder::OwnUnsent, 1, Step::Refresh),
            (1_800, Holder::Unknown, 1, using(TRUST_SECS)),
        ] {
            let facts = TokenFacts { open_refresh: Some(open(holder, ago_secs)), ..facts(lives_secs) };
            assert_eq!(next_step(&facts, Need::Token, NOW), step, "{lives_secs} {holder:?} {ago_secs}");
        }
    }

    #[test]
    fn a_failing_endpoint_is_left_alone_and_a_living_token_used() {
        let failing = |lives_secs| TokenFacts { not_before: NOW.plus_secs(30), ..facts(lives_secs) };
        assert_eq!(next_step(&failing(60), Need::Token, NOW), using(5));
        assert_eq!(next_step(&failing(15), Need::Token, NOW), Step::BackOff);
        assert_eq!(next_step(&failing(1_800), Need::OtherThan(7), NOW), Step::BackOff, "a refused one is of no use");
        assert_eq!(next_step(&failing(-1), Need::Token, NOW.plus_secs(30)), Step::Refresh);
    }

    #[test]
    fn an_idle_connection_is_refreshed_in_time() {
        let stored = |ago: i64| TokenFacts { stored_at: NOW.plus_secs(-ago), ..facts(1_800) };
        assert_eq!(next_step(&stored(IDLE_REFRESH_SECS), Need::KeepAlive, NOW), Step::Refresh);
        assert_eq!(next_step(&stored(IDLE_REFRESH_SECS - 1), Need::KeepAlive, NOW), using(TRUST_SECS));
        assert_eq!(next_step(&stored(IDLE_REFRESH_SECS), Need::Token, NOW), using(TRUST_SECS));
    }
}
