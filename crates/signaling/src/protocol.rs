//! The JSON of the wire: a text frame becomes a [`ClientMessage`] or is [`Malformed`]; a
//! [`ServerMessage`] becomes text.
//!
//! `sdp`, `candidate` and `call` are never looked into: they pass byte for byte as they came.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::call_report::Report;
use super::error::Malformed;
use super::ice_servers::IceServer;
use crate::seat::SeatId;

/// Bytes a frame may have at most, in either direction.
pub const FRAME_LIMIT: usize = 64 * 1024;

/// How deep brackets may be nested; a session description needs two.
const DEPTH_LIMIT: usize = 32;

/// How a candidate begins that our page has written.
const PLAIN_CANDIDATE: &str = r#"{"type":"candidate","#;

/// Bytes that most frames fit in when they are written.
const USUAL_FRAME: usize = 512;

/// Bytes of JSON that `call` may have: it is a name, and goes with every frame.
const CALL_LIMIT: usize = 128;

/// What a browser says.
#[derive(Debug)]
pub enum ClientMessage {
    /// Take a seat.
    Join(Join),
    /// Give the seat up.
    Leave,
    /// How many sit in a room, asked from its door.
    Look(Look),
    /// Pass something on to the other seat.
    Relay {
        /// The other seat; `None` where the text cannot be any seat's name.
        target: Option<SeatId>,
        /// What to pass on.
        relay: Relay,
    },
    /// Fresh relay credentials, please.
    IceServers,
    /// What the page knows of its call, for whoever looks after the box.
    Report(Report),
    /// Are you there?
    Ping,
    /// I am here; needs no answer.
    Pong,
}

/// The wish to sit in a room.
#[derive(Debug, Deserialize)]
pub struct Join {
    /// The room's name as typed; not yet checked.
    pub room: String,
    /// The token of a seat to take back; not yet checked.
    pub resume: Option<String>,
    /// A host key, for opening an empty room.
    pub key: Option<String>,
}

/// A look through the door of a room.
#[derive(Debug, Deserialize)]
pub struct Look {
    /// The room's name as typed; not yet checked.
    pub room: String,
    /// The token of a seat that is not to be counted, being the looker's own; not yet checked.
    pub resume: Option<String>,
}

/// An offer, an answer or a candidate on its way from one seat to the other.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Which of the three.
    pub kind: RelayKind,
    /// The `sdp` or `candidate` as it came.
    pub body: Box<RawValue>,
    /// The `call` as it came.
    pub call: Option<Box<RawValue>>,
}

/// Which of the three frames that are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayKind {
    /// Opens a negotiation.
    Offer,
    /// Answers an offer.
    Answer,
    /// One ICE candidate, or `null` after the last.
    Candidate,
}

