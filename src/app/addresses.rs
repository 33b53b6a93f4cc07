//! Which addresses the relay lends and `/test.json` names: at the start, and as they change.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::net::lookup_host;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::config::{Identity, RelayScope, Settings};
use crate::error::StartError;
use crate::http::{ConnectionTest, HttpServer};
use crate::net::addresses::{HostAddresses, InterfaceAddress, RelayAddresses};
use crate::net::interfaces::{interfaces, look};
use webrtc_box_relay::{Relay, can_bind};
use webrtc_box_turn::addr::Family;

/// How often the interfaces are looked at, and the addresses that relay sockets bind are tried.
const ADDRESS_LOOK: Duration = Duration::from_secs(3);
/// How often the resolver is asked again, where only the name says how the box is seen from outside.
const NAME_LOOK: Duration = Duration::from_secs(60);
/// A start must not hang on a resolver that does not answer.
const RESOLVE_LIMIT: Duration = Duration::from_millis(800);

/// What is known as the box starts. Asks the resolver only where its answer counts.
pub(super) async fn known(settings: &Settings) -> HostAddresses {
    let mut known = of_interfaces(settings, interfaces());
    if known.relay_addresses(settings.relay_scope).is_err() {
        known.domain = resolved(settings).await.unwrap_or_default();
    }
    known
}

fn of_interfaces(settings: &Settings, interfaces: Vec<InterfaceAddress>) -> HostAddresses {
    HostAddresses { external: settings.external_ip.clone(), interfaces, domain: Vec::new() }
}

/// What the domain leads to; `None` where nobody says.
async fn resolved(settings: &Settings) -> Option<Vec<IpAddr>> {
    let Identity::Domain { name, .. } = &settings.identity else { return None };
    let found = timeout(RESOLVE_LIMIT, lookup_host((name.as_str(), 0))).await;
    let mut found: Vec<_> = found.ok()?.ok()?.map(|found| found.ip()).collect();
    // Resolvers turn the order round with each answer, which is no change.
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// Where no relay socket can ever be bound, every Allocate would be refused: such a box does not start.
///
/// # Errors
/// The address or port that cannot be bound, and the setting that leads to it.
pub(super) fn must_bind(
    settings: &Settings,
    known: &HostAddresses,
    lent: &RelayAddresses,
) -> Result<(), StartError> {
    if settings.relay_scope == RelayScope::Room {
        warn_of_missing(known);
        return Ok(());
    }
    for family in Family::BOTH {
        let Some(&local) = lent.bind.of(family) else { continue };
        if let Err(source) = can_bind(local, 0) {
            // An address that the kernel still looks for elsewhere can be bound a second or two later.
            let not_yet = known.interfaces.iter().any(|one| one.ip == local && one.tentative);
            if not_yet && source.kind() == std::io::ErrorKind::AddrNotAvailable {
                warn!(%local, "the address is not ready yet; it is tried again");
                continue;
            }
            return Err(StartError::RelaySocket { local, external: known.external(family), source });
        }
        let lowest = can_bind(local, settings.min_port);
        if lowest.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
            return Err(StartError::RelayPort(settings.min_port));
        }
    }
    Ok(())
}

/// In room scope nothing is bound, so a wrong local address is only a mistake to tell of.
fn warn_of_missing(known: &HostAddresses) {
    for external in &known.external {
        if let Some(local) = external.local.filter(|local| !known.has(*local) && !known.interfaces.is_empty())
        {
            warn!(
                public = %external.public, %local,
                "external-ip maps to an address that this host does not have; put one behind the slash that \
                 `ip address` shows"
            );
        }
    }
}

/// What `/test.json` tries: the listeners of `settings`, at the addresses of now.
pub(super) fn probing(settings: &Settings) -> ConnectionTest {
    let addresses = probed(settings, &of_interfaces(settings, interfaces()));
    ConnectionTest { addresses, ..ConnectionTest::of(settings) }
}

