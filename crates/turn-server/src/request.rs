//! A datagram becomes a request that cannot be wrong, or nothing, or a refusal (RFC 8489 §6.3).
//!
//! The bytes are read once, by the `stun` crate's codec. Attributes behind MESSAGE-INTEGRITY do
//! not exist here (RFC 8489 §14.5). Nothing here knows an allocation.

use std::net::SocketAddr;
use std::time::Duration;

use stun::attributes as attr;
use stun::attributes::{AttrType, RawAttribute};
use stun::fingerprint::FINGERPRINT;
use stun::message as wire;
use stun::message::Message;

use super::addr::{Family, PeerAddr};
use super::channel_data::{ChannelNumber, unxor_address};
use super::error::Refusal;

/// What a client may ask with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// RFC 8489 §3.
    Binding,
    /// RFC 8656 §7.
    Allocate,
    /// RFC 8656 §8.
    Refresh,
    /// RFC 8656 §10.
    CreatePermission,
    /// RFC 8656 §12.
    ChannelBind,
}

/// A well-formed request whose parameters are still to be read.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// The client's transaction id.
    pub transaction: [u8; 12],
    message: Message,
    /// How many of the message's attributes count: those before MESSAGE-INTEGRITY.
    counted: usize,
    has_integrity: bool,
}

/// What the client says it is; to be believed when its integrity has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// USERNAME.
    pub username: String,
    /// REALM.
    pub realm: String,
    /// NONCE.
    pub nonce: String,
}

/// Parameters of an Allocate request (RFC 8656 §7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocate {
    /// Which relayed address is wanted.
    pub address_request: AddressRequest,
    /// LIFETIME, where asked for.
    pub lifetime: Option<Duration>,
}

/// Which relayed address an Allocate wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressRequest {
    /// One of `family`.
    Single {
        /// IPv4 unless REQUESTED-ADDRESS-FAMILY asks otherwise.
        family: Family,
        /// EVEN-PORT, and whether the next port is to be kept for later.
        parity: Parity,
    },
    /// IPv4 and, if it can be had, IPv6: ADDITIONAL-ADDRESS-FAMILY.
    Dual {
        /// Of the IPv4 port.
        parity: Parity,
    },
    /// The port kept under this RESERVATION-TOKEN.
    Reserved([u8; 8]),
}

/// What EVEN-PORT asks of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// Nothing.
    Any,
    /// An even one.
    Even,
    /// An even one, the next one kept for 30 s.
    EvenAndNext,
}

/// Parameters of a Refresh request (RFC 8656 §8.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// LIFETIME, where asked for; zero ends the allocation.
    pub lifetime: Option<Duration>,
    /// Only the relayed address of this family is meant.
    pub family: Option<Family>,
}

/// Parameters of a ChannelBind request (RFC 8656 §12.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelBind {
    /// CHANNEL-NUMBER, in range.
    pub channel: ChannelNumber,
    /// XOR-PEER-ADDRESS.
    pub peer: PeerAddr,
}

const ADDITIONAL_ADDRESS_FAMILY: AttrType = AttrType(0x8000);
const UDP: u8 = 17;