/// What the box says.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ServerMessage {
    /// The seat is yours.
    RespJoin {
        /// The joiner's seat.
        #[serde(serialize_with = "as_text")]
        id: SeatId,
        /// The room's name, in NFC.
        room: String,
        /// Who sits in the other seat.
        #[serde(serialize_with = "as_text_or_null")]
        peer: Option<SeatId>,
        /// For `new RTCPeerConnection`.
        ice_servers: Vec<IceServer>,
        /// Seconds the credentials in there open allocations.
        ttl: u64,
        /// The token to take this seat back with.
        resume: String,
        /// Whether a seat that was still kept was taken back.
        resumed: bool,
    },
    /// The answer to a look.
    Room {
        /// The room's name, in NFC.
        room: String,
        /// Seats taken, also by who is away: 0 to 2.
        seats: usize,
    },
    /// Somebody took the other seat.
    NewPeer {
        /// The other seat.
        #[serde(serialize_with = "as_text")]
        id: SeatId,
    },
    /// The other seat is free.
    PeerLeave {
        /// The other seat.
        #[serde(serialize_with = "as_text")]
        id: SeatId,
    },
    /// The other's connection dropped.
    PeerAway {
        /// The other seat.
        #[serde(serialize_with = "as_text")]
        id: SeatId,
        /// Its page was closed or left; without this it may only be the network.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        closing: bool,
    },
    /// The other came back; what was sent to its old connection may be lost.
    PeerBack {
        /// The other seat.
        #[serde(serialize_with = "as_text")]
        id: SeatId,
    },
    /// An offer from the other seat.
    Offer(Sdp),
    /// An answer from the other seat.
    Answer(Sdp),
    /// A candidate of the other seat.
    Candidate {
        /// The other seat.
        #[serde(serialize_with = "as_text")]
        from: SeatId,
        /// As it came.
        candidate: Box<RawValue>,
        /// As it came.
        #[serde(skip_serializing_if = "Option::is_none")]
        call: Option<Box<RawValue>>,
    },
    /// Fresh relay credentials.
    IceServers {
        /// For `RTCPeerConnection.setConfiguration`.
        ice_servers: Vec<IceServer>,
        /// Seconds the credentials in there open allocations.
        ttl: u64,
    },
    /// The answer to `ping`.
    Pong,
    /// Something was not done.
    Error {
        /// Why, for the page.
        code: &'static str,
        /// Why, for people.
        message: &'static str,
    },
}

/// A session description passed on.
#[derive(Debug, Clone, Serialize)]
pub struct Sdp {
    #[serde(serialize_with = "as_text")]
    from: SeatId,
    sdp: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<Box<RawValue>>,
}

impl ClientMessage {
    /// Reads one text frame.
    ///
    /// # Errors
    /// [`Malformed`] for everything that is not exactly one of ours; unknown further fields are let be.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > FRAME_LIMIT {
            return Err(Malformed::TooLong);
        }
        if deeper_than(DEPTH_LIMIT, text) {
            return Err(Malformed::TooDeep);
        }
        // Most frames are candidates as our page writes them: those are read once, not first for their
        // type. Whatever is wrong with one is found out the long way.
        if text.starts_with(PLAIN_CANDIDATE)
            && let Ok(frame) = shaped::<CandidateFrame>(text)
            && frame.kind.as_deref() == Some("candidate")
        {
            return candidate(&frame);
        }
        let frame: Typed = serde_json::from_str(text).map_err(|_| Malformed::NotAFrame)?;
        match &*frame.kind {
            "join" => Ok(Self::Join(shaped(text)?)),
            "leave" => Ok(Self::Leave),
            "look" => Ok(Self::Look(shaped(text)?)),
            "offer" => session(RelayKind::Offer, text),
            "answer" => session(RelayKind::Answer, text),
            "candidate" => candidate(&shaped(text)?),
            "ice-servers" => Ok(Self::IceServers),
            "report" => Report::parse(text).map(Self::Report),
            "ping" => Ok(Self::Ping),
            "pong" => Ok(Self::Pong),
            _ => Err(Malformed::UnknownType),
        }
    }
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
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

fn session(kind: RelayKind, text: &str) -> Result<ClientMessage, Malformed> {
    let frame: SessionFrame = shaped(text)?;
    if !is_object(frame.sdp) {
        return Err(Malformed::WrongShape);
    }
    relay(kind, &frame.target, frame.sdp, frame.call)
}

