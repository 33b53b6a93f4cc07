//! A simple blocking TURN client over UDP, TCP or TLS.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stun::attributes as attr;
use stun::attributes::AttrType;
use stun::message::{self as wire, Message, MessageType, Setter as _};
use stun::xoraddr::XorMappedAddress;
use webrtc_box_relay::framing::{MessageBoundary, find_message};
use webrtc_box_turn::auth::IntegrityKey;
use webrtc_box_turn::credential::{Credential, Principal, Secret, Secrets};

use super::environment::SECRET;

/// The longest wait for one reply or event of a server process.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(10);
pub const UDP: (AttrType, &[u8]) = (attr::ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
const ZERO_LIFETIME: (AttrType, &[u8]) = (attr::ATTR_LIFETIME, &[0; 4]);

/// A transport of complete messages.
pub trait Wire {
    fn send_message(&mut self, bytes: &[u8]);
    /// The next message; `None` after the read timeout or at the end of the stream.
    fn receive(&mut self) -> Option<Vec<u8>>;
}

impl Wire for UdpSocket {
    fn send_message(&mut self, bytes: &[u8]) {
        UdpSocket::send(self, bytes).unwrap();
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 1 << 16];
        let length = self.recv(&mut buffer).ok()?;
        buffer.truncate(length);
        Some(buffer)
    }
}

/// Messages over a stream.
pub struct Framed<S> {
    pub stream: S,
    /// Received bytes of an incomplete message.
    pub bytes: Vec<u8>,
}

impl<S> Framed<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, bytes: Vec::new() }
    }
}

impl<S: Read + Write> Wire for Framed<S> {
    fn send_message(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut chunk = [0; 1 << 14];
        loop {
            match find_message(&self.bytes) {
                MessageBoundary::Complete(length) => return Some(self.bytes.drain(..length).collect()),
                MessageBoundary::Incomplete => {}
                MessageBoundary::Invalid => {
                    panic!("the server sends an invalid message: {:?}", &self.bytes[..8])
                }
            }
            let count = self.stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
            self.bytes.extend_from_slice(&chunk[..count]);
        }
    }
}

/// A socket bound to 127.`rest` and connected to `to`.
pub fn socket(rest: [u8; 3], to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, rest[0], rest[1], rest[2]), 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    socket
}

/// A Binding request whose transaction id is `id` twelve times.
pub fn binding(id: u8) -> Vec<u8> {
    request(wire::METHOD_BINDING, [id; 12], &[]).raw
}

pub fn request(method: wire::Method, transaction: [u8; 12], attributes: &[(AttrType, &[u8])]) -> Message {
    let mut message = Message::new();
    message.typ = MessageType::new(method, wire::CLASS_REQUEST);
    message.transaction_id.0 = transaction;
    message.write_header();
    attributes.iter().for_each(|(kind, value)| message.add(*kind, value));
    message
}

/// Parses a reply with the codec of the `stun` crate.
pub fn parse(bytes: &[u8]) -> Message {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).expect("a well-formed reply");
    assert_eq!(message.raw.len(), 20 + message.length as usize);
    message
}

/// The number in ERROR-CODE; 0 for success.
pub fn error_code(message: &Message) -> u16 {
    message.get(attr::ATTR_ERROR_CODE).map_or(0, |value| u16::from(value[2]) * 100 + u16::from(value[3]))
}

/// A client with a credential.
pub struct TurnClient<W> {
    pub wire: W,
    credential: Credential,
    pub realm: Vec<u8>,
    pub nonce: Vec<u8>,
    transactions: u32,
}

