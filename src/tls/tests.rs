//! Scenes with certificates of all faults.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::*;

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
        self.load_at(cert, key, SystemTime::now())
    }

    fn load_at(&self, cert: &str, key: &str, now: SystemTime) -> Result<Loaded, TlsError> {
        let (cert_file, key_file) = (self.place.path().join("cert.pem"), self.place.path().join("key.pem"));
        fs::write(&cert_file, cert).unwrap();
        fs::write(&key_file, key).unwrap();
        load(&cert_file, &key_file, now)
    }

    fn complaint(&self, cert: &str, key: &str) -> String {
        let line = self.load(cert, key).unwrap_err().to_string();
        assert!(!line.contains('\n'), "{line}");
        line
    }
}

fn unix(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn a_chain_and_its_key_become_a_server_that_a_client_trusts() {
    let stage = Stage::new();
    let loaded = stage.load(&format!("{}{}", stage.leaf, stage.issuer), &stage.key).unwrap();
    assert_eq!(loaded.warning, None);
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
    let line = load(nowhere, nowhere, SystemTime::now()).unwrap_err().to_string();
    assert_eq!(line, "cert /nowhere/cert.pem: there is no such file or folder; correct the path");
}

#[test]
fn a_certificate_out_of_its_time_is_served_with_a_warning() {
    let stage = Stage::new();
    let warning = |now| stage.load_at(&stage.leaf, &stage.key, now).unwrap().warning.map(|w| w.to_string());
    // 2040-01-11 and 2019-01-01.
    assert!(warning(unix(2_209_852_800)).unwrap().contains("ran out 10 days ago"));
    assert!(warning(unix(1_546_300_800)).unwrap().contains("not valid yet"));
    assert_eq!(warning(unix(1_767_225_600)), None);
}
