//! A TURN server that owns no socket: datagrams go in, deliveries and actions come out
//! (RFC 8656).
//!
//! A packet either is media — then the answer is at most one [`Transmit`], found without a lock or
//! an allocation of memory — or it is a request, whose effects wait in [`Server::poll_event`].
//! Each worker has a `Server` of its own; what they know of each other is in the [`RoutingTable`].

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addr::{ClientAddr, Families, PeerAddr, RelayedAddr};
use super::allocate::PendingAllocation;
use super::allocation::{Allocation, AllocationId, Route};
use super::allocation_table::AllocationTable;
use super::auth::{Authenticator, Identity};
use super::channel_data::{self, Header};
use super::dtls;
use super::error::Refusal;
use super::flow_cache::FlowCache;
use super::peer_policy::{self, PeerPolicy};
use super::registry::Quota;
use super::reply_limit::{Proof, ReplyLimit};
use super::request::{Method, Request};
use super::response::Reply;
use super::routing_table::RoutingTable;
use super::stats::ServerStats;
use crate::credential::Secrets;
use crate::principal::{IsolationGroup, PrincipalId};
use crate::time::Now;

/// What a server goes by; the same for all workers but for `worker`.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Which worker this is.
    pub worker: usize,
    /// The addresses lent, as clients are told them.
    pub relayed: Families<IpAddr>,
    /// Who may be reached.
    pub peer_policy: PeerPolicy,
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
    pub(super) config: ServerConfig,
    pub(super) authenticator: Authenticator,
    pub(super) routes: Arc<RoutingTable>,
    pub(super) table: AllocationTable,
    pub(super) pending: Vec<PendingAllocation>,
    pub(super) admitted: BTreeSet<(IsolationGroup, PrincipalId)>,
    /// Seats whose grace has run out and that have allocations here.
    pub(super) orphaned: BTreeSet<(IsolationGroup, PrincipalId)>,
    /// Nothing is lent any more but to participants of running calls.
    pub(super) draining: bool,
    pub(super) events: VecDeque<Event>,
    pub(super) rng: Box<dyn FnMut() -> u64 + Send>,
    pub(super) last_allocation_id: u64,
    /// Addresses lent before, by which allocations may still be known.
    pub(super) former_addresses: Vec<IpAddr>,
    pub(super) flow_cache: FlowCache,
    pub(super) stats: ServerStats,
    pub(super) limit: Arc<ReplyLimit>,
    pub(super) transaction_counter: u64,
}

/// A packet to send on, its payload still where it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmit<'p> {
    /// To the client of an allocation, of this worker or another.
    Client {
        /// Where to.
        to: ClientAddr,
        /// Which worker has its stream, where it has one.
        worker: usize,
        /// What goes before the payload.
        header: Header,
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
pub enum Event {
    /// Send these bytes to a client.
    Reply {
        /// Where to.
        to: ClientAddr,
        /// A STUN message.
        bytes: Vec<u8>,
    },
    /// Bind a real socket for this relayed address and tell [`Server::handle_port_opened`].
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
    AllocationOpened {
        /// Whose.
        client: ClientAddr,
        /// What it was lent.
        relayed: Families<RelayedAddr>,
    },
    /// An allocation has ended.
    AllocationClosed {
        /// Whose it was.
        client: ClientAddr,
        /// Why.
        end: CloseReason,
        /// Bytes of payload that its client sent by it.
        sent: u64,
    },
}

/// Why an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Not refreshed in time, or silent after its seat lapsed.
    Expired,
    /// Its client asked for it.
    Deleted,
    /// Its seat was given up, or has lapsed and was given to somebody else.
    PrincipalLeft,
    /// It had been silent and its holder wanted another.
    Evicted,
    /// Its client's stream was closed.
    Disconnected,
}

