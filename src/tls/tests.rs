//! Scenes with certificates of all faults.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use super::*;
use crate::error::Hint as _;

struct Stage {
    place: tempfile::TempDir,
    leaf: String,
    issuer: String,
    key: String,
}

impl Stage {
    fn new() -> Self {
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut ca = CertificateParams::new([]).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = ca.self_signed(&ca_key).unwrap().pem();
        let mut params = CertificateParams::new(["box.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let leaf = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap().pem();
        Self { place: tempfile::tempdir().unwrap(), leaf, issuer, key: key.serialize_pem() }
    }

    fn load(&self, cert: &str, key: &str) -> Result<Loaded, TlsError> {
        let (cert_file, key_file) = (self.place.path().join("cert.pem"), self.place.path().join("key.pem"));
        fs::write(&cert_file, cert).unwrap();
        fs::write(&key_file, key).unwrap();
        load(&cert_file, &key_file)
    }

    fn complaint(&self, cert: &str, key: &str) -> String {
        let line = self.load(cert, key).unwrap_err().with_hint();
        assert!(!line.contains('\n'), "{line}");
        line
    }
}

#[test]
fn a_chain_and_its_key_become_a_server_that_a_client_trusts() {
    let stage = Stage::new();
    let loaded = stage.load(&format!("{}{}", stage.leaf, stage.issuer), &stage.key).unwrap();
    assert_eq!(loaded.leaf.names, ["box.test"]);
    // 2020-01-01 and 2040-01-01.
    assert_eq!((loaded.leaf.not_before, loaded.leaf.not_after), (1_577_836_800, 2_208_988_800));
    assert_eq!(loaded.config.alpn_protocols, ALPN);
    assert!(loaded.config.ticketer.enabled());

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(stage.issuer.as_bytes()).unwrap()).unwrap();
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
fn a_key_of_another_certificate_is_told() {
    let stage = Stage::new();
    let other = KeyPair::generate().unwrap().serialize_pem();
    assert!(stage.complaint(&stage.leaf, &other).contains("does not belong to cert"));
}

#[test]
fn a_chain_in_the_wrong_order_names_the_certificate_to_move() {
    let stage = Stage::new();
    let line = stage.complaint(&format!("{}{}", stage.issuer, stage.leaf), &stage.key);
    assert!(line.contains("move certificate number 2"), "{line}");
}

#[test]
fn files_that_hold_something_else_are_told_apart() {
    let stage = Stage::new();
    assert!(stage.complaint(&stage.key, &stage.leaf).contains("swap cert and key"));
    assert!(stage.complaint("", &stage.key).contains("holds no PEM certificate"));
    assert!(stage.complaint(&stage.leaf, &stage.leaf).contains("a certificate and no private key"));
    assert!(stage.complaint(&stage.leaf, "hello").contains("holds no PEM private key"));
}

#[test]
fn a_passphrase_is_told_with_the_command_that_takes_it_off() {
    let stage = Stage::new();
    let pkcs8 = stage.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert!(stage.complaint(&stage.leaf, &pkcs8).contains("openssl pkey -in"));
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n-----END RSA PRIVATE KEY-----\n";
    assert!(stage.complaint(&stage.leaf, old).contains("openssl pkey -in"));
}

#[test]
fn damaged_files_are_told() {
    let stage = Stage::new();
    let cut = &stage.leaf[..stage.leaf.len() / 2];
    assert!(stage.complaint(cut, &stage.key).contains("is damaged"));
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(stage.complaint(hollow, &stage.key).contains("is damaged"));
    let hollow = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(stage.complaint(&stage.leaf, hollow).contains("key"));
}

#[test]
fn a_missing_file_names_its_setting() {
    let nowhere = Path::new("/nowhere/cert.pem");
    let line = load(nowhere, nowhere).unwrap_err().with_hint();
    assert_eq!(line, "cert /nowhere/cert.pem: there is no such file or folder; correct the path");
}
