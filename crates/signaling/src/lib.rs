//! WebRTC signaling for rooms of two, without IO: who holds which seat, and which messages two browsers
//! exchange before they are connected.
//!
//! The crate opens no socket, reads no clock and draws no randomness. The caller hands in what happened and
//! carries out the actions that [`Rooms::poll_action`] returns:
//!
//! ```text
//!        inputs                                        outputs
//!  ┌──────────────────────────┐  ┌───────┐  ┌─────────────────────────────────────┐
//!  │ handle_connect           │  │       │  │ poll_action → Send   a text frame   │
//!  │ handle_text, _binary,    │  │       │  │               Close  a connection   │
//!  │   _control_frame         ├─▶│ Rooms ├─▶│               Seat   SeatEvent      │
//!  │ handle_disconnect        │  │       │  │               Event  for statistics │
//!  │ handle_page_closed       │  │       │  │ poll_timeout → next call of         │
//!  │ handle_timeout           │  │       │  │               handle_timeout        │
//!  └──────────────────────────┘  └───────┘  └─────────────────────────────────────┘
//!    each with the moment Now      state      the caller sends, closes and counts
//! ```
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//! use webrtc_box_signaling::*;
//!
//! #[derive(Debug)]
//! struct NoRelay;
//!
//! impl CredentialIssuer for NoRelay {
//!     fn issue(&self, _: RoomTag, _: SeatId, expiry: UnixSeconds) -> IceCredential {
//!         IceCredential { username: expiry.to_string(), password: String::new() }
//!     }
//! }
//!
//! let now = Now { instant: Instant::now(), unix: 1_700_000_000 };
//! let config = RoomsConfig {
//!     tag_key: TagKey::new([1; 32]),
//!     resume_key: ResumeTokenKey::new([2; 32]),
//!     credential_issuer: Arc::new(NoRelay),
//!     ice_urls: IceUrls::default(),
//!     credential_ttl: Duration::from_secs(3600),
//!     room_grace: Duration::from_secs(30),
//!     host_keys: HostKeys::new::<&str>(&[]),
//!     seeds: [3, 4],
//! };
//! let mut rooms = Rooms::new(config, now.instant);
//! let client = ConnectionId(1);
//! rooms.handle_connect(client, "localhost".into(), [127, 0, 0, 1].into(), now);
//! rooms.handle_text(client, r#"{"type":"join","room":"kitchen"}"#, now, [7; 16]);
//! assert!(matches!(rooms.poll_action(), Some(Action::Seat(SeatEvent::Joined(..)))));
//! assert!(matches!(rooms.poll_action(), Some(Action::Send { to, .. }) if to == client));
//! ```
//!
//! # Several servers
//!
//! Each room has one owner, which the caller looks up. [`Rooms::room_request`] tells which room a frame is about; with the
//! owner known, the frame goes to [`Rooms::handle_text_of`] or is answered by [`Rooms::redirect`]. [`Action::Occupancy`] says how
//! long the room must be kept, and [`Rooms::redirect_room`] sends its participants away when another server has it.

use std::time::Instant;

mod admission;
mod attempt_limiter;
mod call_report;
mod client_message;
mod connection;
mod display_name;
mod error;
mod features;
mod ice_servers;
mod outputs;
mod ownership;
mod resume_token;
mod room;
mod room_name;
mod room_table;
mod rooms;
mod seat;
mod seating;
mod server_message;
#[cfg(test)]
mod tests;
mod transfer;
mod waiting;

pub use admission::HostKeys;
pub use call_report::{CallReport, CallSummary, MediaPath};
pub use client_message::{ClientMessage, Join, MAX_FRAME_BYTES, Peek, Relay, RelayKind};
pub use display_name::DisplayName;
pub use error::{Malformed, Refusal};
pub use features::Features;
pub use ice_servers::{CredentialIssuer, IceCredential, IceServer, IceUrls};
pub use outputs::{Action, CloseReason, ConnectionId, Event, WaitOutcome};
pub use ownership::{Fence, OtherOwner, OwnedRoom, Ownership, RoomOwner, RoomRequest, RoomRequestKind};
pub use resume_token::ResumeTokenKey;
pub use room_name::RoomName;
pub use rooms::{Rooms, RoomsConfig};
pub use seat::{RoomTag, SEATS_PER_ROOM, SeatEvent, SeatId, TagKey};
pub use server_message::{Sdp, ServerMessage};

/// Seconds since 1970-01-01 00:00:00 UTC.
pub type UnixSeconds = u64;

/// Both clocks at one moment: timers use the monotonic clock, expiry times use the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: a jump of the wall clock triggers no timer.
    pub instant: Instant,
    /// Wall clock.
    pub unix: UnixSeconds,
}
