//! Accepts TLS clients whose server name (SNI, RFC 6066 §3) is not a host name: with brackets, a port or UTF-8.
//!
//! rustls ends such a handshake with an alert and has no option against it. So the extension gets another number
//! before rustls reads the ClientHello, which makes rustls ignore it. Where the transcript is hashed it gets its own
//! number back, so that both sides hash the same bytes. Every other ClientHello passes unchanged.

use std::io;
use std::sync::{Arc, LazyLock};

use bytes::{BufMut as _, BytesMut};
use rustls::crypto::hash::{self, Hash, HashAlgorithm, Output};
use rustls::crypto::{CipherSuiteCommon, CryptoProvider, ring};
use rustls::{SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use webrtc_box_relay::random;

use crate::net::rewound::Rewound;

const SERVER_NAME: u16 = 0;
/// A number for private use (RFC 8446 §11) that no client can predict: the handshake of one that sends it fails.
static HIDDEN: LazyLock<u16> = LazyLock::new(|| hidden_number(random::number()));

/// Numbers for private use that clients do use: ESNI, renegotiation (RFC 5746), and the ends.
const IN_USE: [u16; 4] = [0xff00, 0xff01, 0xffce, 0xffff];

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER: usize = 5;
const MAX_RECORD: usize = 1 << 14;

/// Bytes of one read; a usual hello fits.
const READ_SIZE: usize = 2048;

/// One of the numbers for private use that no client uses.
fn hidden_number(random: u64) -> u16 {
    let free = (0xff00..=0xffff).filter(|number| !IN_USE.contains(number));
    free.cycle().nth(usize::from(random as u8)).unwrap_or(0xfffe)
}

/// Reads the first record of a TLS client and hides an invalid server name in it.
///
/// # Errors
/// The stream cannot be read.
pub(super) async fn read_hello<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<Rewound<S>> {
    let mut hello = BytesMut::new();
    while is_incomplete(&hello) && stream.read_buf(&mut (&mut hello).limit(READ_SIZE)).await? > 0 {}
    hide_invalid_name(&mut hello);
    Ok(Rewound::new(hello.freeze(), stream))
}

/// Whether `bytes` are the beginning of a handshake record that is not complete.
fn is_incomplete(bytes: &[u8]) -> bool {
    match bytes {
        [first, ..] if *first != HANDSHAKE => false,
        [_, _, _, high, low, rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            length <= MAX_RECORD && rest.len() < length
        }
        _ => true,
    }
}

/// Hides an invalid server name in the record that `bytes` begin with. A ClientHello of several records stays unchanged.
fn hide_invalid_name(bytes: &mut [u8]) {
    let Some((&mut [HANDSHAKE, _, _, high, low], rest)) = bytes.split_first_chunk_mut::<RECORD_HEADER>()
    else {
        return;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let Some(hello) = rest.get_mut(..length) else { return };
    let is_complete =
        matches!(hello, [CLIENT_HELLO, 0, high, low, body @ ..] if number(&[*high, *low]) == body.len());
    if !is_complete || extension(hello, *HIDDEN).is_some() {
        return;
    }
    let invalid = extension(hello, SERVER_NAME).filter(|(_, list)| !is_host_name(list));
    if let Some(at) = invalid.map(|(at, _)| at) {
        hello[at..at + 2].copy_from_slice(&HIDDEN.to_be_bytes());
    }
}

/// Whether rustls accepts this as a list of one name.
fn is_host_name(list: &[u8]) -> bool {
    let parse = |list: &[u8]| {
        let (length, rest) = list.split_first_chunk()?;
        let (kind, rest) = rest.split_first().filter(|_| rest.len() == number(length))?;
        let (length, name) = rest.split_first_chunk()?;
        let is_one = *kind == 0 && name.len() == number(length);
        is_one.then(|| ServerName::try_from(name).is_ok())
    };
    parse(list).unwrap_or(false)
}

/// The position and contents of an extension in a ClientHello (RFC 8446 §4.1.2). The end of the ClientHello may be
/// missing, as in the hash of a PSK binder.
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
        let contents = rest.get(..number(length))?;
        if u16::from_be_bytes(*kind) == wanted {
            return Some((at, contents));
        }
        at += 4 + contents.len();
    }
}

fn number(bytes: &[u8; 2]) -> usize {
    usize::from(u16::from_be_bytes(*bytes))
}

/// Returns what is hashed instead of a handshake message; `None`: the message itself.
type Patch = fn(&[u8]) -> Option<Vec<u8>>;

/// ring, with transcript hashes that restore hidden names.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| patched_provider(restore_name));
    Arc::clone(&PROVIDER)
}

fn patched_provider(patch: Patch) -> Arc<CryptoProvider> {
    let ring = ring::default_provider();
    let cipher_suites = ring.cipher_suites.iter().map(|suite| patched(suite, patch)).collect();
    Arc::new(CryptoProvider { cipher_suites, ..ring })
}

/// A ClientHello as its sender hashes it; `None` if no name is hidden in it.
fn restore_name(message: &[u8]) -> Option<Vec<u8>> {
    let (at, _) =
        message.first().filter(|kind| **kind == CLIENT_HELLO).and_then(|_| extension(message, *HIDDEN))?;
    let mut hello = message.to_vec();
    hello[at..at + 2].copy_from_slice(&SERVER_NAME.to_be_bytes());
    Some(hello)
}

