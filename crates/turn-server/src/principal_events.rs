//! How the life of a seat rules its allocations: they end with `leave`, and outlive a lost WebSocket for as
//! long as the call runs and the seat is nobody else's.

use std::collections::BTreeSet;
use std::time::Instant;

use super::addr::ClientAddr;
use super::allocation::Allocation;
use super::server::{End, Server};
use crate::credential::Principal;
use crate::principal::{IsolationGroup, PrincipalEvent, PrincipalId};

impl Server {
    /// Takes note of a seat's life.
    pub fn seat(&mut self, news: PrincipalEvent, now: Instant) {
        match news {
            PrincipalEvent::Admitted(tag, seat) => {
                self.live.insert((tag, seat));
                self.lapse(tag, seat, None);
                self.end_replaced(tag);
            }
            PrincipalEvent::Left(tag, seat) => {
                self.live.remove(&(tag, seat));
                self.end_seat(tag, seat);
            }
            PrincipalEvent::Expired(tag, seat) => {
                self.live.remove(&(tag, seat));
                // By then every credential that the seat was ever given is over.
                self.lapse(tag, seat, Some(now + self.rules.credential_ttl));
            }
        }
    }

    /// No allocation is opened any more but for calls between seats.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Notes until when the allocations of a seat may go on without it; `None`: it is taken.
    fn lapse(&mut self, tag: IsolationGroup, seat: PrincipalId, end: Option<Instant>) {
        self.lapsed.remove(&(tag, seat));
        self.each_held_by(tag, seat, |server, client| {
            if server.table.change(client, |allocation| allocation.lapsed = end).is_some() && end.is_some() {
                server.lapsed.insert((tag, seat));
            }
        });
    }

    /// With all seats of a room taken, those that have lapsed are given to somebody else: who had them
    /// reaches nobody there any more.
    fn end_replaced(&mut self, tag: IsolationGroup) {
        if of_room(&self.live, tag).count() < self.rules.group_size {
            return;
        }
        let replaced: Vec<_> = of_room(&self.lapsed, tag).collect();
        replaced.into_iter().for_each(|seat| self.end_seat(tag, seat));
    }

    fn end_seat(&mut self, tag: IsolationGroup, seat: PrincipalId) {
        self.lapsed.remove(&(tag, seat));
        self.each_held_by(tag, seat, |server, client| server.close(client, End::SeatLeft));
    }

    /// The last allocation of a lapsed seat leaves nothing of it here.
    pub(super) fn forget_lapsed(&mut self, ended: &Allocation) {
        if let (Some(_), Principal::Participant(tag, seat)) = (ended.lapsed, &ended.holder)
            && self.exchange.register().held_by(&ended.holder, self.rules.worker).is_empty()
        {
            self.lapsed.remove(&(*tag, *seat));
        }
    }

    fn each_held_by(
        &mut self,
        tag: IsolationGroup,
        seat: PrincipalId,
        deed: impl Fn(&mut Self, &ClientAddr),
    ) {
        let held = self.exchange.register().held_by(&Principal::Participant(tag, seat), self.rules.worker);
        held.iter().for_each(|client| deed(self, client));
    }
}

/// The seats of one room among `seats`.
fn of_room(
    seats: &BTreeSet<(IsolationGroup, PrincipalId)>,
    tag: IsolationGroup,
) -> impl Iterator<Item = PrincipalId> + '_ {
    let first = (tag, PrincipalId::new([0; 16]));
    seats.range(first..).take_while(move |(of, _)| *of == tag).map(|(_, seat)| *seat)
}
