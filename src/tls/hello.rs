//! TLS clients whose server name (SNI, RFC 6066 §3) is no host name: with brackets, a port or UTF-8.
//!
//! rustls ends such a handshake with an alert and cannot be told otherwise. So the extension is given another
//! number before rustls reads it, which makes it unknown and ignored, and its own number again where the
//! transcript is hashed, so that both sides hash the same. All other hellos pass unchanged.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};

use rustls::crypto::hash::{self, Hash, HashAlgorithm, Output};
use rustls::crypto::{CipherSuiteCommon, CryptoProvider, ring};
use rustls::{SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use webrtc_box_relay::random;
use webrtc_box_relay::socket::HasTcpStream;

const SERVER_NAME: u16 = 0;
/// A number for private use (RFC 8446 §11) that no client knows: one that sends it itself is not served.
static HIDDEN: LazyLock<u16> = LazyLock::new(|| hidden(random::number()));

/// Numbers for private use that clients do use: ESNI, renegotiation (RFC 5746), and the ends.
const IN_USE: [u16; 4] = [0xff00, 0xff01, 0xffce, 0xffff];

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER: usize = 5;
const LONGEST_RECORD: usize = 1 << 14;

/// One of the numbers for private use that no client uses.
fn hidden(chance: u64) -> u16 {
    let free = (0xff00..=0xffff).filter(|number| !IN_USE.contains(number));
    free.cycle().nth(usize::from(chance as u8)).unwrap_or(0xfffe)
}

/// A stream on which a TLS client speaks first; its hello is looked at before it is read.
#[derive(Debug)]
pub struct HelloStream<S> {
    stream: S,
    hello: Hello,
}

#[derive(Debug)]
enum Hello {
    /// What has come so far, at most a record and a chunk.
    Coming(Vec<u8>),
    /// What has come and from where on it is still to be read.
    Read(Vec<u8>, usize),
    Over,
}

impl<S> HelloStream<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, hello: Hello::Coming(Vec::new()) }
    }
}

impl<S: HasTcpStream> HasTcpStream for HelloStream<S> {
    fn tcp(&self) -> &TcpStream {
        self.stream.tcp()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HelloStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.hello {
                Hello::Coming(bytes) => {
                    let mut chunk = [0; 2048];
                    let mut chunk = ReadBuf::new(&mut chunk);
                    ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk))?;
                    bytes.extend_from_slice(chunk.filled());
                    if chunk.filled().is_empty() || !is_part(bytes) {
                        hide_invalid_name(bytes);
                        this.hello = Hello::Read(std::mem::take(bytes), 0);
                    }
                }
                Hello::Read(bytes, from) => {
                    let rest = &bytes[*from..];
                    let count = rest.len().min(to.remaining());
                    to.put_slice(&rest[..count]);
                    *from += count;
                    if *from == bytes.len() {
                        this.hello = Hello::Over;
                    }
                    return Poll::Ready(Ok(()));
                }
                Hello::Over => return Pin::new(&mut this.stream).poll_read(cx, to),
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HelloStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, from)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Whether `bytes` are the beginning of a handshake record of which more is to come.
fn is_part(bytes: &[u8]) -> bool {
    match bytes {
        [first, ..] if *first != HANDSHAKE => false,
        [_, _, _, high, low, rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            length <= LONGEST_RECORD && rest.len() < length
        }
        _ => true,
    }
}

