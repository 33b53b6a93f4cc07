//! A script of datagrams from four clients against a TURN server with a simulated clock.
//!
//! A script is a byte for the scope (odd: `public`), then steps: a byte `kind << 2 | client`, a length in two
//! bytes, and a payload of that length.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stun::attributes as attr;
use stun::message::{self as wire, Message, MessageType};
use stun::xoraddr::XorMappedAddress;
use webrtc_box_rate_limit::Rate;
use webrtc_box_turn::addr::{ClientAddr, Families, PeerAddr, RelayedAddr, Transport};
use webrtc_box_turn::auth::{Authenticator, IntegrityKey, NonceKey};
use webrtc_box_turn::credential::{Credential, Principal, Secret, Secrets};
use webrtc_box_turn::peer_policy::{PeerFilter, PeerPolicy};
use webrtc_box_turn::principal::{IsolationGroup, PrincipalEvent, PrincipalId};
use webrtc_box_turn::registry::Quota;
use webrtc_box_turn::reply_limit::ReplyLimit;
use webrtc_box_turn::routing_table::RoutingTable;
use webrtc_box_turn::server::{Event, Now, Server, ServerConfig, Transmit};

const UNIX: u64 = 1_767_225_600;
const REALM: &str = "webrtc-box";

/// Replies are well formed and only to requests, and all ports and quotas are released.
pub fn turn_session(bytes: &[u8]) {
    relayed_packets(bytes);
}

/// Like [`turn_session`]; returns the number of relayed packets.
pub fn relayed_packets(bytes: &[u8]) -> usize {
    let Some((&peer_policy, mut script)) = bytes.split_first() else { return 0 };
    let mut scenario = Scenario::new(peer_policy % 2 == 1);
    for _ in 0..64 {
        let Some((&[op, high, low], rest)) = script.split_first_chunk() else { break };
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        scenario.step(op, payload);
        script = rest;
    }
    scenario.finish()
}

struct Scenario {
    server: Server,
    authenticator: Authenticator,
    routes: Arc<RoutingTable>,
    credentials: Vec<Credential>,
    start: Instant,
    elapsed: Duration,
    relayed: Vec<RelayedAddr>,
    opened: usize,
    closed: usize,
    relayed_packets: usize,
}

