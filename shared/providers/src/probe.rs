//! A probe: asking an account, once, by which mechanisms its records can be written with one effect.
//!
//! Sans I/O as everything here: [`crate::Provider::probe_call`] says the next request, [`crate::Provider::read_probe`] reads
//! its answer. Out of scope: when to probe, where the result is kept (`flows`).

use model::mechanisms::Mechanisms;

/// A probe under way.
#[derive(Clone, Debug, Default)]
pub struct Probe {
    /// Which step comes next, for the adapter alone.
    pub step: u8,
    /// What an answer said that a later step needs, for the adapter alone.
    pub note: String,
    /// What is known by now; begin with what every account of the CRM has.
    pub found: Mechanisms,
    /// An answer proved nothing (no answer, a limit, a refused token): what was found is not kept, and a later lot probes
    /// again.
    pub inconclusive: bool,
}

impl Probe {
    /// A probe about to begin.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was found, when the probe's requests were all answered.
    pub fn conclusion(self) -> Option<Mechanisms> {
        (!self.inconclusive).then_some(self.found)
    }
}