/// In try-out mode it is the host that the browser used.
fn probed(settings: &Settings, known: &HostAddresses) -> Vec<IpAddr> {
    match settings.identity {
        Identity::Domain { .. } => known.reached_by(|ip| settings.listen.covers(ip)),
        Identity::TryOut => Vec::new(),
    }
}

/// Follows the host's addresses while the box runs.
pub(super) struct AddressWatch {
    settings: Settings,
    relay: Option<Weak<Relay>>,
    web: HttpServer,
    seen: Vec<InterfaceAddress>,
    /// What the domain led to when the resolver was last asked.
    domain: Vec<IpAddr>,
    asked: Option<Instant>,
    lent: Option<RelayAddresses>,
}

impl AddressWatch {
    pub(super) fn new(settings: &Settings, relay: Option<&Arc<Relay>>, web: &HttpServer) -> Self {
        let relay = relay.map(Arc::downgrade);
        let (seen, domain) = (Vec::new(), Vec::new());
        Self { settings: settings.clone(), relay, web: web.clone(), seen, domain, asked: None, lent: None }
    }

    /// For as long as the box runs.
    pub(super) async fn run(mut self) {
        loop {
            match look() {
                Ok(seen) => self.take(seen).await,
                // Not to be taken for a host without addresses.
                Err(error) => debug!(%error, "the kernel does not say which addresses there are"),
            }
            self.try_binding();
            tokio::time::sleep(ADDRESS_LOOK).await;
        }
    }

    async fn take(&mut self, seen: Vec<InterfaceAddress>) {
        let mut known = of_interfaces(&self.settings, seen.clone());
        let named = known.relay_addresses(self.settings.relay_scope).is_err() && self.relay.is_some();
        let asks =
            named && (seen != self.seen || self.asked.is_none_or(|asked| asked.elapsed() >= NAME_LOOK));
        let domain = if asks { self.ask().await } else { None };
        if seen == self.seen && domain.as_ref().is_none_or(|domain| *domain == self.domain) {
            return;
        }
        self.domain = domain.unwrap_or_else(|| std::mem::take(&mut self.domain));
        self.seen = seen;
        known.domain.clone_from(&self.domain);
        self.web.set_test_addresses(probed(&self.settings, &known));
        self.tell_relay(&known);
    }

    async fn ask(&mut self) -> Option<Vec<IpAddr>> {
        self.asked = Some(Instant::now());
        resolved(&self.settings).await
    }

    fn tell_relay(&mut self, known: &HostAddresses) {
        let Some(relay) = self.relay() else { return };
        // Where none is left, the last one stays: its sockets cannot be bound, which is told below.
        let lent = known.relay_addresses(self.settings.relay_scope).ok().or_else(|| self.lent.clone());
        let Some(lent) = lent else { return };
        relay.set_addresses(&known.own(), lent.relayed, lent.bind);
        if self.lent.as_ref().is_some_and(|before| *before != lent) {
            let addresses: Vec<_> = lent.relayed.iter().map(IpAddr::to_string).collect();
            info!(addresses = addresses.join(", "), "other addresses are relayed from now on");
        }
        self.lent = Some(lent);
    }

    /// Whether relay sockets can be bound is tried, and not waited for until a client is refused.
    fn try_binding(&self) {
        let (Some(relay), Some(lent)) = (self.relay(), &self.lent) else { return };
        if self.settings.relay_scope == RelayScope::Room {
            return;
        }
        for family in Family::BOTH {
            let tried = lent.bind.of(family).map(|&local| {
                can_bind(local, 0)
                    .map_err(|error| format!("no relay socket can be bound at {local} ({error})"))
            });
            match (tried.clone(), relay.report_bind_result(family, tried)) {
                (_, false) => {}
                (Some(Err(why)), true) => warn!("{why}; who asks for an address of that family gets 508"),
                (Some(Ok(())) | None, true) => info!(?family, "relay sockets can be bound again"),
            }
        }
    }

    fn relay(&self) -> Option<Arc<Relay>> {
        self.relay.as_ref().and_then(Weak::upgrade)
    }
}
