//! The one place where replies are written (RFC 8489 §6.3.1, RFC 8656 §7.2).
//!
//! What a stranger gets is short: no SOFTWARE, no reason phrase, so that nobody is flooded
//! through us.

use std::net::SocketAddr;
use std::time::Duration;

use stun::attributes as attr;
use stun::attributes::AttrType;
use stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_SUCCESS_RESPONSE, Message, MessageClass, MessageType, Setter as _,
};
use stun::xoraddr::XorMappedAddress;

use super::addr::{Family, RelayedAddr};
use super::auth::IntegrityKey;
use super::error::Refusal;
use super::request::{Method, Request};

/// A reply being written.
#[derive(Debug)]
pub struct Reply(Message);

/// RFC 8656 §18.12.
const ADDRESS_ERROR_CODE: AttrType = AttrType(0x8001);

impl Reply {
    /// A success response to `request`.
    pub fn success(request: &Request) -> Self {
        Self::of(request.method, request.transaction, CLASS_SUCCESS_RESPONSE)
    }

    /// A success response for a request known only by what must be echoed.
    pub fn success_to(method: Method, transaction: [u8; 12]) -> Self {
        Self::of(method, transaction, CLASS_SUCCESS_RESPONSE)
    }

    /// An error response that says why.
    pub fn refusal(method: Method, transaction: [u8; 12], refusal: &Refusal) -> Self {
        let reply = Self::of(method, transaction, CLASS_ERROR_RESPONSE);
        let reply = reply.attribute(attr::ATTR_ERROR_CODE, &error_value(refusal));
        match refusal {
            Refusal::UnknownAttributes(unknown) => {
                let list: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
                reply.attribute(attr::ATTR_UNKNOWN_ATTRIBUTES, &list)
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

    /// Adds ADDRESS-ERROR-CODE: why the second family is missing.
    pub fn address_error(self, family: Family, refusal: &Refusal) -> Self {
        let mut value = error_value(refusal);
        value[0] = if family == Family::V4 { 1 } else { 2 };
        self.attribute(ADDRESS_ERROR_CODE, &value)
    }

    /// The bytes, with MESSAGE-INTEGRITY where the client is known.
    pub fn encode(mut self, key: Option<&IntegrityKey>) -> Vec<u8> {
        if let Some(key) = key {
            // Fails only for a FINGERPRINT before it, which is never added.
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
        // The codec's writer has no way to fail.
        let written = XorMappedAddress { ip: addr.ip(), port: addr.port() }.add_to_as(&mut self.0, kind);
        debug_assert!(written.is_ok());
        self
    }
}

/// Class and number of ERROR-CODE (RFC 8489 §14.8), the reason phrase left out.
fn error_value(refusal: &Refusal) -> [u8; 4] {
    let code = refusal.code();
    [0, 0, (code / 100) as u8, (code % 100) as u8]
}
