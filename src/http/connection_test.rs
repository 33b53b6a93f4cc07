//! `/test.json`: the TURN listeners of this server as probes, one per transport and address family, with a credential for
//! the connection test.
//!
//! UDP and TCP are probed by address, which determines the family; TLS by the name in the certificate. If no public IPv4
//! address is known, the name replaces it and the family is the one it resolves to. In try-out mode the name is the host of
//! the request.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::Serialize;

use webrtc_box_signaling::UnixSeconds;
use webrtc_box_turn::credential::{Credential, Principal, Secrets};
use webrtc_box_turn::principal::{IsolationGroup, PrincipalId};

use crate::config::{Settings, browsers_accept};
use crate::net::addresses::url_host;

/// How long the credential of a test opens allocations.
const CREDENTIAL_TTL: Duration = Duration::from_secs(300);

/// The listeners that are probed, and their names and addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionTest {
    /// The name that leads to this server alone; `None` in try-out mode.
    pub host: Option<String>,
    /// Port of TURN over UDP and TCP; without it there are no probes.
    pub turn: Option<u16>,
    /// Ports of TURN over TLS.
    pub turns: Vec<u16>,
    /// Public addresses of the server, at most one per family.
    pub addresses: Vec<IpAddr>,
}

/// The content of `/test.json`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct TestResponse {
    probes: Vec<Probe>,
    #[serde(flatten)]
    credential: Credential,
    /// Seconds for which the credential opens allocations.
    ttl: u64,
}

/// One path to the relay.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Probe {
    name: &'static str,
    /// `ipv4`, `ipv6`, or `any` for a name.
    family: &'static str,
    port: u16,
    /// The URLs of an `iceServers` entry.
    urls: Vec<String>,
}

impl ConnectionTest {
    /// The listeners of `settings`, probed by name until `addresses` are known. Participants get only one of the TLS
    /// ports; here each is probed.
    pub fn of(settings: &Settings) -> Self {
        let turn = settings.turn_port;
        let https = settings.https_port.filter(|&port| browsers_accept(port));
        let host = settings.own_name().map(url_host);
        let turns = match host {
            Some(_) => https.into_iter().chain(settings.turns_port).collect(),
            None => Vec::new(),
        };
        Self { host, turn, turns: if turn.is_some() { turns } else { Vec::new() }, addresses: Vec::new() }
    }

    /// Without TURN over TLS, for a server without a trusted certificate.
    #[must_use]
    pub fn without_tls(self) -> Self {
        Self { turns: Vec::new(), ..self }
    }

    /// The response for a browser that reached the server as `seen_host` (an IPv6 address in brackets). Each test has its
    /// own isolation group, the first half of `random`, so tests cannot reach each other.
    pub(super) fn response(
        &self,
        secrets: &Secrets,
        seen_host: &str,
        unix: UnixSeconds,
        random: ([u8; 16], [u8; 16]),
    ) -> TestResponse {
        let principal = Principal::Tester(IsolationGroup::new(random.0), PrincipalId::new(random.1));
        let credential = secrets.mint(&principal, unix.saturating_add(CREDENTIAL_TTL.as_secs()));
        TestResponse { probes: self.probes(seen_host), credential, ttl: CREDENTIAL_TTL.as_secs() }
    }

    fn probes(&self, seen_host: &str) -> Vec<Probe> {
        let name = self.host.as_deref().unwrap_or(seen_host);
        let mut hosts: Vec<_> =
            self.addresses.iter().map(|ip| (family_of(*ip), url_host(&ip.to_string()))).collect();
        if !self.addresses.iter().any(IpAddr::is_ipv4) {
            hosts.push((family_in(name), name.to_owned()));
        }
        let plain = |probe: &'static str, transport: &str| {
            let each = |port| {
                let url = move |host| format!("turn:{host}:{port}?transport={transport}");
                hosts.iter().map(move |(family, host)| Probe::new(probe, family, port, url(host)))
            };
            self.turn.into_iter().flat_map(each).collect::<Vec<_>>()
        };
        let tls = |&port| {
            Probe::new("turn-tls", family_in(name), port, format!("turns:{name}:{port}?transport=tcp"))
        };
        let tls = self.turns.iter().map(tls).collect();
        [plain("turn-udp", "udp"), plain("turn-tcp", "tcp"), tls].into_iter().flatten().collect()
    }
}

