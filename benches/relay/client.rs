//! A TURN client: Allocate, CreatePermission, ChannelBind, Refresh (RFC 8656).

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use stun::attributes::{self as attr, AttrType};
use stun::message::{self as codec, Message, MessageType, Method, Setter as _};
use stun::xoraddr::XorMappedAddress;
use webrtc_box_turn::auth::IntegrityKey;
use webrtc_box_turn::credential::{Credential, Principal, Secret, Secrets};

use super::transport::{ClientSocket, RecvBuffers};

/// The TURN REST secret of all servers.
pub const SECRET: &str = "north";
/// The channel of every client: an allocation has one peer.
pub const CHANNEL: u16 = 0x4001;
const UDP: (AttrType, &[u8]) = (attr::ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);

/// A client with an allocation.
pub struct TurnClient {
    pub socket: ClientSocket,
    pub relayed: SocketAddr,
    session: Session,
}

/// What signs the requests of a client.
struct Session {
    credential: Credential,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: IntegrityKey,
    transactions: u32,
}

impl TurnClient {
    /// Allocates. All clients of one `room` may reach each other.
    pub fn open(connect: impl Fn() -> ClientSocket, room: &str, buffers: &mut RecvBuffers) -> Self {
        let expiry = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 36_000;
        let secrets = Secrets::new(Secret::new(SECRET), vec![]);
        let credential = secrets.mint(&Principal::Foreign(room.into()), expiry);
        let allocate = request(codec::METHOD_ALLOCATE, [1; 12], &[UDP]);
        let (mut socket, challenge) = (0..10)
            .map(|_| {
                let mut socket = connect();
                let challenge = exchange(&mut socket, buffers, &allocate.raw);
                (socket, challenge)
            })
            // coturn may still have an allocation of an earlier client with the same port.
            .find(|(_, challenge)| error_code(challenge) != 437)
            .expect("a port without an allocation");
        assert_eq!(error_code(&challenge), 401);
        let realm = challenge.get(attr::ATTR_REALM).unwrap();
        let nonce = challenge.get(attr::ATTR_NONCE).unwrap();
        let text = std::str::from_utf8(&realm).unwrap();
        let key = IntegrityKey::new(&credential.username, text, &credential.password);
        let mut session = Session { credential, realm, nonce, key, transactions: 1 };
        let reply = session.request(&mut socket, buffers, codec::METHOD_ALLOCATE, &[UDP], None);
        let mut relayed = XorMappedAddress::default();
        relayed.get_from_as(&reply, attr::ATTR_XOR_RELAYED_ADDRESS).unwrap();
        Self { socket, relayed: SocketAddr::new(relayed.ip, relayed.port), session }
    }

    fn permit(&mut self, peer: SocketAddr, buffers: &mut RecvBuffers) {
        self.session.request(&mut self.socket, buffers, codec::METHOD_CREATE_PERMISSION, &[], Some(peer));
    }

    pub fn bind(&mut self, peer: SocketAddr, buffers: &mut RecvBuffers) {
        let number = [CHANNEL.to_be_bytes(), [0, 0]].concat();
        let attributes: &[(AttrType, &[u8])] = &[(attr::ATTR_CHANNEL_NUMBER, &number)];
        self.session.request(&mut self.socket, buffers, codec::METHOD_CHANNEL_BIND, attributes, Some(peer));
    }

    /// Binds the channel to `peer`, or only installs a permission.
    pub fn permit_or_bind(&mut self, channel: bool, peer: SocketAddr, buffers: &mut RecvBuffers) {
        if channel { self.bind(peer, buffers) } else { self.permit(peer, buffers) }
    }

    /// Ends the allocation.
    pub fn leave(mut self, buffers: &mut RecvBuffers) {
        let lifetime: &[(AttrType, &[u8])] = &[(attr::ATTR_LIFETIME, &[0; 4])];
        self.session.request(&mut self.socket, buffers, codec::METHOD_REFRESH, lifetime, None);
    }
}

impl Session {
    /// Sends a signed request, which must succeed.
    fn request(
        &mut self,
        socket: &mut ClientSocket,
        buffers: &mut RecvBuffers,
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
        let reply = exchange(socket, buffers, &message.raw);
        assert_eq!(error_code(&reply), 0, "{method} failed");
        reply
    }
}

/// Sends a request once and waits for the reply: loopback loses no packet at this rate.
fn exchange(socket: &mut ClientSocket, buffers: &mut RecvBuffers, bytes: &[u8]) -> Message {
    assert!(socket.send(bytes, bytes.len()));
    let is_reply = |packet: &[u8]| packet.len() >= 20 && packet[0] >> 6 == 0 && packet[8..20] == bytes[8..20];
    let reply = socket.receive(buffers, is_reply).expect("a reply");
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

/// The code of ERROR-CODE; 0 for a success.
fn error_code(message: &Message) -> u16 {
    message.get(attr::ATTR_ERROR_CODE).map_or(0, |value| u16::from(value[2]) * 100 + u16::from(value[3]))
}

/// The bytes before a payload of `length` bytes to `peer`: the header of ChannelData, or a Send indication up to the value
/// of DATA.
pub fn header(channel: bool, peer: SocketAddr, length: usize) -> Vec<u8> {
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

/// The payload of a received packet; all of it if it is not a TURN message.
pub fn payload(packet: &[u8]) -> &[u8] {
    match packet {
        [first, ..] if first >> 6 == 0b01 => &packet[4..],
        [0, 0x17, ..] => data(packet),
        _ => packet,
    }
}

/// The value of DATA at any position.
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
