//! A TURN client that signs requests and parses replies with the `stun` crate.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use stun::attributes as attr;
use stun::attributes::AttrType;
use stun::integrity::MessageIntegrity;
use stun::message::{self as wire, Message, MessageType, Method, Setter as _};
use stun::xoraddr::XorMappedAddress;
use webrtc_box_turn::credential::Credential;

use super::server::{Listener, Server, credential};
use super::transport::Wire;

/// A client on one 5-tuple with a credential and the last nonce.
pub(crate) struct Client {
    pub(crate) wire: Wire,
    pub(crate) credential: Credential,
    pub(crate) realm: String,
    pub(crate) nonce: Vec<u8>,
}

/// A parsed reply.
#[derive(Debug)]
pub(crate) struct Reply(pub(crate) Message);

pub(crate) type Attribute<'a> = (AttrType, &'a [u8]);
pub(crate) const UDP: Attribute<'static> = (attr::ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);

impl Client {
    /// Connects and gets realm and nonce from a 401.
    pub(crate) fn new(server: &Server, listener: Listener, credential: Credential) -> Self {
        let wire = Wire::connect(server, listener);
        let mut client = Self { wire, credential, realm: String::new(), nonce: Vec::new() };
        let challenge = client.exchange(&request(wire::METHOD_ALLOCATE, &[UDP]).raw);
        assert_eq!(challenge.code(), 401);
        client.realm = String::from_utf8(challenge.value(attr::ATTR_REALM).unwrap()).unwrap();
        client.use_nonce(&challenge);
        client
    }

    /// A client of the user `id` with an allocation, and its relayed address.
    pub(crate) fn with_allocation(server: &Server, listener: Listener, id: &str) -> (Self, SocketAddr) {
        let mut client = Self::new(server, listener, credential(id));
        let reply = client.allocate(&[]);
        assert_eq!(reply.code(), 0);
        let relayed = reply.address(attr::ATTR_XOR_RELAYED_ADDRESS);
        (client, relayed)
    }

