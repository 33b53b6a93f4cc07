//! The packets of Engine.IO 4 and Socket.IO 5 as text, in both directions. Binary packets and acknowledgements are recognized and
//! not supported.
//!
//! A message of Engine.IO carries a packet of Socket.IO. Over HTTP several packets of Engine.IO make one body.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Separates the packets of one HTTP body.
pub(super) const SEPARATOR: char = '\x1e';

/// The connection ends; also the answer to a request that waits when it does.
pub(super) const CLOSE: &str = "1";
/// A liveness check.
pub(super) const PING: &str = "2";
/// The first packet of a client on a WebSocket that will carry on its session, and the answer.
pub(super) const PROBE: &str = "2probe";
pub(super) const PROBE_ANSWER: &str = "3probe";
/// Ends the use of HTTP by a session, which the WebSocket carries on.
pub(super) const UPGRADE: &str = "5";
/// Answers a request that waits, without a message.
pub(super) const NOOP: &str = "6";
/// Disconnects the client from the namespace: it will not reconnect on its own.
pub(super) const DISCONNECT: &str = "41";

/// Bytes of a namespace at most.
const MAX_NAMESPACE_BYTES: usize = 64;

/// A packet of Engine.IO from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EnginePacket<'a> {
    /// The client ends the session.
    Close,
    /// The answer to a ping.
    Pong,
    /// A packet of Socket.IO.
    Message(&'a str),
    /// Without meaning where it arrives.
    Other,
}

/// A packet of Socket.IO from a client.
#[derive(Debug)]
pub(super) enum SocketPacket<'a> {
    /// Connects to the namespace `/`.
    Connect,
    /// Connects to another namespace, which does not exist.
    ConnectOther(&'a str),
    /// Disconnects from the namespace `/`.
    Disconnect,
    /// An event. A requested acknowledgement is not sent, as by a server whose handlers send none.
    Event(Event<'a>),
}

/// The name and the first two arguments of an event.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) first: Option<&'a RawValue>,
    pub(super) second: Option<&'a RawValue>,
}

impl<'a> EnginePacket<'a> {
    /// `None` for a binary packet and anything that is no packet of a client.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        match (text.as_bytes().first()?, text) {
            (b'4', _) => Some(Self::Message(text.get(1..)?)),
            (_, "1") => Some(Self::Close),
            (_, "3") => Some(Self::Pong),
            (b'2' | b'3' | b'5' | b'6', _) => Some(Self::Other),
            _ => None,
        }
    }
}

impl<'a> SocketPacket<'a> {
    /// `None` for a binary packet, an acknowledgement, an event of another namespace and anything that is no packet.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(1)?;
        let (namespace, rest) = split_namespace(rest)?;
        match kind {
            "0" if namespace == "/" => Some(Self::Connect),
            "0" => Some(Self::ConnectOther(namespace)),
            "1" if namespace == "/" => Some(Self::Disconnect),
            "2" if namespace == "/" => {
                let json = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                serde_json::from_str(json).ok().map(Self::Event)
            }
            _ => None,
        }
    }
}

/// The namespace without its query, and what follows.
fn split_namespace(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with('/') {
        return Some(("/", text));
    }
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    let name = name.split_once('?').map_or(name, |(name, _query)| name);
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    (name.len() <= MAX_NAMESPACE_BYTES && name.chars().all(is_plain)).then_some((name, rest))
}

impl<'de: 'a, 'a> Deserialize<'de> for Event<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(EventVisitor)
    }
}

/// Reads an array without storing what is not used of it.
struct EventVisitor;

/// Text that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Event<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array that begins with the name of an event")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let name: Option<Name<'de>> = items.next_element()?;
        let Name(name) = name.ok_or_else(|| serde::de::Error::invalid_length(0, &self))?;
        let (first, second) = (items.next_element()?, items.next_element()?);
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Event { name, first, second })
    }
}

