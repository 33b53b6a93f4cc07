//! Connections: TCP, and TLS that looks at every certificate and refuses none, so that what is behind
//! a bad one can be told too.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{DIAL, within};
use crate::doctor::judge::Trouble;

/// A stream through TLS, and the chain that was shown.
pub(super) struct Secured {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) chain: Vec<CertificateDer<'static>>,
}

/// A PROXY header, version 2, of who speaks for itself: LOCAL, and no addresses.
const LOCAL_HEADER: &[u8; 16] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Where this host is one of `proxies`, whose connections begin with a PROXY header, so does this one.
pub(super) async fn tcp(address: SocketAddr, proxies: &[IpNet]) -> Result<TcpStream, Trouble> {
    let connect = async {
        let mut stream = TcpStream::connect(address).await?;
        let own = stream.local_addr()?.ip().to_canonical();
        if proxies.iter().any(|net| net.contains(&own)) {
            stream.write_all(LOCAL_HEADER).await?;
        }
        Ok(stream)
    };
    within(DIAL, async { connect.await.map_err(|error| trouble(&error)) }).await
}

/// `name` is asked for (SNI) and `protocols` are offered (ALPN).
pub(super) async fn tls(
    address: SocketAddr,
    proxies: &[IpNet],
    name: &str,
    protocols: &[&[u8]],
) -> Result<Secured, Trouble> {
    let broken = |why: String| Trouble::Broken(why);
    let tcp = tcp(address, proxies).await?;
    let witness = Arc::new(Witness::default());
    let provider = Arc::clone(&witness.provider);
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| broken(error.to_string()))?.dangerous();
    let config = config.with_custom_certificate_verifier(Arc::<Witness>::clone(&witness));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).map_err(|error| broken(error.to_string()))?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    let handshake = async { handshake.await.map_err(|error| broken(format!("not with TLS: {error}"))) };
    let stream = within(DIAL, handshake).await?;
    Ok(Secured { stream, chain: witness.chain() })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system has forty kinds of error")]
pub(super) fn trouble(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Trouble::Refused,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => Trouble::NoRoute,
        // The last three are how some firewalls answer.
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::PermissionDenied => {
            Trouble::Silent
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            Trouble::Broken("hangs up".to_owned())
        }
        _ => Trouble::Broken(error.to_string()),
    }
}

/// Notes the chain. Nothing secret goes through what it lets pass but a credential of the moment.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Vec<CertificateDer<'static>>>,
}

impl Default for Witness {
    fn default() -> Self {
        Self { provider: Arc::new(ring::default_provider()), seen: Mutex::default() }
    }
}

impl Witness {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(leaf).chain(rest).map(|one| one.clone().into_owned()).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
