//! `/test.json`: the box's own relay listeners as probes, one for each transport and family, with a
//! credential for whoever tests.
//!
//! Pure. Plain UDP and TCP are probed by address, which is what fixes the family; TLS by the name that
//! is in its certificate. Where no IPv4 address is known by which people reach the box, the name stands
//! in and the family is whichever it leads to; in try-out mode that is the host the browser used.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::Serialize;

use crate::clock::UnixSeconds;
use crate::config::{Identity, Settings, browsers_accept};
use webrtc_box_turn::credential::{Credential, Principal, Secrets};
use webrtc_box_turn::principal::{IsolationGroup, PrincipalId};

/// How long a test's credential opens allocations.
const TTL: Duration = Duration::from_secs(300);

/// What of the box is probed, and by which names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probing {
    /// The name in the certificate; `None` in try-out mode.
    pub host: Option<String>,
    /// Port of TURN over UDP and TCP; without it there is nothing to probe.
    pub turn: Option<u16>,
    /// Ports of TURN over TLS.
    pub turns: Vec<u16>,
    /// Addresses people reach the box by, at most one of each family.
    pub addresses: Vec<IpAddr>,
}

/// What `/test.json` says.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Sheet {
    probes: Vec<Probe>,
    #[serde(flatten)]
    credential: Credential,
    /// Seconds the credential opens allocations.
    ttl: u64,
}

/// One way to the relay.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Probe {
    name: &'static str,
    /// `any` where a name leads to the box, by whichever family.
    family: &'static str,
    port: u16,
    /// For an entry of `iceServers` of its own.
    urls: Vec<String>,
}

impl Probing {
    /// The listeners that `settings` ask for, reached by name until `addresses` are known. Browsers are
    /// handed only one of the TLS ports; here each is probed.
    pub fn of(settings: &Settings) -> Self {
        let turn = settings.turn_port;
        let https = settings.https_port.filter(|&port| browsers_accept(port));
        let (host, turns) = match &settings.identity {
            Identity::TryOut => (None, Vec::new()),
            Identity::Domain { name, .. } => {
                (Some(name.clone()), https.into_iter().chain(settings.turns_port).collect())
            }
        };
        Self { host, turn, turns: if turn.is_some() { turns } else { Vec::new() }, addresses: Vec::new() }
    }

    /// The same while there is no certificate that anybody trusts.
    #[must_use]
    pub fn without_tls(self) -> Self {
        Self { turns: Vec::new(), ..self }
    }

    /// The sheet for a browser that reached us as `seen_host` (an IPv6 address in brackets). Each has a
    /// tag of its own, made of `chance`, so that no two who test reach each other.
    pub(super) fn sheet(
        &self,
        secrets: &Secrets,
        seen_host: &str,
        unix: UnixSeconds,
        chance: ([u8; 16], [u8; 16]),
    ) -> Sheet {
        let holder = Principal::Tester(IsolationGroup::new(chance.0), PrincipalId::new(chance.1));
        let credential = secrets.mint(&holder, unix.saturating_add(TTL.as_secs()));
        Sheet { probes: self.probes(seen_host), credential, ttl: TTL.as_secs() }
    }

    fn probes(&self, seen_host: &str) -> Vec<Probe> {
        let name = self.host.as_deref().unwrap_or(seen_host);
        let mut hosts: Vec<_> = self.addresses.iter().map(|ip| (family_of(*ip), in_url(*ip))).collect();
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

/// The family of a host as a URL has it.
fn family_in(host: &str) -> &'static str {
    if host.starts_with('[') {
        "ipv6"
    } else if host.parse::<Ipv4Addr>().is_ok() {
        "ipv4"
    } else {
        "any"
    }
}

fn in_url(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use webrtc_box_turn::credential::{Secret, Username};

    fn probing(addresses: &[&str]) -> Probing {
        Probing {
            host: Some("box.example".into()),
            turn: Some(3478),
            turns: vec![443, 5349],
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn listed(probing: &Probing, seen: &str) -> Vec<String> {
        let probes = probing.probes(seen);
        probes.iter().map(|p| format!("{} {} {} {}", p.name, p.family, p.port, p.urls.join(" "))).collect()
    }

    #[test]
    fn each_transport_is_probed_over_each_family_by_address_and_tls_by_name() {
        let expected = [
            "turn-udp ipv4 3478 turn:45.0.0.10:3478?transport=udp",
            "turn-udp ipv6 3478 turn:[2a00::10]:3478?transport=udp",
            "turn-tcp ipv4 3478 turn:45.0.0.10:3478?transport=tcp",
            "turn-tcp ipv6 3478 turn:[2a00::10]:3478?transport=tcp",
            "turn-tls any 443 turns:box.example:443?transport=tcp",
            "turn-tls any 5349 turns:box.example:5349?transport=tcp",
        ];
        assert_eq!(listed(&probing(&["45.0.0.10", "2a00::10"]), "seen"), expected);
    }

    #[test]
    fn behind_a_translator_the_name_stands_in_for_the_address() {
        let expected = [
            "turn-udp any 3478 turn:box.example:3478?transport=udp",
            "turn-tcp any 3478 turn:box.example:3478?transport=tcp",
        ];
        let bare = Probing { turns: Vec::new(), ..probing(&[]) };
        assert_eq!(listed(&bare, "seen"), expected);
        let v6 = listed(&probing(&["2a00::10"]), "seen");
        assert_eq!(&v6[..2], ["turn-udp ipv6 3478 turn:[2a00::10]:3478?transport=udp", expected[0]]);
    }

    #[test]
    fn in_try_out_mode_the_host_of_the_browser_is_probed() {
        let trying = Probing { host: None, turns: Vec::new(), ..probing(&[]) };
        for (seen, expected) in [
            ("localhost", "turn-udp any 3478 turn:localhost:3478?transport=udp"),
            ("192.168.1.2", "turn-udp ipv4 3478 turn:192.168.1.2:3478?transport=udp"),
            ("[fd00::2]", "turn-udp ipv6 3478 turn:[fd00::2]:3478?transport=udp"),
        ] {
            assert_eq!(listed(&trying, seen)[0], expected);
        }
    }

    #[test]
    fn a_box_without_a_relay_has_nothing_to_probe() {
        assert!(listed(&Probing::default(), "seen").is_empty());
    }

    #[test]
    fn the_sheet_is_what_the_page_expects_and_its_credential_is_a_testers() {
        let secrets = Secrets::new(Secret::new("north"), vec![]);
        let one = Probing { turn: Some(3478), ..Probing::default() };
        let sheet = one.sheet(&secrets, "localhost", 1000, ([1; 16], [2; 16]));
        let holder = Principal::Tester(IsolationGroup::new([1; 16]), PrincipalId::new([2; 16]));
        let username = Username::parse(&sheet.credential.username);
        assert_eq!(username, Some(Username { expiry: 1300, principal: holder }));
        let json = serde_json::to_value(&sheet).unwrap();
        assert_eq!(json["probes"][0]["urls"][0], "turn:localhost:3478?transport=udp");
        let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["credential", "probes", "ttl", "username"]);
        assert_eq!(json["ttl"], 300);
    }
}
