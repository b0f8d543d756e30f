//! Which faults met which states, summed over runs, and the table of it.

use super::fault::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    met: BTreeMap<(Kind, &'static str), u64>,
    /// How often a write came into a state from another, over all runs.
    pub transitions: BTreeMap<String, u64>,
}

impl Coverage {
    /// Counts one.
    pub fn note(&mut self, kind: Kind, state: &'static str) {
        *self.met.entry((kind, state)).or_default() += 1;
    }

    /// Takes in another run's.
    pub fn add(&mut self, other: &Self) {
        for (place, count) in &other.met {
            *self.met.entry(*place).or_default() += count;
        }
        for (name, count) in &other.transitions {
            *self.transitions.entry(name.clone()).or_default() += count;
        }
    }

    /// How many kinds of faults were met at least once.
    pub fn reached(&self) -> usize {
        self.met.keys().map(|(kind, _)| *kind).collect::<BTreeSet<_>>().len()
    }

    /// Rows are faults, columns what was going on.
    pub fn table(&self) -> String {
        let columns: BTreeSet<&str> = self.met.keys().map(|(_, state)| *state).collect();
        let mut out = format!("{:<44}", "");
        for column in &columns {
            let _ = write!(out, "{column:>12}");
        }
        for (kind, _) in Kind::DRAWN {
            let _ = write!(out, "\n{:<44}", kind.label());
            for column in &columns {
                let count =
                    self.met.iter().find(|((k, s), _)| *k == kind && s == column).map_or(0, |(_, count)| *count);
                let cell = if count == 0 { "·".to_owned() } else { count.to_string() };
                let _ = write!(out, "{cell:>12}");
            }
        }
        out.push_str("\n\nstates of a write\n");
        for (name, count) in &self.transitions {
            let _ = writeln!(out, "{name:<40}{count:>12}");
        }
        out
    }
}
