//! `webrtc-box check`: observes the settings, the host and the running server, and reports what is wrong and
//! how to fix it.
//!
//! ```text
//! host  service  ports  addresses  certificate   this host
//! server                                         what to connect to, and the order of requests
//! http  signaling  relay (turn_client)           the server as its clients use it
//! cluster                                        the store and the other boxes
//! healthcheck                                    only whether the server is healthy
//! report                                         findings, verdict, text and JSON
//! ```
//!
//! In each file `observe` does IO and returns values, and `evaluate` turns values into findings and is pure.
//! The doctor contacts no third party, unless the user names a STUN server.

mod addresses;
mod certificate;
mod cluster;
mod connection;
mod healthcheck;
mod host;
mod http;
mod ports;
mod relay;
mod report;
mod server;
mod service;
mod signaling;
mod turn_client;

use std::path::Path;
use std::time::Duration;

use webrtc_box_turn::credential::{Credential, Principal};
use webrtc_box_turn::principal::{IsolationGroup, PrincipalId};

use addresses::Addresses;
use certificate::{StoredCertificate, SystemRoots};
use cluster::Cluster;
use host::{Clock, Limits};
use ports::PortOwners;
use server::Server;
use service::FilePermissions;

use crate::clock;
use crate::config::{Settings, SettingsError};
use crate::keys::shared_secrets;
use crate::net::interfaces::interfaces;
use crate::state_dir::StateDir;

pub use healthcheck::{HealthcheckError, healthcheck};
pub use report::{Finding, Level, Report, Subject};

/// The server to check.
#[derive(Clone, Debug)]
pub enum Target {
    /// The server of these settings, on this host.
    Local(Box<Settings>),
    /// A server of which only the name is known: on another machine, or with other settings.
    Remote {
        /// Its domain.
        name: String,
        /// For the ports.
        settings: Box<Settings>,
    },
}

/// How long a minted credential is valid: longer than a check takes.
const CREDENTIAL_LIFETIME: Duration = Duration::from_secs(300);

/// Ends within about twenty seconds, even if nothing answers. `stun`: a STUN server as `HOST:PORT`, which is
/// asked for the public address of this host. `secret_config`: the settings file, if it holds a secret.
pub async fn check(
    target: &Result<Target, SettingsError>,
    stun: Option<&str>,
    secret_config: Option<&Path>,
) -> Report {
    match target {
        Ok(Target::Local(settings)) => check_local(settings, stun, secret_config).await,
        Ok(Target::Remote { name, settings }) => check_remote(name, settings).await,
        Err(error) => Report::new(vec![Subject::Settings.error(error)], None),
    }
}

/// What `webrtc-box setup` compares with this host after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCheck {
    /// Where the domain leads.
    Addresses,
    /// Whether the ports are free.
    Ports,
    /// Whether the certificate can be used.
    Certificate,
}

/// Compares one part of settings, before a server runs with them, with this host.
pub async fn check_host(what: HostCheck, settings: &Settings) -> Vec<Finding> {
    match what {
        HostCheck::Addresses => {
            Addresses::observe(settings, settings.own_name(), None).await.evaluate_names()
        }
        HostCheck::Ports => {
            let listeners = ports::observe(settings, &PortOwners::observe());
            // The service has the privilege for ports below 1024.
            ports::evaluate(&listeners, false, true)
        }
        HostCheck::Certificate => {
            let certificate = StoredCertificate::observe(settings, &SystemRoots::load());
            certificate.iter().flat_map(StoredCertificate::evaluate).collect()
        }
    }
}

/// What a server reports of its host at its start: certificate, relayed addresses and limits.
pub fn at_start(settings: &Settings) -> Vec<Finding> {
    let certificate = StoredCertificate::observe(settings, &SystemRoots::load());
    let addresses = Addresses::observe_host(settings).evaluate();
    // The relay logs the buffers that it gets.
    let limits = Limits { receive_buffer: None, ..Limits::observe(Some(std::process::id())) };
    let mut findings: Vec<_> = certificate.iter().flat_map(StoredCertificate::evaluate).collect();
    findings.extend(addresses.into_iter().filter(|finding| finding.level == Level::Ok));
    findings.extend(limits.evaluate());
    findings
}

