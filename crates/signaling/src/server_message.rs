//! The JSON messages of the server, version 1 (docs/protocol.md): a [`ServerMessage`] becomes text.
//!
//! The `sdp`, `candidate` and `call` of the other client pass byte for byte.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::client_message::{Relay, RelayKind};
use crate::display_name::DisplayName;
use crate::error::Refusal;
use crate::features::Features;
use crate::ice_servers::IceServer;
use crate::ownership::Fence;
use crate::seat::SeatId;

/// Bytes that most outgoing frames fit in.
const TYPICAL_FRAME_BYTES: usize = 512;

/// A message from the server.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ServerMessage {
    /// The join succeeded.
    RespJoin {
        /// The seat of the receiver.
        #[serde(serialize_with = "id_text")]
        id: SeatId,
        /// The normalized room name.
        room: String,
        /// The other seat, if it is taken.
        #[serde(serialize_with = "id_or_null")]
        peer: Option<SeatId>,
        /// The name of the other participant.
        #[serde(skip_serializing_if = "Option::is_none")]
        peer_name: Option<DisplayName>,
        /// The features of the other client.
        #[serde(skip_serializing_if = "Features::is_empty")]
        peer_features: Features,
        /// For `new RTCPeerConnection`.
        ice_servers: Vec<IceServer>,
        /// Seconds for which the credentials open allocations.
        ttl: u64,
        /// The token that resumes this seat.
        resume: String,
        /// Whether an existing seat was resumed.
        resumed: bool,
        /// The fence of the room, in a cluster.
        #[serde(skip_serializing_if = "Option::is_none")]
        fence: Option<Fence>,
        /// The servers of the cluster by host and port, this one first. Empty without a cluster.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        nodes: Vec<String>,
    },
    /// Another server owns the room.
    Redirect {
        /// The WebSocket of the owner.
        url: String,
        /// The normalized room name.
        room: String,
        /// The fence of the owner, for the next join.
        fence: Fence,
    },
    /// The answer to [`ClientMessage::Peek`](crate::client_message::ClientMessage::Peek).
    #[serde(rename = "room")]
    RoomStatus {
        /// The normalized room name.
        room: String,
        /// Seats taken, including disconnected ones: 0 to [`crate::SEATS_PER_ROOM`].
        seats: usize,
        /// The name of the other participant, for the holder of a token of this room.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<DisplayName>,
    },
    /// The other participant joined.
    NewPeer {
        /// The other seat.
        #[serde(serialize_with = "id_text")]
        id: SeatId,
        /// The name of the other participant.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<DisplayName>,
        /// The features of the other client.
        #[serde(skip_serializing_if = "Features::is_empty")]
        features: Features,
    },
    /// The other participant left or did not return in time.
    PeerLeave {
        /// The other seat.
        #[serde(serialize_with = "id_text")]
        id: SeatId,
    },
    /// The other participant lost the connection.
    PeerAway {
        /// The other seat.
        #[serde(serialize_with = "id_text")]
        id: SeatId,
        /// The page was closed or left; otherwise only the connection is lost.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        closing: bool,
    },
    /// The other participant is connected again; messages to the old connection may be lost.
    PeerBack {
        /// The other seat.
        #[serde(serialize_with = "id_text")]
        id: SeatId,
        /// The name of the other participant.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<DisplayName>,
        /// The features of the other client.
        #[serde(skip_serializing_if = "Features::is_empty")]
        features: Features,
    },
    /// The receiver waits for a seat.
    Waiting {
        /// From 1; the first is seated first.
        position: usize,
    },
    /// A participant waits for a seat in this room, or no longer.
    Knock {
        /// For `admit` and `decline`; later the ID of the seat.
        #[serde(serialize_with = "id_text")]
        id: SeatId,
        /// The name of the waiting participant.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<DisplayName>,
        /// The participant has left, was declined or has a seat.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        gone: bool,
    },
    /// The answer to [`ClientMessage::Transfer`](crate::client_message::ClientMessage::Transfer).
    Transfer {
        /// Takes the seat over once, as `resume` of a join.
        token: String,
        /// Seconds for which the token is valid.
        ttl: u64,
    },
    /// An offer from the other seat.
    Offer(Sdp),
    /// An answer from the other seat.
    Answer(Sdp),
    /// A candidate of the other seat.
    Candidate {
        /// The other seat.
        #[serde(serialize_with = "id_text")]
        from: SeatId,
        /// The `candidate`, unchanged.
        candidate: Box<RawValue>,
        /// The `call`, unchanged.
        #[serde(skip_serializing_if = "Option::is_none")]
        call: Option<Box<RawValue>>,
    },
    /// New relay credentials.
    IceServers {
        /// For `RTCPeerConnection.setConfiguration`.
        ice_servers: Vec<IceServer>,
        /// Seconds for which the credentials open allocations.
        ttl: u64,
    },
    /// The answer to `ping`.
    Pong,
    /// A request was refused.
    Error {
        /// The code, for programs.
        code: &'static str,
        /// The reason, for people.
        message: String,
        /// Seconds after which the same request may succeed, if that is a matter of seconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry: Option<u8>,
    },
}

/// A relayed session description.
#[derive(Debug, Clone, Serialize)]
pub struct Sdp {
    #[serde(serialize_with = "id_text")]
    from: SeatId,
    sdp: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<Box<RawValue>>,
}

impl ServerMessage {
    /// The message of the seat `from`, as the other seat receives it.
    pub fn relayed(from: SeatId, relay: Relay) -> Self {
        let Relay { kind, body, call } = relay;
        match kind {
            RelayKind::Offer => Self::Offer(Sdp { from, sdp: body, call }),
            RelayKind::Answer => Self::Answer(Sdp { from, sdp: body, call }),
            RelayKind::Candidate => Self::Candidate { from, candidate: body, call },
        }
    }

    /// The frame as text.
    pub fn to_json(&self) -> String {
        let mut text = Vec::with_capacity(TYPICAL_FRAME_BYTES);
        match serde_json::to_writer(&mut text, self).map(|()| String::from_utf8(text)) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) | Err(_) => unreachable!("string keys and plain values always serialize to UTF-8"),
        }
    }
}

impl From<Refusal> for ServerMessage {
    fn from(refusal: Refusal) -> Self {
        // The other reason for `try-later` are people who wait, which takes minutes.
        let retry = (refusal == Refusal::OwnerUnknown).then_some(1);
        Self::Error { code: refusal.code(), message: refusal.to_string(), retry }
    }
}

fn id_text<S: Serializer>(id: &SeatId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn id_or_null<S: Serializer>(id: &Option<SeatId>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_becomes_an_error_frame() {
        let text = ServerMessage::from(Refusal::RoomFull).to_json();
        assert_eq!(
            text,
            r#"{"type":"error","code":"room-full","message":"Two people are in this room already."}"#
        );
    }
}
