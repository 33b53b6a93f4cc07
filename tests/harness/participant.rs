//! A participant at the WebSocket of the real program, blocking.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};
use webrtc_box_turn::credential::Credential;

use super::server_process::{ServerProcess, Tls};

/// A participant with a seat.
pub struct Participant {
    socket: WebSocket<Tls>,
    pub id: String,
    /// The id of the other participant.
    pub peer: Option<String>,
    /// The resume token.
    pub token: String,
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
        Self::try_join(server, join).expect("a seat")
    }

    /// Takes a seat, or returns the code of the error.
    pub fn try_join(server: &ServerProcess, join: &Value) -> Result<Self, String> {
        let url = format!("wss://localhost:{}/ws", server.https.port());
        let (mut socket, _) = tungstenite::client(url, server.tls()).expect("a WebSocket");
        socket.send(Message::text(join.to_string())).unwrap();
        let reply = receive(&mut socket);
        if reply["type"] == "error" {
            return Err(reply["code"].as_str().unwrap().to_owned());
        }
        assert_eq!(reply["type"], "resp-join", "{reply}");
        let text = |name: &str| reply[name].as_str().map(str::to_owned);
        Ok(Self {
            socket,
            id: text("id").unwrap(),
            peer: text("peer"),
            token: text("resume").unwrap(),
            resumed: reply["resumed"] == true,
            credential: credential_of(&reply),
        })
    }

    pub fn send(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).unwrap();
    }

    /// The next frame of the type `kind`; skips others.
    pub fn wait_for(&mut self, kind: &str) -> Value {
        loop {
            let frame = receive(&mut self.socket);
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Sends a ping and waits for the pong.
    pub fn ping(&mut self) {
        self.send(&json!({ "type": "ping" }));
        self.wait_for("pong");
    }

    /// Waits for the credential that the server pushes, and uses it from now on.
    pub fn wait_for_credential(&mut self) {
        self.credential = credential_of(&self.wait_for("ice-servers"));
    }
}

fn receive(socket: &mut WebSocket<Tls>) -> Value {
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