impl Request {
    /// `None` for what gets no answer: not STUN, cut or trailing bytes, a wrong FINGERPRINT, not a
    /// request, a method we do not have.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut message = Message::new();
        message.unmarshal_binary(bytes).ok()?;
        if bytes[0] >> 6 != 0
            || message.raw.len() != 20 + message.length as usize
            || !fingerprint_is_valid(&message)
        {
            return None;
        }
        if message.typ.class != wire::CLASS_REQUEST {
            return None;
        }
        let integrity = message.attributes.0.iter().position(|a| a.typ == attr::ATTR_MESSAGE_INTEGRITY);
        Some(Self {
            method: Method::of(message.typ.method)?,
            transaction: message.transaction_id.0,
            counted: integrity.unwrap_or(message.attributes.0.len()),
            has_integrity: integrity.is_some(),
            message,
        })
    }

    /// Who the client says it is.
    ///
    /// # Errors
    /// 401 without MESSAGE-INTEGRITY; 400 where it is there but what it needs is not
    /// (RFC 8489 §9.2.4).
    pub fn claim(&self) -> Result<Claim, Refusal> {
        if !self.has_integrity {
            return Err(Refusal::Unauthenticated);
        }
        let text = |kind| self.text(kind).ok_or(Refusal::BadRequest);
        Ok(Claim {
            username: text(attr::ATTR_USERNAME)?,
            realm: text(attr::ATTR_REALM)?,
            nonce: text(attr::ATTR_NONCE)?,
        })
    }

    /// NONCE, whether or not there is MESSAGE-INTEGRITY.
    pub fn nonce(&self) -> Option<String> {
        self.text(attr::ATTR_NONCE)
    }

    /// Whether MESSAGE-INTEGRITY was made with `key`; compared in constant time.
    pub fn verify_integrity(&mut self, key: &[u8]) -> bool {
        let right_size = self.message.attributes.0.get(self.counted).is_some_and(|a| a.value.len() == 20);
        right_size && stun::integrity::MessageIntegrity(key.to_vec()).check(&mut self.message).is_ok()
    }

    /// Comprehension-required attributes this method does not know, each once.
    ///
    /// # Errors
    /// 420 naming them.
    pub fn refuse_unknown(&self) -> Result<(), Refusal> {
        let mut unknown: Vec<u16> = (self.attributes())
            .filter(|a| a.typ.required() && !self.method.knows(a.typ) && !self.is_plain_change_request(a))
            .map(|a| a.typ.value())
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() { Ok(()) } else { Err(Refusal::UnknownAttributes(unknown)) }
    }

    /// Reads an Allocate's parameters (RFC 8656 §7.2).
    ///
    /// # Errors
    /// 400, 440 or 442 as the RFC has them.
    pub fn allocate(&self) -> Result<Allocate, Refusal> {
        match self.value(attr::ATTR_REQUESTED_TRANSPORT) {
            Some([UDP, _, _, _]) => {}
            Some([_, _, _, _]) => return Err(Refusal::TransportNotSupported),
            _ => return Err(Refusal::BadRequest),
        }
        Ok(Allocate { address_request: self.address_request()?, lifetime: self.lifetime()? })
    }

    /// Reads a Refresh's parameters.
    ///
    /// # Errors
    /// 400 or 440.
    pub fn refresh(&self) -> Result<Refresh, Refusal> {
        Ok(Refresh { lifetime: self.lifetime()?, family: self.family(attr::ATTR_REQUESTED_ADDRESS_FAMILY)? })
    }

    /// The peers of a CreatePermission: at least one.
    ///
    /// # Errors
    /// 400 where there is none or one cannot be read.
    pub fn peers(&self) -> Result<Vec<PeerAddr>, Refusal> {
        let peers: Option<Vec<_>> = (self.attributes())
            .filter(|a| a.typ == attr::ATTR_XOR_PEER_ADDRESS)
            .map(|a| self.address(&a.value).map(PeerAddr::new))
            .collect();
        peers.filter(|peers| !peers.is_empty()).ok_or(Refusal::BadRequest)
    }

    /// Reads a ChannelBind's parameters.
    ///
    /// # Errors
    /// 400 where one is missing, unreadable, or the number out of range.
    pub fn channel_bind(&self) -> Result<ChannelBind, Refusal> {
        let Some(&[high, low, _, _]) = self.value(attr::ATTR_CHANNEL_NUMBER) else {
            return Err(Refusal::BadRequest);
        };
        let channel = ChannelNumber::new(u16::from_be_bytes([high, low])).ok_or(Refusal::BadRequest)?;
        let peer = self.value(attr::ATTR_XOR_PEER_ADDRESS).and_then(|value| self.address(value));
        Ok(ChannelBind { channel, peer: PeerAddr::new(peer.ok_or(Refusal::BadRequest)?) })
    }

    fn address_request(&self) -> Result<AddressRequest, Refusal> {
        let parity = self.parity()?;
        let family = self.family(attr::ATTR_REQUESTED_ADDRESS_FAMILY)?;
        let additional = self.family(ADDITIONAL_ADDRESS_FAMILY)?;
        if let Some(token) = self.value(attr::ATTR_RESERVATION_TOKEN) {
            let alone = parity == Parity::Any && family.is_none() && additional.is_none();
            let token = token.try_into().map_err(|_| Refusal::BadRequest)?;
            return if alone { Ok(AddressRequest::Reserved(token)) } else { Err(Refusal::BadRequest) };
        }
        match (family, additional) {
            (family, None) => Ok(AddressRequest::Single { family: family.unwrap_or(Family::V4), parity }),
            (None, Some(Family::V6)) if parity != Parity::EvenAndNext => Ok(AddressRequest::Dual { parity }),
            (_, Some(_)) => Err(Refusal::BadRequest),
        }
    }

    fn parity(&self) -> Result<Parity, Refusal> {
        match self.value(attr::ATTR_EVEN_PORT) {
            None => Ok(Parity::Any),
            Some([bits]) if bits & 0x80 != 0 => Ok(Parity::EvenAndNext),
            Some([_]) => Ok(Parity::Even),
            Some(_) => Err(Refusal::BadRequest),
        }
    }

    fn family(&self, kind: AttrType) -> Result<Option<Family>, Refusal> {
        match self.value(kind) {
            None => Ok(None),
            Some([1, _, _, _]) => Ok(Some(Family::V4)),
            Some([2, _, _, _]) => Ok(Some(Family::V6)),
            Some([_, _, _, _]) => Err(Refusal::FamilyNotSupported),
            Some(_) => Err(Refusal::BadRequest),
        }
    }

    fn lifetime(&self) -> Result<Option<Duration>, Refusal> {
        let Some(value) = self.value(attr::ATTR_LIFETIME) else { return Ok(None) };
        let seconds = value.try_into().map_err(|_| Refusal::BadRequest)?;
        Ok(Some(Duration::from_secs(u32::from_be_bytes(seconds).into())))
    }

    fn address(&self, value: &[u8]) -> Option<SocketAddr> {
        unxor_address(value, &self.message.raw)
    }

    /// stuntman's client sends CHANGE-REQUEST always: without its two bits it asks for nothing
    /// (RFC 5780 §7.2), which is all that can be had here.
    fn is_plain_change_request(&self, attribute: &RawAttribute) -> bool {
        let plain = matches!(attribute.value[..], [_, _, _, bits] if bits & 0x06 == 0);
        self.method == Method::Binding && attribute.typ == attr::ATTR_CHANGE_REQUEST && plain
    }

    fn text(&self, kind: AttrType) -> Option<String> {
        let value = self.value(kind)?;
        (value.len() <= MAX_TEXT_BYTES).then(|| String::from_utf8(value.to_vec()).ok())?
    }

    fn value(&self, kind: AttrType) -> Option<&[u8]> {
        self.attributes().find(|a| a.typ == kind).map(|a| a.value.as_slice())
    }

    fn attributes(&self) -> impl Iterator<Item = &RawAttribute> {
        self.message.attributes.0[..self.counted].iter()
    }
}

