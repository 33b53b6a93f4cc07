//! The host that a box is set up on: its listeners, files, addresses, clock and limits.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_util::future::OptionFuture;

use super::judge::access::{self, User};
use super::judge::addresses::{self, Seen};
use super::judge::certificate::{Chain, Facts, Trust};
use super::judge::host::{Clock, Limits};
use super::judge::ports::{self, Listener, Protocol};
use super::knock::OnDisk;
use super::probe::holders::Holders;
use super::probe::roots::Roots;
use super::probe::{bind, files, host, names};
use super::report::{Finding, Group, Mark};
use super::target;
use crate::clock::UnixSeconds;
use crate::config::{CertificateSource, Identity, Settings};
use crate::error::Hint as _;
use crate::net::addresses::Known;
use crate::net::interfaces::interfaces;
use crate::store::State;
use crate::tls::{self, TlsError};
use webrtc_box_turn::credential::{Credential, Principal, Secrets};
use webrtc_box_turn::principal::{IsolationGroup, PrincipalId};

/// What was seen of the host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) seen: Seen,
    listeners: Vec<Listener>,
    service: Option<User>,
    certificate: Option<Files>,
    limits: Limits,
    synchronised: Option<bool>,
}

/// The `cert` and `key` files.
#[derive(Debug)]
struct Files {
    findings: Vec<Finding>,
    /// Of the leaf.
    facts: Option<Facts>,
    /// There are none yet, and somebody sees to that.
    awaited: bool,
}

/// How long a credential of our own lasts: as long as a check, and some.
const TTL: Duration = Duration::from_secs(300);

impl Host {
    pub(super) async fn look(settings: &Settings, roots: &Roots, stun: Option<&str>) -> Self {
        let name = target::name_of(settings);
        let resolving = OptionFuture::from(name.map(names::resolve));
        let asking = OptionFuture::from(stun.map(names::seen_by));
        let (resolved, outside, synchronised) = tokio::join!(resolving, asking, host::synchronised());
        let holders = Holders::look();
        let running = running(settings, &holders);
        let service = files::service(running);
        let seen = Seen {
            name: name.map(str::to_owned),
            resolved: resolved.unwrap_or_else(|| Ok(Vec::new())),
            known: known(settings),
            scope: settings.relay_scope,
            outside,
        };
        Self {
            seen,
            listeners: bind::all(settings, &holders),
            certificate: certificate(settings, roots, service.as_ref()),
            service,
            limits: host::limits(running),
            synchronised,
        }
    }

    /// What the name leads to.
    pub(super) fn resolved(&self) -> Option<&[IpAddr]> {
        self.seen.resolved.as_deref().ok()
    }

    /// What is known of the certificate before it is seen served.
    pub(super) fn on_disk(&self) -> OnDisk<'_> {
        let Some(files) = &self.certificate else { return OnDisk::default() };
        OnDisk { leaf: files.facts.as_ref(), awaited: files.awaited }
    }

    /// `running`: a box answers. `theirs`: what its clock says.
    pub(super) fn judge(
        &self,
        settings: &Settings,
        running: bool,
        theirs: Option<UnixSeconds>,
    ) -> Vec<Finding> {
        let mode = match target::name_of(settings) {
            None => "good, for trying out (no domain)".to_owned(),
            Some(name) => format!("good, for {name}"),
        };
        let now = host::unix(SystemTime::now()).unwrap_or(0);
        let clock = Clock {
            now,
            synchronised: self.synchronised,
            installed: host::installed(),
            certificate: self.on_disk().leaf.map(|leaf| leaf.not_before),
            theirs,
        };
        let mut findings = vec![Finding::ok(Group::Settings, mode), clock.judge()];
        findings.extend(ports::judge(&self.listeners, running, self.service.is_some()));
        findings.extend(secret_files(settings, self.service.as_ref()));
        findings.extend(self.certificate.iter().flat_map(|files| files.findings.clone()));
        findings.extend(addresses::judge(&self.seen));
        findings.extend(self.limits.judge());
        findings
    }
}

/// What a box that has just started says of its host: the certificate, the addresses it lends and its limits.
pub fn at_start(settings: &Settings) -> Vec<Finding> {
    let certificate = certificate(settings, &Roots::load(), None);
    let seen = Seen {
        name: None,
        // Where the name alone says how the box is seen, the start has asked the resolver already.
        resolved: Ok(Vec::new()),
        known: known(settings),
        scope: settings.relay_scope,
        outside: None,
    };
    let addresses = addresses::judge(&seen).into_iter().filter(|finding| finding.mark == Mark::Ok);
    // What buffers it was granted the relay says itself.
    let limits = Limits { receive: None, ..host::limits(Some(std::process::id())) };
    let certificate = certificate.into_iter().flat_map(|files| files.findings);
    certificate.chain(addresses).chain(limits.judge()).collect()
}

