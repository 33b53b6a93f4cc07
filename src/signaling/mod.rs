//! Signaling: who sits in which room, and what two browsers say to each other before they are
//! connected.
//!
//! Text in, values out: no socket, no clock and no source of chance in here. [`Rooms`] is told what
//! happened and asked what to do; [`crate::web`] does it.

mod calls;
mod deadlines;
mod flood;
mod guesses;
mod host_keys;
mod ice;
mod message;
mod refusal;
mod report;
mod room;
mod room_name;
mod rooms;
#[cfg(test)]
mod scenes;
mod seating;
mod share;
mod token;

pub use calls::{Ended, Event};
pub use host_keys::HostKeys;
pub use ice::{IceServer, IceUrls};
pub use message::{ClientMessage, FRAME_LIMIT, Join, Relay, RelayKind, ServerMessage};
pub use refusal::{Malformed, Refusal};
pub use report::{Path, Report};
pub use room_name::RoomName;
pub use rooms::{Action, Closing, ConnectionId, Rooms, Rules};
pub use token::TokenKey;
