//! A STUN and TURN server without sockets: datagrams in, transmits and events out (RFC 8489, RFC 8656).
//!
//! A datagram is either payload to relay, which gives at most one [`Transmit`] and takes no lock and no memory, or a
//! request, whose effects wait in [`Server::poll_event`]. This file reads datagrams, authenticates requests and sends
//! replies; `Allocations` carries requests out and `Forwarder` relays.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::addr::{ClientAddr, Families, PeerAddr, RelayedAddr, Transport};
use crate::allocations::{Allocations, CompletedAllocate};
use crate::auth::{Authenticator, Identity, IntegrityKey};
use crate::channel_data::{self, Header};
use crate::credential::{Secrets, UnixSeconds};
use crate::forward::{Forwarder, Packet};
use crate::peer_policy::PeerPolicy;
use crate::principal::PrincipalEvent;
use crate::registry::Quota;
use crate::reply_limit::{Proof, ReplyLimit};
use crate::request::{Method, Request};
use crate::response::{Refusal, Reply, dtls_alert};
use crate::routing_table::RoutingTable;
use crate::stats::ServerStats;

/// The settings of a server. All workers have the same, except for `worker`.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Index of this worker.
    pub worker: usize,
    /// The relayed IP addresses, as clients learn them.
    pub relayed: Families<IpAddr>,
    /// Which peers may be reached.
    pub peer_policy: PeerPolicy,
    /// How many allocations there may be.
    pub quota: Quota,
    /// Bytes per second of one allocation, each way; 0: no limit.
    pub max_bps: u32,
    /// Lifetime of a participant's credential: how long it opens allocations.
    pub credential_ttl: Duration,
    /// Participants in an isolation group at most. When all are admitted, the allocations of expired ones end.
    pub group_size: usize,
}

/// One moment on both clocks: timers use the monotonic clock, credentials expire by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, so that a jump of the wall clock ends no allocation.
    pub instant: Instant,
    /// Wall clock.
    pub unix: UnixSeconds,
}

/// A packet to send. The payload stays where it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmit<'p> {
    /// To the client of an allocation, of this worker or another.
    Client {
        /// Destination.
        to: ClientAddr,
        /// The worker that has the client's stream; irrelevant for UDP.
        worker: usize,
        /// Bytes to send before the payload.
        header: Header,
        /// The relayed payload.
        payload: &'p [u8],
    },
    /// From a relayed port to a peer on the network ([`PeerPolicy::Public`] only).
    Peer {
        /// Source.
        from: RelayedAddr,
        /// Destination.
        to: PeerAddr,
        /// The relayed payload.
        payload: &'p [u8],
        /// The client sent DONT-FRAGMENT.
        dont_fragment: bool,
    },
}

/// What the caller must do, or may count and log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Send these bytes to a client.
    Reply {
        /// Destination.
        to: ClientAddr,
        /// A STUN message, or a DTLS alert.
        bytes: Vec<u8>,
    },
    /// Bind a socket to this relayed address, then call [`Server::handle_port_opened`].
    OpenPort(RelayedAddr),
    /// Close the socket of this relayed address.
    ClosePort(RelayedAddr),
    /// End the allocation of another worker: call [`Server::evict`] there.
    Evict {
        /// Index of that worker.
        worker: usize,
        /// The client whose allocation ends.
        client: ClientAddr,
    },
    /// An allocation was created.
    AllocationOpened {
        /// Its client.
        client: ClientAddr,
        /// Its relayed addresses.
        relayed: Families<RelayedAddr>,
    },
    /// An allocation has ended.
    AllocationClosed {
        /// Its client.
        client: ClientAddr,
        /// Why it ended.
        end: CloseReason,
        /// Payload bytes that its client sent.
        sent: u64,
    },
}

/// Why an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// It was not refreshed in time, or was idle after its participant expired.
    Expired,
    /// Its client deleted it.
    Deleted,
    /// Its participant left, or expired and was replaced by another.
    PrincipalLeft,
    /// It was idle and its port or quota was needed for another allocation.
    Evicted,
    /// The stream of its client closed.
    Disconnected,
}

impl CloseReason {
    /// Every reason, in the order of [`ServerStats::ended`].
    pub const ALL: [Self; 5] =
        [Self::Expired, Self::Deleted, Self::PrincipalLeft, Self::Evicted, Self::Disconnected];
}

/// Why a relay socket could not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortError {
    /// Another program has the port; the server tries another port.
    InUse,
    /// No socket can be bound now, for example because there are no file descriptors left.
    Unavailable,
}

/// The STUN and TURN server of one worker.
pub struct Server {
    authenticator: Authenticator,
    reply_limit: Arc<ReplyLimit>,
    allocations: Allocations,
    forwarder: Forwarder,
    output: Output,
}

