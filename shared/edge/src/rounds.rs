//! Counts a request's round trips to D1, before and after authentication: what a request costs is mostly this.
//!
//! Shown as `Conduit-D1-Round-Trips: auth=1, work=1` where the variable `EXPOSE_COUNTS` is `true` (tests, benches).

use std::cell::Cell;

/// The event with which a flow says that the caller is known. It is not logged by itself; its fields join a failure's line.
pub const AUTHENTICATED: &str = "authenticated";

/// The header's name.
pub const HEADER: &str = "Conduit-D1-Round-Trips";

/// The counters of one request.
#[derive(Debug, Default)]
pub struct Rounds {
    all: Cell<u32>,
    until_authenticated: Cell<u32>,
}

impl Rounds {
    /// One more.
    pub fn count(&self) {
        self.all.set(self.all.get().saturating_add(1));
    }

    /// What was counted so far was for authentication.
    pub fn authenticated(&self) {
        self.until_authenticated.set(self.all.get());
    }

    /// The header's value. A door that does not authenticate has worked only.
    pub fn header(&self) -> String {
        let auth = self.until_authenticated.get();
        format!("auth={auth}, work={}", self.all.get().saturating_sub(auth))
    }
}

#[cfg(test)]
mod tests {
    use super::Rounds;

    #[test]
    fn authentication_divides_the_count() {
        let rounds = Rounds::default();
        rounds.count();
        assert_eq!(rounds.header(), "auth=0, work=1");
        rounds.authenticated();
        rounds.count();
        rounds.count();
        assert_eq!(rounds.header(), "auth=1, work=2");
    }
}
