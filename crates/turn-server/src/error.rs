//! Why a request is refused, and what its error reply says (RFC 8489 §14.8, RFC 8656 §19).

/// An answer a client gets instead of what it asked for. Theirs, not ours: quiet in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the request has no or impossible parameters.
    BadRequest,
    /// 401: no credentials, or none that hold; the reply carries realm and nonce.
    Unauthenticated,
    /// 403: this peer may not be reached from here.
    Forbidden,
    /// 420: comprehension-required attributes we do not know.
    UnknownAttributes(Vec<u16>),
    /// 437: an allocation is there that should not be, or is not there that should.
    AllocationMismatch,
    /// 438: the nonce is not ours, for another client, or too old; the reply carries a new one.
    StaleNonce,
    /// 440: no relayed address of this family here.
    FamilyNotSupported,
    /// 441: valid credentials, but not those that opened this allocation.
    WrongCredentials,
    /// 442: relaying over this transport is not built.
    TransportNotSupported,
    /// 443: the peer is of another family than the relayed address.
    FamilyMismatch,
    /// 486: this user has all the allocations it may have.
    QuotaReached,
    /// 508: nothing left to lend.
    InsufficientCapacity,
}

impl Refusal {
    /// Every [`Self::code`] there is.
    pub const CODES: [u16; 12] = [400, 401, 403, 420, 437, 438, 440, 441, 442, 443, 486, 508];

    /// The code in ERROR-CODE.
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

    /// Whether the client is challenged: REALM and NONCE stand in the reply.
    pub fn challenges(&self) -> bool {
        matches!(self, Self::Unauthenticated | Self::StaleNonce)
    }
}
