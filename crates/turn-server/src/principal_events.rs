//! How the life of a seat rules its allocations: they end with `leave`, and outlive a lost WebSocket for as
//! long as the call runs and the seat is nobody else's.

use std::collections::BTreeSet;
use std::time::Instant;

use super::addr::ClientAddr;
use super::allocation::Allocation;
use super::server::{CloseReason, Server};
use crate::credential::Principal;
use crate::principal::{IsolationGroup, PrincipalEvent, PrincipalId};

impl Server {
    /// Takes note of a seat's life.
    pub fn handle_principal_event(&mut self, news: PrincipalEvent, now: Instant) {
        match news {
            PrincipalEvent::Admitted(group, seat) => {
                self.admitted.insert((group, seat));
                self.set_orphan_deadline(group, seat, None);
                self.close_replaced(group);
            }
            PrincipalEvent::Left(group, seat) => {
                self.admitted.remove(&(group, seat));
                self.close_principal(group, seat);
            }
            PrincipalEvent::Expired(group, seat) => {
                self.admitted.remove(&(group, seat));
                // By then every credential that the seat was ever given is over.
                self.set_orphan_deadline(group, seat, Some(now + self.config.credential_ttl));
            }
        }
    }

    /// No allocation is opened any more but for calls between seats.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Notes until when the allocations of a seat may go on without it; `None`: it is taken.
    fn set_orphan_deadline(&mut self, group: IsolationGroup, seat: PrincipalId, end: Option<Instant>) {
        self.orphaned.remove(&(group, seat));
        self.for_each_allocation(group, seat, |server, client| {
            if server.table.update(client, |allocation| allocation.orphaned = end).is_some() && end.is_some()
            {
                server.orphaned.insert((group, seat));
            }
        });
    }

    /// With all seats of a room taken, those that have lapsed are given to somebody else: who had them
    /// reaches nobody there any more.
    fn close_replaced(&mut self, group: IsolationGroup) {
        if ids_in_group(&self.admitted, group).count() < self.config.group_size {
            return;
        }
        let replaced: Vec<_> = ids_in_group(&self.orphaned, group).collect();
        replaced.into_iter().for_each(|seat| self.close_principal(group, seat));
    }

    fn close_principal(&mut self, group: IsolationGroup, seat: PrincipalId) {
        self.orphaned.remove(&(group, seat));
        self.for_each_allocation(group, seat, |server, client| {
            server.close(client, CloseReason::PrincipalLeft)
        });
    }

    /// The last allocation of a lapsed seat leaves nothing of it here.
    pub(super) fn forget_orphan(&mut self, ended: &Allocation) {
        if let (Some(_), Principal::Participant(group, seat)) = (ended.orphaned, &ended.principal)
            && self.routes.registry().clients_of(&ended.principal, self.config.worker).is_empty()
        {
            self.orphaned.remove(&(*group, *seat));
        }
    }

    fn for_each_allocation(
        &mut self,
        group: IsolationGroup,
        seat: PrincipalId,
        deed: impl Fn(&mut Self, &ClientAddr),
    ) {
        let held =
            self.routes.registry().clients_of(&Principal::Participant(group, seat), self.config.worker);
        held.iter().for_each(|client| deed(self, client));
    }
}

/// The seats of one room among `seats`.
fn ids_in_group(
    seats: &BTreeSet<(IsolationGroup, PrincipalId)>,
    group: IsolationGroup,
) -> impl Iterator<Item = PrincipalId> + '_ {
    let first = (group, PrincipalId::new([0; 16]));
    seats.range(first..).take_while(move |(of, _)| *of == group).map(|(_, seat)| *seat)
}
