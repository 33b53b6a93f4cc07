//! Refusals, and the bytes of every reply (RFC 8489 §6.3.1, §14.8; RFC 8656 §7.2, §19).
//!
//! Replies have no SOFTWARE and no reason phrase: short replies do not amplify a flood with forged source addresses.

use std::net::SocketAddr;
use std::time::Duration;

use stun::attributes as attr;
use stun::attributes::AttrType;
use stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_SUCCESS_RESPONSE, Message, MessageClass, MessageType, Setter as _,
};
use stun::xoraddr::XorMappedAddress;

use crate::addr::{Family, RelayedAddr};
use crate::auth::IntegrityKey;
use crate::request::{Method, Request};

/// Why a request is refused. A client's mistake, so it is not logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: a parameter is missing or invalid.
    BadRequest,
    /// 401: no valid credentials; the reply carries realm and nonce.
    Unauthenticated,
    /// 403: the policy forbids this peer.
    Forbidden,
    /// 420: unknown comprehension-required attributes.
    UnknownAttributes(Vec<u16>),
    /// 437: the client has an allocation already, or has none.
    AllocationMismatch,
    /// 438: the nonce is unknown, for another client, or too old; the reply carries a new one.
    StaleNonce,
    /// 440: the server has no relayed address of this family.
    FamilyNotSupported,
    /// 441: valid credentials, but not those that opened the allocation.
    WrongCredentials,
    /// 442: the server does not relay over this transport.
    TransportNotSupported,
    /// 443: the peer is of another family than the relayed address.
    FamilyMismatch,
    /// 486: this user or source has as many allocations as it may have.
    QuotaReached,
    /// 508: the server has no port left, or as many allocations or entries as it may have.
    InsufficientCapacity,
}

/// A reply under construction.
#[derive(Debug)]
pub struct Reply(Message);

/// RFC 8656 §18.12.
const ADDRESS_ERROR_CODE: AttrType = AttrType(0x8001);

impl Refusal {
    /// Every [`Self::code`], in the order of the counters in `ServerStats::refused`.
    pub const CODES: [u16; 12] = [400, 401, 403, 420, 437, 438, 440, 441, 442, 443, 486, 508];

    /// The number in ERROR-CODE.
    pub fn code(&self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::UnknownAttributes(_) => 420,
            Self::AllocationMismatch => 437,
            Self::StaleNonce => 438,
            Self::FamilyNotSupported => 440,
            Self::WrongCredentials => 441,
            Self::TransportNotSupported => 442,
            Self::FamilyMismatch => 443,
            Self::QuotaReached => 486,
            Self::InsufficientCapacity => 508,
        }
    }

    /// Whether the reply carries REALM and NONCE, so that the client can authenticate.
    pub fn challenges(&self) -> bool {
        matches!(self, Self::Unauthenticated | Self::StaleNonce)
    }
}

impl Reply {
    /// A success response to `request`.
    pub fn success(request: &Request) -> Self {
        Self::of(request.method, request.transaction, CLASS_SUCCESS_RESPONSE)
    }

    /// A success response to an earlier request, of which only these two are kept.
    pub fn success_to(method: Method, transaction: [u8; 12]) -> Self {
        Self::of(method, transaction, CLASS_SUCCESS_RESPONSE)
    }

    /// An error response with the code of `refusal`.
    pub fn refusal(method: Method, transaction: [u8; 12], refusal: &Refusal) -> Self {
        let reply = Self::of(method, transaction, CLASS_ERROR_RESPONSE);
        let reply = reply.attribute(attr::ATTR_ERROR_CODE, &error_value(refusal));
        match refusal {
            Refusal::UnknownAttributes(unknown) => {
                let types: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
                reply.attribute(attr::ATTR_UNKNOWN_ATTRIBUTES, &types)
            }
            Refusal::BadRequest
            | Refusal::Unauthenticated
            | Refusal::Forbidden
            | Refusal::AllocationMismatch
            | Refusal::StaleNonce
            | Refusal::FamilyNotSupported
            | Refusal::WrongCredentials
            | Refusal::TransportNotSupported
            | Refusal::FamilyMismatch
            | Refusal::QuotaReached
            | Refusal::InsufficientCapacity => reply,
        }
    }

