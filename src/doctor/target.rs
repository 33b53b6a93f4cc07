//! What of a box is knocked at, and where.
//!
//! Pure. On its own host the box is reached by an address of this host, never by way of a router: whether
//! a router passes something on shows from outside alone.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::judge::relay::{Carrier, Way};
use crate::config::{Identity, Listen, Settings};
use webrtc_box_turn::addr::Family;

/// A box as people reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// In the certificate.
    pub(super) name: String,
    /// A certificate signed by itself is meant.
    pub(super) try_out: bool,
    /// Of the page, a proxy's where the box has none.
    pub(super) page: Option<u16>,
    /// Redirects to the page.
    pub(super) http: Option<u16>,
    pub(super) ports: RelayPorts,
    /// Those who begin a connection to the box with a PROXY header.
    pub(super) proxies: Vec<IpNet>,
    /// The page is the box's own, not a proxy's.
    own_page: bool,
}

/// Where the relay is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RelayPorts {
    pub(super) udp: BTreeSet<u16>,
    pub(super) tcp: BTreeSet<u16>,
    pub(super) tls: BTreeSet<u16>,
}

const HTTPS: u16 = 443;

impl Target {
    /// The box of these settings; `name` where it has one.
    pub(super) fn new(settings: &Settings, name: Option<&str>) -> Self {
        let page = settings.https_port.or(name.map(|_| HTTPS));
        let turn = settings.turn_port;
        let tls = name.and(turn).map(|_| settings.https_port.into_iter().chain(settings.turns_port));
        Self {
            name: name.unwrap_or("localhost").to_owned(),
            try_out: name.is_none(),
            page,
            http: settings.https_port.and(settings.http_port),
            ports: RelayPorts {
                udp: turn.into_iter().collect(),
                tcp: turn.into_iter().collect(),
                tls: tls.into_iter().flatten().collect(),
            },
            proxies: settings.proxy_protocol.clone(),
            own_page: settings.https_port.is_some(),
        }
    }

    /// Those who begin a connection to the page with a PROXY header.
    pub(super) fn page_proxies(&self) -> &[IpNet] {
        if self.own_page { &self.proxies } else { &[] }
    }

    /// The host as a URL has it.
    pub(super) fn authority(&self) -> String {
        match self.page {
            None | Some(HTTPS) => self.name.clone(),
            Some(port) => format!("{}:{port}", self.name),
        }
    }

    /// What people type.
    pub(super) fn origin(&self) -> String {
        format!("https://{}/", self.authority())
    }
}

impl RelayPorts {
    /// Every way over every one of `addresses`.
    pub(super) fn ways(&self, addresses: &[IpAddr]) -> Vec<Way> {
        let each = |carrier: Carrier, ports: &BTreeSet<u16>| -> Vec<Way> {
            let over =
                |port: &u16| addresses.iter().map(|ip| SocketAddr::new(*ip, *port)).collect::<Vec<_>>();
            ports.iter().flat_map(over).map(|address| Way { carrier, address }).collect()
        };
        let all = [(Carrier::Udp, &self.udp), (Carrier::Tcp, &self.tcp), (Carrier::Tls, &self.tls)];
        all.into_iter().flat_map(|(carrier, ports)| each(carrier, ports)).collect()
    }
}

/// The name of the box of these settings.
pub(super) fn name_of(settings: &Settings) -> Option<&str> {
    match &settings.identity {
        Identity::TryOut => None,
        Identity::Domain { name, .. } => Some(name),
    }
}

/// One address of each family: on this host, the one that the name leads to where that is ours, else
/// one that is listened on.
pub(super) fn reach_here(listen: &Listen, interfaces: &[IpAddr], resolved: &[IpAddr]) -> Vec<IpAddr> {
    let one = |family: Family| {
        let of =
            |ips: &[IpAddr]| ips.iter().copied().filter(|ip| Family::of(*ip) == family).collect::<Vec<_>>();
        let named = of(resolved).into_iter().find(|ip| interfaces.contains(ip) && listen.covers(*ip));
        let loopback = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let wide = || (listen.covers(loopback) && !of(interfaces).is_empty()).then_some(loopback);
        let narrow = || match listen {
            Listen::Any => None,
            Listen::These(these) => of(these).into_iter().find(|ip| !ip.is_unspecified()),
        };
        named.or_else(wide).or_else(narrow)
    };
    Family::BOTH.into_iter().filter_map(one).collect()
}

/// One address of each family that a name leads to.
pub(super) fn reach_elsewhere(resolved: &[IpAddr]) -> Vec<IpAddr> {
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
    fn a_box_with_a_name_is_tried_over_every_transport() {
        let target = Target::new(&serving(), Some("box.example"));
        assert_eq!(target.origin(), "https://box.example/");
        let ways = target.ports.ways(&ips(&["45.0.0.10", "2a00::10"]));
        let lines: Vec<_> = ways.iter().map(|way| format!("{:?} {}", way.carrier, way.address)).collect();
        let expected =
            ["Udp 45.0.0.10:3478", "Udp [2a00::10]:3478", "Tcp 45.0.0.10:3478", "Tcp [2a00::10]:3478"];
        assert_eq!(lines[..4], expected);
        assert_eq!(lines[4..6], ["Tls 45.0.0.10:443", "Tls [2a00::10]:443"]);
        assert_eq!(lines[6..], ["Tls 45.0.0.10:5349", "Tls [2a00::10]:5349"]);
    }

    #[test]
    fn trying_out_has_no_tls_and_behind_a_proxy_the_page_is_the_proxys() {
        let trying = Target::new(&settings(), None);
        assert_eq!((trying.origin().as_str(), trying.ports.tls.len()), ("https://localhost:8443/", 0));
        let behind = Settings { https_port: None, http_port: Some(8080), ..serving() };
        let target = Target::new(&behind, Some("box.example"));
        assert_eq!((target.page, target.http), (Some(443), None));
        assert_eq!(target.ports.tls, BTreeSet::from([5349]));
    }

    #[test]
    fn without_a_relay_there_is_no_way() {
        let off = Settings { turn_port: None, ..serving() };
        assert!(Target::new(&off, Some("box.example")).ports.ways(&ips(&["45.0.0.10"])).is_empty());
    }

    #[test]
    fn on_its_host_a_box_is_reached_by_an_address_of_the_host() {
        let host = ips(&["127.0.0.1", "45.0.0.10", "::1"]);
        assert_eq!(reach_here(&Listen::Any, &host, &ips(&["45.0.0.10"])), ips(&["45.0.0.10", "::1"]));
        assert_eq!(reach_here(&Listen::Any, &host, &ips(&["45.0.0.99"])), ips(&["127.0.0.1", "::1"]));
        let these = |texts: &[&str]| Listen::These(ips(texts));
        assert_eq!(reach_here(&these(&["45.0.0.10"]), &host, &[]), ips(&["45.0.0.10"]));
        assert_eq!(reach_here(&these(&["0.0.0.0"]), &host, &[]), ips(&["127.0.0.1"]));
        assert_eq!(reach_here(&Listen::Any, &ips(&["127.0.0.1"]), &[]), ips(&["127.0.0.1"]));
    }

    #[test]
    fn elsewhere_it_is_reached_by_what_its_name_leads_to() {
        let resolved = ips(&["45.0.0.10", "45.0.0.11", "2a00::10"]);
        assert_eq!(reach_elsewhere(&resolved), ips(&["45.0.0.10", "2a00::10"]));
    }
}
