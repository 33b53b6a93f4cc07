//! Refusals: why the server rejects a frame or a request, as code and message of the `error` frame.

/// Why a frame is no valid client message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than [`super::MAX_FRAME_BYTES`] bytes.
    #[error("A frame has 64 KiB at most.")]
    TooLong,
    /// Brackets nested more than 32 deep.
    #[error("The frame is nested too deeply.")]
    TooDeep,
    /// Not a JSON object with a string `type`.
    #[error("A frame is a JSON object with a type.")]
    NotAFrame,
    /// An unknown `type`.
    #[error("No frame has this type.")]
    UnknownType,
    /// A known `type` with missing, duplicate or invalid fields.
    #[error("A field of this frame is missing or invalid.")]
    WrongShape,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The frame is malformed.
    #[error(transparent)]
    BadMessage(Malformed),
    /// Not a valid room name.
    #[error("A room name has 1 to 64 letters, digits, hyphens, underscores or full stops.")]
    BadRoom,
    /// All seats are taken.
    #[error("Two people are in this room already.")]
    RoomFull,
    /// This connection already has a seat.
    #[error("This connection has a seat; leave it first.")]
    AlreadyJoined,
    /// This connection has no seat.
    #[error("This connection has no seat; join a room first.")]
    NotJoined,
    /// `target` is not the other seat of this room.
    #[error("The target is not the other seat of this room.")]
    NoSuchPeer,
    /// The token is invalid or belongs to another room.
    #[error("The resume token is not one of this room.")]
    BadResume,
    /// Opening an empty room requires a host key.
    #[error("Opening this room requires a host key.")]
    KeyRequired,
    /// Too many frames, or too many waiting for the other seat.
    #[error("Too many frames; this one was dropped.")]
    RateLimited,
    /// Too many room names, host keys or tokens tried from one source.
    #[error("Too many rooms or keys were tried from this address; try again in a minute.")]
    TooManyAttempts,
    /// Too many requests to be let in, or too many transfer tokens.
    #[error("Too many requests; try again in a minute.")]
    TooManyRequests,
    /// Somebody in the room refused to let this client in.
    #[error("Somebody in this room declined.")]
    Declined,
    /// Too many people wait for this room.
    #[error("Too many people are waiting for this room; try again later.")]
    TryLater,
    /// The owner of the room cannot be determined now.
    #[error("It cannot be determined now which server has this room; try again in a moment.")]
    OwnerUnknown,
    /// The server will stop soon.
    #[error("The server is about to stop; try again soon.")]
    ShuttingDown,
}

impl Refusal {
    /// Every value of [`Self::code`].
    pub const CODES: [&str; 12] = [
        "bad-message",
        "bad-room",
        "room-full",
        "already-joined",
        "not-joined",
        "no-such-peer",
        "bad-resume",
        "key-required",
        "rate-limited",
        "declined",
        "try-later",
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
            Self::RateLimited | Self::TooManyAttempts | Self::TooManyRequests => "rate-limited",
            Self::Declined => "declined",
            Self::TryLater | Self::OwnerUnknown => "try-later",
            Self::ShuttingDown => "shutting-down",
        }
    }
}
