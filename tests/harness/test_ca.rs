//! A certificate authority of the tests' own, and files that are renewed the ways people renew them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

/// Issues certificates that one root vouches for.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub root: CertificateDer<'static>,
    root_pem: String,
}

/// A certificate with its key, both PEM.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "the tests' own authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let (root, root_pem) = (root.der().clone(), root.pem());
        Self { issuer: Issuer::new(params, key), root, root_pem }
    }

    /// The root as systems keep it.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// A certificate for `name` that is told from others by its serial number.
    pub fn issue(&self, name: &str, serial: u64) -> Pair {
        self.issue_until(name, serial, 4000)
    }

    /// One that ends with the first day of `year`.
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

/// Files as certbot keeps them: `live` holds links into `archive`.
pub struct Live {
    place: PathBuf,
    issued: u32,
}

impl Live {
    pub fn new(place: &Path, pair: &Pair) -> Self {
        fs::create_dir_all(place.join("live")).unwrap();
        fs::create_dir_all(place.join("archive")).unwrap();
        let mut live = Self { place: place.to_owned(), issued: 0 };
        live.renew(pair);
        live
    }

    pub fn cert(&self) -> PathBuf {
        self.place.join("live/cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.place.join("live/key.pem")
    }

    /// New files, then the links, one after the other.
    pub fn renew(&mut self, pair: &Pair) {
        self.issued += 1;
        for (name, text) in [("cert", &pair.cert), ("key", &pair.key)] {
            let file = format!("{name}{}.pem", self.issued);
            fs::write(self.place.join("archive").join(&file), text).unwrap();
            let link = self.place.join("live").join(format!("{name}.pem"));
            let draft = self.place.join("live/draft");
            symlink(Path::new("../archive").join(&file), &draft).unwrap();
            fs::rename(draft, link).unwrap();
        }
    }

    /// The same files with something else in them.
    pub fn overwrite(&self, cert: &str, key: &str) {
        fs::write(self.cert(), cert).unwrap();
        fs::write(self.key(), key).unwrap();
    }
}
