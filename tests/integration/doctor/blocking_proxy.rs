//! A proxy in front of a server that terminates TLS and forwards no WebSocket.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::checked_server::{CheckedServer, NAME};
use crate::harness::test_ca::client_config;

/// Requests whose head contains one of some texts get the status 400; the proxy runs until it is dropped.
pub struct BlockingProxy {
    pub port: u16,
    _runtime: Runtime,
}

impl BlockingProxy {
    pub fn start(server: &CheckedServer, blocked: &'static [&'static str]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let pair = server.authority.issue(NAME, 2);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let connector = TlsConnector::from(Arc::new(client_config(server.authority.root.clone())));
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let (port, upstream) = (listener.local_addr().unwrap().port(), server.ports.https);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(forward(stream, acceptor.clone(), connector.clone(), upstream, blocked));
            }
        });
        Self { port, _runtime: runtime }
    }
}

/// A connection that fails ends; the check reports what that means for it.
async fn forward(
    client: TcpStream,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    upstream: u16,
    blocked: &[&str],
) -> std::io::Result<()> {
    let mut client = acceptor.accept(client).await?;
    let mut head = vec![0; 16 * 1024];
    let length = client.read(&mut head).await?;
    head.truncate(length);
    let text = String::from_utf8_lossy(&head).to_lowercase();
    if blocked.iter().any(|part| text.contains(part)) {
        client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await?;
        return client.shutdown().await;
    }
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await?;
    let mut server = connector.connect(ServerName::try_from(NAME).unwrap(), stream).await?;
    server.write_all(&head).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
