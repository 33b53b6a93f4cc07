//! Translates between the events of the classic Socket.IO example and the frames of docs/protocol.md. `sdp` and `candidate` pass byte
//! for byte.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::packet::Event;

/// The arguments of `offer`, `answer` and `candidate`.
#[derive(Default, Deserialize)]
struct Relayed<'a> {
    #[serde(borrow)]
    target: Option<&'a RawValue>,
    #[serde(borrow)]
    sdp: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    candidate: Option<&'a RawValue>,
}

/// The optional second argument of `join`.
#[derive(Default, Deserialize)]
struct JoinOptions<'a> {
    #[serde(borrow)]
    resume: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
}

/// The fields of a frame from the server that an event uses.
#[derive(Deserialize)]
struct ServerFrame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    peer: Option<&'a RawValue>,
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    #[serde(borrow)]
    sdp: Option<&'a RawValue>,
    #[serde(borrow)]
    candidate: Option<&'a RawValue>,
    #[serde(rename = "iceServers", borrow)]
    ice_servers: Option<&'a RawValue>,
    #[serde(borrow)]
    ttl: Option<&'a RawValue>,
    #[serde(borrow)]
    resume: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    url: Option<Cow<'a, str>>,
}

/// The frame for an event of a client; `None` for an event without meaning here, which is ignored. An event with wrong arguments
/// becomes a frame that the rooms refuse.
pub(super) fn client_frame(event: &Event<'_>) -> Option<String> {
    let kind = match &*event.name {
        kind @ ("join" | "leave" | "offer" | "answer" | "candidate" | "ice-servers") => kind,
        _ => return None,
    };
    let mut frame = format!(r#"{{"type":"{kind}""#);
    let mut add = |fields: &[(&str, Option<&RawValue>)]| {
        for (name, value) in fields {
            if let Some(value) = value {
                // Writing to a string does not fail.
                let _ = write!(frame, r#","{name}":{value}"#);
            }
        }
    };
    match kind {
        "join" => {
            let options: JoinOptions<'_> = object(event.second);
            add(&[("room", event.first)]);
            add(&[("resume", options.resume), ("key", options.key), ("name", options.name)]);
        }
        "offer" | "answer" => {
            let relayed: Relayed<'_> = object(event.first);
            add(&[("target", relayed.target), ("sdp", relayed.sdp)]);
        }
        "candidate" => {
            let relayed: Relayed<'_> = object(event.first);
            add(&[("target", relayed.target), ("candidate", relayed.candidate)]);
        }
        _ => {}
    }
    frame.push('}');
    Some(frame)
}

fn object<'a, T: Default + Deserialize<'a>>(value: Option<&'a RawValue>) -> T {
    value.and_then(|value| serde_json::from_str(value.get()).ok()).unwrap_or_default()
}

/// Tells `null`, which is a value, from an absent field.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// The packet with the event for a frame of the server; `None` for a frame that clients of the example do not know.
pub(super) fn server_event(frame: &str) -> Option<String> {
    let frame: ServerFrame<'_> = serde_json::from_str(frame).ok()?;
    let from = ("from", frame.from);
    let servers = [("iceServers", frame.ice_servers), ("ttl", frame.ttl), ("resume", frame.resume)];
    match &*frame.kind {
        "resp-join" => Some(match frame.peer {
            Some(peer) => event("resp-join", Some(peer), &servers),
            // The example's clients take `resp-join` for the presence of the other participant.
            None => event("ice-servers", None, &servers),
        }),
        "ice-servers" => Some(event("ice-servers", None, &servers)),
        kind @ ("new-peer" | "peer-leave") => Some(event(kind, frame.id, &[])),
        kind @ ("offer" | "answer") => Some(event(kind, None, &[from, ("sdp", frame.sdp)])),
        // `null` ends the candidates of our page: `new RTCIceCandidate(null)` throws.
        "candidate" => {
            let candidate = frame.candidate?;
            Some(event("candidate", None, &[from, ("candidate", Some(candidate))]))
        }
        "error" => Some(event("error", None, &[("code", frame.code), ("message", frame.message)])),
        "redirect" => Some(redirected(&frame.url?)),
        _ => None,
    }
}

/// The packet with the event that tells which server has the room, whose WebSocket is at `url`. The message is what such a client
/// connects to.
fn redirected(url: &str) -> String {
    let origin = url.strip_suffix("/ws").unwrap_or(url).replacen("wss://", "https://", 1);
    format!(r#"42["error",{{"code":"redirect","message":{}}}]"#, serde_json::Value::from(origin))
}

/// The packet with the event that tells why the server ends the session.
pub(super) fn closed(code: u16, reason: &str) -> String {
    format!(r#"42["error",{{"code":"closed","message":"{reason}","close":{code}}}]"#)
}

/// The packet with the event `name`, its `first` argument, and an object of `fields`, each if there is one.
fn event(name: &str, first: Option<&RawValue>, fields: &[(&str, Option<&RawValue>)]) -> String {
    let mut packet = format!(r#"42["{name}""#);
    let mut add = |text: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = packet.write_fmt(text);
    };
    if let Some(first) = first {
        add(format_args!(",{first}"));
    }
    let mut open = ",{";
    for (name, value) in fields {
        if let Some(value) = value {
            add(format_args!(r#"{open}"{name}":{value}"#));
            open = ",";
        }
    }
    if open == "," {
        packet.push('}');
    }
    packet.push(']');
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::socket_io::packet::SocketPacket;

    fn frame(text: &str) -> Option<String> {
        match SocketPacket::parse(text) {
            Some(SocketPacket::Event(event)) => client_frame(&event),
            other => panic!("{text} became {other:?}"),
        }
    }

    #[test]
    fn the_events_of_a_client_become_frames() {
        for (packet, expected) in [
            (r#"2["join","kitchen"]"#, r#"{"type":"join","room":"kitchen"}"#),
            (
                r#"2["join","k",{"resume":"t","key":"h","name":"Ada","wait":true}]"#,
                r#"{"type":"join","room":"k","resume":"t","key":"h","name":"Ada"}"#,
            ),
            (r#"2["leave"]"#, r#"{"type":"leave"}"#),
            (r#"2["ice-servers"]"#, r#"{"type":"ice-servers"}"#),
            (
                r#"2["offer",{"sdp":{ "sdp":"v=0\r\n" },"target":"T"}]"#,
                r#"{"type":"offer","target":"T","sdp":{ "sdp":"v=0\r\n" }}"#,
            ),
            (r#"2["answer",{"target":"T","sdp":"v=0"}]"#, r#"{"type":"answer","target":"T","sdp":"v=0"}"#),
            (
                r#"27["candidate",{"target":"T","candidate":null,"call":"x"}]"#,
                r#"{"type":"candidate","target":"T","candidate":null}"#,
            ),
        ] {
            assert_eq!(frame(packet).as_deref(), Some(expected), "{packet}");
        }
    }

    #[test]
    fn wrong_arguments_make_a_frame_that_is_refused() {
        assert_eq!(frame(r#"2["join"]"#).as_deref(), Some(r#"{"type":"join"}"#));
        assert_eq!(frame(r#"2["offer","text"]"#).as_deref(), Some(r#"{"type":"offer"}"#));
        assert_eq!(
            frame(r#"2["candidate",{"target":"T"}]"#).as_deref(),
            Some(r#"{"type":"candidate","target":"T"}"#)
        );
    }

    #[test]
    fn unknown_events_are_ignored() {
        for packet in [r#"2["message","hello"]"#, r#"2["report",{}]"#, r#"2["look",{"room":"k"}]"#] {
            assert_eq!(frame(packet), None, "{packet}");
        }
    }

    #[test]
    fn the_frames_of_the_server_become_events() {
        let servers = r#""iceServers":[{"urls":["stun:h:1"]}],"ttl":60"#;
        for (frame, expected) in [
            (
                format!(
                    r#"{{"type":"resp-join","id":"A","room":"k","peer":"B",{servers},"resume":"t","resumed":false}}"#
                ),
                format!(r#"42["resp-join","B",{{{servers},"resume":"t"}}]"#),
            ),
            (
                format!(
                    r#"{{"type":"resp-join","id":"A","room":"k","peer":null,{servers},"resume":"t","resumed":false}}"#
                ),
                format!(r#"42["ice-servers",{{{servers},"resume":"t"}}]"#),
            ),
            (format!(r#"{{"type":"ice-servers",{servers}}}"#), format!(r#"42["ice-servers",{{{servers}}}]"#)),
            (r#"{"type":"new-peer","id":"B","name":"Ada"}"#.into(), r#"42["new-peer","B"]"#.into()),
            (r#"{"type":"peer-leave","id":"B"}"#.into(), r#"42["peer-leave","B"]"#.into()),
            (
                r#"{"type":"offer","from":"B","sdp":{ "a":1 },"call":"x/0"}"#.into(),
                r#"42["offer",{"from":"B","sdp":{ "a":1 }}]"#.into(),
            ),
            (
                r#"{"type":"candidate","from":"B","candidate":{"c":1}}"#.into(),
                r#"42["candidate",{"from":"B","candidate":{"c":1}}]"#.into(),
            ),
            (
                r#"{"type":"error","code":"room-full","message":"Two."}"#.into(),
                r#"42["error",{"code":"room-full","message":"Two."}]"#.into(),
            ),
            (
                r#"{"type":"redirect","url":"wss://b2.call.example:8443/ws","room":"k","fence":7}"#.into(),
                r#"42["error",{"code":"redirect","message":"https://b2.call.example:8443"}]"#.into(),
            ),
        ] {
            assert_eq!(server_event(&frame).as_deref(), Some(&*expected), "{frame}");
        }
    }

    #[test]
    fn frames_that_the_example_does_not_know_are_dropped() {
        for frame in [
            r#"{"type":"candidate","from":"B","candidate":null,"call":"x"}"#,
            r#"{"type":"peer-away","id":"B"}"#,
            r#"{"type":"peer-back","id":"B"}"#,
            r#"{"type":"pong"}"#,
            r#"{"type":"knock","id":"B"}"#,
        ] {
            assert_eq!(server_event(frame), None, "{frame}");
        }
    }
}
