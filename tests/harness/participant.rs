//! Somebody at the WebSocket of the real program, blocking.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};
use webrtc_box_turn::credential::Credential;

use super::server_process::{ServerProcess, Tls};

/// A seat that was taken.
pub struct Participant {
    socket: WebSocket<Tls>,
    pub id: String,
    /// Who sits in the other one.
    pub peer: Option<String>,
    /// Takes the seat back.
    pub token: String,
    /// Whether it was taken back.
    pub resumed: bool,
    pub credential: Credential,
}

impl Participant {
    pub fn join_room(server: &ServerProcess, room: &str) -> Self {
        Self::join(server, &json!({ "type": "join", "room": room }))
    }

    pub fn resume(server: &ServerProcess, room: &str, token: &str) -> Self {
        Self::join(server, &json!({ "type": "join", "room": room, "resume": token }))
    }

    fn join(server: &ServerProcess, join: &Value) -> Self {
        Self::attempt(server, join).expect("a seat")
    }

    /// Takes a seat, or says the code of the refusal.
    pub fn attempt(server: &ServerProcess, join: &Value) -> Result<Self, String> {
        let url = format!("wss://localhost:{}/ws", server.https.port());
        let (mut socket, _) = tungstenite::client(url, server.tls()).expect("a WebSocket");
        socket.send(Message::text(join.to_string())).unwrap();
        let welcome = hear(&mut socket);
        if welcome["type"] == "error" {
            return Err(welcome["code"].as_str().unwrap().to_owned());
        }
        assert_eq!(welcome["type"], "resp-join", "{welcome}");
        let text = |name: &str| welcome[name].as_str().map(str::to_owned);
        Ok(Self {
            socket,
            id: text("id").unwrap(),
            peer: text("peer"),
            token: text("resume").unwrap(),
            resumed: welcome["resumed"] == true,
            credential: credential_of(&welcome),
        })
    }

    pub fn say(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).unwrap();
    }

    /// The next frame of this type; others are passed over.
    pub fn hear(&mut self, kind: &str) -> Value {
        loop {
            let frame = hear(&mut self.socket);
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// There and back.
    pub fn ping(&mut self) {
        self.say(&json!({ "type": "ping" }));
        self.hear("pong");
    }

    /// Takes a credential that the box has pushed.
    pub fn renew(&mut self) {
        self.credential = credential_of(&self.hear("ice-servers"));
    }
}

fn hear(socket: &mut WebSocket<Tls>) -> Value {
    loop {
        let message = socket.read().expect("a frame");
        if let Message::Text(text) = message {
            return serde_json::from_str(&text).unwrap();
        }
        assert!(message.is_ping() || message.is_pong(), "{message:?}");
    }
}

fn credential_of(frame: &Value) -> Credential {
    let servers = frame["iceServers"].as_array().unwrap();
    let relay = servers.iter().find(|server| server["username"].is_string()).unwrap();
    let text = |name: &str| relay[name].as_str().unwrap().to_owned();
    Credential { username: text("username"), password: text("credential") }
}
