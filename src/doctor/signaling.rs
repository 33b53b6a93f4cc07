//! Signaling: joins an empty room over the WebSocket and leaves it again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};

use super::connection::{self, RESPONSE_LIMIT, Unreachable, within};
use super::http::milliseconds;
use super::report::{Finding, Subject};
use super::server::Server;

const SUBJECT: Subject = Subject::Signaling;
/// How many frames may precede the response.
const MAX_FRAMES: usize = 8;

/// The result of joining a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// `urls`: the number of STUN and TURN URLs in the response.
    Joined { took: Duration, urls: usize },
    /// This server requires a host key for a new room.
    KeyRequired,
    /// The code of an error frame.
    Rejected(String),
    /// There was no WebSocket, or no response.
    NoWebSocket(String),
}

type WebSocket = WebSocketStream<TlsStream<TcpStream>>;

/// The room has a random name.
pub(super) async fn observe(server: &Server, address: SocketAddr) -> Join {
    let join = async {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(Unreachable::broken)?;
        let room = format!("check-{}", URL_SAFE_NO_PAD.encode(random));
        let tls = connection::tls(address, &server.page_proxies, &server.name, &[b"http/1.1"]).await?;
        let start = Instant::now();
        let mut socket = open(tls.stream, &server.host()).await?;
        let response = request(&mut socket, &room).await?;
        // If `leave` is lost, the seat expires after its grace period.
        let _ = socket.send(Message::text(json!({"type": "leave"}).to_string())).await;
        let _ = socket.close(None).await;
        Ok(Join::read(&response, start.elapsed()))
    };
    let joined = within(2 * RESPONSE_LIMIT, join).await;
    joined.unwrap_or_else(|error| Join::NoWebSocket(error.to_string()))
}

async fn open(stream: TlsStream<TcpStream>, host: &str) -> Result<WebSocket, Unreachable> {
    let mut request = format!("wss://{host}/ws").into_client_request().map_err(Unreachable::broken)?;
    let origin = HeaderValue::from_str(&format!("https://{host}")).map_err(Unreachable::broken)?;
    request.headers_mut().insert(header::ORIGIN, origin);
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await.map_err(Unreachable::broken)?;
    Ok(socket)
}

/// The response to a join.
async fn request(socket: &mut WebSocket, room: &str) -> Result<Value, Unreachable> {
    let join = json!({"type": "join", "room": room}).to_string();
    socket.send(Message::text(join)).await.map_err(Unreachable::broken)?;
    for _ in 0..MAX_FRAMES {
        let closed = || Unreachable::broken("closes the connection");
        let frame = socket.next().await.ok_or_else(closed)?.map_err(Unreachable::broken)?;
        let Message::Text(text) = frame else { continue };
        let value: Value = serde_json::from_str(&text).map_err(Unreachable::broken)?;
        if value["type"] == "resp-join" || value["type"] == "error" {
            return Ok(value);
        }
    }
    Err(Unreachable::broken("does not respond to a join"))
}

impl Join {
    fn read(response: &Value, took: Duration) -> Self {
        if response["type"] == "resp-join" {
            let servers = response["iceServers"].as_array().map_or(&[][..], Vec::as_slice);
            let urls = servers.iter().filter_map(|server| server["urls"].as_array()).map(Vec::len).sum();
            return Self::Joined { took, urls };
        }
        match response["code"].as_str() {
            Some("key-required") => Self::KeyRequired,
            code => Self::Rejected(code.unwrap_or("no code").to_owned()),
        }
    }

    pub(super) fn evaluate(&self) -> Finding {
        match self {
            Self::Joined { took, urls } => SUBJECT.ok(format!(
                "an empty room was joined and left within {}, with {urls} STUN and TURN URLs",
                milliseconds(*took)
            )),
            Self::KeyRequired => {
                SUBJECT.ok("the WebSocket answers; a new room requires a host key here, so none was opened")
            }
            Self::Rejected(code) => SUBJECT.fail(
                format!("the server rejects a join ({code})"),
                "look into the log of the server, and try again in a minute",
            ),
            Self::NoWebSocket(reason) => SUBJECT.fail(
                format!("the WebSocket /ws does not open ({reason})"),
                "if there is a proxy before the server, let it forward Upgrade and Connection for /ws, \
                 see docs/operations.md",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Level;

    fn read(response: &Value) -> Join {
        Join::read(response, Duration::from_millis(3))
    }

    #[test]
    fn a_join_is_evaluated_by_its_response() {
        let joined = read(&json!({"type": "resp-join", "iceServers": [{"urls": ["stun:a", "turn:a"]}]}));
        assert_eq!(joined, Join::Joined { took: Duration::from_millis(3), urls: 2 });
        assert_eq!(joined.evaluate().level, Level::Ok);
        let error = |code: &str| read(&json!({"type": "error", "code": code})).evaluate().level;
        assert_eq!((error("key-required"), error("rate-limited")), (Level::Ok, Level::Fail));
        let no_websocket = Join::NoWebSocket("HTTP 404".into()).evaluate();
        assert!(no_websocket.hint.unwrap().contains("Upgrade"));
    }
}
