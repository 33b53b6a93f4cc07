//! Scenarios with a fixed clock: clients, their requests, and what the server does.

mod forwarding;
mod principals;
mod property;
mod public_scope;
mod requests;
mod stats;
mod unauthenticated;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stun::attributes as attr;
use stun::attributes::AttrType;
use stun::message::Setter as _;
use stun::message::{self as wire, Message, MessageType};
use stun::xoraddr::XorMappedAddress;
use webrtc_box_rate_limit::Rate;

use super::{CloseReason, Event, Now, PortError, Server, ServerConfig, Transmit};
use crate::addr::{ClientAddr, Families, PeerAddr, RelayedAddr, Transport};
use crate::auth::{Authenticator, IntegrityKey, NonceKey};
use crate::channel_data::unxor_address;
use crate::credential::{Credential, Principal, Secret, Secrets};
use crate::peer_policy::{PeerFilter, PeerPolicy};
use crate::principal::{IsolationGroup, PrincipalEvent, PrincipalId};
use crate::registry::Quota;
use crate::reply_limit::ReplyLimit;
use crate::routing_table::RoutingTable;

const UDP: [u8; 4] = [17, 0, 0, 0];
const SERVER_ADDR: &str = "45.0.0.10:3478";
/// The wall clock at the start.
const UNIX: u64 = 1_767_225_600;

/// A server with its clock and its events.
struct Harness {
    server: Server,
    config: ServerConfig,
    routes: Arc<RoutingTable>,
    secrets: Secrets,
    start: Instant,
    elapsed: Duration,
    transactions: u64,
    /// Events that were no replies, in order.
    events: Vec<Event>,
}

/// A client with a credential and its last nonce.
#[derive(Clone)]
struct Client {
    addr: ClientAddr,
    credential: Credential,
    nonce: String,
}

/// A parsed reply.
#[derive(Debug)]
struct Response {
    bytes: Vec<u8>,
    message: Message,
}

