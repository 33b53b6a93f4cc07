//! The JSON messages of clients, version 1 (docs/protocol.md): a text frame becomes a [`ClientMessage`] or is [`Malformed`].
//!
//! `sdp`, `candidate` and `call` are not parsed: they pass byte for byte.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::call_report::CallReport;
use crate::error::Malformed;
use crate::ownership::{Fence, RoomRequestKind};
use crate::seat::SeatId;

/// Bytes of a frame at most, in either direction.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// Depth of nested brackets at most; a session description needs two.
const MAX_DEPTH: usize = 32;

/// The first bytes of a candidate as the page writes it.
const CANDIDATE_PREFIX: &str = r#"{"type":"candidate","#;

/// Bytes of the JSON of `call` at most: it is an identifier in every frame.
const MAX_CALL_BYTES: usize = 128;

/// A message from a client.
#[derive(Debug)]
pub enum ClientMessage {
    /// Take a seat.
    Join(Join),
    /// Leave the seat.
    Leave,
    /// Ask how many seats of a room are taken, before joining (`look`).
    Peek(Peek),
    /// Pass a message to the other seat.
    Relay {
        /// The other seat; `None` if the text is no seat ID.
        target: Option<SeatId>,
        /// The message.
        relay: Relay,
    },
    /// Let a waiting participant in.
    Admit {
        /// The `id` of the knock; `None` if the text is no ID.
        id: Option<SeatId>,
    },
    /// Refuse to let a waiting participant in.
    Decline {
        /// The `id` of the knock; `None` if the text is no ID.
        id: Option<SeatId>,
    },
    /// Request a token that moves the seat to another device.
    Transfer,
    /// Request new relay credentials.
    IceServers,
    /// Statistics of the call, for the operator.
    Report(CallReport),
    /// Liveness check.
    Ping,
    /// The answer to a liveness check; gets no answer.
    Pong,
}

/// A request to join a room.
#[derive(Debug, Deserialize)]
pub struct Join {
    /// The room name as typed; not validated.
    pub room: String,
    /// The resume or transfer token of a seat to take; not validated.
    pub resume: Option<String>,
    /// A host key, to open an empty room.
    pub key: Option<String>,
    /// The display name as typed; not cleaned.
    pub name: Option<String>,
    /// What the client can do; not cleaned.
    pub features: Option<Vec<String>>,
    /// Wait if the room is full, or if only a host key opens it.
    pub wait: Option<bool>,
}

/// A question for the status of a room.
#[derive(Debug, Deserialize)]
pub struct Peek {
    /// The room name as typed; not validated.
    pub room: String,
    /// The token of the client's own seat, which is not counted; not validated.
    pub resume: Option<String>,
}

/// An offer, an answer or a candidate from one seat to the other.
#[derive(Debug, Clone)]
pub struct Relay {
    /// The type.
    pub kind: RelayKind,
    /// The `sdp` or `candidate`, unchanged.
    pub body: Box<RawValue>,
    /// The `call`, unchanged.
    pub call: Option<Box<RawValue>>,
}

/// The type of a relayed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayKind {
    /// Starts a negotiation.
    Offer,
    /// Answers an offer.
    Answer,
    /// One ICE candidate, or `null` after the last.
    Candidate,
}

impl ClientMessage {
    /// Parses one text frame.
    ///
    /// # Errors
    /// [`Malformed`] for anything that is no valid message; unknown fields are ignored.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > MAX_FRAME_BYTES {
            return Err(Malformed::TooLong);
        }
        if deeper_than(MAX_DEPTH, text) {
            return Err(Malformed::TooDeep);
        }
        // Most frames are candidates as the page writes them: those are parsed once, without a first pass for the type.
        // Errors in them are found by the slow path.
        if text.starts_with(CANDIDATE_PREFIX)
            && let Ok(frame) = fields::<CandidateFrame>(text)
            && frame.kind.as_deref() == Some("candidate")
        {
            return candidate(&frame);
        }
        let frame: TypedFrame = serde_json::from_str(text).map_err(|_| Malformed::NotAFrame)?;
        match &*frame.kind {
            "join" => Ok(Self::Join(fields(text)?)),
            "leave" => Ok(Self::Leave),
            "look" => Ok(Self::Peek(fields(text)?)),
            "offer" => session_description(RelayKind::Offer, text),
            "answer" => session_description(RelayKind::Answer, text),
            "candidate" => candidate(&fields(text)?),
            "admit" => Ok(Self::Admit { id: knock_id(text)? }),
            "decline" => Ok(Self::Decline { id: knock_id(text)? }),
            "transfer" => Ok(Self::Transfer),
            "ice-servers" => Ok(Self::IceServers),
            "report" => CallReport::parse(text).map(Self::Report),
            "ping" => Ok(Self::Ping),
            "pong" => Ok(Self::Pong),
            _ => Err(Malformed::UnknownType),
        }
    }

    /// Parses a frame that is answered by the owner of a room, a `join` or `look`; `None` for all others. A join and a look have the
    /// same fields in this respect. With it comes the fence of the redirect that the client follows.
    pub(crate) fn parse_room_request(text: &str) -> Option<(RoomRequestKind, Peek, Option<Fence>)> {
        if text.starts_with(CANDIDATE_PREFIX) || text.len() > MAX_FRAME_BYTES || deeper_than(MAX_DEPTH, text)
        {
            return None;
        }
        let frame: TypedFrame = serde_json::from_str(text).ok()?;
        let (kind, request) = match &*frame.kind {
            "join" => {
                let Join { room, resume, .. } = fields(text).ok()?;
                (RoomRequestKind::Join, Peek { room, resume })
            }
            "look" => (RoomRequestKind::Look, fields(text).ok()?),
            _ => return None,
        };
        Some((kind, request, fence(text)))
    }
}