impl Scenario {
    fn new(public: bool) -> Self {
        let start = Instant::now();
        let secrets = Secrets::new(Secret::new("north"), vec![]);
        let authenticator = Authenticator::new(secrets.clone(), REALM.into(), NonceKey::new([9; 32], start));
        let routes = Arc::new(RoutingTable::new(&(50_000..=50_031), &[50_001], 0, 1, start));
        let config = ServerConfig {
            worker: 0,
            relayed: Families { v4: Some("192.0.0.8".parse().unwrap()), v6: Some("100::8".parse().unwrap()) },
            peer_policy: if public {
                PeerPolicy::Public(PeerFilter::default())
            } else {
                PeerPolicy::SameGroup
            },
            quota: Quota { user: 3, total: 8 },
            max_bps: 0,
            credential_ttl: Duration::from_secs(3600),
            group_size: 2,
        };
        let mut state = 1_u64;
        let rng = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state
        };
        let limit = Arc::new(ReplyLimit::new(Rate::per_second(0), [[1, 2], [3, 4]], start));
        let server = Server::new(config, authenticator.clone(), Arc::clone(&routes), limit, Box::new(rng));
        let principals = [seat(0), seat(1), Principal::Foreign("bob".into()), seat(2)];
        let credentials = principals.iter().map(|principal| secrets.mint(principal, UNIX + 3600)).collect();
        let (elapsed, relayed) = (Duration::ZERO, Vec::new());
        let (opened, closed, relayed_packets) = (0, 0, 0);
        let mut scenario = Self {
            server,
            authenticator,
            routes,
            credentials,
            start,
            elapsed,
            relayed,
            opened,
            closed,
            relayed_packets,
        };
        (0..3).for_each(|id| {
            scenario.server.handle_principal_event(PrincipalEvent::Admitted(group(), seat_id(id)), start)
        });
        scenario
    }

    fn now(&self) -> Now {
        Now { instant: self.start + self.elapsed, unix: UNIX + self.elapsed.as_secs() }
    }

    fn step(&mut self, op: u8, payload: &[u8]) {
        let client = client(op & 3);
        let first = payload.first().copied().unwrap_or_default();
        match op >> 2 & 7 {
            0 | 7 => self.packet(client, payload),
            1 => self.signed(op & 3, payload, None),
            2 => self.wait(payload),
            3 => self.principal_event(first),
            4 => self.peer_sends(first, payload),
            5 => {
                self.server.disconnected(&client);
                self.drain(None);
            }
            _ => {
                let peer = self.relayed.get(usize::from(first) % self.relayed.len().max(1)).copied();
                self.signed(op & 3, payload.get(1..).unwrap_or_default(), peer);
            }
        }
    }

    fn packet(&mut self, client: ClientAddr, bytes: &[u8]) {
        let now = self.now();
        if let Some(transmit) = self.server.handle(client, bytes, now) {
            check_transmit(transmit, bytes);
            self.relayed_packets += 1;
        }
        self.drain(Some((client, bytes)));
    }

    /// Signs a request with the credential of the client and sends it, with `peer` added.
    fn signed(&mut self, id: u8, bytes: &[u8], peer: Option<RelayedAddr>) {
        let mut message = Message::new();
        if message.unmarshal_binary(bytes).is_err() || message.raw.len() != 20 + message.length as usize {
            return;
        }
        if let Some(RelayedAddr(peer)) = peer {
            XorMappedAddress { ip: peer.ip(), port: peer.port() }
                .add_to_as(&mut message, attr::ATTR_XOR_PEER_ADDRESS)
                .unwrap();
        }
        let client = client(id);
        let credential = self.credentials[usize::from(id)].clone();
        message.add(attr::ATTR_USERNAME, credential.username.as_bytes());
        message.add(attr::ATTR_REALM, REALM.as_bytes());
        message.add(attr::ATTR_NONCE, self.authenticator.nonce(client, self.now().instant).as_bytes());
        let _ = sign(&credential, &mut message);
        self.packet(client, &message.raw);
    }

    fn wait(&mut self, payload: &[u8]) {
        let seconds = payload.first_chunk().map_or(1, |two| u16::from_be_bytes(*two));
        self.elapsed += Duration::from_secs(seconds.into());
        self.server.handle_timeout(self.now().instant);
        self.drain(None);
    }

    fn principal_event(&mut self, kind: u8) {
        let seat = seat_id(kind >> 2 & 3);
        let event = match kind & 3 {
            0 | 3 => PrincipalEvent::Admitted(group(), seat),
            1 => PrincipalEvent::Left(group(), seat),
            _ => PrincipalEvent::Expired(group(), seat),
        };
        self.server.handle_principal_event(event, self.now().instant);
        self.drain(None);
    }

    fn peer_sends(&mut self, index: u8, payload: &[u8]) {
        let Some(relayed) = self.relayed.get(usize::from(index) % self.relayed.len().max(1)) else { return };
        let now = self.now().instant;
        let peer = PeerAddr::new(SocketAddr::from(([45, 7, 7, index & 3], 7)));
        if let Some(transmit) = self.server.handle_peer(*relayed, peer, payload, now) {
            check_transmit(transmit, payload);
            self.relayed_packets += 1;
        }
        self.drain(None);
    }

    /// Handles all events; asserts that there is at most one reply, and only to `request`.
    fn drain(&mut self, request: Option<(ClientAddr, &[u8])>) {
        let mut replies = 0;
        while let Some(action) = self.server.poll_event() {
            match action {
                Event::Reply { to, bytes } => {
                    let (client, request) = request.expect("a reply without a request");
                    replies += 1;
                    assert_eq!((to, replies), (client, 1));
                    self.check_reply(&bytes, request);
                }
                Event::OpenPort(relayed) => {
                    let now = self.now().instant;
                    self.server.handle_port_opened(relayed, Ok(()), now);
                }
                Event::AllocationOpened { relayed, .. } => {
                    self.opened += 1;
                    self.relayed.extend(relayed.iter());
                }
                Event::AllocationClosed { .. } => self.closed += 1,
                Event::ClosePort(_) => {}
                Event::Evict { client, .. } => self.server.evict(&client),
            }
        }
        assert_eq!(self.opened - self.closed, self.server.allocations());
        assert_eq!(self.routes.registry().total() as usize, self.server.allocations());
    }

    fn check_reply(&self, bytes: &[u8], request: &[u8]) {
        if request[0] == 22 {
            return assert!(bytes[0] == 21 && bytes.len() < request.len(), "no DTLS alert");
        }
        let (mut parsed_request, mut reply) = (Message::new(), Message::new());
        parsed_request.unmarshal_binary(request).expect("the codec parses a request that gets a reply");
        reply.unmarshal_binary(bytes).expect("the codec parses our reply");
        assert_eq!(parsed_request.typ.class, wire::CLASS_REQUEST, "a reply to a message that is no request");
        assert!([wire::CLASS_SUCCESS_RESPONSE, wire::CLASS_ERROR_RESPONSE].contains(&reply.typ.class));
        assert_eq!(reply.typ, MessageType::new(parsed_request.typ.method, reply.typ.class));
        assert_eq!(bytes[8..20], request[8..20], "another transaction");
        check_attributes(bytes);
        if reply.typ.class == wire::CLASS_SUCCESS_RESPONSE
            && parsed_request.typ.method != wire::METHOD_BINDING
        {
            let username = parsed_request.get(attr::ATTR_USERNAME).unwrap();
            let credential = self.credentials.iter().find(|known| known.username.as_bytes() == username);
            let key = key(credential.expect("success only for a known user"));
            key.signer().check(&mut reply).expect("signed with the key of the user");
        }
    }

    /// Asserts that no state is left after two hours.
    fn finish(mut self) -> usize {
        self.wait(&7200_u16.to_be_bytes());
        assert_eq!(self.server.allocations(), 0);
        assert_eq!(self.server.poll_timeout(), None);
        self.relayed_packets
    }
}