/// A transmit as it would be on the wire.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Channel { to: SocketAddr, number: u16, payload: Vec<u8> },
    Data { to: SocketAddr, from: SocketAddr, payload: Vec<u8> },
    Peer { from: SocketAddr, to: SocketAddr, payload: Vec<u8> },
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A limit of `rate` replies per second.
fn reply_limit(rate: u32, start: Instant) -> Arc<ReplyLimit> {
    Arc::new(ReplyLimit::new(Rate::per_second(rate), [[1, 2], [3, 4]], start))
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn group_id(name: u8) -> IsolationGroup {
    IsolationGroup::new([name; 16])
}

fn member_id(name: u8) -> PrincipalId {
    PrincipalId::new([name; 16])
}

impl Harness {
    fn new() -> Self {
        Self::with(PeerPolicy::SameGroup, Quota::default())
    }

    fn with(peer_policy: PeerPolicy, quota: Quota) -> Self {
        let relayed =
            Families { v4: Some("192.0.0.8".parse().unwrap()), v6: Some("100::8".parse().unwrap()) };
        Self::with_relayed(relayed, peer_policy, quota, 49_152..=65_535)
    }

    fn with_relayed(
        relayed: Families<IpAddr>,
        peer_policy: PeerPolicy,
        quota: Quota,
        ports: RangeInclusive<u16>,
    ) -> Self {
        let start = Instant::now();
        let secrets = Secrets::new(Secret::new("north"), vec![Secret::new("south")]);
        let authenticator =
            Authenticator::new(secrets.clone(), "webrtc-box".into(), NonceKey::new([9; 32], start));
        let config = ServerConfig {
            worker: 0,
            relayed,
            peer_policy,
            quota,
            max_bps: 0,
            credential_ttl: minutes(60),
            group_size: 2,
        };
        let routes = Arc::new(RoutingTable::new(&ports, &[3478], 0, 1, start));
        let rng = AtomicU64::new(1);
        let server = Server::new(
            config.clone(),
            authenticator,
            Arc::clone(&routes),
            reply_limit(0, start),
            Box::new(move || rng.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        );
        let (elapsed, events) = (Duration::ZERO, Vec::new());
        Self { server, config, routes, secrets, start, elapsed, transactions: 0, events }
    }

    fn now(&self) -> Now {
        Now { instant: self.start + self.elapsed, unix: UNIX + self.elapsed.as_secs() }
    }

    /// Lets time pass.
    fn advance(&mut self, by: Duration) {
        self.elapsed += by;
        self.server.handle_timeout(self.now().instant);
        self.collect();
    }

    fn principal_event(&mut self, event: PrincipalEvent) {
        self.server.handle_principal_event(event, self.now().instant);
    }

    /// A client with a credential of an admitted participant.
    fn admitted_client(&mut self, from: &str, group: u8, name: u8) -> Client {
        self.principal_event(PrincipalEvent::Admitted(group_id(group), member_id(name)));
        self.client(from, &Principal::Participant(group_id(group), member_id(name)))
    }

    fn client(&self, from: &str, principal: &Principal) -> Client {
        let credential = self.secrets.mint(principal, self.now().unix + 3600);
        let addr = ClientAddr::new(Transport::Udp, addr(from), addr(SERVER_ADDR));
        Client { addr, credential, nonce: self.server.authenticator.nonce(addr, self.now().instant) }
    }

    /// The client with a new nonce.
    fn with_new_nonce(&self, client: &Client) -> Client {
        Client { nonce: self.server.authenticator.nonce(client.addr, self.now().instant), ..client.clone() }
    }

    /// A client with an allocation, and its relayed address.
    fn allocated(&mut self, from: &str, group: u8, name: u8) -> (Client, SocketAddr) {
        let client = self.admitted_client(from, group, name);
        let response =
            self.request(&client, wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP)]);
        let relayed = response.address(attr::ATTR_XOR_RELAYED_ADDRESS).unwrap();
        (client, relayed)
    }

    /// Two clients of one group, each with an allocation and a permission for the relay's address.
    fn pair(&mut self) -> ((Client, SocketAddr), (Client, SocketAddr)) {
        let one = self.allocated("45.0.1.1:1001", 1, 1);
        let other = self.allocated("45.0.2.2:2002", 1, 2);
        self.permit(&one.0, other.1);
        self.permit(&other.0, one.1);
        (one, other)
    }

    fn permit(&mut self, client: &Client, peer: SocketAddr) {
        assert_eq!(self.request_peer(client, wire::METHOD_CREATE_PERMISSION, peer).code(), 0);
    }

    fn bind(&mut self, client: &Client, number: u16, peer: SocketAddr) -> u16 {
        let channel = [number.to_be_bytes(), [0, 0]].concat();
        let transaction = self.transaction();
        let mut message =
            message(wire::METHOD_CHANNEL_BIND, transaction, &[(attr::ATTR_CHANNEL_NUMBER, &channel)]);
        xor(&mut message, peer);
        self.sign_and_send(client, message).code()
    }

    fn request_peer(&mut self, client: &Client, method: wire::Method, peer: SocketAddr) -> Response {
        let transaction = self.transaction();
        let mut message = message(method, transaction, &[]);
        xor(&mut message, peer);
        self.sign_and_send(client, message)
    }

    /// Sends an authenticated request with these attributes.
    fn request(
        &mut self,
        client: &Client,
        method: wire::Method,
        attributes: &[(AttrType, &[u8])],
    ) -> Response {
        let transaction = self.transaction();
        self.sign_and_send(client, message(method, transaction, attributes))
    }

    fn sign_and_send(&mut self, client: &Client, message: Message) -> Response {
        let bytes = client.signed(message);
        self.send(client, &bytes).expect("a response")
    }

    /// Sends bytes that get at most one reply.
    fn send(&mut self, client: &Client, bytes: &[u8]) -> Option<Response> {
        let now = self.now();
        assert_eq!(self.server.handle(client.addr, bytes, now), None);
        let mut replies = self.collect();
        assert!(replies.len() <= 1);
        let (to, bytes) = replies.pop()?;
        assert_eq!(to, client.addr);
        Some(Response::read(bytes))
    }

    fn collect(&mut self) -> Vec<(ClientAddr, Vec<u8>)> {
        let mut replies = Vec::new();
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Reply { to, bytes } => replies.push((to, bytes)),
                Event::OpenPort(relayed) => {
                    let now = self.now().instant;
                    self.events.push(Event::OpenPort(relayed));
                    self.server.handle_port_opened(relayed, Ok(()), now);
                }
                Event::ClosePort(_)
                | Event::Evict { .. }
                | Event::AllocationOpened { .. }
                | Event::AllocationClosed { .. } => {
                    self.events.push(event);
                }
            }
        }
        replies
    }

    fn channel_data(&mut self, client: &Client, number: u16, payload: &[u8]) -> Option<Sent> {
        let bytes = [&number.to_be_bytes(), &(payload.len() as u16).to_be_bytes(), payload].concat();
        let now = self.now();
        sent(self.server.handle(client.addr, &bytes, now))
    }

    fn send_indication(&mut self, client: &Client, peer: SocketAddr, payload: &[u8]) -> Option<Sent> {
        let mut message = Message::new();
        message.typ = MessageType::new(wire::METHOD_SEND, wire::CLASS_INDICATION);
        message.write_header();
        xor(&mut message, peer);
        message.add(attr::ATTR_DATA, payload);
        let now = self.now();
        sent(self.server.handle(client.addr, &message.raw, now))
    }

    fn peer_sends(&mut self, relayed: SocketAddr, peer: &str, payload: &[u8]) -> Option<Sent> {
        let now = self.now().instant;
        sent(self.server.handle_peer(RelayedAddr(relayed), PeerAddr(addr(peer)), payload, now))
    }

    /// Replaces the addresses of the host.
    fn set_own_addresses(&mut self, own: Vec<IpAddr>) {
        let relayed = *self.server.allocations.reachability().relayed();
        self.server.set_addresses(relayed, own);
    }

    /// Replaces the relayed IPv4 address, and the addresses of the host.
    fn set_relayed_addresses(&mut self, v4: &str, own: &[&str]) {
        let relayed = Families { v4: v4.parse().ok(), v6: self.config.relayed.v6 };
        let own = own.iter().map(|ip| ip.parse().unwrap()).collect();
        self.server.set_addresses(relayed, own);
    }

    fn transaction(&mut self) -> [u8; 12] {
        self.transactions += 1;
        let mut transaction = [0xee; 12];
        transaction[..8].copy_from_slice(&self.transactions.to_be_bytes());
        transaction
    }
}

