//! Refusals: what is wrong with a frame or a wish, as the `error` frame says it.

use super::protocol::ServerMessage;

/// A frame that is none of ours; the browser's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// More than [`super::FRAME_LIMIT`] bytes.
    TooLong,
    /// Brackets nested more than 32 deep.
    TooDeep,
    /// Not a JSON object with a text as its `type`.
    NotAFrame,
    /// A `type` that no client sends.
    UnknownType,
    /// A known `type` whose fields are missing, doubled, or of another shape.
    WrongShape,
}

/// Why something was not done; the code of an `error` frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The frame is none of ours.
    BadMessage(Malformed),
    /// No room can have that name.
    BadRoom,
    /// Both seats are taken.
    RoomFull,
    /// This connection already has a seat.
    AlreadyJoined,
    /// This connection has no seat.
    NotJoined,
    /// `target` is not the other seat of this room.
    NoSuchPeer,
    /// The token is forged or belongs to another room.
    BadResume,
    /// Opening an empty room takes a host key.
    KeyRequired,
    /// Too many frames, or too many waiting for the other seat.
    RateLimited,
    /// Too many room names, host keys or tokens tried from one source.
    TooManyGuesses,
    /// The box is about to stop.
    ShuttingDown,
}

impl From<Refusal> for ServerMessage {
    fn from(refusal: Refusal) -> Self {
        Self::Error { code: refusal.code(), message: refusal.sentence() }
    }
}

impl Refusal {
    /// Every [`Self::code`] there is.
    pub const CODES: [&str; 10] = [
        "bad-message",
        "bad-room",
        "room-full",
        "already-joined",
        "not-joined",
        "no-such-peer",
        "bad-resume",
        "key-required",
        "rate-limited",
        "shutting-down",
    ];

    /// The `code` of the error frame.
    pub fn code(self) -> &'static str {
        match self {
            Self::BadMessage(_) => "bad-message",
            Self::BadRoom => "bad-room",
            Self::RoomFull => "room-full",
            Self::AlreadyJoined => "already-joined",
            Self::NotJoined => "not-joined",
            Self::NoSuchPeer => "no-such-peer",
            Self::BadResume => "bad-resume",
            Self::KeyRequired => "key-required",
            Self::RateLimited | Self::TooManyGuesses => "rate-limited",
            Self::ShuttingDown => "shutting-down",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::BadMessage(Malformed::TooLong) => "A frame has 64 KiB at most.",
            Self::BadMessage(Malformed::TooDeep) => "The frame is nested too deeply.",
            Self::BadMessage(Malformed::NotAFrame) => "A frame is a JSON object with a type.",
            Self::BadMessage(Malformed::UnknownType) => "No frame has this type.",
            Self::BadMessage(Malformed::WrongShape) => "The fields of this frame are not as they should be.",
            Self::BadRoom => "A room's name has 1 to 64 letters, digits, hyphens, underscores or full stops.",
            Self::RoomFull => "Two people are in this room already.",
            Self::AlreadyJoined => "This connection has a seat; leave it first.",
            Self::NotJoined => "This connection has no seat; join a room first.",
            Self::NoSuchPeer => "The target is not the other seat of this room.",
            Self::BadResume => "The resume token is not one of this room.",
            Self::KeyRequired => "Opening this room takes a host key.",
            Self::RateLimited => "Too many frames; this one was dropped.",
            Self::TooManyGuesses => {
                "Too many rooms or keys were tried from this address; try again in a minute."
            }
            Self::ShuttingDown => "The server is about to stop; try again soon.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_an_error_frame() {
        let text = ServerMessage::from(Refusal::RoomFull).to_json();
        assert_eq!(
            text,
            r#"{"type":"error","code":"room-full","message":"Two people are in this room already."}"#
        );
    }
}
