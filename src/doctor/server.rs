//! The running server, observed by its clients' means: page, redirect, signaling and relay, concurrently
//! where one does not need the result of another.

use std::net::{IpAddr, SocketAddr};

use futures_util::future::{OptionFuture, join_all};
use webrtc_box_turn::credential::Credential;

use super::certificate::{StoredCertificate, SystemRoots};
use super::endpoints::{Endpoints, RelayPorts};
use super::http::{self, ConnectionTest, Expected, Redirect, Visit};
use super::relay::{self, Access, Attempt};
use super::report::Finding;
use super::signaling::{self, Join};
use crate::clock::{self, UnixSeconds};

/// How to reach a server.
pub(super) struct Server<'a> {
    pub(super) endpoints: &'a Endpoints,
    /// At most one of each family.
    pub(super) addresses: &'a [IpAddr],
    pub(super) roots: &'a SystemRoots,
    /// The server is set up on this host.
    pub(super) is_local: bool,
}

/// What was observed of a server.
#[derive(Debug)]
pub(super) struct Observed {
    visits: Vec<Visit>,
    redirect: Option<Redirect>,
    join: Option<Join>,
    /// `None`: not tried, because the server does not run.
    relay: Option<Vec<Attempt>>,
    credential_error: Option<String>,
}

impl Server<'_> {
    /// `mint` makes a credential if the page provides none.
    pub(super) async fn observe(&self, mint: impl FnOnce() -> Result<Credential, String>) -> Observed {
        let (visits, redirect) = tokio::join!(self.visits(), self.redirect());
        let mut observed = Observed { visits, redirect, join: None, relay: None, credential_error: None };
        if self.is_local && self.endpoints.page.is_some() && http::is_absent(&observed.visits) {
            observed.redirect = None;
            return observed;
        }
        let test = observed.pages().find_map(|page| page.connection_test.as_ref());
        let credential = test.map(ConnectionTest::credential).map_or_else(mint, Ok);
        let open = observed.visits.iter().find(|visit| visit.outcome.is_ok()).map(|visit| visit.address);
        let join = OptionFuture::from(open.map(|address| self.join(address)));
        let (join, relay) = tokio::join!(join, self.relay(test, credential.as_ref().ok()));
        Observed { join, relay: Some(relay), credential_error: credential.err(), ..observed }
    }

    async fn visits(&self) -> Vec<Visit> {
        let Some(port) = self.endpoints.page else { return Vec::new() };
        let host = self.endpoints.host();
        let visit = |ip: &IpAddr| {
            let address = SocketAddr::new(*ip, port);
            http::observe(address, self.endpoints.page_proxies(), &self.endpoints.name, &host, self.roots)
        };
        join_all(self.addresses.iter().map(visit)).await
    }

    async fn redirect(&self) -> Option<Redirect> {
        let (port, ip) = (self.endpoints.http?, self.addresses.first()?);
        Some(http::observe_redirect(SocketAddr::new(*ip, port), &self.endpoints.name).await)
    }

    async fn join(&self, address: SocketAddr) -> Join {
        let Endpoints { name, .. } = self.endpoints;
        signaling::observe(address, self.endpoints.page_proxies(), name, &self.endpoints.host()).await
    }

    /// The ports of the server's own list, if there is one, are right even if the settings here are not.
    async fn relay(&self, test: Option<&ConnectionTest>, credential: Option<&Credential>) -> Vec<Attempt> {
        let listed = test.map(|test| RelayPorts {
            udp: test.ports("turn-udp"),
            tcp: test.ports("turn-tcp"),
            tls: test.ports("turn-tls"),
        });
        let routes = listed.as_ref().unwrap_or(&self.endpoints.relay).routes(self.addresses);
        let Endpoints { name, proxies, .. } = self.endpoints;
        Access { name, proxies, credential, roots: self.roots }.observe(routes).await
    }

    pub(super) fn evaluate(&self, observed: &Observed, stored: Option<&StoredCertificate>) -> Vec<Finding> {
        let origin = self.endpoints.origin();
        let is_pending = stored.is_some_and(StoredCertificate::is_pending);
        let expected = Expected {
            name: &self.endpoints.name,
            origin: &origin,
            try_out: self.endpoints.try_out,
            is_local: self.is_local,
            now: clock::now().unix,
            is_pending,
            stored: stored.and_then(StoredCertificate::leaf),
        };
        let mut findings = Vec::new();
        if !observed.visits.is_empty() {
            findings.extend(http::evaluate(&observed.visits, &expected));
        }
        findings
            .extend(observed.redirect.iter().map(|redirect| http::evaluate_redirect(redirect, &expected)));
        findings.extend(observed.join.iter().map(Join::evaluate));
        if let Some(attempts) = &observed.relay {
            let lenient = self.endpoints.try_out || is_pending;
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
