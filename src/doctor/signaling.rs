//! Signaling: joins an empty room over the WebSocket and leaves it again. If no WebSocket opens, HTTP long polling is tried.

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

use super::connection::{self, HttpConnection, RESPONSE_LIMIT, Unreachable, within};
use super::http::milliseconds;
use super::report::{Finding, Subject};
use super::server::Server;

const SUBJECT: Subject = Subject::Signaling;
const FORWARD_UPGRADE: &str = "if there is a proxy before the server, let it forward Upgrade and Connection for /ws, \
    see docs/operations.md";
/// How many frames may precede the response.
const MAX_FRAMES: usize = 8;

/// The result of joining a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// `urls`: the number of STUN and TURN URLs in the response.
    Joined { took: Duration, urls: usize },
    /// This server requires a host key for a new room.
    KeyRequired,
    /// Another box of the cluster takes the room; it is in this URL.
    Redirected(String),
    /// The code of an error frame.
    Rejected(String),
    /// No WebSocket, or no response; HTTP long polling works.
    OnlyPolling(String),
    /// Neither the WebSocket nor HTTP long polling works.
    NoSignaling(String),
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
    let reason = match within(2 * RESPONSE_LIMIT, join).await {
        Ok(joined) => return joined,
        Err(error) => error.to_string(),
    };
    match within(RESPONSE_LIMIT, poll(server, address)).await {
        Ok(()) => Join::OnlyPolling(reason),
        Err(_) => Join::NoSignaling(reason),
    }
}

/// Opens and closes a session of HTTP long polling.
async fn poll(server: &Server, address: SocketAddr) -> Result<(), Unreachable> {
    let host = server.host();
    let tls = connection::tls(address, &server.page_proxies, &server.name, &[b"http/1.1"]).await?;
    let mut http = HttpConnection::open(tls.stream).await?;
    let opened = http.post(&host, "/poll", "{}".to_owned()).await?;
    let reply: Value = serde_json::from_slice(opened.body()).map_err(Unreachable::broken)?;
    let session = reply["session"].as_str().ok_or_else(|| Unreachable::broken("opens no session"))?;
    // If this is lost, the session ends by itself.
    let _ = http.post(&host, "/poll", json!({"session": session, "close": 1000}).to_string()).await;
    Ok(())
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
        if ["resp-join", "redirect", "error"].iter().any(|kind| value["type"] == *kind) {
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
        if response["type"] == "redirect" {
            return Self::Redirected(response["url"].as_str().unwrap_or("no URL").to_owned());
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
            Self::Redirected(url) => SUBJECT.ok(format!(
                "the WebSocket answers; this box is full or drains, and sends new rooms to {url}"
            )),
            Self::Rejected(code) => SUBJECT.fail(
                format!("the server rejects a join ({code})"),
                "look into the log of the server, and try again in a minute",
            ),
            Self::OnlyPolling(reason) => SUBJECT.warn(
                format!("a proxy or firewall blocks WebSockets ({reason}), so calls are set up over HTTP"),
                FORWARD_UPGRADE,
            ),
            Self::NoSignaling(reason) => SUBJECT.fail(
                format!("the server cannot be reached for signaling, neither at /ws ({reason}) nor at /poll"),
                FORWARD_UPGRADE,
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
        let redirected =
            read(&json!({"type": "redirect", "url": "wss://b2.a.example/ws", "room": "r", "fence": 3}));
        assert_eq!(redirected, Join::Redirected("wss://b2.a.example/ws".to_owned()));
        assert_eq!(redirected.evaluate().level, Level::Ok);
        let (blocked, unreachable) = (
            Join::OnlyPolling("HTTP 400".into()).evaluate(),
            Join::NoSignaling("no answer".into()).evaluate(),
        );
        assert_eq!((blocked.level, unreachable.level), (Level::Warn, Level::Fail));
        assert!(blocked.hint.unwrap().contains("Upgrade"));
    }
}
