//! The ports of a server, and the addresses that the doctor connects to.
//!
//! Pure. On its own host the server is reached by an address of the host, never through a router: only a
//! check from outside shows whether a router forwards.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use webrtc_box_turn::addr::Family;

use super::relay::{Route, Transport};
use crate::config::{Identity, Listen, Settings};

/// The ports of a server as clients reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoints {
    /// The name in the certificate.
    pub(super) name: String,
    /// A self-signed certificate is expected.
    pub(super) try_out: bool,
    /// The HTTPS port of the page; that of a proxy if the server has none.
    pub(super) page: Option<u16>,
    /// The HTTP port that redirects to the page.
    pub(super) http: Option<u16>,
    pub(super) relay: RelayPorts,
    /// Proxies that begin a connection to the server with a PROXY header.
    pub(super) proxies: Vec<IpNet>,
    /// The server has the page itself, not a proxy.
    serves_page: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RelayPorts {
    pub(super) udp: BTreeSet<u16>,
    pub(super) tcp: BTreeSet<u16>,
    pub(super) tls: BTreeSet<u16>,
}

const HTTPS: u16 = 443;

impl Endpoints {
    /// `name`: the domain; `None` in try-out mode.
    pub(super) fn new(settings: &Settings, name: Option<&str>) -> Self {
        let turn = settings.turn_port;
        let tls = name.and(turn).map(|_| settings.https_port.into_iter().chain(settings.turns_port));
        Self {
            name: name.unwrap_or("localhost").to_owned(),
            try_out: name.is_none(),
            page: settings.https_port.or(name.map(|_| HTTPS)),
            http: settings.https_port.and(settings.http_port),
            relay: RelayPorts {
                udp: turn.into_iter().collect(),
                tcp: turn.into_iter().collect(),
                tls: tls.into_iter().flatten().collect(),
            },
            proxies: settings.proxy_protocol.clone(),
            serves_page: settings.https_port.is_some(),
        }
    }

    /// Proxies that begin a connection to the page with a PROXY header.
    pub(super) fn page_proxies(&self) -> &[IpNet] {
        if self.serves_page { &self.proxies } else { &[] }
    }

    /// The name, with the port if it is not 443.
    pub(super) fn host(&self) -> String {
        match self.page {
            None | Some(HTTPS) => self.name.clone(),
            Some(port) => format!("{}:{port}", self.name),
        }
    }

    /// The URL of the page.
    pub(super) fn origin(&self) -> String {
        format!("https://{}/", self.host())
    }
}

impl RelayPorts {
    /// Every transport and port over every address.
    pub(super) fn routes(&self, addresses: &[IpAddr]) -> Vec<Route> {
        let ports = [(Transport::Udp, &self.udp), (Transport::Tcp, &self.tcp), (Transport::Tls, &self.tls)];
        let ports =
            ports.into_iter().flat_map(|(transport, ports)| ports.iter().map(move |port| (transport, *port)));
        let route = |transport, port, ip: &IpAddr| Route { transport, address: SocketAddr::new(*ip, port) };
        ports
            .flat_map(|(transport, port)| addresses.iter().map(move |ip| route(transport, port, ip)))
            .collect()
    }
}

/// The domain of these settings; `None` in try-out mode.
pub(super) fn domain(settings: &Settings) -> Option<&str> {
    match &settings.identity {
        Identity::TryOut => None,
        Identity::Domain { name, .. } => Some(name),
    }
}

/// One address of each family for a server on this host: one of the domain if an interface has it,
/// otherwise loopback, otherwise one in `listen`.
pub(super) fn local_addresses(listen: &Listen, interfaces: &[IpAddr], resolved: &[IpAddr]) -> Vec<IpAddr> {
    let one = |family: Family| {
        let is_of_family = |ip: &&IpAddr| Family::of(**ip) == family;
        let named =
            || resolved.iter().filter(is_of_family).find(|ip| interfaces.contains(ip) && listen.covers(**ip));
        let loopback = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let has_family = || interfaces.iter().any(|ip| is_of_family(&ip));
        let listed = || match listen {
            Listen::Any => None,
            Listen::These(these) => {
                these.iter().filter(is_of_family).find(|ip| !ip.is_unspecified()).copied()
            }
        };
        named()
            .copied()
            .or_else(|| (listen.covers(loopback) && has_family()).then_some(loopback))
            .or_else(listed)
    };
    Family::BOTH.into_iter().filter_map(one).collect()
}