impl CloseReason {
    /// All of them, in the order of counts.
    pub const ALL: [Self; 5] =
        [Self::Expired, Self::Deleted, Self::PrincipalLeft, Self::Evicted, Self::Disconnected];
}

/// Changes of address after which the oldest allocations are not found any more.
const MAX_FORMER_ADDRESSES: usize = 16;

impl Server {
    /// `chance` gives unpredictable numbers: ports and tokens are picked with it.
    pub fn new(
        config: ServerConfig,
        authenticator: Authenticator,
        routes: Arc<RoutingTable>,
        limit: Arc<ReplyLimit>,
        rng: Box<dyn FnMut() -> u64 + Send>,
    ) -> Self {
        Self {
            config,
            authenticator,
            table: AllocationTable::new(routes.epoch),
            routes,
            pending: Vec::new(),
            admitted: BTreeSet::new(),
            orphaned: BTreeSet::new(),
            draining: false,
            events: VecDeque::new(),
            rng,
            last_allocation_id: 0,
            former_addresses: Vec::new(),
            flow_cache: FlowCache::default(),
            stats: ServerStats::default(),
            limit,
            transaction_counter: 0,
        }
    }

    /// Takes one datagram, or one message of a stream, from a client.
    pub fn handle<'p>(&mut self, client: ClientAddr, bytes: &'p [u8], now: Now) -> Option<Transmit<'p>> {
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
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Ends what has run out by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(client) = self.table.next_expired(now) {
            self.close(&client, CloseReason::Expired);
        }
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.table.poll_timeout()
    }

    /// Ends an allocation that gives way to another of its holder.
    pub fn evict(&mut self, client: &ClientAddr) {
        self.close(client, CloseReason::Evicted);
    }

    /// Ends what a stream's end leaves behind.
    pub fn disconnected(&mut self, client: &ClientAddr) {
        self.mark_pending_disconnected(client);
        self.close(client, CloseReason::Disconnected);
    }

    /// Other secrets from now on. An allocation goes on under the credential that opened it.
    pub fn set_secrets(&mut self, secrets: Secrets) {
        self.authenticator.set_secrets(secrets);
    }

    /// The box's addresses have changed: new allocations get one of `relayed`, and permissions that `own`
    /// forbids are taken back. AllocationCounts stay known by the address they were given.
    pub fn set_addresses(&mut self, relayed: Families<IpAddr>, own: Vec<IpAddr>) {
        let before = std::mem::replace(&mut self.config.relayed, relayed);
        self.former_addresses.extend(before.iter());
        self.former_addresses
            .retain(|former_addresses| !peer_policy::is_relayed(*former_addresses, &relayed));
        let too_many = self.former_addresses.len().saturating_sub(MAX_FORMER_ADDRESSES);
        self.former_addresses.drain(..too_many);
        if let PeerPolicy::Public(filter) = &mut self.config.peer_policy {
            // One that is gone may be another host's tomorrow.
            self.former_addresses.retain(|former_addresses| own.contains(former_addresses));
            filter.own = own;
        }
        let Self { former_addresses, config, .. } = self;
        let permits =
            |peer| former_addresses.contains(&peer) || config.peer_policy.permits(peer, &config.relayed);
        for route in self.table.routes_mut() {
            let mut changed = Route::clone(route);
            if changed.retain_peers(permits) {
                *route = Arc::new(changed);
                self.routes.publish(route);
            }
        }
        // Also flows that rest on the filter alone: to what is a listener's address from now on.
        self.routes.invalidate_flows();
    }

    /// Whether `ip` is lent, or was and may still be an allocation's.
    pub(super) fn is_relayed_ip(&self, ip: IpAddr) -> bool {
        peer_policy::is_relayed(ip, &self.config.relayed) || self.former_addresses.contains(&ip)
    }

    /// What it has done so far.
    pub fn stats(&self) -> &ServerStats {
        &self.stats
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
            Ok(identity) => self.answer(client, &request, &identity, now),
        }
    }

    /// RFC 8489 §12.
    fn binding(&mut self, client: ClientAddr, request: &mut Request, now: Instant) {
        let proof = self.proof(client, request, now);
        if let Err(refusal) = request.refuse_unknown() {
            return self.refuse_unauthenticated(client, request, &refusal, &proof, now);
        }
        if self.may_answer(client, request, &proof, now) {
            self.reply(client, Reply::success(request).mapped(client.remote).encode(None));
        }
    }

    fn authenticate(
        &self,
        client: ClientAddr,
        request: &mut Request,
        now: Instant,
    ) -> Result<Identity, Refusal> {
        let known = self.table.get(&client).map(|allocation| (&*allocation.username, &allocation.key));
        self.authenticator.verify(request, client, known, now)
    }

    fn answer(&mut self, client: ClientAddr, request: &Request, identity: &Identity, now: Now) {
        let outcome = request.refuse_unknown().and_then(|()| match request.method {
            Method::Allocate => self.allocate(client, request, identity, now),
            Method::Refresh => self.refresh(client, request, identity, now).map(Some),
            Method::CreatePermission => {
                self.create_permission(client, request, identity, now.instant).map(Some)
            }
            Method::ChannelBind => self.channel_bind(client, request, identity, now.instant).map(Some),
            Method::Binding => Ok(None),
        });
        match outcome {
            Ok(Some(reply)) => self.reply(client, reply.encode(Some(&identity.key))),
            Ok(None) => {}
            // Its nonce has been checked.
            Err(refusal) if refusal.challenges() => {
                self.refuse_unauthenticated(client, request, &refusal, &Proof::Address, now.instant)
            }
            Err(refusal) => self.refuse(client, request.method, request.transaction, &refusal, identity),
        }
    }

    pub(super) fn refuse(
        &mut self,
        client: ClientAddr,
        method: Method,
        transaction: [u8; 12],
        refusal: &Refusal,
        identity: &Identity,
    ) {
        self.stats.refused(refusal);
        self.reply(client, Reply::refusal(method, transaction, refusal).encode(Some(&identity.key)));
    }

    pub(super) fn reply(&mut self, to: ClientAddr, bytes: Vec<u8>) {
        self.events.push_back(Event::Reply { to, bytes });
    }

    pub(super) fn close(&mut self, client: &ClientAddr, end: CloseReason) {
        let Some(allocation) = self.table.remove(client) else { return };
        for &relayed in allocation.route.relayed.iter() {
            self.release(relayed);
        }
        self.routes.registry().remove(&allocation.principal, *client);
        self.forget_orphan(&allocation);
        self.stats.closed(client.transport, &allocation.route.relayed, end);
        let sent = allocation.activity.sent();
        self.events.push_back(Event::AllocationClosed { client: *client, end, sent });
    }

    /// Ends one relayed address: nobody reaches it, its socket closes, its port can be lent again.
    pub(super) fn release(&mut self, relayed: RelayedAddr) {
        self.routes.withdraw(relayed);
        self.routes.registry().release_port(relayed);
        if matches!(self.config.peer_policy, PeerPolicy::Public(_)) {
            self.events.push_back(Event::ClosePort(relayed));
        }
    }

    pub(super) fn allocation_of(
        &self,
        client: &ClientAddr,
        identity: &Identity,
    ) -> Result<&Allocation, Refusal> {
        let allocation = self.table.get(client).ok_or(Refusal::AllocationMismatch)?;
        if *allocation.username == *identity.username {
            Ok(allocation)
        } else {
            Err(Refusal::WrongCredentials)
        }
    }

    pub(super) fn next_id(&mut self) -> AllocationId {
        self.last_allocation_id += 1;
        AllocationId(self.last_allocation_id)
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
        f.debug_struct("Server")
            .field("config", &self.config)
            .field("allocations", &self.table.len())
            .finish()
    }
}
