//! A TURN server that owns no socket: datagrams go in, deliveries and actions come out
//! (RFC 8656).
//!
//! A packet either is media — then the answer is at most one [`Delivery`], found without a lock or
//! an allocation of memory — or it is a request, whose effects wait in [`Server::poll_action`].
//! Each worker has a `Server` of its own; what they know of each other is in the [`Exchange`].

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addr::{ClientAddr, Families, PeerAddr, RelayedAddr};
use super::allocate::Opening;
use super::allocation::{Allocation, AllocationId, Listing};
use super::allocation_table::Table;
use super::auth::{Gate, Verified};
use super::channel_data::{self, Head};
use super::dtls;
use super::error::Refusal;
use super::flow_cache::Flows;
use super::peer_policy::{self, Scope};
use super::registry::Quota;
use super::reply_limit::{Proof, ReplyLimit};
use super::request::{Method, Request};
use super::response::Reply;
use super::routing_table::Exchange;
use super::stats::Tally;
use crate::credential::Secrets;
use crate::principal::{IsolationGroup, PrincipalId};
use crate::time::Now;

/// What a server goes by; the same for all workers but for `worker`.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Which worker this is.
    pub worker: usize,
    /// The addresses lent, as clients are told them.
    pub relayed: Families<IpAddr>,
    /// Who may be reached.
    pub scope: Scope,
    /// How many allocations there may be.
    pub quota: Quota,
    /// Bytes per second of one allocation, each way; 0: no limit.
    pub max_bps: u32,
    /// How long the credentials of seats open allocations.
    pub credential_ttl: Duration,
    /// Participants of an isolation group at most; with all places taken, expired ones are over.
    pub group_size: usize,
}

/// One worker's half of the relay.
pub struct Server {
    pub(super) rules: Rules,
    pub(super) gate: Gate,
    pub(super) exchange: Arc<Exchange>,
    pub(super) table: Table,
    pub(super) opening: Vec<Opening>,
    pub(super) live: BTreeSet<(IsolationGroup, PrincipalId)>,
    /// Seats whose grace has run out and that have allocations here.
    pub(super) lapsed: BTreeSet<(IsolationGroup, PrincipalId)>,
    /// Nothing is lent any more but to participants of running calls.
    pub(super) draining: bool,
    pub(super) actions: VecDeque<Action>,
    pub(super) chance: Box<dyn FnMut() -> u64 + Send>,
    pub(super) allocations_made: u64,
    /// Addresses lent before, by which allocations may still be known.
    pub(super) former: Vec<IpAddr>,
    pub(super) flows: Flows,
    pub(super) tally: Tally,
    pub(super) limit: Arc<ReplyLimit>,
    pub(super) indications_made: u64,
}

/// A packet to send on, its payload still where it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery<'p> {
    /// To the client of an allocation, of this worker or another.
    Client {
        /// Where to.
        to: ClientAddr,
        /// Which worker has its stream, where it has one.
        worker: usize,
        /// What goes before the payload.
        head: Head,
        /// What was relayed.
        payload: &'p [u8],
    },
    /// From a relayed port to a peer on the network (`public` only).
    Peer {
        /// From where.
        from: RelayedAddr,
        /// Where to.
        to: PeerAddr,
        /// What is relayed.
        payload: &'p [u8],
        /// The client asked for DONT-FRAGMENT.
        dont_fragment: bool,
    },
}

/// What the edge is to do, or may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes to a client.
    Reply {
        /// Where to.
        to: ClientAddr,
        /// A STUN message.
        bytes: Vec<u8>,
    },
    /// Bind a real socket for this relayed address and tell [`Server::port_opened`].
    OpenPort(RelayedAddr),
    /// Close it.
    ClosePort(RelayedAddr),
    /// Another worker's allocation has to give way: tell its [`Server::evict`].
    Evict {
        /// Which worker.
        worker: usize,
        /// Whose allocation.
        client: ClientAddr,
    },
    /// An allocation has begun.
    Opened {
        /// Whose.
        client: ClientAddr,
        /// What it was lent.
        relayed: Families<RelayedAddr>,
    },
    /// An allocation has ended.
    Closed {
        /// Whose it was.
        client: ClientAddr,
        /// Why.
        end: End,
        /// Bytes of payload that its client sent by it.
        sent: u64,
    },
}

