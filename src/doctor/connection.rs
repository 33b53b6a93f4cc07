//! Connections to the server: TCP, TLS and HTTP/1.1, each with a time limit.
//!
//! TLS accepts every certificate, so the server behind a bad certificate is observed too. [`super::certificate`]
//! evaluates the chain afterwards.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::ORIGIN;
use hyper::{Request, Response};
use ipnet::IpNet;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::net::https_client;

/// For a TCP connection, and again for its TLS handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// For a request and its response on an open connection.
pub(super) const RESPONSE_LIMIT: Duration = Duration::from_secs(3);
/// Bytes of a response body; pages have a tenth of it.
const MAX_RESPONSE: usize = 1 << 20;
/// A PROXY header, version 2, of a proxy's own connection: LOCAL, without addresses.
const LOCAL_PROXY_HEADER: &[u8; 16] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Why a port could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreachable {
    /// This machine has no route to addresses of that family.
    NoRoute,
    /// The host answers, and nothing listens on the port.
    Refused,
    /// No answer in time: usually a firewall.
    NoAnswer,
    /// The other side closed the connection or speaks another protocol.
    Broken(String),
}

/// A TLS connection and the certificate chain that the server sent.
pub(super) struct TlsConnection {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) chain: Vec<CertificateDer<'static>>,
}

/// An HTTP/1.1 connection.
pub(super) struct HttpConnection(https_client::HttpConnection<Full<Bytes>>);

/// If this host is one of `proxies`, the connection begins with a PROXY header, as the server expects.
pub(super) async fn tcp(address: SocketAddr, proxies: &[IpNet]) -> Result<TcpStream, Unreachable> {
    let connect = async {
        let mut stream = TcpStream::connect(address).await?;
        let local = stream.local_addr()?.ip().to_canonical();
        if proxies.iter().any(|net| net.contains(&local)) {
            stream.write_all(LOCAL_PROXY_HEADER).await?;
        }
        Ok::<_, io::Error>(stream)
    };
    within(CONNECT_LIMIT, async { Ok(connect.await?) }).await
}

/// Sends `name` as SNI and offers `protocols` (ALPN).
pub(super) async fn tls(
    address: SocketAddr,
    proxies: &[IpNet],
    name: &str,
    protocols: &[&[u8]],
) -> Result<TlsConnection, Unreachable> {
    let tcp = tcp(address, proxies).await?;
    let config = https_client::tls_config().map_err(Unreachable::broken)?;
    let config =
        config.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(ring::default_provider())));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let config = Arc::new(config);
    let handshake = async {
        let handshake = https_client::handshake(tcp, &config, name).await;
        handshake.map_err(|error| Unreachable::Broken(format!("not with TLS: {error}")))
    };
    let stream = within(CONNECT_LIMIT, handshake).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    Ok(TlsConnection { stream, chain })
}

impl HttpConnection {
    pub(super) async fn open(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, Unreachable> {
        https_client::HttpConnection::open(stream).await.map(Self).map_err(not_http)
    }

    /// `host` goes into the Host header.
    pub(super) async fn get(&mut self, host: &str, path: &str) -> Result<Response<Bytes>, Unreachable> {
        self.send(Request::get(format!("https://{host}{path}")).body(Full::default())).await
    }

    /// Like a page of `host`: with its origin.
    pub(super) async fn post(
        &mut self,
        host: &str,
        path: &str,
        body: String,
    ) -> Result<Response<Bytes>, Unreachable> {
        let request = Request::post(format!("https://{host}{path}"));
        self.send(request.header(ORIGIN, format!("https://{host}")).body(Full::from(body))).await
    }

    async fn send(
        &mut self,
        request: hyper::http::Result<Request<Full<Bytes>>>,
    ) -> Result<Response<Bytes>, Unreachable> {
        let request = request.map_err(Unreachable::broken)?;
        within(RESPONSE_LIMIT, async { self.0.send(request, MAX_RESPONSE).await.map_err(not_http) }).await
    }
}

fn not_http(error: impl fmt::Display) -> Unreachable {
    Unreachable::Broken(format!("not with HTTP: {error}"))
}

/// The result of `future`; [`Unreachable::NoAnswer`] after `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    future: impl Future<Output = Result<T, Unreachable>>,
) -> Result<T, Unreachable> {
    timeout(limit, future).await.unwrap_or(Err(Unreachable::NoAnswer))
}

impl Unreachable {
    pub(super) fn broken(error: impl fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }

    /// What to do if `port` (such as `3478/udp`) does not answer.
    pub(super) fn hint(&self, port: &str) -> String {
        match self {
            Self::NoRoute => "try from a machine that has such addresses".to_owned(),
            Self::Refused => format!("start the server, and check that its settings name port {port}"),
            Self::NoAnswer => format!(
                "open {port} in every firewall before the server, the provider's too; \
                 where it answers from another network, this one blocks it"
            ),
            Self::Broken(_) => {
                format!("look into the log of the server, and check that no other program has port {port}")
            }
        }
    }
}

impl From<io::Error> for Unreachable {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the system has forty kinds of error")]
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => Self::NoRoute,
            // Some firewalls answer with the last two.
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::PermissionDenied => {
                Self::NoAnswer
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
                Self::Broken("closes the connection".to_owned())
            }
            _ => Self::broken(error),
        }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => f.write_str("this machine has no route to it"),
            Self::Refused => f.write_str("nothing listens there"),
            Self::NoAnswer => f.write_str("no answer"),
            Self::Broken(reason) => write!(f, "it answers, but {reason}"),
        }
    }
}

/// `IPv4 (45.0.0.10)`.
pub(super) fn family_and_ip(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    format!("{family} ({})", address.ip())
}

/// Accepts every certificate. The only secret that such a connection carries is a short-lived credential.
#[derive(Debug)]
struct AcceptAny(CryptoProvider);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