impl Probe {
    fn new(name: &'static str, family: &'static str, port: u16, url: String) -> Self {
        Self { name, family, port, urls: vec![url] }
    }
}

fn family_of(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "ipv4" } else { "ipv6" }
}

/// The family of a host in a URL.
fn family_in(host: &str) -> &'static str {
    if host.starts_with('[') {
        "ipv6"
    } else if host.parse::<Ipv4Addr>().is_ok() {
        "ipv4"
    } else {
        "any"
    }
}

#[cfg(test)]
mod tests {
    use webrtc_box_turn::credential::{Secret, Username};

    use super::*;

    fn connection_test(addresses: &[&str]) -> ConnectionTest {
        ConnectionTest {
            host: Some("box.example".into()),
            turn: Some(3478),
            turns: vec![443, 5349],
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn listed(test: &ConnectionTest, seen: &str) -> Vec<String> {
        let probes = test.probes(seen);
        probes.iter().map(|p| format!("{} {} {} {}", p.name, p.family, p.port, p.urls.join(" "))).collect()
    }

    #[test]
    fn udp_and_tcp_are_probed_by_address_and_tls_by_name() {
        let expected = [
            "turn-udp ipv4 3478 turn:45.0.0.10:3478?transport=udp",
            "turn-udp ipv6 3478 turn:[2a00::10]:3478?transport=udp",
            "turn-tcp ipv4 3478 turn:45.0.0.10:3478?transport=tcp",
            "turn-tcp ipv6 3478 turn:[2a00::10]:3478?transport=tcp",
            "turn-tls any 443 turns:box.example:443?transport=tcp",
            "turn-tls any 5349 turns:box.example:5349?transport=tcp",
        ];
        assert_eq!(listed(&connection_test(&["45.0.0.10", "2a00::10"]), "seen"), expected);
    }

    #[test]
    fn without_a_public_ipv4_address_the_name_is_probed() {
        let expected = [
            "turn-udp any 3478 turn:box.example:3478?transport=udp",
            "turn-tcp any 3478 turn:box.example:3478?transport=tcp",
        ];
        let bare = ConnectionTest { turns: Vec::new(), ..connection_test(&[]) };
        assert_eq!(listed(&bare, "seen"), expected);
        let v6 = listed(&connection_test(&["2a00::10"]), "seen");
        assert_eq!(&v6[..2], ["turn-udp ipv6 3478 turn:[2a00::10]:3478?transport=udp", expected[0]]);
    }

    #[test]
    fn in_try_out_mode_the_host_of_the_request_is_probed() {
        let try_out = ConnectionTest { host: None, turns: Vec::new(), ..connection_test(&[]) };
        for (seen, expected) in [
            ("localhost", "turn-udp any 3478 turn:localhost:3478?transport=udp"),
            ("192.168.1.2", "turn-udp ipv4 3478 turn:192.168.1.2:3478?transport=udp"),
            ("[fd00::2]", "turn-udp ipv6 3478 turn:[fd00::2]:3478?transport=udp"),
        ] {
            assert_eq!(listed(&try_out, seen)[0], expected);
        }
    }

    #[test]
    fn a_server_without_a_relay_has_no_probes() {
        assert!(listed(&ConnectionTest::default(), "seen").is_empty());
    }

    #[test]
    fn the_response_has_the_fields_of_the_page_and_a_test_credential() {
        let secrets = Secrets::new(Secret::new("north"), vec![]);
        let one = ConnectionTest { turn: Some(3478), ..ConnectionTest::default() };
        let response = one.response(&secrets, "localhost", 1000, ([1; 16], [2; 16]));
        let principal = Principal::Tester(IsolationGroup::new([1; 16]), PrincipalId::new([2; 16]));
        let username = Username::parse(&response.credential.username);
        assert_eq!(username, Some(Username { expiry: 1300, principal }));
        let json = serde_json::to_value(&response).unwrap();
        assert_eq!(json["probes"][0]["urls"][0], "turn:localhost:3478?transport=udp");
        let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["credential", "probes", "ttl", "username"]);
        assert_eq!(json["ttl"], 300);
    }
}