/// The first packet of a session.
pub(super) fn open(sid: &str, upgrades: bool, ping: (Duration, Duration), max_payload: usize) -> String {
    let upgrades = if upgrades { r#"["websocket"]"# } else { "[]" };
    let (interval, timeout) = (ping.0.as_millis(), ping.1.as_millis());
    format!(
        r#"0{{"sid":"{sid}","upgrades":{upgrades},"pingInterval":{interval},"pingTimeout":{timeout},"maxPayload":{max_payload}}}"#
    )
}

/// The answer to [`SocketPacket::Connect`].
pub(super) fn connected(socket_id: &str) -> String {
    format!(r#"40{{"sid":"{socket_id}"}}"#)
}

/// The answer to [`SocketPacket::ConnectOther`].
pub(super) fn no_such_namespace(namespace: &str) -> String {
    format!(r#"44{namespace},{{"message":"Invalid namespace"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> (String, Option<String>, Option<String>) {
        match SocketPacket::parse(text) {
            Some(SocketPacket::Event(Event { name, first, second })) => {
                let text = |value: Option<&RawValue>| value.map(|value| value.get().to_owned());
                (name.into_owned(), text(first), text(second))
            }
            other => panic!("{text} became {other:?}"),
        }
    }

    #[test]
    fn packets_of_engine_io_are_told_by_their_first_character() {
        assert_eq!(EnginePacket::parse("42[]"), Some(EnginePacket::Message("2[]")));
        assert_eq!(EnginePacket::parse("1"), Some(EnginePacket::Close));
        assert_eq!(EnginePacket::parse("3"), Some(EnginePacket::Pong));
        for text in ["2", "2probe", "3probe", "5", "6"] {
            assert_eq!(EnginePacket::parse(text), Some(EnginePacket::Other), "{text}");
        }
        for text in ["", "0{}", "bAAEC", "7", "x", "é"] {
            assert_eq!(EnginePacket::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_event_has_a_name_and_arguments() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(event(r#"2["join","kitchen"]"#), ("join".into(), text(r#""kitchen""#), None));
        assert_eq!(
            event(r#"213["a\"b",{"c": 1},null,[2],3]"#),
            ("a\"b".into(), text(r#"{"c": 1}"#), text("null"))
        );
        assert_eq!(event(r#"2/,["leave"]"#), ("leave".into(), None, None));
    }

    #[test]
    fn the_namespace_of_a_connect_decides() {
        assert!(matches!(SocketPacket::parse("0"), Some(SocketPacket::Connect)));
        assert!(matches!(SocketPacket::parse(r#"0{"token":"x"}"#), Some(SocketPacket::Connect)));
        assert!(matches!(SocketPacket::parse("0/?a=b,{}"), Some(SocketPacket::Connect)));
        assert!(matches!(SocketPacket::parse("0/admin,"), Some(SocketPacket::ConnectOther("/admin"))));
        assert!(matches!(SocketPacket::parse("0/admin?x=y"), Some(SocketPacket::ConnectOther("/admin"))));
        assert!(matches!(SocketPacket::parse("1"), Some(SocketPacket::Disconnect)));
    }

    #[test]
    fn other_packets_of_socket_io_are_malformed() {
        let long = format!("0/{},", "n".repeat(MAX_NAMESPACE_BYTES));
        for text in [
            "",
            "2",
            "2[]",
            "2[1]",
            "2{}",
            r#"2["a""#,
            r#"2/admin,["a"]"#,
            "3[]",
            "4",
            "9",
            "é",
            "1/admin,",
            r#"51-["a",{"_placeholder":true,"num":0}]"#,
            "61-[]",
            r#"0/a"b,"#,
            &long,
        ] {
            assert!(SocketPacket::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_event_with_many_arguments_is_read_in_place() {
        let many = format!(r#"2["join"{}]"#, ",1".repeat(30_000));
        assert_eq!(event(&many).1.as_deref(), Some("1"));
    }
}
