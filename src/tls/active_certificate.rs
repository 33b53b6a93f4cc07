//! The active certificate: one for all listeners, replaced as a whole. A handshake uses the one that is
//! active when its ClientHello arrives.
//!
//! While a validation handshake of an ACME authority may come, those are recognized by their ALPN protocol and get
//! a TLS configuration of their own ([`super::challenges`]).

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, watch};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};
use tracing::{error, warn};

use super::certificate_facts::CertificateFacts;
use super::challenges::{Challenges, is_validation};
use super::hello::read_hello;
use super::key_pair::LoadedCertificate;
use crate::clock::{self, UnixSeconds};
use crate::net::rewound::Rewound;
use crate::task::catch_panic;

const WARNING_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The certificate of every TLS listener.
pub struct ActiveCertificate {
    config: ArcSwap<ServerConfig>,
    status: watch::Sender<CertificateStatus>,
    check: Notify,
    challenges: Arc<Challenges>,
}

/// The state of the active certificate and of its renewal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateStatus {
    /// Names and validity.
    pub leaf: CertificateFacts,
    /// How often it was replaced since the start.
    pub renewals: u64,
    /// Why the last renewal or reload failed; one line.
    pub renewal_error: Option<String>,
    /// Why renewal itself does not work: the disk, or a panic; one line.
    pub maintenance_error: Option<String>,
    /// It is self-signed, and serves until the authority issues one.
    pub is_temporary: bool,
}

impl CertificateStatus {
    /// When it expires; `None` for a temporary one.
    pub fn expiry(&self) -> Option<UnixSeconds> {
        (!self.is_temporary).then_some(self.leaf.not_after)
    }
}

impl ActiveCertificate {
    /// Serves `loaded` until it is replaced.
    pub fn new(loaded: LoadedCertificate) -> Arc<Self> {
        Self::with_status(loaded, false)
    }

    /// Serves `loaded`, which is self-signed, until the authority issues one.
    pub(super) fn temporary(loaded: LoadedCertificate) -> Arc<Self> {
        Self::with_status(loaded, true)
    }

    fn with_status(loaded: LoadedCertificate, is_temporary: bool) -> Arc<Self> {
        let status = CertificateStatus { leaf: loaded.leaf, is_temporary, ..CertificateStatus::default() };
        Arc::new(Self {
            config: ArcSwap::new(loaded.config),
            status: watch::Sender::new(status),
            check: Notify::new(),
            challenges: Arc::default(),
        })
    }

    /// Resolves once the certificate is not a temporary one.
    pub async fn until_issued(&self) {
        // Fails only without a sender, and `self` is the sender.
        let _ = self.status.subscribe().wait_for(|status| !status.is_temporary).await;
    }

    /// The current status.
    pub fn status(&self) -> CertificateStatus {
        self.status.borrow().clone()
    }

    /// Has the certificate checked or renewed now, and a lasting error logged again.
    pub fn check_now(&self) {
        self.check.notify_one();
    }

    /// Completes a TLS handshake; `None` for a validation handshake, which ends with it.
    ///
    /// # Errors
    /// The connection ends, or the client has no protocol in common with the server.
    pub async fn accept<S>(&self, stream: S) -> io::Result<Option<TlsStream<Rewound<S>>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = read_hello(stream).await?;
        if !self.challenges.are_expected() {
            return TlsAcceptor::from(self.config.load_full()).accept(stream).await.map(Some);
        }
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let name = validated_name(&hello.client_hello());
        if let Some(name) = name
            && let Some(challenge) = self.challenges.config(&name).await
        {
            hello.into_stream(challenge).await?.shutdown().await?;
            return Ok(None);
        }
        hello.into_stream(self.config.load_full()).await.map(Some)
    }

    /// What answers validation handshakes.
    pub(super) fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }

    /// Resolves after [`Self::check_now`].
    pub(super) async fn check_requested(&self) {
        self.check.notified().await;
    }

    /// Serves `loaded` from now on.
    pub(super) fn replace(&self, loaded: LoadedCertificate) {
        self.config.store(loaded.config);
        self.status.send_modify(|status| {
            status.leaf = loaded.leaf;
            status.renewals += 1;
            status.renewal_error = None;
            status.is_temporary = false;
        });
    }

    /// `None` clears the error.
    pub(super) fn set_renewal_error(&self, error: Option<String>) {
        self.status.send_modify(|status| status.renewal_error = error);
    }

    /// Whether the error has changed; `None` clears it.
    pub(super) fn set_maintenance_error(&self, error: Option<String>) -> bool {
        self.status.send_if_modified(|status| {
            let before = std::mem::replace(&mut status.maintenance_error, error);
            before != status.maintenance_error
        })
    }

    /// Logs the warnings about the certificate now and once a day, forever. `subject` names it, `names` are those
    /// that it should cover.
    pub(super) async fn warn_daily(self: Arc<Self>, subject: String, names: Vec<String>) {
        loop {
            let warn = async {
                for warning in self.status().leaf.warnings(&names, clock::now().unix) {
                    warn!("{subject} {warning}");
                }
            };
            if let Err(panic) = catch_panic(warn).await {
                error!("{panic}");
            }
            tokio::time::sleep(WARNING_INTERVAL).await;
        }
    }
}

/// The name that a validation handshake is for, in lower case; `None` for other handshakes.
fn validated_name(hello: &ClientHello<'_>) -> Option<String> {
    is_validation(hello).then(|| hello.server_name().unwrap_or_default().to_ascii_lowercase())
}

impl fmt::Debug for ActiveCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveCertificate").field("status", &self.status()).finish_non_exhaustive()
    }
}
