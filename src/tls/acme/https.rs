//! One request to the authority: a connection of its own, bounded in time and size.
//!
//! Written here rather than taken from the ACME library, whose own client hides `Retry-After` where it
//! matters most, on a refusal, and brings HTTP/2 with it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, Request, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::problem::{AcmeError, Unreachable};

/// How long a whole exchange may take.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(45);

/// How long one address of the authority may take to answer before the next is tried.
const CONNECT_LIMIT: Duration = Duration::from_secs(8);

/// Bytes of a reply; a chain of certificates is a tenth of it.
const LONGEST_REPLY: usize = 256 * 1024;

/// The way to an authority. Clones are one.
#[derive(Clone)]
pub(super) struct Https {
    tls: TlsConnector,
    /// What the last refusal asked us to wait.
    wait: Arc<Mutex<Option<Duration>>>,
}

impl Https {
    /// Trusts the roots of this system, or those that `SSL_CERT_FILE` or `SSL_CERT_DIR` name. Reads
    /// files.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn with_roots_of_the_system() -> Result<Self, AcmeError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(AcmeError::NoRoots);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|fault| AcmeError::Library(fault.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), wait: Arc::default() })
    }

    /// What a refusal since the last call asked us to wait.
    pub(super) fn asked_to_wait(&self) -> Option<Duration> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn exchange(&self, mut request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Unreachable> {
        let stream = self.stream(request.uri()).await.map_err(Unreachable::never)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(Unreachable::after_all)?;
        // It ends with `sender`.
        tokio::spawn(connection);
        if let Some(authority) = request.uri().authority().and_then(|name| name.as_str().parse().ok()) {
            request.headers_mut().insert(header::HOST, authority);
        }
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().map_err(Unreachable::never)?;
        let reply = sender.send_request(request).await.map_err(Unreachable::after_all)?;
        let (parts, body) = reply.into_parts();
        let body = Limited::new(body, LONGEST_REPLY).collect().await.map_err(Unreachable::after_all)?;
        let body = body.to_bytes();
        if parts.status.is_client_error() || parts.status.is_server_error() {
            let asked = wait_of(&parts.headers, SystemTime::now());
            *self.wait.lock().unwrap_or_else(PoisonError::into_inner) = asked;
            if !body.starts_with(b"{") {
                return Err(Unreachable::after_all(format!("it answers {}", parts.status)));
            }
        }
        Ok(BytesResponse { parts, body: Box::new(body) })
    }

    async fn stream(&self, uri: &Uri) -> io::Result<TlsStream<TcpStream>> {
        let (host, port) = place(uri).ok_or_else(|| io::Error::other(format!("{uri} is no https URL")))?;
        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
        self.tls.connect(name, connect(&host, port).await?).await
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let way = self.clone();
        Box::pin(async move {
            let reply = timeout(EXCHANGE_LIMIT, way.exchange(request)).await;
            let reply = reply.unwrap_or_else(|_| Err(Unreachable::after_all("it does not answer in time")));
            reply.map_err(|unreachable| instant_acme::Error::Other(Box::new(unreachable)))
        })
    }
}

/// Host without brackets, and port; nothing for a URL that is not https.
fn place(uri: &Uri) -> Option<(String, u16)> {
    let host = uri.host().filter(|_| uri.scheme_str() == Some("https"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), uri.port_u16().unwrap_or(443)))
}

/// Each address in turn: one family may lead nowhere.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::other(format!("{host} has no address"));
    for address in lookup_host((host, port)).await? {
        match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// `Retry-After`: seconds, or a date (RFC 9110 §10.2.3).
fn wait_of(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let date = || httpdate::parse_http_date(text).ok()?.duration_since(now).ok();
    text.parse().ok().map(Duration::from_secs).or_else(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_says_how_long_to_wait_in_seconds_or_by_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let wait = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            wait_of(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("Tue, 14 Nov 2023 22:14:20 GMT"), Some(60));
        assert_eq!(wait("Tue, 14 Nov 2023 22:10:00 GMT"), None);
        assert_eq!(wait("soon"), None);
        assert_eq!(wait_of(&HeaderMap::new(), now), None);
    }

    #[test]
    fn only_https_leads_anywhere() {
        let place = |text: &str| place(&text.parse().unwrap());
        assert_eq!(place("https://ca.example/dir"), Some(("ca.example".to_owned(), 443)));
        assert_eq!(place("https://[::1]:14000/dir"), Some(("::1".to_owned(), 14000)));
        assert_eq!(place("http://ca.example/dir"), None);
        assert_eq!(place("/dir"), None);
    }
}