    /// Adds REALM and NONCE.
    pub fn challenge(self, realm: &str, nonce: &str) -> Self {
        self.attribute(attr::ATTR_REALM, realm.as_bytes()).attribute(attr::ATTR_NONCE, nonce.as_bytes())
    }

    /// Adds XOR-MAPPED-ADDRESS.
    pub fn mapped(self, client: SocketAddr) -> Self {
        self.address(attr::ATTR_XORMAPPED_ADDRESS, client)
    }

    /// Adds XOR-RELAYED-ADDRESS.
    pub fn relayed(self, relayed: RelayedAddr) -> Self {
        self.address(attr::ATTR_XOR_RELAYED_ADDRESS, relayed.0)
    }

    /// Adds LIFETIME, in whole seconds.
    pub fn lifetime(self, lifetime: Duration) -> Self {
        self.attribute(attr::ATTR_LIFETIME, &(lifetime.as_secs() as u32).to_be_bytes())
    }

    /// Adds RESERVATION-TOKEN.
    pub fn reservation(self, token: [u8; 8]) -> Self {
        self.attribute(attr::ATTR_RESERVATION_TOKEN, &token)
    }

    /// Adds ADDRESS-ERROR-CODE: why there is no address of `family`.
    pub fn address_error(self, family: Family, refusal: &Refusal) -> Self {
        let mut value = error_value(refusal);
        value[0] = if family == Family::V4 { 1 } else { 2 };
        self.attribute(ADDRESS_ERROR_CODE, &value)
    }

    /// The bytes, with MESSAGE-INTEGRITY if there is a `key`.
    pub fn encode(mut self, key: Option<&IntegrityKey>) -> Vec<u8> {
        if let Some(key) = key {
            // Fails only after a FINGERPRINT, which is never added.
            let signed = key.signer().add_to(&mut self.0);
            debug_assert!(signed.is_ok());
        }
        self.0.raw
    }

    fn of(method: Method, transaction: [u8; 12], class: MessageClass) -> Self {
        let mut message = Message::new();
        message.typ = MessageType::new(method.to_wire(), class);
        message.transaction_id.0 = transaction;
        message.write_header();
        Self(message)
    }

    fn attribute(mut self, kind: AttrType, value: &[u8]) -> Self {
        self.0.add(kind, value);
        self
    }

    fn address(mut self, kind: AttrType, addr: SocketAddr) -> Self {
        // Writing to a growing buffer cannot fail.
        let written = XorMappedAddress { ip: addr.ip(), port: addr.port() }.add_to_as(&mut self.0, kind);
        debug_assert!(written.is_ok());
        self
    }
}

/// The value of ERROR-CODE without a reason phrase (RFC 8489 §14.8).
fn error_value(refusal: &Refusal) -> [u8; 4] {
    let code = refusal.code();
    [0, 0, (code / 100) as u8, (code % 100) as u8]
}

/// DTLS record type, version, epoch, sequence number and length.
const DTLS_RECORD_HEADER: usize = 13;

/// The fatal alert `handshake_failure` for a DTLS ClientHello, so that the client does not wait for a timeout (RFC 6347
/// §4.1, RFC 5246 §7.2). `None` for anything else. Always shorter than the ClientHello.
pub(crate) fn dtls_alert(bytes: &[u8]) -> Option<[u8; DTLS_RECORD_HEADER + 2]> {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    const MIN_CLIENT_HELLO: usize = DTLS_RECORD_HEADER + 12;
    let [HANDSHAKE, 0xfe, version @ (0xfd | 0xff), 0, 0, ..] = *bytes else { return None };
    if bytes.len() < MIN_CLIENT_HELLO || bytes[DTLS_RECORD_HEADER] != CLIENT_HELLO {
        return None;
    }
    Some([ALERT, 0xfe, version, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dtls_client_hello_gets_an_alert() {
        let mut hello = [0; 60];
        hello[..5].copy_from_slice(&[22, 0xfe, 0xff, 0, 0]);
        hello[13] = 1;
        assert_eq!(dtls_alert(&hello), Some([21, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40]));
        assert!(dtls_alert(&hello[..24]).is_none(), "truncated");
        // An alert, another epoch, TLS, a ServerHello.
        for (at, byte) in [(0, 21), (4, 1), (1, 3), (2, 1), (13, 2)] {
            let mut other = hello;
            other[at] = byte;
            assert!(dtls_alert(&other).is_none(), "{at}: {byte}");
        }
    }
}
