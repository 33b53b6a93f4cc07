//! The lease of this box: when to renew it, whether it still holds, and whether the name belongs to another box.

use std::time::{Duration, Instant};

use crate::registry::{LEASE_DURATION, ListedLease};
use crate::{BoxId, Event};

/// Time between two renewals.
pub(crate) const RENEW_INTERVAL: Duration = Duration::from_secs(1);
/// The same while the store is away, or another box has the name.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// How long a number of seats that has grown waits for those of other rooms.
const SEATS_DELAY: Duration = Duration::from_millis(100);
/// After a longer pause of the process the lease is looked at before anything is answered.
const PAUSE_LIMIT: Duration = Duration::from_secs(2);

/// What this box knows of its lease.
#[derive(Debug)]
pub(crate) struct OwnLease {
    /// The store said at least once that this box has a lease.
    ever_held: bool,
    /// The last event said that the lease is held.
    reported: bool,
    /// The lease holds until then, if the store does not lose it.
    expires: Option<Instant>,
    /// Nothing is answered before the renewal that is under way.
    unverified: bool,
    next_renewal: Instant,
    /// The store's session of the last renewal.
    session: Option<u64>,
    serial: u64,
    rival: Option<Rival>,
    last_seen: Instant,
}

/// Another box of the same name.
#[derive(Debug)]
struct Rival {
    id: BoxId,
    /// Of its lease when it was first seen. A later one shows that it is alive and not the process before this one.
    serial: u64,
    reported: bool,
}

/// What the store says about the lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewal {
    /// It was still there.
    pub(crate) held: bool,
    /// Differs when the store may have lost data.
    pub(crate) session: u64,
    /// No lease is kept.
    pub(crate) withdrawn: bool,
}

/// What a renewal says about rooms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interruption {
    /// There was no lease for a while: other boxes may have taken rooms.
    lapsed: bool,
    /// The store may have lost data of all boxes.
    new_session: bool,
}

impl Interruption {
    /// Whether the store may lack leases and rooms of all boxes: an outage that outlasted the lease of this box may have outlasted
    /// those of the others. `is_open`: the store did not answer until now.
    pub(crate) fn is_outage(self, is_open: bool) -> bool {
        self.new_session || (self.lapsed && is_open)
    }
}

impl OwnLease {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            ever_held: false,
            reported: false,
            expires: None,
            unverified: true,
            next_renewal: now,
            session: None,
            serial: 0,
            rival: None,
            last_seen: now,
        }
    }

    /// Notes the moment. After a long pause of the process the lease must be verified: `true`.
    pub(crate) fn observe(&mut self, now: Instant) -> bool {
        let paused = now.saturating_duration_since(self.last_seen) > PAUSE_LIMIT;
        self.last_seen = self.last_seen.max(now);
        if paused {
            self.unverified = true;
            self.next_renewal = now;
        }
        paused
    }

    pub(crate) fn is_unverified(&self) -> bool {
        self.unverified
    }

    /// Another box has the name.
    pub(crate) fn is_name_taken(&self) -> bool {
        self.rival.is_some()
    }

    pub(crate) fn timeout(&self) -> Instant {
        self.expires.map_or(self.next_renewal, |expires| expires.min(self.next_renewal))
    }

    /// Whether to renew now; if so, the serial of the renewal.
    pub(crate) fn begin_renewal(&mut self, now: Instant) -> Option<u64> {
        if now < self.next_renewal {
            return None;
        }
        self.serial += 1;
        self.next_renewal = now + RENEW_INTERVAL;
        Some(self.serial)
    }

    /// The lease ran out. `is_explained`: an event has said why.
    pub(crate) fn expire(&mut self, is_explained: bool, now: Instant) -> Option<Event> {
        self.expires.take_if(|expires| now >= *expires)?;
        self.reported &= is_explained;
        (!is_explained).then_some(Event::LeaseLost)
    }

    /// Renews it soon, with a number of seats that other boxes must know; `true`: earlier than before.
    pub(crate) fn renew_soon(&mut self, now: Instant) -> bool {
        let is_earlier = now + SEATS_DELAY < self.next_renewal;
        self.next_renewal = self.next_renewal.min(now + SEATS_DELAY);
        is_earlier
    }

    /// Renews it at once: the store refused what the last renewal said about rooms.
    pub(crate) fn renew_again(&mut self, now: Instant) {
        self.next_renewal = now;
    }

    /// The store did not answer. Without an answer to a renewal, decisions are made without the store.
    pub(crate) fn handle_failure(&mut self, was_renewal: bool, now: Instant) {
        self.unverified &= !was_renewal;
        self.next_renewal = self.next_renewal.min(now + RETRY_INTERVAL);
    }

    /// A renewal sent at `sent` succeeded. `None`: nothing happened to the rooms since the last one.
    pub(crate) fn handle_renewed(
        &mut self,
        sent: Instant,
        renewal: Renewal,
        now: Instant,
        events: &mut impl Extend<Event>,
    ) -> Option<Interruption> {
        let new_session = self.session.replace(renewal.session).is_some_and(|last| last != renewal.session);
        // An earlier renewal may have succeeded whose answer was lost. Only the expiry known here tells then.
        let lapsed = !renewal.held || self.expires.is_none_or(|expires| now >= expires);
        let interruption = (self.ever_held && !renewal.withdrawn && (lapsed || new_session))
            .then_some(Interruption { lapsed, new_session });
        self.unverified = false;
        if self.rival.take().is_some_and(|rival| rival.reported) {
            events.extend([Event::NameFree]);
        }
        if !renewal.withdrawn {
            self.ever_held = true;
            self.expires = Some(sent + LEASE_DURATION);
            if !std::mem::replace(&mut self.reported, true) {
                events.extend([Event::LeaseRenewed]);
            }
        }
        interruption
    }

    /// One of `nodes` has the name of this box, and a lease. It may be the process before this one, whose lease is not renewed any
    /// more.
    pub(crate) fn handle_name_taken(
        &mut self,
        nodes: &[ListedLease],
        own: &BoxId,
        now: Instant,
    ) -> Option<Event> {
        self.unverified = false;
        self.next_renewal = now + RETRY_INTERVAL;
        let other = nodes.iter().find(|node| node.id.name == own.name)?;
        let serial = other.lease.serial;
        let rival = match &mut self.rival {
            Some(rival) if rival.id == other.id => rival,
            rival => rival.insert(Rival { id: other.id.clone(), serial, reported: false }),
        };
        let is_new = serial != rival.serial && !rival.reported;
        rival.reported |= is_new;
        is_new.then(|| Event::DuplicateName { other: other.id.clone() })
    }
}