    pub(crate) fn allocate(&mut self, attributes: &[Attribute<'_>]) -> Reply {
        self.request(wire::METHOD_ALLOCATE, &[&[UDP], attributes].concat())
    }

    pub(crate) fn refresh(&mut self, seconds: u32) -> Reply {
        self.request(wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &seconds.to_be_bytes())])
    }

    pub(crate) fn create_permission(&mut self, peers: &[SocketAddr]) -> Reply {
        let mut message = request(wire::METHOD_CREATE_PERMISSION, &[]);
        peers.iter().for_each(|peer| add_peer(&mut message, *peer));
        self.send_signed(message)
    }

    pub(crate) fn channel_bind(&mut self, number: u16, peer: SocketAddr) -> Reply {
        let channel = [number.to_be_bytes(), [0, 0]].concat();
        let mut message = request(wire::METHOD_CHANNEL_BIND, &[(attr::ATTR_CHANNEL_NUMBER, &channel)]);
        add_peer(&mut message, peer);
        self.send_signed(message)
    }

    /// Sends a signed request and returns its reply.
    pub(crate) fn request(&mut self, method: Method, attributes: &[Attribute<'_>]) -> Reply {
        self.send_signed(request(method, attributes))
    }

    pub(crate) fn send_signed(&mut self, message: Message) -> Reply {
        let bytes = self.signed(message).raw;
        self.exchange(&bytes)
    }

    /// The message with USERNAME, REALM, NONCE and MESSAGE-INTEGRITY.
    pub(crate) fn signed(&self, message: Message) -> Message {
        self.signed_with_realm(message, &self.realm)
    }

    /// Like [`Self::signed`] with a REALM that may differ from the one of the key.
    pub(crate) fn signed_with_realm(&self, mut message: Message, realm: &str) -> Message {
        message.add(attr::ATTR_USERNAME, self.credential.username.as_bytes());
        message.add(attr::ATTR_REALM, realm.as_bytes());
        message.add(attr::ATTR_NONCE, &self.nonce);
        self.key().add_to(&mut message).unwrap();
        message
    }

    /// Sends a request and reads its reply, which must be the next message.
    pub(crate) fn exchange(&mut self, bytes: &[u8]) -> Reply {
        self.wire.send(bytes);
        let reply = Reply::parse(&self.wire.receive());
        assert_eq!(reply.0.transaction_id.0, bytes[8..20], "a reply to another request");
        reply
    }

    /// Asserts that nothing was received: the next message is the reply to a new Binding request.
    pub(crate) fn assert_no_message(&mut self) {
        let reply = self.exchange(&request(wire::METHOD_BINDING, &[]).raw);
        assert_eq!((reply.code(), reply.0.typ.method), (0, wire::METHOD_BINDING));
    }

    /// Takes the nonce of a 401 or 438.
    pub(crate) fn use_nonce(&mut self, challenge: &Reply) {
        self.nonce = challenge.value(attr::ATTR_NONCE).unwrap();
    }

    pub(crate) fn send_channel(&mut self, number: u16, payload: &[u8]) {
        let mut bytes = [&number.to_be_bytes(), &(payload.len() as u16).to_be_bytes(), payload].concat();
        if self.wire.is_stream() {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        self.wire.send(&bytes);
    }

    /// The next message, which must be ChannelData of this number.
    pub(crate) fn receive_channel(&mut self, number: u16) -> Vec<u8> {
        let bytes = self.wire.receive();
        assert_eq!(bytes[..2], number.to_be_bytes());
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        let (payload, padding) = bytes[4..].split_at(length);
        let padded = if self.wire.is_stream() { length.next_multiple_of(4) - length } else { 0 };
        assert_eq!(padding, vec![0; padded]);
        payload.to_vec()
    }

    pub(crate) fn send_indication(&mut self, peer: SocketAddr, payload: &[u8]) {
        let mut message = request(wire::METHOD_SEND, &[]);
        message.set_type(MessageType::new(wire::METHOD_SEND, wire::CLASS_INDICATION));
        add_peer(&mut message, peer);
        message.add(attr::ATTR_DATA, payload);
        self.wire.send(&message.raw);
    }

    /// The next message, which must be a Data indication.
    pub(crate) fn receive_data(&mut self) -> (SocketAddr, Vec<u8>) {
        let data = Reply::parse(&self.wire.receive());
        assert_eq!(data.0.typ, MessageType::new(wire::METHOD_DATA, wire::CLASS_INDICATION));
        (data.address(attr::ATTR_XOR_PEER_ADDRESS), data.value(attr::ATTR_DATA).unwrap())
    }

    fn key(&self) -> MessageIntegrity {
        let Credential { username, password } = self.credential.clone();
        MessageIntegrity::new_long_term_integrity(username, self.realm.clone(), password)
    }

    /// The error code, 0 for success; asserts that the reply is signed.
    pub(crate) fn signed_code(&self, reply: &Reply) -> u16 {
        assert!(self.key().check(&mut reply.0.clone()).is_ok(), "not signed: {reply:?}");
        reply.code()
    }
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let mut message = Message::new();
        message.unmarshal_binary(bytes).unwrap();
        Self(message)
    }

    /// The error code; 0 for success.
    pub(crate) fn code(&self) -> u16 {
        match self.value(attr::ATTR_ERROR_CODE) {
            Some(value) => u16::from(value[2]) * 100 + u16::from(value[3]),
            None => {
                assert_eq!(self.0.typ.class, wire::CLASS_SUCCESS_RESPONSE);
                0
            }
        }
    }

    pub(crate) fn value(&self, kind: AttrType) -> Option<Vec<u8>> {
        self.0.get(kind).ok()
    }

    pub(crate) fn lifetime(&self) -> u32 {
        u32::from_be_bytes(self.value(attr::ATTR_LIFETIME).unwrap().try_into().unwrap())
    }

    pub(crate) fn address(&self, kind: AttrType) -> SocketAddr {
        let mut address = XorMappedAddress::default();
        address.get_from_as(&self.0, kind).unwrap();
        SocketAddr::new(address.ip, address.port)
    }
}

/// A request with a unique transaction id.
pub(crate) fn request(method: Method, attributes: &[Attribute<'_>]) -> Message {
    static TRANSACTIONS: AtomicU64 = AtomicU64::new(1);
    let mut message = Message::new();
    message.typ = MessageType::new(method, wire::CLASS_REQUEST);
    message.transaction_id.0[..8]
        .copy_from_slice(&TRANSACTIONS.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    message.write_header();
    attributes.iter().for_each(|(kind, value)| message.add(*kind, value));
    message
}

/// Adds XOR-PEER-ADDRESS.
pub(crate) fn add_peer(message: &mut Message, peer: SocketAddr) {
    let address = XorMappedAddress { ip: peer.ip(), port: peer.port() };
    address.add_to_as(message, attr::ATTR_XOR_PEER_ADDRESS).unwrap();
}

/// The bytes of `message` with an attribute added at the end.
pub(crate) fn appended(message: &Message, kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = message.raw.clone();
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
    bytes.extend_from_slice(value);
    let length = (bytes.len() - 20) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}