/// One address of each family of those that a name leads to.
pub(super) fn remote_addresses(resolved: &[IpAddr]) -> Vec<IpAddr> {
    let first = |family| resolved.iter().copied().find(|ip| Family::of(*ip) == family);
    Family::BOTH.into_iter().filter_map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RawSettings, StateDirDefaults};

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn settings() -> Settings {
        RawSettings::default().validate(&StateDirDefaults::default()).unwrap()
    }

    fn serving() -> Settings {
        Settings { https_port: Some(443), http_port: Some(80), turns_port: Some(5349), ..settings() }
    }

    #[test]
    fn a_server_with_a_name_has_routes_over_every_transport() {
        let endpoints = Endpoints::new(&serving(), Some("box.example"));
        assert_eq!(endpoints.origin(), "https://box.example/");
        let routes = endpoints.relay.routes(&ips(&["45.0.0.10", "2a00::10"]));
        let lines: Vec<_> =
            routes.iter().map(|route| format!("{:?} {}", route.transport, route.address)).collect();
        let expected =
            ["Udp 45.0.0.10:3478", "Udp [2a00::10]:3478", "Tcp 45.0.0.10:3478", "Tcp [2a00::10]:3478"];
        assert_eq!(lines[..4], expected);
        assert_eq!(lines[4..6], ["Tls 45.0.0.10:443", "Tls [2a00::10]:443"]);
        assert_eq!(lines[6..], ["Tls 45.0.0.10:5349", "Tls [2a00::10]:5349"]);
    }

    #[test]
    fn try_out_has_no_tls_and_a_proxy_has_port_443() {
        let trying = Endpoints::new(&settings(), None);
        assert_eq!((trying.origin().as_str(), trying.relay.tls.len()), ("https://localhost:8443/", 0));
        let behind = Settings { https_port: None, http_port: Some(8080), ..serving() };
        let endpoints = Endpoints::new(&behind, Some("box.example"));
        assert_eq!((endpoints.page, endpoints.http), (Some(443), None));
        assert_eq!(endpoints.relay.tls, BTreeSet::from([5349]));
    }

    #[test]
    fn without_a_relay_there_is_no_route() {
        let off = Settings { turn_port: None, ..serving() };
        assert!(Endpoints::new(&off, Some("box.example")).relay.routes(&ips(&["45.0.0.10"])).is_empty());
    }

    #[test]
    fn a_local_server_is_reached_by_an_address_of_the_host() {
        let host = ips(&["127.0.0.1", "45.0.0.10", "::1"]);
        assert_eq!(local_addresses(&Listen::Any, &host, &ips(&["45.0.0.10"])), ips(&["45.0.0.10", "::1"]));
        assert_eq!(local_addresses(&Listen::Any, &host, &ips(&["45.0.0.99"])), ips(&["127.0.0.1", "::1"]));
        let these = |texts: &[&str]| Listen::These(ips(texts));
        assert_eq!(local_addresses(&these(&["45.0.0.10"]), &host, &[]), ips(&["45.0.0.10"]));
        assert_eq!(local_addresses(&these(&["0.0.0.0"]), &host, &[]), ips(&["127.0.0.1"]));
        assert_eq!(local_addresses(&Listen::Any, &ips(&["127.0.0.1"]), &[]), ips(&["127.0.0.1"]));
    }

    #[test]
    fn a_remote_server_is_reached_by_the_addresses_of_its_name() {
        let resolved = ips(&["45.0.0.10", "45.0.0.11", "2a00::10"]);
        assert_eq!(remote_addresses(&resolved), ips(&["45.0.0.10", "2a00::10"]));
    }
}
