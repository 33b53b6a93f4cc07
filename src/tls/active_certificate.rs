//! The certificate in force: one for all listeners, swapped as a whole. A handshake keeps the one it
//! began with.
//!
//! While an authority wants to see that a name is ours, it is told from everybody else by what it
//! speaks, before the handshake, and gets a configuration of its own.

use std::fmt;
use std::io;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, watch};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::certificate_facts::CertificateFacts;
use super::hello::HelloStream;
use super::key_pair::Loaded;
use crate::clock::UnixSeconds;

/// What an authority speaks that policy for a proof (RFC 8737 §4).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// What every TLS listener of a box serves with.
pub struct ActiveCertificate {
    config: ArcSwap<ServerConfig>,
    summary: ArcSwap<Summary>,
    look: Notify,
    proof: ArcSwapOption<ServerConfig>,
    /// Whether there is a certificate and not a stand-in.
    settled: watch::Sender<bool>,
}

/// A proof that is up as long as this lives, or until another is put up.
pub(super) struct ChallengeGuard {
    shown_by: Arc<ActiveCertificate>,
    config: Arc<ServerConfig>,
}

/// What is known of the certificate in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Whose it is, and for how long.
    pub leaf: CertificateFacts,
    /// How often another has taken its place since the start.
    pub renewals: u64,
    /// Why the last that was to take its place did not; one line.
    pub fault: Option<String>,
    /// What is wrong with its upkeep itself, whatever it finds: a disk, a bug; one line.
    pub upkeep: Option<String>,
    /// It is signed by itself and stands in for one that is being got.
    pub stand_in: bool,
}

impl Summary {
    /// When it runs out; nothing where it only stands in.
    pub fn expiry(&self) -> Option<UnixSeconds> {
        (!self.stand_in).then_some(self.leaf.not_after)
    }
}

impl ActiveCertificate {
    /// `loaded` is served until another takes its place.
    pub fn new(loaded: Loaded) -> Arc<Self> {
        Self::make(loaded, false)
    }

    /// `loaded` is served until there is something better.
    pub(super) fn stand_in(loaded: Loaded) -> Arc<Self> {
        Self::make(loaded, true)
    }

    fn make(loaded: Loaded, stand_in: bool) -> Arc<Self> {
        let summary = Summary { leaf: loaded.leaf, stand_in, ..Summary::default() };
        Arc::new(Self {
            config: ArcSwap::new(loaded.config),
            summary: ArcSwap::from_pointee(summary),
            look: Notify::new(),
            proof: ArcSwapOption::empty(),
            settled: watch::Sender::new(!stand_in),
        })
    }

    /// Resolves once it is no stand-in any more.
    pub async fn settled(&self) {
        // The sender is ours, so it cannot be gone.
        let _ = self.settled.subscribe().wait_for(|settled| *settled).await;
    }

    /// What is known of it now; its expiry for whoever counts.
    pub fn summary(&self) -> Arc<Summary> {
        self.summary.load_full()
    }

    /// Has the files looked at at once, and what is wrong with them said again.
    pub fn look_now(&self) {
        self.look.notify_one();
    }

    /// Through TLS with a client; nothing is left of one who only came for a proof.
    ///
    /// # Errors
    /// The client goes away, or wants what we do not have.
    pub async fn accept<S>(&self, stream: S) -> io::Result<Option<TlsStream<HelloStream<S>>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = HelloStream::new(stream);
        let Some(proof) = self.proof.load_full() else {
            return TlsAcceptor::from(self.config.load_full()).accept(stream).await.map(Some);
        };
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        if is_acme_challenge(&hello.client_hello()) {
            hello.into_stream(proof).await?.shutdown().await?;
            return Ok(None);
        }
        hello.into_stream(self.config.load_full()).await.map(Some)
    }

    /// Puts up what an authority is shown.
    pub(super) fn prove(self: &Arc<Self>, config: Arc<ServerConfig>) -> ChallengeGuard {
        self.proof.store(Some(Arc::clone(&config)));
        ChallengeGuard { shown_by: Arc::clone(self), config }
    }

    /// Somebody asked for a look.
    pub(super) async fn asked(&self) {
        self.look.notified().await;
    }

    /// From here on `loaded` is served.
    pub(super) fn take(&self, loaded: Loaded) {
        let Loaded { config, leaf } = loaded;
        self.config.store(config);
        self.know(|before| Summary {
            leaf: leaf.clone(),
            renewals: before.renewals + 1,
            fault: None,
            upkeep: before.upkeep.clone(),
            stand_in: false,
        });
        self.settled.send_replace(true);
    }

    /// What was to take its place did not, or (`None`) that is mended.
    pub(super) fn note(&self, fault: Option<String>) {
        self.know(|before| Summary { fault: fault.clone(), ..before.clone() });
    }

    /// Its upkeep has a fault of its own, or (`None`) that is mended.
    pub(super) fn note_upkeep(&self, fault: Option<String>) {
        self.know(|before| Summary { upkeep: fault.clone(), ..before.clone() });
    }

    /// Who policy and who watches over the policy know different things, perhaps at the same moment.
    fn know(&self, more: impl Fn(&Summary) -> Summary) {
        self.summary.rcu(|before| Arc::new(more(before)));
    }
}

/// It speaks that and nothing else (RFC 8737 §4).
fn is_acme_challenge(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut names| names.next() == Some(ACME_TLS) && names.next().is_none())
}

impl Drop for ChallengeGuard {
    fn drop(&mut self) {
        self.shown_by.proof.compare_and_swap(&self.config, None);
    }
}

impl fmt::Debug for ActiveCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveCertificate").field("summary", &self.summary.load()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;

    use super::*;
    use crate::tls::key_pair::Texts;

    fn loaded() -> Loaded {
        let made = generate_simple_self_signed(["box.test".to_owned()]).unwrap();
        let texts = Texts::new(&made.cert.pem(), &made.signing_key.serialize_pem());
        texts.load("cert".as_ref(), "key".as_ref()).unwrap()
    }

    #[test]
    fn a_proof_that_comes_down_leaves_a_newer_one_up() {
        let in_force = ActiveCertificate::new(loaded());
        let older = in_force.prove(loaded().config);
        let newer = in_force.prove(loaded().config);
        drop(older);
        assert!(in_force.proof.load().is_some());
        drop(newer);
        assert!(in_force.proof.load().is_none());
    }
}
