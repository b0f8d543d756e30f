//! Planned failures, by the number of the batch they meet.

use std::collections::BTreeMap;

/// How a batch fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Before anything happened: `DbError::Unavailable`, nothing applied.
    Refused,
    /// The answer is lost after the commit: `DbError::Unknown`, applied.
    Applied,
    /// The connection breaks before the commit: `DbError::Unknown`, nothing applied.
    Lost,
}

impl Fault {
    /// Every fault, for tests that try each.
    pub const ALL: [Self; 3] = [Self::Refused, Self::Applied, Self::Lost];
}

#[derive(Default)]
pub struct Faults {
    seen: u64,
    planned: BTreeMap<u64, Fault>,
}

impl Faults {
    pub fn plan(&mut self, nth: u64, fault: Fault) {
        assert!(nth > 0, "fail_at counts from 1: the next batch");
        let before = self.planned.insert(self.seen + nth, fault);
        assert!(before.is_none(), "batch {nth} from now has a fault already");
    }

    /// Counts a batch, and says how it fails.
    pub fn next(&mut self) -> Option<Fault> {
        self.seen += 1;
        self.planned.remove(&self.seen)
    }

    pub fn pending(&self) -> usize {
        self.planned.len()
    }

    pub fn clear(&mut self) {
        self.planned.clear();
    }
}
