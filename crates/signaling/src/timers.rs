//! What is to happen when, should nothing else happen first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::room::Place;
use super::rooms::ConnectionId;

/// Something that becomes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// A connection without a seat has said nothing for too long.
    Idle(ConnectionId),
    /// The credentials a connection holds are to be replaced.
    Credentials(ConnectionId),
    /// A seat is no longer kept for who dropped.
    Grace(Place),
}

/// The pending deadlines, one of each at most.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    order: BTreeSet<(Instant, Deadline)>,
    due: BTreeMap<Deadline, Instant>,
}

impl Deadlines {
    /// Sets or moves `deadline`.
    pub(super) fn set(&mut self, deadline: Deadline, due: Instant) {
        self.cancel(deadline);
        self.due.insert(deadline, due);
        self.order.insert((due, deadline));
    }

    /// Moves `deadline`, which is set, to `due` where that is earlier.
    pub(super) fn hasten(&mut self, deadline: Deadline, due: Instant) {
        if self.due.get(&deadline).is_some_and(|later| due < *later) {
            self.set(deadline, due);
        }
    }

    pub(super) fn cancel(&mut self, deadline: Deadline) {
        if let Some(due) = self.due.remove(&deadline) {
            self.order.remove(&(due, deadline));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    /// Takes out the earliest deadline that has come by `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Deadline> {
        let (due, deadline) = *self.order.first()?;
        if due > now {
            return None;
        }
        self.cancel(deadline);
        Some(deadline)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.order.len(), self.due.len());
        self.due.len()
    }
}
