//! Determines the addresses that the relay allocates and that `/test.json` names, at the start and when they change.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::net::lookup_host;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::start_error::StartError;
use crate::config::{Identity, RelayScope, Settings};
use crate::http::{ConnectionTest, HttpServer};
use crate::net::addresses::{HostAddresses, InterfaceAddress, RelayAddresses};
use crate::net::interfaces::{interfaces, try_interfaces};
use webrtc_box_relay::{Relay, can_bind};
use webrtc_box_turn::addr::Family;

/// How often the interfaces are read, and binding relay sockets is tried.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// How often the domain is resolved again, if only its addresses are known to be public.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(60);

/// How long the resolver may take: the start must not wait for one that does not respond.
const RESOLVE_LIMIT: Duration = Duration::from_millis(800);

/// The addresses at the start. Resolves the domain only if its addresses are needed.
pub(super) async fn at_start(settings: &Settings) -> HostAddresses {
    let mut host = without_domain(settings, interfaces());
    if host.relay_addresses(settings.relay_scope).is_err() {
        host.domain = resolve_domain(settings).await.unwrap_or_default();
    }
    host
}

fn without_domain(settings: &Settings, interfaces: Vec<InterfaceAddress>) -> HostAddresses {
    HostAddresses { external: settings.external_ip.clone(), interfaces, domain: Vec::new() }
}

/// The addresses of the name that leads to this server alone; `None` without a domain or an answer.
async fn resolve_domain(settings: &Settings) -> Option<Vec<IpAddr>> {
    let found = timeout(RESOLVE_LIMIT, lookup_host((settings.own_name()?, 0))).await;
    let mut found: Vec<_> = found.ok()?.ok()?.map(|address| address.ip()).collect();
    // Resolvers rotate the order with each answer, which is no change.
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// Checks that relay sockets can be bound. Otherwise every Allocate would fail, so the server does not start.
///
/// # Errors
/// The address or port that cannot be bound, and its setting.
pub(super) fn check_bind(
    settings: &Settings,
    host: &HostAddresses,
    addresses: &RelayAddresses,
) -> Result<(), StartError> {
    if settings.relay_scope == RelayScope::Room {
        warn_of_missing(host);
        return Ok(());
    }
    for family in Family::BOTH {
        let Some(&local) = addresses.bind.of(family) else { continue };
        if let Err(source) = can_bind(local, 0) {
            // While the kernel searches for duplicates of an address, it cannot be bound: for a second or two.
            let tentative = host.interfaces.iter().any(|address| address.ip == local && address.tentative);
            if tentative && source.kind() == std::io::ErrorKind::AddrNotAvailable {
                warn!(%local, "the address is still tentative; binding is tried again");
                continue;
            }
            return Err(StartError::RelaySocket { local, external: host.external(family), source });
        }
        let lowest = can_bind(local, settings.min_port);
        if lowest.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
            return Err(StartError::RelayPort(settings.min_port));
        }
    }
    Ok(())
}

/// In room scope nothing is bound, so a wrong local address is only worth a warning.
fn warn_of_missing(host: &HostAddresses) {
    for external in &host.external {
        if let Some(local) = external.local.filter(|local| !host.has(*local) && !host.interfaces.is_empty()) {
            warn!(
                public = %external.public, %local,
                "external-ip maps to an address that this host does not have; put one behind the slash that \
                 `ip address` shows"
            );
        }
    }
}

/// What `/test.json` probes: the listeners of `settings` at the current addresses.
pub(super) fn connection_test(settings: &Settings) -> ConnectionTest {
    let addresses = probed(settings, &without_domain(settings, interfaces()));
    ConnectionTest { addresses, ..ConnectionTest::of(settings) }
}

/// The addresses that `/test.json` probes. In try-out mode it probes the host of the request instead.
fn probed(settings: &Settings, host: &HostAddresses) -> Vec<IpAddr> {
    match settings.identity {
        Identity::Domain { .. } => host.public_addresses(|ip| settings.listen.covers(ip)),
        Identity::TryOut => Vec::new(),
    }
}

