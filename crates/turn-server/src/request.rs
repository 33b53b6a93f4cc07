//! Parses requests: a datagram becomes a [`Request`] or nothing, its attributes become typed parameters or a refusal
//! (RFC 8489 §6.3). Attributes after MESSAGE-INTEGRITY are ignored (RFC 8489 §14.5).

use std::net::SocketAddr;
use std::time::Duration;

use stun::attributes as attr;
use stun::attributes::{AttrType, RawAttribute};
use stun::fingerprint::FINGERPRINT;
use stun::message as wire;
use stun::message::Message;

use crate::addr::{Family, PeerAddr};
use crate::channel_data::{ChannelNumber, unxor_address};
use crate::response::Refusal;

/// The methods of requests that the server supports.
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

/// A well-formed request.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The client's transaction id.
    pub transaction: [u8; 12],
    message: Message,
    /// Number of attributes before MESSAGE-INTEGRITY; the others are ignored.
    covered: usize,
    has_integrity: bool,
}

/// The credentials in a request, before its integrity is verified.
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
    /// The requested relayed addresses.
    pub address_request: AddressRequest,
    /// LIFETIME, if present.
    pub lifetime: Option<Duration>,
}

/// The relayed addresses that an Allocate requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressRequest {
    /// One of `family`.
    Single {
        /// REQUESTED-ADDRESS-FAMILY, or IPv4.
        family: Family,
        /// EVEN-PORT.
        parity: Parity,
    },
    /// IPv4 and, if possible, IPv6: ADDITIONAL-ADDRESS-FAMILY.
    Dual {
        /// EVEN-PORT, for the IPv4 port.
        parity: Parity,
    },
    /// The port that was reserved with this RESERVATION-TOKEN.
    Reserved([u8; 8]),
}

/// What EVEN-PORT requires of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// No requirement.
    Any,
    /// An even port.
    Even,
    /// An even port; the next port is reserved for 30 s.
    EvenAndNext,
}

/// Parameters of a Refresh request (RFC 8656 §8.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// LIFETIME, if present; zero deletes the allocation.
    pub lifetime: Option<Duration>,
    /// REQUESTED-ADDRESS-FAMILY: only the relayed address of this family.
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
/// REQUESTED-TRANSPORT: the IP protocol number of UDP.
const UDP: u8 = 17;
/// The limit of USERNAME in bytes (RFC 8489 §14.3). REALM and NONCE are shorter.
const MAX_TEXT_BYTES: usize = 508;

impl Request {
    /// Parses a datagram; `None` for what gets no reply: not STUN, truncated or trailing bytes, a wrong FINGERPRINT, not a
    /// request, an unknown method.
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
            covered: integrity.unwrap_or(message.attributes.0.len()),
            has_integrity: integrity.is_some(),
            message,
        })
    }

    /// The credentials of the request.
    ///
    /// # Errors
    /// 401 without MESSAGE-INTEGRITY; 400 if USERNAME, REALM or NONCE is missing beside it (RFC 8489 §9.2.4).
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

    /// NONCE, also without MESSAGE-INTEGRITY.
    pub fn nonce(&self) -> Option<String> {
        self.text(attr::ATTR_NONCE)
    }

    /// Whether MESSAGE-INTEGRITY was computed with `key`; compared in constant time.
    pub fn verify_integrity(&mut self, key: &[u8]) -> bool {
        let has_valid_length =
            self.message.attributes.0.get(self.covered).is_some_and(|a| a.value.len() == 20);
        has_valid_length && stun::integrity::MessageIntegrity(key.to_vec()).check(&mut self.message).is_ok()
    }

    /// Checks that the method knows every comprehension-required attribute.
    ///
    /// # Errors
    /// 420 with the types of those it does not know.
    pub fn check_attributes(&self) -> Result<(), Refusal> {
        let mut unknown: Vec<u16> = (self.attributes())
            .filter(|a| a.typ.required() && !self.method.knows(a.typ) && !self.is_plain_change_request(a))
            .map(|a| a.typ.value())
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() { Ok(()) } else { Err(Refusal::UnknownAttributes(unknown)) }
    }

    /// The parameters of an Allocate (RFC 8656 §7.2).
    ///
    /// # Errors
    /// 400, 440 or 442 as in the RFC.
    pub fn allocate(&self) -> Result<Allocate, Refusal> {
        match self.value(attr::ATTR_REQUESTED_TRANSPORT) {
            Some([UDP, _, _, _]) => {}
            Some([_, _, _, _]) => return Err(Refusal::TransportNotSupported),
            _ => return Err(Refusal::BadRequest),
        }
        Ok(Allocate { address_request: self.address_request()?, lifetime: self.lifetime()? })
    }

    /// The parameters of a Refresh.
    ///
    /// # Errors
    /// 400 or 440.
    pub fn refresh(&self) -> Result<Refresh, Refusal> {
        Ok(Refresh { lifetime: self.lifetime()?, family: self.family(attr::ATTR_REQUESTED_ADDRESS_FAMILY)? })
    }

    /// The peers of a CreatePermission: at least one.
    ///
    /// # Errors
    /// 400 if there is none or one is malformed.
    pub fn peers(&self) -> Result<Vec<PeerAddr>, Refusal> {
        let peers: Option<Vec<_>> = (self.attributes())
            .filter(|a| a.typ == attr::ATTR_XOR_PEER_ADDRESS)
            .map(|a| self.address(&a.value).map(PeerAddr::new))
            .collect();
        peers.filter(|peers| !peers.is_empty()).ok_or(Refusal::BadRequest)
    }

    /// The parameters of a ChannelBind.
    ///
    /// # Errors
    /// 400 if one is missing or malformed, or the number is out of range.
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
            let is_alone = parity == Parity::Any && family.is_none() && additional.is_none();
            let token = token.try_into().map_err(|_| Refusal::BadRequest)?;
            return if is_alone { Ok(AddressRequest::Reserved(token)) } else { Err(Refusal::BadRequest) };
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

    /// stuntman's client always sends CHANGE-REQUEST. Without its two bits it requests nothing (RFC 5780 §7.2), so it can
    /// be accepted.
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
        self.message.attributes.0[..self.covered].iter()
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
        .find_map(|(wire, known)| (wire == method).then_some(known))
    }

    /// The value on the wire.
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
        let of_method: &[AttrType] = match self {
            // An ICE agent may send a connectivity check to any address.
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
        // The `stun` crate reads 0x8020, an old and optional form of XOR-MAPPED-ADDRESS, as 0x0020.
        let of_all = [attr::ATTR_USERNAME, attr::ATTR_REALM, attr::ATTR_NONCE, attr::ATTR_XORMAPPED_ADDRESS];
        of_method.contains(&kind) || of_all.contains(&kind)
    }
}

/// FINGERPRINT, if present, must be the last attribute and have the right CRC (RFC 8489 §14.7).
fn fingerprint_is_valid(message: &Message) -> bool {
    match message.attributes.0.iter().position(|a| a.typ == attr::ATTR_FINGERPRINT) {
        None => true,
        Some(at) => at + 1 == message.attributes.0.len() && FINGERPRINT.check(message).is_ok(),
    }
}