/// Why an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not refreshed in time, or silent after its seat lapsed.
    Expired,
    /// Its client asked for it.
    Deleted,
    /// Its seat was given up, or has lapsed and was given to somebody else.
    SeatLeft,
    /// It had been silent and its holder wanted another.
    GaveWay,
    /// Its client's stream was closed.
    Disconnected,
}

impl End {
    /// All of them, in the order of counts.
    pub const ALL: [Self; 5] =
        [Self::Expired, Self::Deleted, Self::SeatLeft, Self::GaveWay, Self::Disconnected];
}

/// Changes of address after which the oldest allocations are not found any more.
const MOST_FORMER: usize = 16;

impl Server {
    /// `chance` gives unpredictable numbers: ports and tokens are picked with it.
    pub fn new(
        rules: Rules,
        gate: Gate,
        exchange: Arc<Exchange>,
        limit: Arc<ReplyLimit>,
        chance: Box<dyn FnMut() -> u64 + Send>,
    ) -> Self {
        Self {
            rules,
            gate,
            table: Table::new(exchange.epoch),
            exchange,
            opening: Vec::new(),
            live: BTreeSet::new(),
            lapsed: BTreeSet::new(),
            draining: false,
            actions: VecDeque::new(),
            chance,
            allocations_made: 0,
            former: Vec::new(),
            flows: Flows::default(),
            tally: Tally::default(),
            limit,
            indications_made: 0,
        }
    }

