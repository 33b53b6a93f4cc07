//! The certificate in force: one for all listeners, swapped as a whole. A handshake keeps the one it
//! began with.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::leaf::Leaf;
use super::pair::Loaded;

/// What every TLS listener of a box serves with.
pub struct InForce {
    config: ArcSwap<ServerConfig>,
    summary: ArcSwap<Summary>,
    look: Notify,
}

/// What is known of the certificate in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Whose it is, and for how long.
    pub leaf: Leaf,
    /// How often another has taken its place since the start.
    pub renewals: u64,
    /// Why the last that was to take its place did not; one line.
    pub fault: Option<String>,
}

impl InForce {
    /// `loaded` is served until another takes its place.
    pub fn new(loaded: Loaded) -> Arc<Self> {
        let summary = Summary { leaf: loaded.leaf, ..Summary::default() };
        Arc::new(Self {
            config: ArcSwap::new(loaded.config),
            summary: ArcSwap::from_pointee(summary),
            look: Notify::new(),
        })
    }

    /// What is known of it now; its expiry for whoever counts.
    pub fn summary(&self) -> Arc<Summary> {
        self.summary.load_full()
    }

    /// Has the files looked at at once, and what is wrong with them said again.
    pub fn look_now(&self) {
        self.look.notify_one();
    }

    /// Through TLS with a client.
    ///
    /// # Errors
    /// The client goes away, or wants what we do not have.
    pub async fn accept<S>(&self, stream: S) -> std::io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.config.load_full()).accept(stream).await
    }

    /// Somebody asked for a look.
    pub(super) async fn asked(&self) {
        self.look.notified().await;
    }

    /// From here on `loaded` is served.
    pub(super) fn take(&self, loaded: Loaded) {
        let renewals = self.summary.load().renewals + 1;
        self.config.store(loaded.config);
        self.summary.store(Arc::new(Summary { leaf: loaded.leaf, renewals, fault: None }));
    }

    /// What was to take its place did not, or (`None`) that is mended.
    pub(super) fn note(&self, fault: Option<String>) {
        let before = self.summary.load();
        if before.fault != fault {
            self.summary.store(Arc::new(Summary { fault, ..Summary::clone(&before) }));
        }
    }
}

impl fmt::Debug for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InForce").field("summary", &self.summary.load()).finish_non_exhaustive()
    }
}