/// `bytes` begin with a record; a hello that does not fit into one is left as it is.
fn hide_invalid_name(bytes: &mut [u8]) {
    let Some((&mut [HANDSHAKE, _, _, high, low], rest)) = bytes.split_first_chunk_mut::<RECORD_HEADER>()
    else {
        return;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let Some(hello) = rest.get_mut(..length) else { return };
    let is_whole =
        matches!(hello, [CLIENT_HELLO, 0, high, low, body @ ..] if number(&[*high, *low]) == body.len());
    if !is_whole || extension(hello, *HIDDEN).is_some() {
        return;
    }
    let invalid = extension(hello, SERVER_NAME).filter(|(_, list)| !is_host_name(list));
    if let Some(at) = invalid.map(|(at, _)| at) {
        hello[at..at + 2].copy_from_slice(&HIDDEN.to_be_bytes());
    }
}

/// Whether rustls takes this for a list of one name.
fn is_host_name(list: &[u8]) -> bool {
    let named = |list: &[u8]| {
        let (length, rest) = list.split_first_chunk()?;
        let (kind, rest) = rest.split_first().filter(|_| rest.len() == number(length))?;
        let (length, name) = rest.split_first_chunk()?;
        let is_one = *kind == 0 && name.len() == number(length);
        is_one.then(|| ServerName::try_from(name).is_ok())
    };
    named(list).unwrap_or(false)
}

/// Where the extension of this number stands in a ClientHello (RFC 8446 §4.1.2), and what it holds. The end of
/// the hello may be missing, as it is where a PSK binder is made.
fn extension(hello: &[u8], wanted: u16) -> Option<(usize, &[u8])> {
    // Type and length, version, random.
    let mut at = 4 + 2 + 32;
    at += 1 + usize::from(*hello.get(at)?);
    at += 2 + number(hello.get(at..)?.first_chunk()?);
    at += 1 + usize::from(*hello.get(at)?);
    at += 2;
    loop {
        let (kind, rest) = hello.get(at..)?.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let holds = rest.get(..number(length))?;
        if u16::from_be_bytes(*kind) == wanted {
            return Some((at, holds));
        }
        at += 4 + holds.len();
    }
}

fn number(bytes: &[u8; 2]) -> usize {
    usize::from(u16::from_be_bytes(*bytes))
}

/// What of a handshake message is hashed in its place, if anything else.
type Patch = fn(&[u8]) -> Option<Vec<u8>>;

/// ring, with hashes that know of hidden names.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| patched_provider(with_its_name));
    Arc::clone(&PROVIDER)
}

fn patched_provider(patch: Patch) -> Arc<CryptoProvider> {
    let ring = ring::default_provider();
    let cipher_suites = ring.cipher_suites.iter().map(|suite| patched(suite, patch)).collect();
    Arc::new(CryptoProvider { cipher_suites, ..ring })
}

/// A ClientHello as its sender hashes it; nothing where no name was hidden in it.
fn with_its_name(message: &[u8]) -> Option<Vec<u8>> {
    let (at, _) =
        message.first().filter(|kind| **kind == CLIENT_HELLO).and_then(|_| extension(message, *HIDDEN))?;
    let mut hello = message.to_vec();
    hello[at..at + 2].copy_from_slice(&SERVER_NAME.to_be_bytes());
    Some(hello)
}

/// A suite lives as long as the process, so what is leaked here is made once.
fn patched(suite: &SupportedCipherSuite, patch: Patch) -> SupportedCipherSuite {
    let common = |common: &CipherSuiteCommon| CipherSuiteCommon {
        suite: common.suite,
        hash_provider: Box::leak(Box::new(PatchedHash(common.hash_provider, patch))),
        confidentiality_limit: common.confidentiality_limit,
    };
    match *suite {
        SupportedCipherSuite::Tls12(suite) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: common(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: suite.aead_alg,
            })))
        }
        SupportedCipherSuite::Tls13(suite) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: common(&suite.common),
                hkdf_provider: suite.hkdf_provider,
                aead_alg: suite.aead_alg,
                quic: None,
            })))
        }
    }
}

