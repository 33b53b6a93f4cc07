//! The same messages in two framings: webrtc-box (one JSON object per frame) and socket.io, which is Engine.IO 4 (`0` open,
//! `2` ping, `3` pong, `4` message) with Socket.IO 5 in the messages (`0` connect, `2` event).

use serde_json::{Value, json};

/// The framing of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// docs/protocol.md.
    WebrtcBox,
    /// The WebSocket transport of socket.io's browser client.
    SocketIo,
}

/// A frame from a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// The connection is ready.
    Ready,
    /// The join succeeded; the ID of the peer, if there is one.
    Joined(Option<String>),
    /// A peer joined.
    NewPeer(String),
    /// A candidate of the peer.
    Candidate,
    /// A request with its reply.
    ReplyWith(&'static str),
    /// Any other frame.
    Other,
}

impl Dialect {
    /// The path of the opening handshake.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::WebrtcBox => "/ws",
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    pub(crate) fn join(self, room: &str) -> String {
        self.frame("join", &json!({ "room": room }))
    }

    pub(crate) fn leave(self) -> String {
        self.frame("leave", &json!({}))
    }

    /// A server-reflexive candidate as Chromium writes it; some 290 bytes in either framing.
    pub(crate) fn candidate(self, target: &str) -> String {
        let candidate = json!({
            "candidate": "candidate:842163049 1 udp 1677729535 203.0.113.177 46154 typ srflx raddr \
                192.168.100.17 rport 46154 generation 0 ufrag EEtu network-id 1 network-cost 10",
            "sdpMid": "0",
            "sdpMLineIndex": 0,
            "usernameFragment": "EEtu",
        });
        self.frame("candidate", &json!({ "target": target, "candidate": candidate }))
    }

    pub(crate) fn parse(self, text: &str) -> Incoming {
        match self {
            Self::WebrtcBox if text.starts_with(r#"{"type":"candidate","#) => Incoming::Candidate,
            Self::WebrtcBox => {
                let frame: Value = serde_json::from_str(text).unwrap();
                meaning(frame["type"].as_str().unwrap(), &frame)
            }
            Self::SocketIo => match text.as_bytes() {
                [b'0', ..] => Incoming::ReplyWith("40"),
                [b'2'] => Incoming::ReplyWith("3"),
                [b'4', b'0', ..] => Incoming::Ready,
                _ if text.starts_with(r#"42["candidate","#) => Incoming::Candidate,
                [b'4', b'2', event @ ..] => {
                    let event: Value = serde_json::from_slice(event).unwrap();
                    meaning(event[0].as_str().unwrap(), &event[1])
                }
                _ => Incoming::Other,
            },
        }
    }

    fn frame(self, kind: &str, body: &Value) -> String {
        let body = body.to_string();
        match self {
            // As the page writes it: the type comes first.
            Self::WebrtcBox if body == "{}" => format!(r#"{{"type":"{kind}"}}"#),
            Self::WebrtcBox => format!(r#"{{"type":"{kind}",{}"#, &body[1..]),
            Self::SocketIo => format!(r#"42["{kind}",{body}]"#),
        }
    }
}

fn meaning(kind: &str, body: &Value) -> Incoming {
    match kind {
        "resp-join" => Incoming::Joined(body["peer"].as_str().map(str::to_owned)),
        "new-peer" => Incoming::NewPeer(body["id"].as_str().unwrap().to_owned()),
        "error" => panic!("the server refused: {body}"),
        _ => Incoming::Other,
    }
}
