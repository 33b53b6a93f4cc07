//! A server as its clients reach it: its ports and addresses, and what page, redirect, signaling and relay
//! answer, observed concurrently where one does not need the result of another.
//!
//! On its own host the server is reached by an address of the host, never through a router: only a check
//! from another machine shows whether a router forwards.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures_util::future::{OptionFuture, join_all};
use ipnet::IpNet;
use webrtc_box_turn::addr::{Family, Transport};
use webrtc_box_turn::credential::Credential;

use super::certificate::{StoredCertificate, SystemRoots};
use super::http::{self, ConnectionTest, Expected, Redirect, Visit};
use super::relay::{self, Access, Attempt, Route};
use super::report::{Finding, Subject};
use super::signaling::{self, Join};
use crate::clock::{self, UnixSeconds};
use crate::config::{Listen, Settings};
use crate::net::addresses::url_host;

const HTTPS: u16 = 443;

/// How to reach a server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// The name of the page.
    pub(super) name: String,
    /// The name that was asked for, if it is that of one of several boxes.
    node_name: Option<String>,
    /// The server is set up on this host.
    pub(super) is_local: bool,
    /// A self-signed certificate is expected.
    pub(super) try_out: bool,
    /// The HTTPS port of the page; that of a proxy if the server has none.
    page_port: Option<u16>,
    /// The HTTP port that redirects to the page.
    redirect_port: Option<u16>,
    relay_ports: Vec<(Transport, u16)>,
    /// At most one of each family.
    addresses: Vec<IpAddr>,
    /// Proxies that begin a connection to the relay with a PROXY header.
    pub(super) proxies: Vec<IpNet>,
    /// The same for the page; empty if a proxy has it.
    pub(super) page_proxies: Vec<IpNet>,
}

/// What was observed of a server.
#[derive(Debug, Default)]
pub(super) struct Observed {
    visits: Vec<Visit>,
    redirect: Option<Redirect>,
    join: Option<Join>,
    /// `None`: not tried, because the server does not run.
    relay: Option<Vec<Attempt>>,
    credential_error: Option<String>,
}

impl Server {
    /// A server on this host with this domain (`None` in try-out mode), which resolves to `resolved`.
    pub(super) fn local(
        settings: &Settings,
        domain: Option<&str>,
        interfaces: &[IpAddr],
        resolved: &[IpAddr],
    ) -> Self {
        let addresses = local_addresses(&settings.listen, interfaces, resolved);
        Self { is_local: true, ..Self::new(settings, domain, addresses) }
    }

    /// A server of which only the domain is known, which resolves to `resolved`.
    pub(super) fn remote(settings: &Settings, domain: &str, resolved: &[IpAddr]) -> Self {
        Self::new(settings, Some(domain), one_of_each_family(resolved))
    }

    fn new(settings: &Settings, domain: Option<&str>, addresses: Vec<IpAddr>) -> Self {
        let turn = settings.turn_port;
        let tls: BTreeSet<u16> = match domain.and(turn) {
            Some(_) => settings.https_port.into_iter().chain(settings.turns_port).collect(),
            None => BTreeSet::new(),
        };
        let plain = [Transport::Udp, Transport::Tcp].into_iter().filter_map(|it| Some((it, turn?)));
        let proxies = settings.proxy_protocol.clone();
        Self {
            name: domain.unwrap_or("localhost").to_owned(),
            node_name: None,
            is_local: false,
            try_out: domain.is_none(),
            page_port: settings.https_port.or(domain.map(|_| HTTPS)),
            redirect_port: settings.https_port.and(settings.http_port),
            relay_ports: plain.chain(tls.into_iter().map(|port| (Transport::Tls, port))).collect(),
            addresses,
            page_proxies: if settings.https_port.is_some() { proxies.clone() } else { Vec::new() },
            proxies,
        }
    }

    /// The name, with the port of the page if it is not 443.
    pub(super) fn host(&self) -> String {
        match self.page_port {
            None | Some(HTTPS) => url_host(&self.name),
            Some(port) => format!("{}:{port}", url_host(&self.name)),
        }
    }

    /// The URL of the page.
    pub(super) fn origin(&self) -> String {
        format!("https://{}/", self.host())
    }

    /// Where it is reached first.
    pub(super) fn first_address(&self) -> Option<IpAddr> {
        self.addresses.first().copied()
    }

    /// Every transport and port over every address.
    fn routes(&self, ports: &[(Transport, u16)]) -> Vec<Route> {
        let over_each_address = |&(transport, port)| {
            self.addresses.iter().map(move |ip| Route { transport, address: SocketAddr::new(*ip, port) })
        };
        ports.iter().flat_map(over_each_address).collect()
    }

