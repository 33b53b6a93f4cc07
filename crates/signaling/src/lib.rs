//! Signaling: who sits in which room, and what two browsers say to each other before they are
//! connected.
//!
//! Text in, values out: no socket, no clock and no source of chance in here. [`Rooms`] is told what
//! happened and asked what to do; the caller does it.

mod call_report;
mod call_stats;
mod error;
mod guesses;
mod host_keys;
mod ice_servers;
mod membership;
mod protocol;
mod rate_limit;
mod resume_token;
mod room;
mod room_name;
mod rooms;
mod seat;
mod share;
#[cfg(test)]
mod tests;
mod time;
mod timers;

pub use call_report::{Path, Report};
pub use call_stats::{Ended, Event};
pub use error::{Malformed, Refusal};
pub use host_keys::HostKeys;
pub use ice_servers::{CredentialIssuer, IceCredential, IceServer, IceUrls};
pub use protocol::{ClientMessage, FRAME_LIMIT, Join, Relay, RelayKind, ServerMessage};
pub use resume_token::TokenKey;
pub use room_name::RoomName;
pub use rooms::{Action, Closing, ConnectionId, Rooms, Rules};
pub use seat::{RoomTag, SEATS_PER_ROOM, SeatEvent, SeatId, TagKey};
pub use time::{Now, UnixSeconds};
