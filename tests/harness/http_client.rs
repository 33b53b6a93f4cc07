//! A minimal HTTP/1.1 client over any stream: [`get`] and [`send`] block, [`exchange`] is async.

use std::io::{Read, Write};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::web_server::TEST_TIMEOUT;

/// A parsed response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case, in the order of the response.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// `GET path` on a stream that ends with the response.
pub fn get(stream: impl Read + Write, path: &str) -> Reply {
    send(stream, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// Sends `request` as it is and reads until the server closes.
pub fn send(mut stream: impl Read + Write, request: &str) -> Reply {
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // The response is complete without a TLS close_notify.
    let _ = stream.read_to_end(&mut bytes);
    Reply::parse(&bytes)
}

/// One request with the header lines `lines`, and its response.
pub async fn exchange(
    stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    first: &str,
    lines: &[&str],
) -> Reply {
    exchange_with_body(stream, first, lines, "").await
}

/// Like [`exchange`] with a request body.
pub async fn exchange_with_body(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    first: &str,
    lines: &[&str],
    body: &str,
) -> Reply {
    let upgrade = lines.iter().any(|line| line.starts_with("Upgrade:"));
    let mut request = format!("{first}\r\n");
    lines.iter().for_each(|line| request += &format!("{line}\r\n"));
    request += if upgrade { "\r\n" } else { "Connection: close\r\n\r\n" };
    request += body;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let read = async {
        let mut chunk = [0; 16 * 1024];
        loop {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            }
            // After an upgrade the connection stays open.
            if upgrade && (bytes.ends_with(b"\r\n\r\n") || bytes.ends_with(b".\n")) {
                break;
            }
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, read).await.expect("a response in time");
    Reply::parse(&bytes)
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a complete head");
        let head = std::str::from_utf8(&bytes[..head_end]).unwrap();
        let mut lines = head.split("\r\n");
        let mut status_line = lines.next().unwrap().split(' ');
        assert!(matches!(status_line.next(), Some("HTTP/1.0" | "HTTP/1.1")), "{head}");
        let status = status_line.next().unwrap().parse().unwrap();
        let split =
            |line: &str| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned())).unwrap();
        Self { status, headers: lines.map(split).collect(), body: bytes[head_end + 4..].to_vec() }
    }

    /// The value of a header that occurs at most once; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let value = found.next().map_or("", |(_, value)| value);
        assert!(found.next().is_none(), "{name} occurs twice");
        value
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