    /// `mint` makes a credential if the page provides none. One of several boxes is then visited under their common name.
    pub(super) async fn observe(
        &mut self,
        roots: &SystemRoots,
        mint: impl FnOnce() -> Result<Credential, String>,
    ) -> Observed {
        let (mut visits, redirect) = tokio::join!(self.visit_page(roots), self.visit_redirect());
        let pages = || visits.iter().filter_map(|visit| visit.outcome.as_ref().ok());
        if let Some(common) = pages().find_map(|page| page.common_name(&self.name)) {
            self.node_name = Some(std::mem::replace(&mut self.name, common));
            visits = self.visit_page(roots).await;
        }
        let mut observed = Observed { visits, redirect, ..Observed::default() };
        if self.is_local && self.page_port.is_some() && http::is_absent(&observed.visits) {
            observed.redirect = None;
            return observed;
        }
        let test = observed.pages().find_map(|page| page.connection_test.as_ref());
        let credential = test.map(ConnectionTest::credential).map_or_else(mint, Ok);
        // The ports in the server's own list are right even if the settings here are not.
        let ports = test.map_or_else(|| self.relay_ports.clone(), ConnectionTest::relay_ports);
        let access = Access { server: self, credential: credential.as_ref().ok(), roots };
        let open = observed.visits.iter().find(|visit| visit.outcome.is_ok()).map(|visit| visit.address);
        let join = OptionFuture::from(open.map(|address| signaling::observe(self, address)));
        let (join, relay) = tokio::join!(join, access.observe(self.routes(&ports)));
        Observed { join, relay: Some(relay), credential_error: credential.err(), ..observed }
    }

    async fn visit_page(&self, roots: &SystemRoots) -> Vec<Visit> {
        let Some(port) = self.page_port else { return Vec::new() };
        let visit = |ip: &IpAddr| http::observe(self, SocketAddr::new(*ip, port), roots);
        join_all(self.addresses.iter().map(visit)).await
    }

    async fn visit_redirect(&self) -> Option<Redirect> {
        let address = SocketAddr::new(*self.addresses.first()?, self.redirect_port?);
        Some(http::observe_redirect(address, &url_host(&self.name)).await)
    }

    /// `stored`: the certificate that the settings name, if they are known.
    pub(super) fn evaluate(&self, observed: &Observed, stored: Option<&StoredCertificate>) -> Vec<Finding> {
        let is_pending = stored.is_some_and(|stored| stored.is_pending);
        let stored = stored.and_then(StoredCertificate::leaf);
        let expected = Expected { server: self, now: clock::now().unix, is_pending, stored };
        let mut findings = http::evaluate(&observed.visits, &expected);
        findings.extend(self.node_name.iter().map(|node_name| {
            Subject::Cluster
                .ok(format!("{node_name} is one of the boxes of {}, and was checked as such", self.name))
        }));
        let origin = self.origin();
        findings.extend(observed.redirect.iter().map(|redirect| redirect.evaluate(&origin)));
        findings.extend(observed.join.iter().map(Join::evaluate));
        if let Some(attempts) = &observed.relay {
            let lenient = self.try_out || is_pending;
            findings.extend(relay::evaluate(attempts, lenient, observed.credential_error.as_deref()));
        }
        findings
    }
}

impl Observed {
    /// Whether the page or the relay answered.
    pub(super) fn is_running(&self) -> bool {
        self.pages().next().is_some() || self.relay.iter().flatten().any(|attempt| attempt.outcome.is_ok())
    }

    /// The clock of the server.
    pub(super) fn date(&self) -> Option<UnixSeconds> {
        self.pages().find_map(|page| page.date)
    }

    fn pages(&self) -> impl Iterator<Item = &http::Page> {
        self.visits.iter().filter_map(|visit| visit.outcome.as_ref().ok())
    }
}

/// One address of each family for a server on this host: one of the domain if an interface has it,
/// otherwise loopback, otherwise one in `listen`.
fn local_addresses(listen: &Listen, interfaces: &[IpAddr], resolved: &[IpAddr]) -> Vec<IpAddr> {
    let named = resolved.iter().filter(|ip| interfaces.contains(ip) && listen.covers(**ip));
    let has_family = |family| interfaces.iter().any(|ip| Family::of(*ip) == family);
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let loopback = loopback.iter().filter(|ip| listen.covers(**ip) && has_family(Family::of(**ip)));
    let listed = match listen {
        Listen::Any => &[][..],
        Listen::These(these) => these,
    };
    let listed = listed.iter().filter(|ip| !ip.is_unspecified());
    one_of_each_family(&named.chain(loopback).chain(listed).copied().collect::<Vec<_>>())
}

/// The first of each family, IPv4 first.
fn one_of_each_family(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let first = |family| addresses.iter().copied().find(|ip| Family::of(*ip) == family);
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

    fn tls_ports(server: &Server) -> Vec<u16> {
        let tls = server.relay_ports.iter().filter(|(transport, _)| *transport == Transport::Tls);
        tls.map(|(_, port)| *port).collect()
    }

    #[test]
    fn a_server_with_a_name_has_routes_over_every_transport() {
        let server = Server::remote(&serving(), "box.example", &ips(&["45.0.0.10", "2a00::10"]));
        assert_eq!(server.origin(), "https://box.example/");
        let routes = server.routes(&server.relay_ports);
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
        let trying = Server::new(&settings(), None, Vec::new());
        assert_eq!((trying.origin().as_str(), tls_ports(&trying).len()), ("https://localhost:8443/", 0));
        let behind = Settings { https_port: None, http_port: Some(8080), ..serving() };
        let server = Server::new(&behind, Some("box.example"), Vec::new());
        assert_eq!((server.page_port, server.redirect_port), (Some(443), None));
        assert_eq!(tls_ports(&server), [5349]);
    }

    #[test]
    fn without_a_relay_there_is_no_route() {
        let off = Settings { turn_port: None, ..serving() };
        let server = Server::remote(&off, "box.example", &ips(&["45.0.0.10"]));
        assert_eq!(server.routes(&server.relay_ports), []);
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
        assert_eq!(one_of_each_family(&resolved), ips(&["45.0.0.10", "2a00::10"]));
    }
}
