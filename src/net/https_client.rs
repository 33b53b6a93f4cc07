//! A small HTTP/1.1 client over TLS for ACME and the doctor: one connection at a time, bounded responses.
//!
//! The caller sets time limits and chooses what verifies the server.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Request, Response, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long one address of a host may take to accept a connection before the next is tried.
const CONNECT_LIMIT: Duration = Duration::from_secs(8);

type BoxError = Box<dyn Error + Send + Sync>;

/// TLS 1.2 and 1.3; the caller adds what verifies the server.
///
/// # Errors
/// The crypto library supports neither.
pub(crate) fn tls_config() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
}

/// The roots of this system, or those that `SSL_CERT_FILE` or `SSL_CERT_DIR` name. Reads files.
pub(crate) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// A TLS connection to the host of `uri`.
///
/// # Errors
/// `uri` is not an https URL, no address of its host accepts a connection, or the handshake fails.
pub(crate) async fn connect(uri: &Uri, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let (host, port) =
        host_and_port(uri).ok_or_else(|| io::Error::other(format!("{uri} is not an https URL")))?;
    handshake(connect_tcp(host, port).await?, config, host).await
}

/// A TLS handshake with `name` as SNI.
///
/// # Errors
/// `name` is invalid, or the handshake fails.
pub(crate) async fn handshake(
    stream: TcpStream,
    config: &Arc<ClientConfig>,
    name: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

/// Host without brackets, and port; `None` for a URL that is not https.
fn host_and_port(uri: &Uri) -> Option<(&str, u16)> {
    let host = uri.host().filter(|_| uri.scheme_str() == Some("https"))?;
    Some((host.trim_start_matches('[').trim_end_matches(']'), uri.port_u16().unwrap_or(443)))
}

/// Tries the addresses one after the other: one address family may not work here.
async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last_error = io::Error::other(format!("{host} has no address"));
    for address in lookup_host((host, port)).await? {
        match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last_error = error,
            Err(_) => last_error = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last_error)
}

/// An HTTP/1.1 connection for one request after the other, with bodies of type `B`.
pub(crate) struct HttpConnection<B>(SendRequest<B>);

impl<B> HttpConnection<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    /// # Errors
    /// The connection has ended.
    pub(crate) async fn open(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, BoxError> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with its sender.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Sends `request`, whose URI is absolute; the Host header comes from it. The response body may have `max_body` bytes.
    ///
    /// # Errors
    /// The connection ends, or the response is not HTTP or too long.
    pub(crate) async fn send(
        &mut self,
        mut request: Request<B>,
        max_body: usize,
    ) -> Result<Response<Bytes>, BoxError> {
        if let Some(authority) = request.uri().authority() {
            let host = HeaderValue::from_str(authority.as_str())?;
            request.headers_mut().insert(header::HOST, host);
        }
        *request.uri_mut() = request.uri().path_and_query().map_or("/", PathAndQuery::as_str).parse()?;
        self.0.ready().await?;
        let (head, body) = self.0.send_request(request).await?.into_parts();
        let body = Limited::new(body, max_body).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_https_url_has_a_host_and_port() {
        let parts = |text: &str| {
            let uri: Uri = text.parse().unwrap();
            host_and_port(&uri).map(|(host, port)| (host.to_owned(), port))
        };
        assert_eq!(parts("https://ca.example/dir"), Some(("ca.example".to_owned(), 443)));
        assert_eq!(parts("https://[::1]:14000/dir"), Some(("::1".to_owned(), 14000)));
        assert_eq!(parts("http://ca.example/dir"), None);
        assert_eq!(parts("/dir"), None);
    }
}
