//! `iceServers`: URLs of the STUN and TURN listeners, with a credential for TURN.

use std::fmt;

use serde::Serialize;

use crate::UnixSeconds;
use crate::seat::{RoomTag, SeatId};

/// The STUN and TURN listeners that browsers use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IceUrls {
    /// The host in the URLs; `None` uses the host by which the browser reached the server.
    pub host: Option<String>,
    /// Port of STUN over UDP.
    pub stun: Option<u16>,
    /// Port of TURN over UDP.
    pub turn_udp: Option<u16>,
    /// Port of TURN over TCP.
    pub turn_tcp: Option<u16>,
    /// Ports of TURN over TLS, in order of preference.
    pub turns: Vec<u16>,
}

/// One entry of `iceServers`, as `RTCPeerConnection` accepts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// URLs (RFC 7064, RFC 7065).
    pub urls: Vec<String>,
    /// The TURN credential; STUN needs none.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub credential: Option<IceCredential>,
}

/// A TURN username and its password, as fields of an `iceServers` entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IceCredential {
    /// The username.
    pub username: String,
    /// The password, called `credential` in the entry.
    #[serde(rename = "credential")]
    pub password: String,
}

/// Issues TURN credentials to participants.
pub trait CredentialIssuer: fmt::Debug + Send + Sync {
    /// A credential for the participant in `seat` of `room` that opens allocations until `expiry`.
    fn issue(&self, room: RoomTag, seat: SeatId, expiry: UnixSeconds) -> IceCredential;
}

impl IceUrls {
    /// Without TURN over TLS, for a server without a trusted certificate.
    #[must_use]
    pub fn without_tls(self) -> Self {
        Self { turns: Vec::new(), ..self }
    }

    /// The entries for a browser that reached the server as `seen_host` (an IPv6 address in brackets).
    pub fn servers(&self, seen_host: &str, credential: IceCredential) -> Vec<IceServer> {
        let host = self.host.as_deref().unwrap_or(seen_host);
        let stun = self.stun.map(|port| format!("stun:{host}:{port}"));
        let stun = IceServer { urls: stun.into_iter().collect(), credential: None };
        let turn = IceServer { urls: self.turn_urls(seen_host), credential: Some(credential) };
        [stun, turn].into_iter().filter(|server| !server.urls.is_empty()).collect()
    }

    /// The URLs that need a credential.
    pub fn turn_urls(&self, seen_host: &str) -> Vec<String> {
        let host = self.host.as_deref().unwrap_or(seen_host);
        let udp = self.turn_udp.map(|port| format!("turn:{host}:{port}?transport=udp"));
        let tcp = self.turn_tcp.map(|port| format!("turn:{host}:{port}?transport=tcp"));
        let tls = self.turns.iter().map(|port| format!("turns:{host}:{port}?transport=tcp"));
        udp.into_iter().chain(tcp).chain(tls).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential() -> IceCredential {
        IceCredential { username: "17:a".into(), password: "secret".into() }
    }

    #[test]
    fn the_entries_are_ready_for_a_peer_connection() {
        let urls = IceUrls {
            host: Some("example.com".into()),
            stun: Some(3478),
            turn_udp: Some(3478),
            turn_tcp: Some(3478),
            turns: vec![443],
        };
        let json = serde_json::to_string(&urls.servers("seen", credential())).unwrap();
        let expected = concat!(
            r#"[{"urls":["stun:example.com:3478"]},"#,
            r#"{"urls":["turn:example.com:3478?transport=udp","turn:example.com:3478?transport=tcp","#,
            r#""turns:example.com:443?transport=tcp"],"username":"17:a","credential":"secret"}]"#
        );
        assert_eq!(json, expected);
    }

    #[test]
    fn without_a_configured_host_the_urls_contain_the_host_of_the_request() {
        let urls = IceUrls { turn_udp: Some(5), ..IceUrls::default() };
        let servers = urls.servers("[::1]", credential());
        assert_eq!(servers.len(), 1);
        assert_eq!(servers[0].urls, ["turn:[::1]:5?transport=udp"]);
        assert!(IceUrls::default().servers("x", credential()).is_empty());
    }
}
