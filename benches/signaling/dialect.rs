//! The same conversation in two framings: ours (one JSON object a frame) and socket.io's, which is
//! Engine.IO 4 below (`0` open, `2` ping, `3` pong, `4` message) and Socket.IO 5 in the messages
//! (`0` connect, `2` event).

use serde_json::{Value, json};

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// docs/architecture.md, "A join".
    Ours,
    /// What the browser's socket.io client sends over its WebSocket transport.
    SocketIo,
}

/// What a frame from a server means to the load.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The connection can be used.
    Ready,
    /// The seat is ours; the other one's name, if somebody sits there.
    Joined(Option<String>),
    /// Somebody took the other seat.
    NewPeer(String),
    /// A candidate from the other seat.
    Candidate,
    /// Something that is to be answered with this.
    Asked(&'static str),
    /// Nothing that counts.
    Other,
}

impl Dialect {
    /// What is asked for in the opening handshake.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Ours => "/ws",
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

    pub(crate) fn hear(self, text: &str) -> Heard {
        match self {
            Self::Ours if text.starts_with(r#"{"type":"candidate","#) => Heard::Candidate,
            Self::Ours => {
                let frame: Value = serde_json::from_str(text).unwrap();
                meaning(frame["type"].as_str().unwrap(), &frame)
            }
            Self::SocketIo => match text.as_bytes() {
                [b'0', ..] => Heard::Asked("40"),
                [b'2'] => Heard::Asked("3"),
                [b'4', b'0', ..] => Heard::Ready,
                _ if text.starts_with(r#"42["candidate","#) => Heard::Candidate,
                [b'4', b'2', event @ ..] => {
                    let event: Value = serde_json::from_slice(event).unwrap();
                    meaning(event[0].as_str().unwrap(), &event[1])
                }
                _ => Heard::Other,
            },
        }
    }

    fn frame(self, kind: &str, body: &Value) -> String {
        let body = body.to_string();
        match self {
            // As our page writes it: the type comes first.
            Self::Ours if body == "{}" => format!(r#"{{"type":"{kind}"}}"#),
            Self::Ours => format!(r#"{{"type":"{kind}",{}"#, &body[1..]),
            Self::SocketIo => format!(r#"42["{kind}",{body}]"#),
        }
    }
}

fn meaning(kind: &str, body: &Value) -> Heard {
    match kind {
        "resp-join" => Heard::Joined(body["peer"].as_str().map(str::to_owned)),
        "new-peer" => Heard::NewPeer(body["id"].as_str().unwrap().to_owned()),
        "error" => panic!("the server refuses: {body}"),
        _ => Heard::Other,
    }
}
