//! A test certificate authority, certificate files and their renewal, and a TLS client that trusts a root.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// Issues certificates under one root.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub root: CertificateDer<'static>,
    root_pem: String,
}

/// A certificate and its key as PEM.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let (root, root_pem) = (root.der().clone(), root.pem());
        Self { issuer: Issuer::new(params, key), root, root_pem }
    }

    /// The root certificate as PEM.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// A certificate for `name`; tests recognize it by its serial number.
    pub fn issue(&self, name: &str, serial: u64) -> Pair {
        self.issue_until(name, serial, 4000)
    }

    /// Like [`Self::issue`], valid until the first day of `year`.
    pub fn issue_until(&self, name: &str, serial: u64, year: i32) -> Pair {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_after = date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { cert, key: key.serialize_pem() }
    }
}

/// Files in the layout of certbot: `live` holds links into `archive`.
pub struct Live {
    folder: PathBuf,
    issued: u32,
}

impl Live {
    pub fn new(folder: &Path, pair: &Pair) -> Self {
        fs::create_dir_all(folder.join("live")).unwrap();
        fs::create_dir_all(folder.join("archive")).unwrap();
        let mut live = Self { folder: folder.to_owned(), issued: 0 };
        live.renew(pair);
        live
    }

    pub fn cert(&self) -> PathBuf {
        self.folder.join("live/cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.join("live/key.pem")
    }

    /// Writes new files, then replaces the links one after the other.
    pub fn renew(&mut self, pair: &Pair) {
        self.issued += 1;
        for (name, text) in [("cert", &pair.cert), ("key", &pair.key)] {
            let file = format!("{name}{}.pem", self.issued);
            fs::write(self.folder.join("archive").join(&file), text).unwrap();
            let link = self.folder.join("live").join(format!("{name}.pem"));
            let draft = self.folder.join("live/draft");
            symlink(Path::new("../archive").join(&file), &draft).unwrap();
            fs::rename(draft, link).unwrap();
        }
    }

    /// Overwrites the contents of the files in place.
    pub fn overwrite(&self, cert: &str, key: &str) {
        fs::write(self.cert(), cert).unwrap();
        fs::write(self.key(), key).unwrap();
    }
}

/// A client that trusts `root` only.
pub fn client_config(root: CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Writes `cert.pem` and `key.pem` of a self-signed certificate for `name` to `folder`.
pub fn write_self_signed(folder: &Path, name: &str) -> CertificateDer<'static> {
    let pair = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), pair.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    pair.cert.der().clone()
}
