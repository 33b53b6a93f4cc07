//! An authority with certificate profiles: Pebble behind a proxy that adds one to the directory and records which one
//! an order names. Pebble has profiles from version 2.7 on, which is not in Debian 12.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::client::connector;
use super::pebble::Plan;

pub struct ProfileProxy {
    port: u16,
    /// The profile of the last order.
    profile: Arc<Mutex<Option<String>>>,
}

impl ProfileProxy {
    pub async fn start(plan: &Plan) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let profile = Arc::new(Mutex::new(None));
        let (tls, pebble, recorded) = (TlsAcceptor::from(plan.tls()), plan.port(), Arc::clone(&profile));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, recorded) = (tls.clone(), Arc::clone(&recorded));
                tokio::spawn(
                    async move { forward(tls.accept(stream).await.unwrap(), pebble, &recorded).await },
                );
            }
        });
        Self { port, profile }
    }

    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    pub fn last_profile(&self) -> Option<String> {
        self.profile.lock().unwrap().clone()
    }
}

/// One request and its response; the client opens a connection for each.
async fn forward(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    pebble: u16,
    profile: &Mutex<Option<String>>,
) {
    let (head, body) = read_request(&mut client).await;
    if head.starts_with("POST /order-plz ") {
        *profile.lock().unwrap() = payload(&body)["profile"].as_str().map(str::to_owned);
    }
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, pebble)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut server = connector(None).connect(name, stream).await.unwrap();
    // Pebble makes its URLs from `Host`, which stays that of the proxy.
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    let mut response = Vec::new();
    // Pebble may end the connection without close_notify.
    let _ = server.read_to_end(&mut response).await;
    if head.starts_with("GET /dir ") {
        response = with_profile(&response);
    }
    client.write_all(&response).await.unwrap();
    client.shutdown().await.unwrap();
}

async fn read_request(client: &mut (impl AsyncRead + Unpin)) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(client.read_buf(&mut bytes).await.unwrap(), 0, "the request is cut short");
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end + 4].to_vec()).unwrap();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
        });
        if bytes.len() == end + 4 + length.unwrap_or(0) {
            return (head, bytes.split_off(end + 4));
        }
    }
}

/// What a JWS contains.
fn payload(body: &[u8]) -> Value {
    let jws: Value = serde_json::from_slice(body).unwrap();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(jws["payload"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

/// The directory with one profile.
fn with_profile(response: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(response).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let mut directory: Value = serde_json::from_str(body).unwrap();
    directory["meta"]["profiles"] = json!({ "shortlived": "six days" });
    let body = directory.to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}