/// Leaks memory, once: cipher suites exist as long as the process.
fn patched(suite: &SupportedCipherSuite, patch: Patch) -> SupportedCipherSuite {
    let common = |common: &CipherSuiteCommon| CipherSuiteCommon {
        hash_provider: Box::leak(Box::new(PatchedHash(common.hash_provider, patch))),
        ..*common
    };
    match *suite {
        SupportedCipherSuite::Tls12(suite) => {
            let suite = Tls12CipherSuite { common: common(&suite.common), ..*suite };
            SupportedCipherSuite::Tls12(Box::leak(Box::new(suite)))
        }
        SupportedCipherSuite::Tls13(suite) => {
            let suite = Tls13CipherSuite { common: common(&suite.common), ..*suite };
            SupportedCipherSuite::Tls13(Box::leak(Box::new(suite)))
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

    /// `data` begins with a handshake message.
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
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::tls::ActiveCertificate;
    use crate::tls::key_pair::PemPair;

    /// The name that the client believes to send; the invalid names have the same length.
    const SENT: &[u8] = b"namename.test";
    const INVALID: [&[u8]; 4] =
        [b"[2001:db8::1]", b"box.test:8443", "b\u{fc}ro.beispie".as_bytes(), b"a b.c d.e f.g"];

    fn renamed(message: &[u8], name: &[u8]) -> Option<Vec<u8>> {
        // The certificate contains the name as well.
        message.first().filter(|kind| [CLIENT_HELLO, HANDSHAKE].contains(*kind))?;
        let at = message.windows(SENT.len()).position(|window| window == SENT)?;
        let mut renamed = message.to_vec();
        renamed[at..at + SENT.len()].copy_from_slice(name);
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
        let pair = PemPair::new("test", &made.cert.pem(), &made.signing_key.serialize_pem());
        (ActiveCertificate::new(pair.load().unwrap()), roots)
    }

    /// A handshake of a client whose server name is replaced on the way; its ClientHello is sent in pieces.
    async fn handshake(
        server: &Arc<ActiveCertificate>,
        config: &Arc<ClientConfig>,
        patch: Patch,
        piece: usize,
    ) -> HandshakeKind {
        let (mut client_end, server_end): (DuplexStream, _) = duplex(1 << 16);
        let server = Arc::clone(server);
        let serving = tokio::spawn(async move {
            let mut stream = server.accept(server_end).await.unwrap().unwrap();
            stream.write_all(b"served").await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let name = ServerName::try_from("namename.test").unwrap();
        let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        for part in patch(&hello).unwrap().chunks(piece) {
            client_end.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        let (mut wire, mut received) = ([0; 4096], Vec::new());
        while received != b"served" {
            let count = client_end.read(&mut wire).await.unwrap();
            assert_ne!(count, 0, "the server closed the connection");
            client.read_tls(&mut &wire[..count]).unwrap();
            client.process_new_packets().unwrap();
            let mut reply = Vec::new();
            client.write_tls(&mut reply).unwrap();
            client_end.write_all(&reply).await.unwrap();
            let _ = io::Read::read_to_end(&mut client.reader(), &mut received);
        }
        serving.await.unwrap();
        client.handshake_kind().unwrap()
    }

    async fn assert_all_names_are_accepted(version: &'static SupportedProtocolVersion) {
        let (server, roots) = server();
        for (at, patch) in PATCHES.into_iter().enumerate() {
            assert!(ServerName::try_from(INVALID[at]).is_err() && INVALID[at].len() == SENT.len());
            let config = ClientConfig::builder_with_provider(patched_provider(patch))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            let config = Arc::new(config);
            assert_eq!(handshake(&server, &config, patch, 4096).await, HandshakeKind::Full);
            assert_eq!(handshake(&server, &config, patch, 7).await, HandshakeKind::Resumed);
        }
    }

    #[tokio::test]
    async fn an_invalid_server_name_is_accepted_over_tls_1_3() {
        assert_all_names_are_accepted(&rustls::version::TLS13).await;
    }

    #[tokio::test]
    async fn an_invalid_server_name_is_accepted_over_tls_1_2() {
        assert_all_names_are_accepted(&rustls::version::TLS12).await;
    }

    #[test]
    fn the_hidden_number_is_none_that_clients_use() {
        let numbers: std::collections::BTreeSet<u16> = (0..256).map(hidden_number).collect();
        assert_eq!(numbers.len(), 252);
        assert!(numbers.iter().all(|number| *number >= 0xff00 && !IN_USE.contains(number)));
        assert!(numbers.contains(&*HIDDEN));
    }

    #[test]
    fn a_valid_client_hello_and_other_bytes_stay_unchanged() {
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
            // Complete it stays unchanged; cut anywhere, or with any byte changed, it causes no panic.
            let before = hello.clone();
            hide_invalid_name(&mut hello);
            assert_eq!(hello, before);
            (0..hello.len()).for_each(|end| hide_invalid_name(&mut before.clone()[..end]));
            for at in 0..hello.len() {
                let mut changed = before.clone();
                changed[at] ^= 0xff;
                hide_invalid_name(&mut changed);
                let _ = restore_name(&changed[RECORD_HEADER..]);
            }
        }
        assert!(
            !is_incomplete(b"GET / HTTP/1.1")
                && is_incomplete(b"\x16\x03")
                && !is_incomplete(b"\x16\x03\x01\xff\xff")
        );
    }
}
