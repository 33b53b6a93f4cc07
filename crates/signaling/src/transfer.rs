//! Transfer tokens of one seat: each takes the seat over once, within a minute, so that a call moves to another device.
//!
//! The signature is in `resume_token.rs`; that a token was not used yet is known only here, so a restart voids it.

use std::time::{Duration, Instant};

use webrtc_box_rate_limit::Rate;

use crate::error::Refusal;

/// How long a token is valid.
pub(crate) const TRANSFER_TTL: Duration = Duration::from_secs(60);

/// Tokens of one seat.
const RATE: Rate = Rate { interval: Duration::from_secs(15), burst: 5 };

/// What makes one token of a seat differ from the next.
pub(crate) type TransferNonce = [u8; 8];

/// The newest transfer token of a seat, and the rate limit of new ones.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    valid: Option<(TransferNonce, Instant)>,
    /// The theoretical arrival time (GCRA).
    arrival: Option<Instant>,
}

impl Transfers {
    /// Makes `nonce` the only valid one, for [`TRANSFER_TTL`].
    ///
    /// # Errors
    /// [`Refusal::TooManyRequests`]
    pub(crate) fn issue(&mut self, nonce: TransferNonce, now: Instant) -> Result<(), Refusal> {
        let arrival = self.arrival.map_or(now, |arrival| arrival.max(now)) + RATE.interval;
        if arrival > now + RATE.interval * RATE.burst {
            return Err(Refusal::TooManyRequests);
        }
        self.arrival = Some(arrival);
        self.valid = Some((nonce, now + TRANSFER_TTL));
        Ok(())
    }

    /// Whether the token with `nonce` takes the seat over.
    pub(crate) fn is_valid(&self, nonce: TransferNonce, now: Instant) -> bool {
        self.valid.is_some_and(|(valid, until)| valid == nonce && now < until)
    }

    /// The token was used.
    pub(crate) fn consume(&mut self) {
        self.valid = None;
    }
}