/// Monitors the addresses of the host, and passes changes on to the relay and the connection test.
pub(super) struct AddressMonitor {
    settings: Settings,
    relay: Option<Weak<Relay>>,
    http_server: HttpServer,
    interfaces: Vec<InterfaceAddress>,
    /// The addresses of the domain when it was last resolved.
    domain: Vec<IpAddr>,
    resolved: Option<Instant>,
    addresses: Option<RelayAddresses>,
}

impl AddressMonitor {
    pub(super) fn new(settings: &Settings, relay: Option<&Arc<Relay>>, http_server: &HttpServer) -> Self {
        Self {
            settings: settings.clone(),
            relay: relay.map(Arc::downgrade),
            http_server: http_server.clone(),
            interfaces: Vec::new(),
            domain: Vec::new(),
            resolved: None,
            addresses: None,
        }
    }

    /// Runs as long as the server.
    pub(super) async fn run(mut self) {
        loop {
            match try_interfaces() {
                Ok(interfaces) => self.update(interfaces).await,
                // A failed read does not mean that the host has no addresses.
                Err(error) => debug!(%error, "cannot read the addresses of the interfaces"),
            }
            self.try_bind();
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    async fn update(&mut self, interfaces: Vec<InterfaceAddress>) {
        let mut host = without_domain(&self.settings, interfaces.clone());
        let needs_domain = host.relay_addresses(self.settings.relay_scope).is_err() && self.relay.is_some();
        let is_due = interfaces != self.interfaces
            || self.resolved.is_none_or(|resolved| resolved.elapsed() >= RESOLVE_INTERVAL);
        let domain = if needs_domain && is_due { self.resolve_domain().await } else { None };
        if interfaces == self.interfaces && domain.as_ref().is_none_or(|domain| *domain == self.domain) {
            return;
        }
        self.domain = domain.unwrap_or_else(|| std::mem::take(&mut self.domain));
        self.interfaces = interfaces;
        host.domain.clone_from(&self.domain);
        self.http_server.set_test_addresses(probed(&self.settings, &host));
        self.update_relay(&host);
    }

    async fn resolve_domain(&mut self) -> Option<Vec<IpAddr>> {
        self.resolved = Some(Instant::now());
        resolve_domain(&self.settings).await
    }

    fn update_relay(&mut self, host: &HostAddresses) {
        let Some(relay) = self.relay() else { return };
        // If no address is left, the last one stays: its sockets cannot be bound, which `try_bind` reports.
        let addresses =
            host.relay_addresses(self.settings.relay_scope).ok().or_else(|| self.addresses.clone());
        let Some(addresses) = addresses else { return };
        relay.set_addresses(&host.own(), addresses.relayed, addresses.bind);
        if self.addresses.as_ref().is_some_and(|before| *before != addresses) {
            let relayed: Vec<_> = addresses.relayed.iter().map(IpAddr::to_string).collect();
            info!(addresses = relayed.join(", "), "relayed addresses changed");
        }
        self.addresses = Some(addresses);
    }

    /// Tries to bind relay sockets, so that a fault is reported before a client is refused.
    fn try_bind(&self) {
        let (Some(relay), Some(addresses)) = (self.relay(), &self.addresses) else { return };
        if self.settings.relay_scope == RelayScope::Room {
            return;
        }
        for family in Family::BOTH {
            let result = addresses.bind.of(family).map(|&local| {
                can_bind(local, 0)
                    .map_err(|error| format!("no relay socket can be bound at {local} ({error})"))
            });
            match (result.clone(), relay.report_bind_result(family, result)) {
                (_, false) => {}
                (Some(Err(why)), true) => {
                    warn!("{why}; clients that request an address of that family get 508");
                }
                (Some(Ok(())) | None, true) => info!(?family, "relay sockets can be bound again"),
            }
        }
    }

    fn relay(&self) -> Option<Arc<Relay>> {
        self.relay.as_ref().and_then(Weak::upgrade)
    }
}