#[derive(Deserialize)]
struct TypedFrame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct KnockFrame<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct SessionFrame<'a> {
    #[serde(borrow)]
    target: Cow<'a, str>,
    #[serde(borrow)]
    sdp: &'a RawValue,
    #[serde(borrow)]
    call: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CandidateFrame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    target: Cow<'a, str>,
    #[serde(borrow)]
    candidate: &'a RawValue,
    #[serde(borrow)]
    call: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct FenceFrame<'a> {
    #[serde(borrow)]
    fence: Option<&'a RawValue>,
}

/// Only a hint: what is no fence is ignored, as a server without others ignores every fence.
fn fence(text: &str) -> Option<Fence> {
    let frame: FenceFrame = fields(text).ok()?;
    frame.fence?.get().parse().ok().map(Fence)
}

fn knock_id(text: &str) -> Result<Option<SeatId>, Malformed> {
    fields(text).map(|frame: KnockFrame<'_>| SeatId::parse(&frame.id))
}

fn session_description(kind: RelayKind, text: &str) -> Result<ClientMessage, Malformed> {
    let frame: SessionFrame = fields(text)?;
    if !is_object_or_text(frame.sdp) {
        return Err(Malformed::WrongShape);
    }
    relay(kind, &frame.target, frame.sdp, frame.call)
}

fn candidate(frame: &CandidateFrame) -> Result<ClientMessage, Malformed> {
    if !is_object_or_text(frame.candidate) && frame.candidate.get() != "null" {
        return Err(Malformed::WrongShape);
    }
    relay(RelayKind::Candidate, &frame.target, frame.candidate, frame.call)
}

fn relay(
    kind: RelayKind,
    target: &str,
    body: &RawValue,
    call: Option<&RawValue>,
) -> Result<ClientMessage, Malformed> {
    if call.is_some_and(|call| call.get().len() > MAX_CALL_BYTES) {
        return Err(Malformed::WrongShape);
    }
    let relay = Relay { kind, body: body.to_owned(), call: call.map(ToOwned::to_owned) };
    Ok(ClientMessage::Relay { target: SeatId::parse(target), relay })
}

fn fields<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Malformed> {
    serde_json::from_str(text).map_err(|_| Malformed::WrongShape)
}

/// Browsers send objects; other Socket.IO clients may send the bare SDP.
fn is_object_or_text(value: &RawValue) -> bool {
    value.get().starts_with(['{', '"'])
}

/// Checked before parsing, so that neither serde nor the peer's parser recurses deeply.
fn deeper_than(limit: usize, text: &str) -> bool {
    // Fast path: so few brackets cannot nest too deeply, wherever they are.
    if text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() <= limit {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

impl Relay {
    /// Bytes in memory, approximately.
    pub(crate) fn size(&self) -> usize {
        self.body.get().len() + self.call.as_ref().map_or(0, |call| call.get().len()) + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_message::ServerMessage;

    fn malformed(text: &str) -> Malformed {
        ClientMessage::parse(text).unwrap_err()
    }

    fn relay_of(text: &str) -> Relay {
        match ClientMessage::parse(text) {
            Ok(ClientMessage::Relay { relay, .. }) => relay,
            other => panic!("{text} became {other:?}"),
        }
    }

    #[test]
    fn relayed_fields_keep_every_byte() {
        let sdp = r#"{ "type":"offer",  "sdp":"v=0\r\n\u00e9", "x": 1.50e+1 }"#;
        let target = SeatId::new([7; 16]);
        let relay = relay_of(&format!(r#"{{"type":"offer","target":"{target}","sdp":{sdp},"call":"a/1"}}"#));
        let text = ServerMessage::relayed(SeatId::new([8; 16]), relay).to_json();
        let from = SeatId::new([8; 16]);
        assert_eq!(text, format!(r#"{{"type":"offer","from":"{from}","sdp":{sdp},"call":"a/1"}}"#));
    }

    #[test]
    fn a_session_description_may_be_text() {
        let target = SeatId::new([7; 16]);
        let relay = relay_of(&format!(r#"{{"type":"offer","target":"{target}","sdp":"v=0\r\n"}}"#));
        assert_eq!(relay.body.get(), r#""v=0\r\n""#);
    }

    #[test]
    fn a_candidate_may_be_null_but_not_absent() {
        let relay = relay_of(r#"{"type":"candidate","target":"x","candidate":null}"#);
        let text = ServerMessage::relayed(SeatId::new([0; 16]), relay).to_json();
        assert!(text.ends_with(r#""candidate":null}"#), "{text}");
        assert_eq!(malformed(r#"{"type":"candidate","target":"x"}"#), Malformed::WrongShape);
    }

    #[test]
    fn field_order_and_escapes_do_not_change_a_candidate() {
        let plain = r#"{"type":"candidate","target":"x","candidate":{"a":1},"call":"c"}"#;
        for text in [
            plain,
            r#" {"type":"candidate","target":"x","candidate":{"a":1},"call":"c"}"#,
            r#"{"candidate":{"a":1},"target":"x","call":"c","type":"candidate"}"#,
            r#"{"type":"\u0063andidate","target":"x","candidate":{"a":1},"call":"c","more":[]}"#,
        ] {
            let relayed = ServerMessage::relayed(SeatId::new([0; 16]), relay_of(text)).to_json();
            assert!(relayed.ends_with(r#""candidate":{"a":1},"call":"c"}"#), "{text} became {relayed}");
        }
        let twice = r#"{"type":"candidate","type":"leave","target":"x","candidate":null}"#;
        assert_eq!(malformed(twice), Malformed::NotAFrame);
        let broken = r#"{"type":"candidate","target":"x","candidate":null"#;
        assert_eq!(malformed(broken), Malformed::NotAFrame);
    }

    #[test]
    fn invalid_frames_are_malformed() {
        for text in ["", "7", "[]", "{}", r#"{"type":5}"#, r#"{"type":"ping"} {}"#, "\u{feff}{}"] {
            assert_eq!(malformed(text), Malformed::NotAFrame, "{text}");
        }
        for text in [r#"{"type":"resp-join"}"#, r#"{"type":"Join","room":"a"}"#, r#"{"type":""}"#] {
            assert_eq!(malformed(text), Malformed::UnknownType, "{text}");
        }
        for text in [
            r#"{"type":"join"}"#,
            r#"{"type":"join","room":7}"#,
            r#"{"type":"join","room":"a","room":"b"}"#,
            r#"{"type":"join","room":"a","resume":1}"#,
            r#"{"type":"join","room":"a","name":7}"#,
            r#"{"type":"join","room":"a","name":["Ada"]}"#,
            r#"{"type":"join","room":"a","wait":"true"}"#,
            r#"{"type":"join","room":"a","features":"chat"}"#,
            r#"{"type":"join","room":"a","features":[1]}"#,
            r#"{"type":"admit"}"#,
            r#"{"type":"admit","id":7}"#,
            r#"{"type":"decline","id":null}"#,
            r#"{"type":"offer","target":"x"}"#,
            r#"{"type":"offer","target":"x","sdp":7}"#,
            r#"{"type":"offer","target":7,"sdp":{}}"#,
            r#"{"type":"answer","target":"x","sdp":[]}"#,
            r#"{"type":"candidate","target":"x","candidate":7}"#,
        ] {
            assert_eq!(malformed(text), Malformed::WrongShape, "{text}");
        }
    }

    #[test]
    fn a_fence_that_is_none_is_ignored() {
        for (fence, expected) in [
            ("7", Some(Fence(7))),
            ("-1", None),
            (r#""7""#, None),
            ("1.5", None),
            ("null", None),
            ("[{}]", None),
        ] {
            for kind in ["join", "look"] {
                let text = format!(r#"{{"type":"{kind}","room":"a","fence":{fence}}}"#);
                assert!(ClientMessage::parse(&text).is_ok(), "{text}");
                let (_, request, parsed) = ClientMessage::parse_room_request(&text).unwrap();
                assert_eq!((&*request.room, parsed), ("a", expected), "{text}");
            }
        }
    }

    #[test]
    fn a_long_call_is_malformed() {
        let call = "c".repeat(MAX_CALL_BYTES);
        let text = format!(r#"{{"type":"offer","target":"x","sdp":{{}},"call":"{call}"}}"#);
        assert_eq!(malformed(&text), Malformed::WrongShape);
    }

    #[test]
    fn deeply_nested_frames_are_rejected_before_parsing() {
        let nested =
            format!(r#"{{"type":"offer","target":"x","sdp":{}1{}}}"#, "[".repeat(9999), "]".repeat(9999));
        assert_eq!(malformed(&nested), Malformed::TooDeep);
        let quoted = format!(r#"{{"type":"join","room":"\"{}"}}"#, "[".repeat(100));
        assert!(ClientMessage::parse(&quoted).is_ok(), "brackets in a string do not nest");
        assert_eq!(malformed(&" ".repeat(MAX_FRAME_BYTES + 1)), Malformed::TooLong);
    }
}