    /// Takes one datagram, or one message of a stream, from a client.
    pub fn handle<'p>(&mut self, client: ClientAddr, bytes: &'p [u8], now: Now) -> Option<Delivery<'p>> {
        if !can_be_answered(client) {
            return None;
        }
        if channel_data::is_channel_data(bytes) {
            return self.channel_data(client, bytes, now.instant);
        }
        if channel_data::is_send_indication(bytes) {
            return self.send_indication(client, bytes, now.instant);
        }
        if let Some(request) = Request::parse(bytes) {
            self.request(client, request, now);
        } else if let Some(alert) = dtls::refusal(bytes) {
            self.refuse_dtls(client, &alert, now.instant);
        }
        None
    }

    /// What is to be done next, until there is nothing.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Ends what has run out by `now`.
    pub fn advance(&mut self, now: Instant) {
        while let Some(client) = self.table.next_ended(now) {
            self.close(&client, End::Expired);
        }
    }

    /// When [`Self::advance`] has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.table.next_deadline()
    }

    /// Ends an allocation that gives way to another of its holder.
    pub fn evict(&mut self, client: &ClientAddr) {
        self.close(client, End::GaveWay);
    }

    /// Ends what a stream's end leaves behind.
    pub fn disconnected(&mut self, client: &ClientAddr) {
        self.abandon(client);
        self.close(client, End::Disconnected);
    }

    /// Other secrets from now on. An allocation goes on under the credential that opened it.
    pub fn take_secrets(&mut self, secrets: Secrets) {
        self.gate.take_secrets(secrets);
    }

    /// The box's addresses have changed: new allocations get one of `relayed`, and permissions that `own`
    /// forbids are taken back. Allocations stay known by the address they were given.
    pub fn take_addresses(&mut self, relayed: Families<IpAddr>, own: Vec<IpAddr>) {
        let before = std::mem::replace(&mut self.rules.relayed, relayed);
        self.former.extend(before.iter());
        self.former.retain(|former| !peer_policy::is_relayed(*former, &relayed));
        let too_many = self.former.len().saturating_sub(MOST_FORMER);
        self.former.drain(..too_many);
        if let Scope::Public(filter) = &mut self.rules.scope {
            // One that is gone may be another host's tomorrow.
            self.former.retain(|former| own.contains(former));
            filter.own = own;
        }
        let Self { former, rules, .. } = self;
        let permits = |peer| former.contains(&peer) || rules.scope.permits(peer, &rules.relayed);
        for listing in self.table.listings_mut() {
            let mut changed = Listing::clone(listing);
            if changed.revoke(permits) {
                *listing = Arc::new(changed);
                self.exchange.publish(listing);
            }
        }
        // Also flows that rest on the filter alone: to what is a listener's address from now on.
        self.exchange.changed();
    }

    /// Whether `ip` is lent, or was and may still be an allocation's.
    pub(super) fn lends(&self, ip: IpAddr) -> bool {
        peer_policy::is_relayed(ip, &self.rules.relayed) || self.former.contains(&ip)
    }

    /// What it has done so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How many allocations this worker has.
    pub fn allocations(&self) -> usize {
        self.table.len()
    }

    fn request(&mut self, client: ClientAddr, mut request: Request, now: Now) {
        if request.method == Method::Binding {
            return self.binding(client, &mut request, now.instant);
        }
        match self.authenticate(client, &mut request, now.instant) {
            Err(refusal) => {
                let proof = self.proof(client, &mut request, now.instant);
                self.refuse_unauthenticated(client, &request, &refusal, &proof, now.instant);
            }
            Ok(verified) => self.answer(client, &request, &verified, now),
        }
    }

    /// RFC 8489 §12.
    fn binding(&mut self, client: ClientAddr, request: &mut Request, now: Instant) {
        let proof = self.proof(client, request, now);
        if let Err(refusal) = request.refuse_unknown() {
            return self.refuse_unauthenticated(client, request, &refusal, &proof, now);
        }
        if self.may_answer(client, request, &proof, now) {
            self.reply(client, Reply::success(request).mapped(client.remote).finish(None));
        }
    }

    fn authenticate(
        &self,
        client: ClientAddr,
        request: &mut Request,
        now: Instant,
    ) -> Result<Verified, Refusal> {
        let known = self.table.of(&client).map(|allocation| (&*allocation.username, &allocation.key));
        self.gate.verify(request, client, known, now)
    }

    fn answer(&mut self, client: ClientAddr, request: &Request, verified: &Verified, now: Now) {
        let outcome = request.refuse_unknown().and_then(|()| match request.method {
            Method::Allocate => self.allocate(client, request, verified, now),
            Method::Refresh => self.refresh(client, request, verified, now).map(Some),
            Method::CreatePermission => {
                self.create_permission(client, request, verified, now.instant).map(Some)
            }
            Method::ChannelBind => self.channel_bind(client, request, verified, now.instant).map(Some),
            Method::Binding => Ok(None),
        });
        match outcome {
            Ok(Some(reply)) => self.reply(client, reply.finish(Some(&verified.key))),
            Ok(None) => {}
            // Its nonce has been checked.
            Err(refusal) if refusal.challenges() => {
                self.refuse_unauthenticated(client, request, &refusal, &Proof::Address, now.instant)
            }
            Err(refusal) => self.refuse(client, request.method, request.transaction, &refusal, verified),
        }
    }

    pub(super) fn refuse(
        &mut self,
        client: ClientAddr,
        method: Method,
        transaction: [u8; 12],
        refusal: &Refusal,
        verified: &Verified,
    ) {
        self.tally.refused(refusal);
        self.reply(client, Reply::refusal(method, transaction, refusal).finish(Some(&verified.key)));
    }

    pub(super) fn reply(&mut self, to: ClientAddr, bytes: Vec<u8>) {
        self.actions.push_back(Action::Reply { to, bytes });
    }

    pub(super) fn close(&mut self, client: &ClientAddr, end: End) {
        let Some(allocation) = self.table.remove(client) else { return };
        for &relayed in allocation.listing.relayed.iter() {
            self.release(relayed);
        }
        self.exchange.register().strike(&allocation.holder, *client);
        self.forget_lapsed(&allocation);
        self.tally.closed(client.transport, &allocation.listing.relayed, end);
        let sent = allocation.pulse.sent();
        self.actions.push_back(Action::Closed { client: *client, end, sent });
    }

    /// Ends one relayed address: nobody reaches it, its socket closes, its port can be lent again.
    pub(super) fn release(&mut self, relayed: RelayedAddr) {
        self.exchange.withdraw(relayed);
        self.exchange.register().give_back(relayed);
        if matches!(self.rules.scope, Scope::Public(_)) {
            self.actions.push_back(Action::ClosePort(relayed));
        }
    }

    pub(super) fn allocation_of(
        &self,
        client: &ClientAddr,
        verified: &Verified,
    ) -> Result<&Allocation, Refusal> {
        let allocation = self.table.of(client).ok_or(Refusal::AllocationMismatch)?;
        if *allocation.username == *verified.username {
            Ok(allocation)
        } else {
            Err(Refusal::WrongCredentials)
        }
    }

    pub(super) fn next_id(&mut self) -> AllocationId {
        self.allocations_made += 1;
        AllocationId(self.allocations_made)
    }
}

/// A forged source may be anything: nobody, everybody, or this box itself, which would answer in turn.
fn can_be_answered(client: ClientAddr) -> bool {
    let everybody = match client.remote.ip() {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    };
    client.remote.port() != 0 && client.remote != client.local && !everybody
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("rules", &self.rules).field("allocations", &self.table.len()).finish()
    }
}