/// Events that wait for [`Server::poll_event`], and counters.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) events: VecDeque<Event>,
    pub(crate) stats: ServerStats,
}

impl Server {
    /// Creates a server without allocations. `rng` returns unpredictable numbers: ports and reservation tokens follow
    /// from them.
    pub fn new(
        config: ServerConfig,
        authenticator: Authenticator,
        routes: Arc<RoutingTable>,
        reply_limit: Arc<ReplyLimit>,
        rng: Box<dyn FnMut() -> u64 + Send>,
    ) -> Self {
        Self {
            authenticator,
            reply_limit,
            allocations: Allocations::new(config, routes, rng),
            forwarder: Forwarder::default(),
            output: Output::default(),
        }
    }

    /// Handles one datagram, or one message of a stream, from a client.
    pub fn handle<'p>(&mut self, client: ClientAddr, bytes: &'p [u8], now: Now) -> Option<Transmit<'p>> {
        if !can_be_answered(client) {
            return None;
        }
        if channel_data::is_channel_data(bytes) {
            return self.forward(&client, Packet::from_channel_data(bytes)?, now.instant);
        }
        if channel_data::is_send_indication(bytes) {
            return self.forward(&client, Packet::from_send_indication(bytes)?, now.instant);
        }
        if let Some(request) = Request::parse(bytes) {
            self.request(client, request, now);
        } else if let Some(alert) = dtls_alert(bytes) {
            self.reject_dtls(client, &alert, now.instant);
        }
        None
    }

    /// Handles one datagram that a peer sent to a relay socket (RFC 8656 §11.3).
    pub fn handle_peer<'p>(
        &mut self,
        relayed: RelayedAddr,
        peer: PeerAddr,
        payload: &'p [u8],
        now: Instant,
    ) -> Option<Transmit<'p>> {
        let (routes, stats) = (self.allocations.routes(), &mut self.output.stats);
        self.forwarder.handle_peer(relayed, peer, payload, routes, stats, now)
    }

    /// Handles the result of binding the socket of `relayed`, which [`Event::OpenPort`] asked for.
    pub fn handle_port_opened(&mut self, relayed: RelayedAddr, result: Result<(), PortError>, now: Instant) {
        let completed = self.allocations.port_opened(relayed, result, now, &mut self.output);
        if let Some(CompletedAllocate { client, transaction, key, outcome }) = completed {
            self.respond(client, Method::Allocate, transaction, &key, outcome, now);
        }
    }

    /// Handles the start or end of a participation: a credential that names a participant opens allocations only while
    /// the participant is admitted.
    pub fn handle_principal_event(&mut self, event: PrincipalEvent, now: Instant) {
        self.allocations.principal_event(event, now, &mut self.output);
    }

    /// Ends what has expired by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.allocations.timeout(now, &mut self.output);
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.allocations.table().poll_timeout()
    }

    /// The next event, until there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.output.events.pop_front()
    }

    /// Ends the allocation of `client`, because its port or quota is needed for another.
    pub fn evict(&mut self, client: &ClientAddr) {
        self.allocations.close(client, CloseReason::Evicted, &mut self.output);
    }

    /// Ends what belongs to a stream that has closed.
    pub fn disconnected(&mut self, client: &ClientAddr) {
        self.allocations.disconnect(client, &mut self.output);
    }

    /// From now on only participants open allocations, for calls that already run.
    pub fn drain(&mut self) {
        self.allocations.drain();
    }

    /// Replaces the secrets. An allocation continues with the credential that opened it.
    pub fn set_secrets(&mut self, secrets: Secrets) {
        self.authenticator.set_secrets(secrets);
    }

    /// Replaces the addresses of the host: new allocations get one of `relayed`, and permissions for peers in `own` are
    /// withdrawn. An existing allocation keeps the address that its client was given.
    pub fn set_addresses(&mut self, relayed: Families<IpAddr>, own: Vec<IpAddr>) {
        self.allocations.set_addresses(relayed, own);
    }

    /// The counters.
    pub fn stats(&self) -> &ServerStats {
        &self.output.stats
    }

    /// Number of allocations of this worker.
    pub fn allocations(&self) -> usize {
        self.allocations.table().len()
    }

    fn forward<'p>(&mut self, client: &ClientAddr, packet: Packet<'p>, now: Instant) -> Option<Transmit<'p>> {
        self.forwarder.handle_client(client, packet, &self.allocations, &mut self.output.stats, now)
    }

    fn request(&mut self, client: ClientAddr, mut request: Request, now: Now) {
        if request.method == Method::Binding {
            return self.binding(client, &mut request, now.instant);
        }
        let known = self.allocations.credentials(&client);
        match self.authenticator.verify(&mut request, client, known, now.instant) {
            Ok(identity) => self.authenticated(client, &request, &identity, now),
            Err(refusal) => {
                let proof = self.proof(client, &mut request, now.instant);
                if self.may_answer(client, request.transaction, &proof, now.instant) {
                    self.challenge(client, request.method, request.transaction, &refusal, now.instant);
                }
            }
        }
    }

    /// RFC 8489 §12.
    fn binding(&mut self, client: ClientAddr, request: &mut Request, now: Instant) {
        let proof = self.proof(client, request, now);
        if !self.may_answer(client, request.transaction, &proof, now) {
            return;
        }
        match request.check_attributes() {
            Ok(()) => self.reply(client, Reply::success(request).mapped(client.remote).encode(None)),
            Err(refusal) => self.challenge(client, request.method, request.transaction, &refusal, now),
        }
    }

    fn authenticated(&mut self, client: ClientAddr, request: &Request, identity: &Identity, now: Now) {
        let outcome = request
            .check_attributes()
            .and_then(|()| self.allocations.request(client, request, identity, now, &mut self.output));
        let outcome = match outcome {
            // The Allocate waits for its sockets.
            Ok(None) => return,
            Ok(Some(reply)) => Ok(reply),
            Err(refusal) => Err(refusal),
        };
        let challenges = outcome.as_ref().is_err_and(Refusal::challenges);
        // The nonce is valid, which proves the address.
        if !challenges || self.may_answer(client, request.transaction, &Proof::Address, now.instant) {
            self.respond(client, request.method, request.transaction, &identity.key, outcome, now.instant);
        }
    }

    /// Sends the reply to an authenticated request. A challenge asks for other credentials, so `key` does not sign it.
    fn respond(
        &mut self,
        client: ClientAddr,
        method: Method,
        transaction: [u8; 12],
        key: &IntegrityKey,
        outcome: Result<Reply, Refusal>,
        now: Instant,
    ) {
        match outcome {
            Ok(reply) => self.reply(client, reply.encode(Some(key))),
            Err(refusal) if refusal.challenges() => {
                self.challenge(client, method, transaction, &refusal, now);
            }
            Err(refusal) => {
                self.output.stats.refused(&refusal);
                self.reply(client, Reply::refusal(method, transaction, &refusal).encode(Some(key)));
            }
        }
    }

    /// Sends an error reply without integrity, with realm and nonce where the refusal asks for credentials.
    fn challenge(
        &mut self,
        client: ClientAddr,
        method: Method,
        transaction: [u8; 12],
        refusal: &Refusal,
        now: Instant,
    ) {
        self.output.stats.refused(refusal);
        let mut reply = Reply::refusal(method, transaction, refusal);
        if refusal.challenges() {
            reply = reply.challenge(self.authenticator.realm(), &self.authenticator.nonce(client, now));
        }
        self.reply(client, reply.encode(None));
    }

    /// DTLS is not supported: a client that tries it gets an alert, within the limit for datagrams that prove nothing.
    fn reject_dtls(&mut self, client: ClientAddr, alert: &[u8], now: Instant) {
        if client.transport != Transport::Udp {
            return;
        }
        if self.reply_limit.allows_datagram(&client, now) {
            self.reply(client, alert.to_vec());
        } else {
            self.output.stats.unanswered += 1;
        }
    }

    fn reply(&mut self, to: ClientAddr, bytes: Vec<u8>) {
        self.output.events.push_back(Event::Reply { to, bytes });
    }

    /// What an unauthenticated request proves about its sender.
    fn proof(&self, client: ClientAddr, request: &mut Request, now: Instant) -> Proof {
        if client.transport != Transport::Udp {
            return Proof::Address;
        }
        let known = self.allocations.credentials(&client);
        let may_check_password = || self.reply_limit.may_check_password(now);
        match self.authenticator.proof(request, client, known, may_check_password, now) {
            Proof::Address => Proof::Address,
            Proof::None | Proof::Allocation | Proof::Credential(_) if known.is_some() => Proof::Allocation,
            proof @ (Proof::None | Proof::Allocation | Proof::Credential(_)) => proof,
        }
    }

    fn may_answer(&mut self, client: ClientAddr, transaction: [u8; 12], proof: &Proof, now: Instant) -> bool {
        let allowed = self.reply_limit.allows(&client, &transaction, proof, now);
        self.output.stats.unanswered += u64::from(!allowed);
        allowed
    }
}

/// A forged source address may be port 0, multicast, broadcast or this server, which would answer itself.
fn can_be_answered(client: ClientAddr) -> bool {
    let is_group = match client.remote.ip() {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    };
    client.remote.port() != 0 && client.remote != client.local && !is_group
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("allocations", &self.allocations.table().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
