//! Certificates and keys with every fault.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, generate_simple_self_signed};
use rustls::ClientConfig;
use rustls_pki_types::{PrivatePkcs1KeyDer, ServerName};

use super::*;
use crate::error::Hint as _;

/// A leaf with its issuer and key, and a folder for files.
struct Fixture {
    dir: tempfile::TempDir,
    leaf: String,
    issuer: String,
    key: String,
}

impl Fixture {
    fn new() -> Self {
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut ca = CertificateParams::new([]).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = ca.self_signed(&ca_key).unwrap().pem();
        let mut params = CertificateParams::new(["box.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let leaf = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap().pem();
        Self { dir: tempfile::tempdir().unwrap(), leaf, issuer, key: key.serialize_pem() }
    }

    fn load(&self, cert: &str, key: &str) -> Result<LoadedCertificate, TlsError> {
        let (cert_file, key_file) = (self.dir.path().join("cert.pem"), self.dir.path().join("key.pem"));
        fs::write(&cert_file, cert).unwrap();
        fs::write(&key_file, key).unwrap();
        load(&cert_file, &key_file)
    }

    fn error(&self, cert: &str, key: &str) -> String {
        let line = self.load(cert, key).unwrap_err().with_hint();
        assert!(!line.contains('\n'), "{line}");
        line
    }
}

#[test]
fn a_client_that_trusts_the_issuer_completes_a_handshake() {
    let fixture = Fixture::new();
    let loaded = fixture.load(&format!("{}{}", fixture.leaf, fixture.issuer), &fixture.key).unwrap();
    assert_eq!(loaded.leaf.names, ["box.test"]);
    // 2020-01-01 and 2040-01-01.
    assert_eq!((loaded.leaf.not_before, loaded.leaf.not_after), (1_577_836_800, 2_208_988_800));
    assert_eq!(loaded.config.alpn_protocols, ALPN);
    assert!(loaded.config.ticketer.enabled());

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(fixture.issuer.as_bytes()).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("box.test").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = rustls::ServerConnection::new(loaded.config).unwrap();
    let mut wire = vec![];
    while client.is_handshaking() || server.is_handshaking() {
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets().unwrap();
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets().unwrap();
        wire.clear();
    }
    assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
}

#[test]
fn a_key_of_another_certificate_is_an_error() {
    let fixture = Fixture::new();
    let other = KeyPair::generate().unwrap().serialize_pem();
    assert!(fixture.error(&fixture.leaf, &other).contains("does not belong to cert"));
}

#[test]
fn a_chain_in_the_wrong_order_names_the_certificate_to_move() {
    let fixture = Fixture::new();
    let line = fixture.error(&format!("{}{}", fixture.issuer, fixture.leaf), &fixture.key);
    assert!(line.contains("move certificate number 2"), "{line}");
}

#[test]
fn files_with_other_contents_have_their_own_errors() {
    let fixture = Fixture::new();
    assert!(fixture.error(&fixture.key, &fixture.leaf).contains("swap cert and key"));
    assert!(fixture.error("", &fixture.key).contains("holds no PEM certificate"));
    assert!(fixture.error(&fixture.leaf, &fixture.leaf).contains("a certificate and no private key"));
    assert!(fixture.error(&fixture.leaf, "hello").contains("holds no PEM private key"));
}

#[test]
fn an_encrypted_key_comes_with_the_command_that_decrypts_it() {
    let fixture = Fixture::new();
    let pkcs8 = fixture.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert!(fixture.error(&fixture.leaf, &pkcs8).contains("openssl pkey -in"));
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n-----END RSA PRIVATE KEY-----\n";
    assert!(fixture.error(&fixture.leaf, old).contains("openssl pkey -in"));
}

#[test]
fn damaged_files_are_an_error() {
    let fixture = Fixture::new();
    let cut = &fixture.leaf[..fixture.leaf.len() / 2];
    assert!(fixture.error(cut, &fixture.key).contains("is damaged"));
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(fixture.error(hollow, &fixture.key).contains("is damaged"));
    let hollow = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(fixture.error(&fixture.leaf, hollow).contains("key"));
}

#[test]
fn a_missing_file_names_its_setting() {
    let missing = Path::new("/nowhere/cert.pem");
    let line = load(missing, missing).unwrap_err().with_hint();
    assert_eq!(line, "cert /nowhere/cert.pem: there is no such file or folder; correct the path");
}

fn pair() -> (String, String) {
    let made = generate_simple_self_signed(["box.test".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn has_key(text: &str) -> Result<bool, PemError> {
    parse_private_key(&normalize(text.as_bytes())?).map(|key| key.is_some())
}

#[test]
fn lost_line_breaks_and_a_missing_end_have_their_own_errors() {
    let (cert, key) = pair();
    assert_eq!(has_key(&key.replace('\n', "")), Err(PemError::LineBreaksLost));
    assert_eq!(has_key(&key.replace('\n', " ")), Err(PemError::LineBreaksLost));
    assert_eq!(has_key(&key.replace('\n', "\\n")), Err(PemError::LineBreaksEscaped));
    assert_eq!(has_key(&format!("TLS_KEY={key}")), Err(PemError::LineBreaksLost));
    assert_eq!(has_key(&key.replace("\n-----END", "-----END")), Err(PemError::LineBreaksLost));
    assert_eq!(has_key(key.split("-----END").next().unwrap()), Err(PemError::CutOff));
    assert_eq!(has_key(&key.replacen("MIG", "M*G", 1)), Err(PemError::NotBase64));
    let one_line = normalize(cert.replace('\n', "").as_bytes()).unwrap();
    assert_eq!(parse_certificates(&one_line), Err(PemError::LineBreaksLost));
}

#[test]
fn byte_order_marks_indentation_and_other_line_ends_are_accepted() {
    let (cert, key) = pair();
    for text in [
        format!("\u{feff}{key}"),
        format!("\u{feff}{cert}\u{feff}{key}"),
        key.replace('\n', "\r\n"),
        key.replace('\n', "\r"),
        key.replace('\n', "\n    "),
        format!("  {key}"),
        format!("comment -- with dashes\n{key}"),
    ] {
        assert_eq!(has_key(&text), Ok(true), "{text}");
    }
    let twice = normalize(format!("\u{feff}{cert}\u{feff}{cert}").as_bytes()).unwrap();
    assert_eq!(parse_certificates(&twice).unwrap().len(), 2);
}

#[test]
fn other_encodings_of_a_key_have_their_own_errors() {
    let (_, key) = pair();
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(key.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(normalize(&utf16), Err(PemError::Utf16));
    let der = parse_private_key(key.as_bytes()).unwrap().unwrap();
    assert_eq!(normalize(der.secret_der()), Err(PemError::Binary));
    assert_eq!(has_key("hello"), Ok(false));
}

/// Made with `openssl genpkey`, `openssl ecparam -genkey` and `openssl dsaparam -genkey`, for this test alone.
const KEYS: &str = include_str!("../../../tests/fixtures/unusable-keys.pem");

#[test]
fn unusable_keys_are_named_by_their_kind() {
    let keys = KEYS.split_inclusive("PRIVATE KEY-----\n").collect::<Vec<_>>();
    let texts = keys.chunks(2).map(<[_]>::concat);
    let mut count = 0;
    for text in texts {
        let (kind, _) = text.trim_start().split_once('\n').unwrap();
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).unwrap();
        assert!(ring::sign::any_supported_type(&key).is_err(), "{kind}");
        assert_eq!(unusable_kind(&key).as_deref(), Some(kind));
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn an_rsa_key_of_an_unusable_size_is_named_by_its_size() {
    let rsa = |bits: usize| {
        let modulus = vec![0x80; bits / 8];
        let length = |length: usize| [&[0x82][..], &(length as u16).to_be_bytes()].concat();
        let integer = [&[2][..], &length(modulus.len() + 1), &[0], &modulus].concat();
        let inside = [&[2, 1, 0][..], &integer].concat();
        let der = [&[0x30][..], &length(inside.len()), &inside].concat();
        unusable_kind(&PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)))
    };
    assert_eq!(rsa(8192).as_deref(), Some("an RSA key of 8192 bits"));
    assert_eq!(rsa(1024).as_deref(), Some("an RSA key of 1024 bits"));
    assert_eq!(rsa(2048), None);
}

#[test]
fn malformed_der_has_no_kind() {
    for der in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x80], &[0x30, 2, 2, 9]] {
        assert_eq!(pkcs8_kind(der), None, "{der:?}");
        assert_eq!(rsa_kind(der), None, "{der:?}");
    }
}