/// Asserts that attributes fill the message to its last byte and that their padding is zero.
fn check_attributes(bytes: &[u8]) {
    let mut rest = &bytes[20..];
    while let Some((&[_, _, high, low], value)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let padded = length.next_multiple_of(4);
        assert!(value[length..padded].iter().all(|byte| *byte == 0), "padding is not zero");
        rest = &value[padded..];
    }
    assert!(rest.is_empty());
}

/// Asserts that a transmit carries the received payload behind a correct header.
fn check_transmit(transmit: Transmit<'_>, received: &[u8]) {
    let (header, payload) = match transmit {
        Transmit::Client { header, payload, .. } => (header, payload),
        Transmit::Peer { payload, .. } => {
            return assert!(received.ends_with(payload) || received.len() > payload.len());
        }
    };
    let padding = header.padding(payload.len(), true);
    let packet = [header.bytes(), payload, &vec![0; padding]].concat();
    assert!(packet.len().is_multiple_of(4));
    if header.bytes().len() == 4 {
        let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        return assert_eq!((packet[0] >> 6, length), (1, payload.len()));
    }
    let mut message = Message::new();
    message.unmarshal_binary(&packet).expect("the codec parses our Data indications");
    check_attributes(&packet);
    assert_eq!(message.typ, MessageType::new(wire::METHOD_DATA, wire::CLASS_INDICATION));
    assert_eq!(message.get(attr::ATTR_DATA).unwrap(), payload);
}

fn sign(credential: &Credential, message: &mut Message) -> Result<(), stun::Error> {
    use stun::message::Setter as _;
    key(credential).signer().add_to(message)
}

fn key(credential: &Credential) -> IntegrityKey {
    IntegrityKey::new(&credential.username, REALM, &credential.password)
}

/// The address of a client; the last one uses TCP.
fn client(id: u8) -> ClientAddr {
    let transport = if id == 3 { Transport::Tcp } else { Transport::Udp };
    let remote = SocketAddr::from(([45, 0, 1, id], 1000 + u16::from(id)));
    ClientAddr::new(transport, remote, SocketAddr::from(([45, 0, 0, 10], 3478)))
}

fn group() -> IsolationGroup {
    IsolationGroup::new([7; 16])
}

fn seat_id(id: u8) -> PrincipalId {
    PrincipalId::new([id; 16])
}

fn seat(id: u8) -> Principal {
    Principal::Participant(group(), seat_id(id))
}