impl<W: Wire> TurnClient<W> {
    /// A client that has received realm and nonce; its credential is one for other software.
    pub fn new(wire: W) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let secrets = Secrets::new(Secret::new(SECRET), vec![]);
        Self::with_credential(secrets.mint(&Principal::Foreign("bob".into()), now + 3600), wire)
    }

    /// Like [`Self::new`] with a given credential.
    pub fn with_credential(credential: Credential, wire: W) -> Self {
        let mut client = Self { wire, credential, realm: vec![], nonce: vec![], transactions: 0 };
        let transaction = client.next_transaction();
        client.wire.send_message(&request(wire::METHOD_ALLOCATE, transaction, &[UDP]).raw);
        let challenge = client.wait_for_reply(transaction);
        assert_eq!(error_code(&challenge), 401);
        client.realm = challenge.get(attr::ATTR_REALM).unwrap();
        client.nonce = challenge.get(attr::ATTR_NONCE).unwrap();
        client
    }

    /// A client with an allocation, and its relayed address.
    pub fn with_allocation(wire: W) -> (Self, SocketAddr) {
        let mut client = Self::new(wire);
        let relayed = client.allocate();
        (client, relayed)
    }

    pub fn refresh(&mut self) {
        self.request(wire::METHOD_REFRESH, &[], None);
    }

    pub fn allocate(&mut self) -> SocketAddr {
        let reply = self.request(wire::METHOD_ALLOCATE, &[UDP], None);
        let mut relayed = XorMappedAddress::default();
        relayed.get_from_as(&reply, attr::ATTR_XOR_RELAYED_ADDRESS).unwrap();
        SocketAddr::new(relayed.ip, relayed.port)
    }

    pub fn delete(&mut self) {
        self.request(wire::METHOD_REFRESH, &[ZERO_LIFETIME], None);
    }

    /// Binds a channel, which also installs a permission.
    pub fn bind(&mut self, number: u16, peer: SocketAddr) {
        let value = [number.to_be_bytes(), [0, 0]].concat();
        self.request(wire::METHOD_CHANNEL_BIND, &[(attr::ATTR_CHANNEL_NUMBER, &value)], Some(peer));
    }

    /// Sends a request that must succeed.
    fn request(
        &mut self,
        method: wire::Method,
        attributes: &[(AttrType, &[u8])],
        peer: Option<SocketAddr>,
    ) -> Message {
        let reply = self.try_request(method, attributes, peer.as_slice());
        assert_eq!(error_code(&reply), 0, "{method}");
        reply
    }

    /// Sends a request and returns its reply.
    pub fn try_request(
        &mut self,
        method: wire::Method,
        attributes: &[(AttrType, &[u8])],
        peers: &[SocketAddr],
    ) -> Message {
        let (transaction, bytes) = self.prepare(method, attributes, peers);
        self.wire.send_message(&bytes);
        self.wait_for_reply(transaction)
    }

    /// A signed request and its transaction id.
    pub fn prepare(
        &mut self,
        method: wire::Method,
        attributes: &[(AttrType, &[u8])],
        peers: &[SocketAddr],
    ) -> ([u8; 12], Vec<u8>) {
        let transaction = self.next_transaction();
        let mut message = request(method, transaction, attributes);
        for peer in peers {
            let peer = XorMappedAddress { ip: peer.ip(), port: peer.port() };
            peer.add_to_as(&mut message, attr::ATTR_XOR_PEER_ADDRESS).unwrap();
        }
        (transaction, self.signed(message))
    }

    pub fn signed(&self, mut message: Message) -> Vec<u8> {
        message.add(attr::ATTR_USERNAME, self.credential.username.as_bytes());
        message.add(attr::ATTR_REALM, &self.realm);
        message.add(attr::ATTR_NONCE, &self.nonce);
        let realm = std::str::from_utf8(&self.realm).unwrap();
        let key = IntegrityKey::new(&self.credential.username, realm, &self.credential.password);
        key.signer().add_to(&mut message).unwrap();
        message.raw
    }

    fn wait_for_reply(&mut self, transaction: [u8; 12]) -> Message {
        loop {
            let bytes = self.wire.receive().expect("a reply");
            if bytes[0] >> 6 == 0 && bytes[8..20] == transaction {
                return parse(&bytes);
            }
        }
    }

    fn next_transaction(&mut self) -> [u8; 12] {
        self.transactions += 1;
        let mut transaction = [0xcc; 12];
        transaction[..4].copy_from_slice(&self.transactions.to_be_bytes());
        transaction
    }
}

pub fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &(payload.len() as u16).to_be_bytes(), payload].concat()
}