impl Method {
    fn of(method: wire::Method) -> Option<Self> {
        [
            (wire::METHOD_BINDING, Self::Binding),
            (wire::METHOD_ALLOCATE, Self::Allocate),
            (wire::METHOD_REFRESH, Self::Refresh),
            (wire::METHOD_CREATE_PERMISSION, Self::CreatePermission),
            (wire::METHOD_CHANNEL_BIND, Self::ChannelBind),
        ]
        .into_iter()
        .find_map(|(to_wire, ours)| (to_wire == method).then_some(ours))
    }

    /// The number on the wire, for the reply.
    pub fn to_wire(self) -> wire::Method {
        match self {
            Self::Binding => wire::METHOD_BINDING,
            Self::Allocate => wire::METHOD_ALLOCATE,
            Self::Refresh => wire::METHOD_REFRESH,
            Self::CreatePermission => wire::METHOD_CREATE_PERMISSION,
            Self::ChannelBind => wire::METHOD_CHANNEL_BIND,
        }
    }

    fn knows(self, kind: AttrType) -> bool {
        let of_the_method: &[AttrType] = match self {
            // An ICE agent may send its connectivity check to anybody.
            Self::Binding => &[attr::ATTR_PRIORITY, attr::ATTR_USE_CANDIDATE],
            Self::Allocate => &[
                attr::ATTR_REQUESTED_TRANSPORT,
                attr::ATTR_LIFETIME,
                attr::ATTR_REQUESTED_ADDRESS_FAMILY,
                attr::ATTR_EVEN_PORT,
                attr::ATTR_RESERVATION_TOKEN,
                attr::ATTR_DONT_FRAGMENT,
            ],
            Self::Refresh => &[attr::ATTR_LIFETIME, attr::ATTR_REQUESTED_ADDRESS_FAMILY],
            Self::CreatePermission => &[attr::ATTR_XOR_PEER_ADDRESS],
            Self::ChannelBind => &[attr::ATTR_CHANNEL_NUMBER, attr::ATTR_XOR_PEER_ADDRESS],
        };
        // The codec reads 0x8020, an old name of XOR-MAPPED-ADDRESS that is optional, as 0x0020.
        let of_all = [attr::ATTR_USERNAME, attr::ATTR_REALM, attr::ATTR_NONCE, attr::ATTR_XORMAPPED_ADDRESS];
        of_the_method.contains(&kind) || of_all.contains(&kind)
    }
}

/// FINGERPRINT, where there is one, must be last and right (RFC 8489 §14.7).
fn fingerprint_is_valid(message: &Message) -> bool {
    match message.attributes.0.iter().position(|a| a.typ == attr::ATTR_FINGERPRINT) {
        None => true,
        Some(at) => at + 1 == message.attributes.0.len() && FINGERPRINT.check(message).is_ok(),
    }
}

/// USERNAME's limit in bytes (RFC 8489 §14.3); REALM and NONCE are shorter.
const MAX_TEXT_BYTES: usize = 508;