impl Client {
    fn key(&self) -> IntegrityKey {
        IntegrityKey::new(&self.credential.username, "webrtc-box", &self.credential.password)
    }

    fn signed(&self, message: Message) -> Vec<u8> {
        self.signed_with(message, "webrtc-box")
    }

    fn signed_with(&self, mut message: Message, realm: &str) -> Vec<u8> {
        message.add(attr::ATTR_USERNAME, self.credential.username.as_bytes());
        message.add(attr::ATTR_REALM, realm.as_bytes());
        message.add(attr::ATTR_NONCE, self.nonce.as_bytes());
        let key = IntegrityKey::new(&self.credential.username, realm, &self.credential.password);
        key.signer().add_to(&mut message).unwrap();
        message.raw
    }
}

impl Response {
    fn read(bytes: Vec<u8>) -> Self {
        let mut message = Message::new();
        message.unmarshal_binary(&bytes).unwrap();
        Self { bytes, message }
    }

    /// 0 for success.
    fn code(&self) -> u16 {
        match self.value(attr::ATTR_ERROR_CODE) {
            Some(value) => u16::from(value[2]) * 100 + u16::from(value[3]),
            None => {
                assert_eq!(self.message.typ.class, wire::CLASS_SUCCESS_RESPONSE);
                0
            }
        }
    }

    fn value(&self, kind: AttrType) -> Option<Vec<u8>> {
        self.message.get(kind).ok()
    }

    fn address(&self, kind: AttrType) -> Option<SocketAddr> {
        unxor_address(&self.value(kind)?, &self.bytes)
    }

    fn lifetime(&self) -> u32 {
        u32::from_be_bytes(self.value(attr::ATTR_LIFETIME).unwrap().try_into().unwrap())
    }

    fn is_signed_for(&self, client: &Client) -> bool {
        client.key().signer().check(&mut self.message.clone()).is_ok()
    }
}

fn message(method: wire::Method, transaction: [u8; 12], attributes: &[(AttrType, &[u8])]) -> Message {
    let mut message = Message::new();
    message.typ = MessageType::new(method, wire::CLASS_REQUEST);
    message.transaction_id.0 = transaction;
    message.write_header();
    attributes.iter().for_each(|(kind, value)| message.add(*kind, value));
    message
}

fn xor(message: &mut Message, peer: SocketAddr) {
    XorMappedAddress { ip: peer.ip(), port: peer.port() }
        .add_to_as(message, attr::ATTR_XOR_PEER_ADDRESS)
        .unwrap();
}

/// Parses a transmit as its receiver would.
fn sent(transmit: Option<Transmit<'_>>) -> Option<Sent> {
    Some(match transmit? {
        Transmit::Peer { from, to, payload, .. } => {
            Sent::Peer { from: from.0, to: to.0, payload: payload.to_vec() }
        }
        Transmit::Client { to, header, payload, .. } if header.bytes().len() == 4 => {
            assert_eq!(header.bytes()[2..4], (payload.len() as u16).to_be_bytes());
            let number = u16::from_be_bytes([header.bytes()[0], header.bytes()[1]]);
            Sent::Channel { to: to.remote, number, payload: payload.to_vec() }
        }
        Transmit::Client { to, header, payload, .. } => {
            let padding = header.padding(payload.len(), false);
            let response = Response::read([header.bytes(), payload, &vec![0; padding]].concat());
            let from = response.address(attr::ATTR_XOR_PEER_ADDRESS).unwrap();
            assert_eq!(response.message.typ, MessageType::new(wire::METHOD_DATA, wire::CLASS_INDICATION));
            Sent::Data { to: to.remote, from, payload: response.value(attr::ATTR_DATA).unwrap() }
        }
    })
}
