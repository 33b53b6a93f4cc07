//! A TURN client that gets as far as sending: allocate, permit, bind (RFC 8656).

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use stun::attributes::{self as attr, AttrType};
use stun::message::{self as codec, Message, MessageType, Method, Setter as _};
use stun::xoraddr::XorMappedAddress;
use webrtc_box_turn::auth::IntegrityKey;
use webrtc_box_turn::credential::{Credential, Principal, Secret, Secrets};

use super::wire::{Basket, Wire};

/// The TURN REST secret of every server here.
pub const SECRET: &str = "north";
/// All clients bind the same number: one allocation has one peer.
pub const CHANNEL: u16 = 0x4001;
const UDP: (AttrType, &[u8]) = (attr::ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);

/// Somebody with an allocation.
pub struct Guest {
    pub wire: Wire,
    pub relayed: SocketAddr,
    signs: Signs,
}

struct Signs {
    credential: Credential,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: IntegrityKey,
    transactions: u32,
}

impl Guest {
    /// Allocates. All guests of one `room` may reach each other.
    pub fn open(dial: impl Fn() -> Wire, room: &str, basket: &mut Basket) -> Self {
        let expiry = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 36_000;
        let secrets = Secrets::new(Secret::new(SECRET), vec![]);
        let credential = secrets.mint(&Principal::Foreign(room.into()), expiry);
        let asked = request(codec::METHOD_ALLOCATE, [1; 12], &[UDP]);
        let (mut wire, challenge) = (0..10)
            .map(|_| {
                let mut wire = dial();
                let challenge = ask(&mut wire, basket, &asked.raw);
                (wire, challenge)
            })
            // A port that coturn has not forgotten yet.
            .find(|(_, challenge)| code(challenge) != 437)
            .expect("a port without an allocation");
        assert_eq!(code(&challenge), 401);
        let realm = challenge.get(attr::ATTR_REALM).unwrap();
        let nonce = challenge.get(attr::ATTR_NONCE).unwrap();
        let text = std::str::from_utf8(&realm).unwrap();
        let key = IntegrityKey::new(&credential.username, text, &credential.password);
        let mut signs = Signs { credential, realm, nonce, key, transactions: 1 };
        let reply = signs.demand(&mut wire, basket, codec::METHOD_ALLOCATE, &[UDP], None);
        let mut relayed = XorMappedAddress::default();
        relayed.get_from_as(&reply, attr::ATTR_XOR_RELAYED_ADDRESS).unwrap();
        Self { wire, relayed: SocketAddr::new(relayed.ip, relayed.port), signs }
    }

    pub fn permit(&mut self, peer: SocketAddr, basket: &mut Basket) {
        self.signs.demand(&mut self.wire, basket, codec::METHOD_CREATE_PERMISSION, &[], Some(peer));
    }

    pub fn bind(&mut self, peer: SocketAddr, basket: &mut Basket) {
        let number = [CHANNEL.to_be_bytes(), [0, 0]].concat();
        let attributes: &[(AttrType, &[u8])] = &[(attr::ATTR_CHANNEL_NUMBER, &number)];
        self.signs.demand(&mut self.wire, basket, codec::METHOD_CHANNEL_BIND, attributes, Some(peer));
    }

    /// Gives its allocation back.
    pub fn leave(mut self, basket: &mut Basket) {
        let nothing: &[(AttrType, &[u8])] = &[(attr::ATTR_LIFETIME, &[0; 4])];
        self.signs.demand(&mut self.wire, basket, codec::METHOD_REFRESH, nothing, None);
    }
}

impl Signs {
    /// A request that must succeed.
    fn demand(
        &mut self,
        wire: &mut Wire,
        basket: &mut Basket,
        method: Method,
        attributes: &[(AttrType, &[u8])],
        peer: Option<SocketAddr>,
    ) -> Message {
        self.transactions += 1;
        let mut transaction = [0xcc; 12];
        transaction[..4].copy_from_slice(&self.transactions.to_be_bytes());
        let mut message = request(method, transaction, attributes);
        if let Some(peer) = peer {
            let peer = XorMappedAddress { ip: peer.ip(), port: peer.port() };
            peer.add_to_as(&mut message, attr::ATTR_XOR_PEER_ADDRESS).unwrap();
        }
        message.add(attr::ATTR_USERNAME, self.credential.username.as_bytes());
        message.add(attr::ATTR_REALM, &self.realm);
        message.add(attr::ATTR_NONCE, &self.nonce);
        self.key.signer().add_to(&mut message).unwrap();
        let reply = ask(wire, basket, &message.raw);
        assert_eq!(code(&reply), 0, "{method} refused");
        reply
    }
}

/// Asks once: nothing is lost on loopback that was not too much.
fn ask(wire: &mut Wire, basket: &mut Basket, bytes: &[u8]) -> Message {
    assert!(wire.send(bytes, bytes.len()));
    let ours = |packet: &[u8]| packet.len() >= 20 && packet[0] >> 6 == 0 && packet[8..20] == bytes[8..20];
    let reply = wire.hear(basket, ours).expect("an answer");
    let mut message = Message::new();
    message.unmarshal_binary(&reply).unwrap();
    message
}

pub fn request(method: Method, transaction: [u8; 12], attributes: &[(AttrType, &[u8])]) -> Message {
    let mut message = Message::new();
    message.typ = MessageType::new(method, codec::CLASS_REQUEST);
    message.transaction_id.0 = transaction;
    message.write_header();
    attributes.iter().for_each(|(kind, value)| message.add(*kind, value));
    message
}

fn code(message: &Message) -> u16 {
    message.get(attr::ATTR_ERROR_CODE).map_or(0, |value| u16::from(value[2]) * 100 + u16::from(value[3]))
}

/// What stands before a payload of `length` bytes on its way to `peer`: ChannelData's header, or a
/// Send indication up to DATA's value.
pub fn head(channel: bool, peer: SocketAddr, length: usize) -> Vec<u8> {
    if channel {
        return [CHANNEL.to_be_bytes(), (length as u16).to_be_bytes()].concat();
    }
    let mut message = Message::new();
    message.typ = MessageType::new(codec::METHOD_SEND, codec::CLASS_INDICATION);
    message.write_header();
    XorMappedAddress { ip: peer.ip(), port: peer.port() }
        .add_to_as(&mut message, attr::ATTR_XOR_PEER_ADDRESS)
        .unwrap();
    message.add(attr::ATTR_DATA, &vec![0; length]);
    message.raw.truncate(message.raw.len() - length);
    message.raw
}

/// The payload of what a client receives; what is no TURN packet is a payload.
pub fn payload(packet: &[u8]) -> &[u8] {
    match packet {
        [first, ..] if first >> 6 == 0b01 => &packet[4..],
        [0, 0x17, ..] => data(packet),
        _ => packet,
    }
}

/// The value of DATA, wherever it stands.
fn data(message: &[u8]) -> &[u8] {
    let mut rest = &message[20..];
    while let [high, low, long, short, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*long, *short])).min(after.len());
        if [*high, *low] == [0, 0x13] {
            return &after[..length];
        }
        rest = after.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    &[]
}
