//! The TLS certificate of all listeners: from files, by ACME, or self-signed in try-out mode; replaced without a
//! failed handshake.

mod acme;
mod active_certificate;
mod certificate_facts;
mod challenges;
mod error;
mod file_watch;
mod hello;
mod key_pair;
mod reload_policy;
mod self_signed;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;
use webrtc_box_cluster::{ClusterHandle, NodeName};

use self::acme::{AcmeRenewal, CertStore};
use self::file_watch::{CertificateFiles, FileWatcher};
use self::self_signed::SelfSignedRenewal;
use crate::clock;
use crate::config::{CertificateSource, Identity, Settings};

pub use self::acme::acme_certificate_path;
pub use self::active_certificate::{ActiveCertificate, CertificateStatus};
pub use self::certificate_facts::CertificateFacts;
pub use self::error::{PemError, TlsError};
pub use self::key_pair::{LoadedCertificate, certificates, load};

/// The protocols offered in ALPN: HTTP and TURN share a port (RFC 7443). rustls takes the first that the client also
/// offers, and ends a handshake without one in common (RFC 7301 §3.2). coturn's clients offer the first two and `http/1.1`.
pub const ALPN: &[&[u8]] = &[b"stun.turn", b"stun.nat-discovery", b"h2", b"http/1.1", b"http/1.0"];

/// How long the shutdown waits for the disk.
const SHUTDOWN_WRITE_LIMIT: Duration = Duration::from_secs(1);

/// Keeps the active certificate valid while the server runs.
#[derive(Debug)]
pub struct CertificateRenewal(Task);

#[derive(Debug)]
enum Task {
    SelfSigned(SelfSignedRenewal),
    Acme(Box<AcmeRenewal>),
    Files(Box<FileWatcher>),
}

/// Certificate and ACME account that may be in memory alone.
#[derive(Clone, Debug, Default)]
pub struct PendingWrites(Option<CertStore>);

/// Opens the certificate that `settings` name; a self-signed one covers the addresses `lan`.
///
/// # Errors
/// The certificate, its key or the state directory cannot be used.
pub fn open(
    settings: &Settings,
    lan: &[IpAddr],
) -> Result<(Arc<ActiveCertificate>, CertificateRenewal), TlsError> {
    let (active, task) = match &settings.identity {
        Identity::TryOut => {
            let renewal = SelfSignedRenewal::open(&settings.state_dir, lan)?;
            (renewal.active(), Task::SelfSigned(renewal))
        }
        Identity::Domain { source: CertificateSource::Files { cert, key }, .. } => {
            let names = settings.names().into_iter().map(str::to_owned).collect();
            let files = CertificateFiles { cert: cert.clone(), key: key.clone(), names };
            let watcher = FileWatcher::open(files)?;
            (watcher.active(), Task::Files(Box::new(watcher)))
        }
        Identity::Domain { name, source: CertificateSource::Acme { email, directory } } => {
            let node_name = settings.node_name.as_ref().map(NodeName::as_str);
            let renewal =
                AcmeRenewal::open(name, node_name, email, directory, &settings.state_dir, clock::now())?;
            (renewal.active(), Task::Acme(Box::new(renewal)))
        }
    };
    Ok((active, CertificateRenewal(task)))
}

impl CertificateRenewal {
    /// What the shutdown has to write.
    pub fn pending_writes(&self) -> PendingWrites {
        match &self.0 {
            Task::Acme(renewal) => PendingWrites(Some(renewal.store())),
            Task::SelfSigned(_) | Task::Files(_) => PendingWrites::default(),
        }
    }

    /// From now on one server of `cluster` orders at a time, and each answers challenges of the others. Call this before
    /// [`Self::run`].
    pub fn join_cluster(&mut self, cluster: ClusterHandle) {
        if let Task::Acme(renewal) = &mut self.0 {
            renewal.join_cluster(cluster);
        }
    }

    /// Runs forever. Panics are caught and logged. It has no heartbeat: the watchdog would end the calls, and no call
    /// needs a renewal.
    pub async fn run(self) {
        match self.0 {
            Task::SelfSigned(renewal) => renewal.run().await,
            Task::Acme(renewal) => renewal.run().await,
            Task::Files(watcher) => watcher.run().await,
        }
    }
}

impl PendingWrites {
    /// Writes them if the disk responds within a second.
    pub async fn save(&self) {
        if let Some(store) = &self.0
            && !matches!(timeout(SHUTDOWN_WRITE_LIMIT, store.flush()).await, Ok(Ok(())))
        {
            warn!("certificate and account could not be written; the next start requests new ones");
        }
    }
}
