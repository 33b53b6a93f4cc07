//! Two HTTP/2 clients over any stream: [`Http2Client`] as browsers are, and [`Http2Frames`], which sends any frames.

use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::http_client::Reply;
use super::web_server::TEST_TIMEOUT;

/// Numbers of frame types (RFC 9113 §6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags of frames; an acknowledgement is that of SETTINGS and PING.
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113 §7).
pub const NO_ERROR: u32 = 0;
pub const REFUSED_STREAM: u32 = 7;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// A client with the connection handling of hyper.
#[derive(Clone)]
pub struct Http2Client {
    requests: SendRequest<String>,
    /// The host of the URL, for `:authority`.
    host: String,
}

impl Http2Client {
    pub async fn connect<S>(stream: S, host: &str) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { requests, host: host.to_owned() }
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.request("GET", path, headers, "").await
    }

    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.host))
            .version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = async {
            let reply = self.requests.clone().send_request(request.body(body.to_owned()).unwrap()).await?;
            assert_eq!(reply.version(), Version::HTTP_2);
            let (head, body) = reply.into_parts();
            let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
            let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            let body = http_body_util::BodyExt::collect(body).await?.to_bytes().to_vec();
            Ok::<_, hyper::Error>(Reply { status: head.status.as_u16(), headers, body })
        };
        timeout(TEST_TIMEOUT, reply).await.expect("a response in time").unwrap()
    }

    /// Resolves once the server has closed the connection.
    pub async fn closed(&mut self) {
        let ended = async {
            while self.requests.ready().await.is_ok() {
                tokio::task::yield_now().await
            }
        };
        timeout(TEST_TIMEOUT, ended).await.expect("closed");
    }
}

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub struct ReceivedFrame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A client that sends and receives single frames, and answers nothing by itself.
pub struct Http2Frames<S>(pub S);

impl<S: AsyncRead + AsyncWrite + Unpin> Http2Frames<S> {
    /// Sends the preface with the `settings`, as pairs of a number and a value.
    pub async fn connect(stream: S, settings: &[(u16, u32)]) -> Self {
        let mut client = Self(stream);
        client.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(number, value)| [&number.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        client.send(&frame(SETTINGS, 0, 0, &settings)).await.unwrap();
        client
    }

    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// The next frame; `None` once the server has closed.
    pub async fn receive(&mut self) -> Option<ReceivedFrame> {
        let receive = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            Some(ReceivedFrame { kind, flags, stream: u32::from_be_bytes(stream), payload })
        };
        timeout(TEST_TIMEOUT, receive).await.expect("a frame or the end in time")
    }

    /// The next frame of the type `kind`; `None` once the server has closed.
    pub async fn wait_for(&mut self, kind: u8) -> Option<ReceivedFrame> {
        loop {
            let frame = self.receive().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The error code of the last GOAWAY frame before the server closes.
    pub async fn goaway_code(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.receive().await {
            if frame.kind == GOAWAY {
                code = Some(frame.error_code());
            }
        }
        code
    }
}

impl ReceivedFrame {
    /// The error code of RST_STREAM and GOAWAY.
    pub fn error_code(&self) -> u32 {
        let start = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[start..start + 4].try_into().unwrap())
    }
}

/// The bytes of one frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of `GET /` without `:authority`.
pub const GET_ROOT: [u8; 3] = [0x82, 0x84, 0x87];

/// The field `name: value` without compression (RFC 7541 §6.2.2).
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&string_length(text.len())[..], text.as_bytes()].concat();
    [&[0][..], &text(name), &text(value)].concat()
}

/// The header block of a request for `/` at `host`.
pub fn get_root(host: &str) -> Vec<u8> {
    [&GET_ROOT[..], &field(":authority", host)].concat()
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn string_length(length: usize) -> Vec<u8> {
    if length < 127 {
        return vec![length as u8];
    }
    let mut bytes = vec![127];
    let mut rest = length - 127;
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}