fn known(settings: &Settings) -> Known {
    Known { external: settings.external_ip.clone(), interfaces: interfaces(), domain: Vec::new() }
}

/// The process of a box on the ports of these settings.
fn running(settings: &Settings, holders: &Holders) -> Option<u32> {
    let streams = [settings.https_port, settings.http_port, settings.turn_port, settings.turns_port];
    streams.into_iter().flatten().find_map(|port| holders.running_box(Protocol::Tcp, port))
}

fn certificate(settings: &Settings, roots: &Roots, service: Option<&User>) -> Option<Files> {
    let Identity::Domain { name, source } = &settings.identity else { return None };
    let now = SystemTime::now();
    let (cert, key) = match source {
        CertificateSource::Files { cert, key } => (cert.clone(), key.clone()),
        CertificateSource::Acme { directory, .. } => {
            let kept = tls::kept_by_acme(&settings.state_dir, directory);
            if let Ok(false) = kept.try_exists() {
                return Some(Files { findings: vec![none_yet(name)], facts: None, awaited: true });
            }
            (kept.clone(), kept)
        }
    };
    let (cert, key) = (cert.as_path(), key.as_path());
    let mut files = Files { findings: access(cert, key, service), facts: None, awaited: false };
    if let Err(fault) = tls::load(cert, key) {
        files.findings.push(unusable(&fault));
    }
    let Ok(chain) = tls::certificates(cert) else { return Some(files) };
    let facts: Vec<_> = chain.iter().filter_map(|one| Facts::read(one)).collect();
    let trust: Trust = roots.judge(&chain, name, now);
    let chain = Chain {
        group: Group::Certificate,
        what: &format!("cert {}", cert.display()),
        name,
        now: host::unix(now).unwrap_or(0),
        facts: &facts,
        trust: &trust,
    };
    files.findings.extend(chain.judge());
    files.facts = facts.into_iter().next();
    Some(files)
}

fn none_yet(name: &str) -> Finding {
    let cure = "the log of the box says how it goes, and what the authority misses";
    Finding::warn(
        Group::Certificate,
        format!("no certificate for {name} has been got yet (acme-email)"),
        cure,
    )
}

/// That this user may not read what is for the service is no fault of the files.
fn unusable(fault: &TlsError) -> Finding {
    let group = Group::Certificate;
    if let TlsError::Unreadable { setting, path, source } = fault
        && source.kind() == io::ErrorKind::PermissionDenied
    {
        let text =
            format!("{setting} {} is not for this user to read, so it was not looked into", path.display());
        return Finding::warn(group, text, "run the check as root");
    }
    Finding::complaint(group, Mark::Fail, &fault.with_hint())
}

/// Whether the service may read both files.
fn access(cert: &Path, key: &Path, service: Option<&User>) -> Vec<Finding> {
    let Some(user) = service else { return Vec::new() };
    let judged =
        |(setting, file): (&str, &Path)| access::judge(setting, file, user, &files::steps(file).ok()?);
    let found: Vec<_> = [("cert", cert), ("key", key)].into_iter().filter_map(judged).collect();
    let seen = [cert, key].iter().all(|file| files::steps(file).is_ok());
    if found.is_empty() && seen {
        return vec![Finding::ok(
            Group::Certificate,
            format!("the user {} may read cert and key", user.name),
        )];
    }
    found
}

/// Whether the service may read the files of secrets, and nobody else may.
fn secret_files(settings: &Settings, service: Option<&User>) -> Vec<Finding> {
    let judged = |(setting, file): (&'static str, &Path)| {
        let steps = files::steps(file).ok()?;
        let unreadable = service.and_then(|user| access::judge(setting, file, user, &steps));
        unreadable.or_else(|| access::exposed(setting, file, &steps))
    };
    settings.secret_files().filter_map(judged).collect()
}

/// A credential for a box whose page hands out none, under a tag of its own.
pub(super) fn spare_credential(settings: &Settings) -> Result<Credential, String> {
    let secrets = match settings.static_auth_secret.split_first() {
        Some((first, older)) => Secrets::new(first.clone(), older.to_vec()),
        None => {
            let kept = State::existing(&settings.state_dir).and_then(|state| state.keys());
            kept.map_err(|error| fault(&error.with_hint()))?.secrets(&[])
        }
    };
    let mut chance = ([0; 16], [0; 16]);
    let drawn = getrandom::fill(&mut chance.0).and_then(|()| getrandom::fill(&mut chance.1));
    drawn.map_err(|error| error.to_string())?;
    let holder = Principal::Tool(IsolationGroup::new(chance.0), PrincipalId::new(chance.1));
    let now = host::unix(SystemTime::now()).unwrap_or(0);
    Ok(secrets.mint(&holder, now + TTL.as_secs()))
}

/// A complaint without its cure.
fn fault(complaint: &str) -> String {
    complaint.rsplit_once("; ").map_or(complaint, |(fault, _)| fault).to_owned()
}
