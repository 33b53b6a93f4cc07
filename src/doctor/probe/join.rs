//! A real join: a seat in a room nobody can guess, and out again.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Instant;

use futures_util::{SinkExt as _, StreamExt as _};
use ipnet::IpNet;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};

use super::{ANSWER, dial};
use crate::doctor::judge::Trouble;
use crate::doctor::judge::page::Joined;

/// Frames that are read before the answer must have come.
const MOST_FRAMES: usize = 8;

/// `room` must be a name that nobody else thinks of.
pub(in crate::doctor) async fn join(
    address: SocketAddr,
    proxies: &[IpNet],
    name: &str,
    authority: &str,
    room: &str,
) -> Joined {
    let joined = async {
        let stream = dial::tls(address, proxies, name, &[b"http/1.1"]).await?.stream;
        let began = Instant::now();
        let mut socket = open(stream, authority).await?;
        let answer = ask(&mut socket, room).await?;
        // The seat goes with `leave` or, if that is lost, after its grace.
        let _ = socket.send(Message::text(json!({"type": "leave"}).to_string())).await;
        let _ = socket.close(None).await;
        Ok(read(&answer, began))
    };
    match timeout(ANSWER + ANSWER, joined).await {
        Ok(Ok(joined)) => joined,
        Ok(Err(trouble)) => Joined::NoSocket(Trouble::to_string(&trouble)),
        Err(_) => Joined::NoSocket("no answer".to_owned()),
    }
}

fn broken(error: impl Display) -> Trouble {
    Trouble::Broken(error.to_string())
}

async fn open<S>(stream: S, authority: &str) -> Result<WebSocketStream<S>, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = format!("wss://{authority}/ws").into_client_request().map_err(broken)?;
    let origin = HeaderValue::from_str(&format!("https://{authority}")).map_err(broken)?;
    request.headers_mut().insert(header::ORIGIN, origin);
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await.map_err(broken)?;
    Ok(socket)
}

/// The box's answer to our join.
async fn ask<S>(socket: &mut WebSocketStream<S>, room: &str) -> Result<Value, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let join = json!({"type": "join", "room": room}).to_string();
    socket.send(Message::text(join)).await.map_err(broken)?;
    for _ in 0..MOST_FRAMES {
        let frame = socket.next().await.ok_or_else(|| broken("it hangs up"))?.map_err(broken)?;
        let Message::Text(text) = frame else { continue };
        let value: Value = serde_json::from_str(&text).map_err(broken)?;
        if value["type"] == "resp-join" || value["type"] == "error" {
            return Ok(value);
        }
    }
    Err(broken("says other things than to a join"))
}

fn read(answer: &Value, began: Instant) -> Joined {
    if answer["type"] == "resp-join" {
        let servers = answer["iceServers"].as_array().map_or(&[][..], Vec::as_slice);
        let urls = servers.iter().filter_map(|server| server["urls"].as_array()).map(Vec::len).sum();
        return Joined::Seated { took: began.elapsed(), urls };
    }
    match answer["code"].as_str() {
        Some("key-required") => Joined::KeyRequired,
        code => Joined::Refused(code.unwrap_or("no code").to_owned()),
    }
}
