//! Plain HTTP, which should lead to the page.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{ANSWER, dial, within};
use crate::doctor::judge::Trouble;

/// Bytes of a reply that are looked at.
const HEAD: u64 = 4096;

/// Status and `Location` (empty where there is none).
pub(in crate::doctor) async fn follow(address: SocketAddr, name: &str) -> Result<(u16, String), Trouble> {
    let mut stream = dial::tcp(address, &[]).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    let reply = within(ANSWER, async {
        let mut reply = Vec::new();
        stream.write_all(request.as_bytes()).await.map_err(|error| dial::trouble(&error))?;
        stream.take(HEAD).read_to_end(&mut reply).await.map_err(|error| dial::trouble(&error))?;
        Ok(reply)
    });
    read(&reply.await?).ok_or_else(|| Trouble::Broken("not with HTTP".to_owned()))
}

fn read(reply: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(reply);
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let location = lines.find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("location").then(|| value.to_owned())
    });
    Some((status, location.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_location_are_read() {
        let head = b"HTTP/1.1 308 Permanent Redirect\r\nlocation: https://box.example/\r\n\r\n";
        assert_eq!(read(head), Some((308, "https://box.example/".to_owned())));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n\r\n"), Some((200, String::new())));
        assert_eq!(read(b"SSH-2.0-OpenSSH\r\n"), None);
    }
}