struct PatchedHash(&'static dyn Hash, Patch);

struct PatchedContext(Box<dyn hash::Context>, Patch);

impl Hash for PatchedHash {
    fn start(&self) -> Box<dyn hash::Context> {
        Box::new(PatchedContext(self.0.start(), self.1))
    }

    fn hash(&self, data: &[u8]) -> Output {
        self.0.hash(data)
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0.algorithm()
    }
}

impl hash::Context for PatchedContext {
    fn fork_finish(&self) -> Output {
        self.0.fork_finish()
    }

    fn fork(&self) -> Box<dyn hash::Context> {
        Box::new(Self(self.0.fork(), self.1))
    }

    fn finish(self: Box<Self>) -> Output {
        self.0.finish()
    }

    /// `data` begins with a message of the handshake.
    fn update(&mut self, data: &[u8]) {
        match (self.1)(data) {
            Some(patched) => self.0.update(&patched),
            None => self.0.update(data),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedProtocolVersion};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::tls::ActiveCertificate;
    use crate::tls::key_pair::Texts;

    /// As long as the name that the client takes itself to ask for.
    const ASKED: &[u8] = b"namename.test";
    const INVALID: [&[u8]; 4] =
        [b"[2001:db8::1]", b"box.test:8443", "b\u{fc}ro.beispie".as_bytes(), b"a b.c d.e f.g"];

    fn renamed(message: &[u8], name: &[u8]) -> Option<Vec<u8>> {
        // The certificate names it as well.
        message.first().filter(|kind| [CLIENT_HELLO, HANDSHAKE].contains(*kind))?;
        let at = message.windows(ASKED.len()).position(|window| window == ASKED)?;
        let mut renamed = message.to_vec();
        renamed[at..at + ASKED.len()].copy_from_slice(name);
        Some(renamed)
    }

    /// One for each of [`INVALID`].
    const PATCHES: [Patch; 4] = [
        |message| renamed(message, INVALID[0]),
        |message| renamed(message, INVALID[1]),
        |message| renamed(message, INVALID[2]),
        |message| renamed(message, INVALID[3]),
    ];

    fn server() -> (Arc<ActiveCertificate>, RootCertStore) {
        let made = generate_simple_self_signed(["namename.test".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()).unwrap();
        let texts = Texts::new(&made.cert.pem(), &made.signing_key.serialize_pem());
        (ActiveCertificate::new(texts.load("cert".as_ref(), "key".as_ref()).unwrap()), roots)
    }

    /// A handshake of a client that names something else than it believes; how it went.
    async fn shake_hands(
        server: &Arc<ActiveCertificate>,
        config: &Arc<ClientConfig>,
        patch: Patch,
        piece: usize,
    ) -> HandshakeKind {
        let (mut ours, theirs): (DuplexStream, _) = duplex(1 << 16);
        let server = Arc::clone(server);
        let serving = tokio::spawn(async move {
            let mut stream = server.accept(theirs).await.unwrap().unwrap();
            stream.write_all(b"served").await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let name = ServerName::try_from("namename.test").unwrap();
        let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        for part in patch(&hello).unwrap().chunks(piece) {
            ours.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        let (mut wire, mut said) = ([0; 4096], Vec::new());
        while said != b"served" {
            let count = ours.read(&mut wire).await.unwrap();
            assert_ne!(count, 0, "the server hung up");
            client.read_tls(&mut &wire[..count]).unwrap();
            client.process_new_packets().unwrap();
            let mut answer = Vec::new();
            client.write_tls(&mut answer).unwrap();
            ours.write_all(&answer).await.unwrap();
            let _ = io::Read::read_to_end(&mut client.reader(), &mut said);
        }
        serving.await.unwrap();
        client.handshake_kind().unwrap()
    }

    async fn all_names_are_served(version: &'static SupportedProtocolVersion) {
        let (server, roots) = server();
        for (at, patch) in PATCHES.into_iter().enumerate() {
            assert!(ServerName::try_from(INVALID[at]).is_err() && INVALID[at].len() == ASKED.len());
            let config = ClientConfig::builder_with_provider(patched_provider(patch))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            let config = Arc::new(config);
            assert_eq!(shake_hands(&server, &config, patch, 4096).await, HandshakeKind::Full);
            assert_eq!(shake_hands(&server, &config, patch, 7).await, HandshakeKind::Resumed);
        }
    }

    #[tokio::test]
    async fn a_server_name_that_is_none_is_served_with_the_certificate_we_have() {
        all_names_are_served(&rustls::version::TLS13).await;
    }

    #[tokio::test]
    async fn a_server_name_that_is_none_is_served_over_tls_1_2() {
        all_names_are_served(&rustls::version::TLS12).await;
    }

    #[test]
    fn the_number_that_hides_a_name_is_none_that_clients_send() {
        let numbers: std::collections::BTreeSet<u16> = (0..256).map(hidden).collect();
        assert_eq!(numbers.len(), 252);
        assert!(numbers.iter().all(|number| *number >= 0xff00 && !IN_USE.contains(number)));
        assert!(numbers.contains(&*HIDDEN));
    }

    #[test]
    fn what_is_no_hello_or_has_a_sound_name_is_left_as_it_is() {
        let (_, roots) = server();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        for name in ["box.test", "192.0.2.1"] {
            let name = ServerName::try_from(name).unwrap();
            let mut hello = Vec::new();
            ClientConnection::new(Arc::new(config.clone()), name).unwrap().write_tls(&mut hello).unwrap();
            // Cut anywhere, or with any byte changed, it does no harm; whole it is as it was.
            let before = hello.clone();
            hide_invalid_name(&mut hello);
            assert_eq!(hello, before);
            (0..hello.len()).for_each(|end| hide_invalid_name(&mut before.clone()[..end]));
            for at in 0..hello.len() {
                let mut changed = before.clone();
                changed[at] ^= 0xff;
                hide_invalid_name(&mut changed);
                let _ = with_its_name(&changed[RECORD_HEADER..]);
            }
        }
        assert!(!is_part(b"GET / HTTP/1.1") && is_part(b"\x16\x03") && !is_part(b"\x16\x03\x01\xff\xff"));
    }
}