fn candidate(frame: &CandidateFrame) -> Result<ClientMessage, Malformed> {
    if !is_object(frame.candidate) && frame.candidate.get() != "null" {
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
    if call.is_some_and(|call| call.get().len() > CALL_LIMIT) {
        return Err(Malformed::WrongShape);
    }
    let relay = Relay { kind, body: body.to_owned(), call: call.map(ToOwned::to_owned) };
    Ok(ClientMessage::Relay { target: SeatId::parse(target), relay })
}

fn shaped<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Malformed> {
    serde_json::from_str(text).map_err(|_| Malformed::WrongShape)
}

fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// Counted before anything is parsed, so that no parser, theirs included, meets a tower of brackets.
fn deeper_than(limit: usize, text: &str) -> bool {
    // So few brackets, in texts or not, build no tower; this is much faster than looking closely.
    if text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() <= limit {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

impl ServerMessage {
    /// What `from` sent, as the other seat gets it.
    pub fn relayed(from: SeatId, relay: Relay) -> Self {
        let Relay { kind, body, call } = relay;
        match kind {
            RelayKind::Offer => Self::Offer(Sdp { from, sdp: body, call }),
            RelayKind::Answer => Self::Answer(Sdp { from, sdp: body, call }),
            RelayKind::Candidate => Self::Candidate { from, candidate: body, call },
        }
    }

    /// The frame's text.
    pub fn to_json(&self) -> String {
        let mut text = Vec::with_capacity(USUAL_FRAME);
        match serde_json::to_writer(&mut text, self).map(|()| String::from_utf8(text)) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) | Err(_) => unreachable!("text keys and plain values always serialise, to text"),
        }
    }
}

fn as_text<S: Serializer>(id: &SeatId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn as_text_or_null<S: Serializer>(id: &Option<SeatId>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_passed_on_keeps_every_byte() {
        let sdp = r#"{ "type":"offer",  "sdp":"v=0\r\n\u00e9", "x": 1.50e+1 }"#;
        let target = SeatId::new([7; 16]);
        let relay = relay_of(&format!(r#"{{"type":"offer","target":"{target}","sdp":{sdp},"call":"a/1"}}"#));
        let text = ServerMessage::relayed(SeatId::new([8; 16]), relay).to_json();
        let from = SeatId::new([8; 16]);
        assert_eq!(text, format!(r#"{{"type":"offer","from":"{from}","sdp":{sdp},"call":"a/1"}}"#));
    }

    #[test]
    fn a_candidate_may_be_null_but_not_missing() {
        let relay = relay_of(r#"{"type":"candidate","target":"x","candidate":null}"#);
        let text = ServerMessage::relayed(SeatId::new([0; 16]), relay).to_json();
        assert!(text.ends_with(r#""candidate":null}"#), "{text}");
        assert_eq!(malformed(r#"{"type":"candidate","target":"x"}"#), Malformed::WrongShape);
    }

    #[test]
    fn a_candidate_is_the_same_however_it_is_spelled() {
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
    fn frames_of_another_shape_are_malformed() {
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
            r#"{"type":"offer","target":"x"}"#,
            r#"{"type":"offer","target":"x","sdp":"text"}"#,
            r#"{"type":"offer","target":7,"sdp":{}}"#,
            r#"{"type":"answer","target":"x","sdp":[]}"#,
            r#"{"type":"candidate","target":"x","candidate":"c"}"#,
        ] {
            assert_eq!(malformed(text), Malformed::WrongShape, "{text}");
        }
    }

    #[test]
    fn a_long_call_is_malformed() {
        let call = "c".repeat(CALL_LIMIT);
        let text = format!(r#"{{"type":"offer","target":"x","sdp":{{}},"call":"{call}"}}"#);
        assert_eq!(malformed(&text), Malformed::WrongShape);
    }

    #[test]
    fn towers_of_brackets_are_not_parsed() {
        let tower =
            format!(r#"{{"type":"offer","target":"x","sdp":{}1{}}}"#, "[".repeat(9999), "]".repeat(9999));
        assert_eq!(malformed(&tower), Malformed::TooDeep);
        let quoted = format!(r#"{{"type":"join","room":"\"{}"}}"#, "[".repeat(100));
        assert!(ClientMessage::parse(&quoted).is_ok(), "brackets in a text are no tower");
        assert_eq!(malformed(&" ".repeat(FRAME_LIMIT + 1)), Malformed::TooLong);
    }
}
