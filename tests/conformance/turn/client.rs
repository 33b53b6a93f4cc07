//! A client of the box: signs what it asks, and takes the answers apart.

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

/// One 5-tuple, who uses it, and the nonce last heard.
pub(crate) struct Client {
    pub(crate) wire: Wire,
    pub(crate) credential: Credential,
    pub(crate) realm: String,
    pub(crate) nonce: Vec<u8>,
}

/// One reply.
#[derive(Debug)]
pub(crate) struct Answer(pub(crate) Message);

pub(crate) type Attribute<'a> = (AttrType, &'a [u8]);
pub(crate) const UDP: Attribute<'static> = (attr::ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);

impl Client {
    /// Connected and challenged: knows realm and nonce.
    pub(crate) fn new(server: &Server, listener: Listener, credential: Credential) -> Self {
        let wire = Wire::connect(server, listener);
        let mut client = Self { wire, credential, realm: String::new(), nonce: Vec::new() };
        let challenge = client.exchange(&request(wire::METHOD_ALLOCATE, &[UDP]).raw);
        assert_eq!(challenge.code(), 401);
        client.realm = String::from_utf8(challenge.value(attr::ATTR_REALM).unwrap()).unwrap();
        client.heed(&challenge);
        client
    }

    /// The holder `id` with an allocation, and its relayed address.
    pub(crate) fn allocated(server: &Server, listener: Listener, id: &str) -> (Self, SocketAddr) {
        let mut client = Self::new(server, listener, credential(id));
        let answer = client.allocate(&[]);
        assert_eq!(answer.code(), 0);
        let relayed = answer.address(attr::ATTR_XOR_RELAYED_ADDRESS);
        (client, relayed)
    }

    pub(crate) fn allocate(&mut self, attributes: &[Attribute<'_>]) -> Answer {
        self.ask(wire::METHOD_ALLOCATE, &[&[UDP], attributes].concat())
    }

    pub(crate) fn refresh(&mut self, seconds: u32) -> Answer {
        self.ask(wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &seconds.to_be_bytes())])
    }

    pub(crate) fn permit(&mut self, peers: &[SocketAddr]) -> Answer {
        let mut message = request(wire::METHOD_CREATE_PERMISSION, &[]);
        peers.iter().for_each(|peer| name_peer(&mut message, *peer));
        self.ask_with(message)
    }

    pub(crate) fn bind(&mut self, number: u16, peer: SocketAddr) -> Answer {
        let channel = [number.to_be_bytes(), [0, 0]].concat();
        let mut message = request(wire::METHOD_CHANNEL_BIND, &[(attr::ATTR_CHANNEL_NUMBER, &channel)]);
        name_peer(&mut message, peer);
        self.ask_with(message)
    }

    /// A signed request with these attributes, and its answer.
    pub(crate) fn ask(&mut self, method: Method, attributes: &[Attribute<'_>]) -> Answer {
        self.ask_with(request(method, attributes))
    }

    pub(crate) fn ask_with(&mut self, message: Message) -> Answer {
        let bytes = self.signed(message).raw;
        self.exchange(&bytes)
    }

    /// The message with USERNAME, REALM, NONCE and MESSAGE-INTEGRITY.
    pub(crate) fn signed(&self, message: Message) -> Message {
        self.signed_naming(message, &self.realm)
    }

    /// The same, with `realm` as REALM whatever the key was made with.
    pub(crate) fn signed_naming(&self, mut message: Message, realm: &str) -> Message {
        message.add(attr::ATTR_USERNAME, self.credential.username.as_bytes());
        message.add(attr::ATTR_REALM, realm.as_bytes());
        message.add(attr::ATTR_NONCE, &self.nonce);
        self.key().add_to(&mut message).unwrap();
        message
    }

    /// Sends a request and reads its answer, which must be the next message.
    pub(crate) fn exchange(&mut self, bytes: &[u8]) -> Answer {
        self.wire.send(bytes);
        let answer = Answer::read(&self.wire.receive());
        assert_eq!(answer.0.transaction_id.0, bytes[8..20], "an answer to something else");
        answer
    }

    /// Nothing more has come: the next message is the answer to a Binding asked now.
    pub(crate) fn heard_nothing(&mut self) {
        let answer = self.exchange(&request(wire::METHOD_BINDING, &[]).raw);
        assert_eq!((answer.code(), answer.0.typ.method), (0, wire::METHOD_BINDING));
    }

    /// Uses the nonce of a challenge from now on.
    pub(crate) fn heed(&mut self, challenge: &Answer) {
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

    pub(crate) fn indicate(&mut self, peer: SocketAddr, payload: &[u8]) {
        let mut message = request(wire::METHOD_SEND, &[]);
        message.set_type(MessageType::new(wire::METHOD_SEND, wire::CLASS_INDICATION));
        name_peer(&mut message, peer);
        message.add(attr::ATTR_DATA, payload);
        self.wire.send(&message.raw);
    }

    /// The next message, which must be a Data indication.
    pub(crate) fn receive_data(&mut self) -> (SocketAddr, Vec<u8>) {
        let data = Answer::read(&self.wire.receive());
        assert_eq!(data.0.typ, MessageType::new(wire::METHOD_DATA, wire::CLASS_INDICATION));
        (data.address(attr::ATTR_XOR_PEER_ADDRESS), data.value(attr::ATTR_DATA).unwrap())
    }

    fn key(&self) -> MessageIntegrity {
        let Credential { username, password } = self.credential.clone();
        MessageIntegrity::new_long_term_integrity(username, self.realm.clone(), password)
    }

    /// The answer's code, 0 for success; the answer must be signed.
    pub(crate) fn signed_code(&self, answer: &Answer) -> u16 {
        assert!(self.key().check(&mut answer.0.clone()).is_ok(), "not signed: {answer:?}");
        answer.code()
    }
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let mut message = Message::new();
        message.unmarshal_binary(bytes).unwrap();
        Self(message)
    }

    /// 0 for success.
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

/// A request with a transaction of its own.
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
pub(crate) fn name_peer(message: &mut Message, peer: SocketAddr) {
    let address = XorMappedAddress { ip: peer.ip(), port: peer.port() };
    address.add_to_as(message, attr::ATTR_XOR_PEER_ADDRESS).unwrap();
}

/// Adds an attribute behind whatever is there, as [`Message::add`] does, but leaves the parsed form
/// alone.
pub(crate) fn appended(message: &Message, kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = message.raw.clone();
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
    bytes.extend_from_slice(value);
    let length = (bytes.len() - 20) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}