async fn check_local(settings: &Settings, stun: Option<&str>, secret_config: Option<&Path>) -> Report {
    let domain = settings.domain();
    let (addresses, synchronized) =
        tokio::join!(Addresses::observe(settings, settings.own_name(), stun), host::is_synchronized());
    let owners = PortOwners::observe();
    let process = owners.running_server(settings);
    let user = service::observe_user(process);
    let listeners = ports::observe(settings, &owners);
    let limits = Limits::observe(process);
    let roots = SystemRoots::load();
    let certificate = StoredCertificate::observe(settings, &roots);
    let mut server = Server::local(settings, domain, &addresses.interfaces(), addresses.resolved());
    let (observed, cluster) = tokio::join!(
        server.observe(&roots, || mint_credential(settings)),
        Cluster::observe(settings, addresses.resolved(), &roots),
    );
    let clock = Clock {
        now: clock::now().unix,
        synchronized,
        installed: host::installed(),
        certificate: certificate.as_ref().and_then(|certificate| Some(certificate.leaf()?.not_before)),
        server: observed.date(),
    };

    let mode = domain
        .map_or_else(|| "good, in try-out mode (no domain)".to_owned(), |name| format!("good, for {name}"));
    let mut findings = vec![Subject::Settings.ok(mode), clock.evaluate()];
    findings.extend(ports::evaluate(&listeners, observed.is_running(), user.is_some()));
    let config = secret_config.map(|file| ("config", file));
    let secrets = settings.secret_files().chain(config);
    let secrets = secrets.map(|(setting, file)| FilePermissions::observe(setting, file));
    findings.extend(service::evaluate_secrets(&secrets.collect::<Vec<_>>(), user.as_ref()));
    if let Some(certificate) = &certificate {
        let permissions = certificate.permissions();
        findings.extend(user.iter().flat_map(|user| service::evaluate_certificate(&permissions, user)));
        findings.extend(certificate.evaluate());
    }
    findings.extend(addresses.evaluate());
    findings.extend(limits.evaluate());
    findings.extend(server.evaluate(&observed, certificate.as_ref()));
    findings.extend(cluster.iter().flat_map(|cluster| cluster.evaluate(observed.is_running())));
    let not_observed = domain.map(|name| {
        format!("Firewalls before this host show only from another machine: webrtc-box check --domain {name}")
    });
    Report::new(findings, not_observed)
}

async fn check_remote(name: &str, settings: &Settings) -> Report {
    let resolved = addresses::resolve(name).await;
    let interfaces = interfaces();
    let is_local = resolved.iter().flatten().any(|ip| interfaces.iter().any(|interface| interface.ip == *ip));
    let mut findings =
        vec![addresses::evaluate_name_only(name, is_local), addresses::evaluate_remote(name, &resolved)];
    let Ok(resolved) = resolved else { return Report::new(findings, None) };
    let (roots, mut server) = (SystemRoots::load(), Server::remote(settings, name, &resolved));
    let no_credential = || Err("the page provides none".to_owned());
    let (observed, synchronized) =
        tokio::join!(server.observe(&roots, no_credential), host::is_synchronized());
    let clock = Clock { now: clock::now().unix, synchronized, server: observed.date(), ..Clock::default() };
    findings.push(clock.evaluate());
    findings.extend(server.evaluate(&observed, None));
    Report::new(findings, None)
}

/// A credential in an isolation group of its own, for a server whose page provides none.
fn mint_credential(settings: &Settings) -> Result<Credential, String> {
    let secrets = match shared_secrets(settings) {
        Some(secrets) => secrets,
        None => {
            let keys = StateDir::open_existing(&settings.state_dir).and_then(|state| state.load_keys());
            keys.map_err(|error| error.to_string())?.secrets(&[])
        }
    };
    let mut random = ([0; 16], [0; 16]);
    let filled = getrandom::fill(&mut random.0).and_then(|()| getrandom::fill(&mut random.1));
    filled.map_err(|error| error.to_string())?;
    let principal = Principal::Tool(IsolationGroup::new(random.0), PrincipalId::new(random.1));
    Ok(secrets.mint(&principal, clock::now().unix + CREDENTIAL_LIFETIME.as_secs()))
}
