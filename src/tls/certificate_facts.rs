//! The facts of one certificate (X.509): names, validity, subject and issuer, and the warnings that follow.
//!
//! Pure: the caller gives the time.

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::error::CertificateWarning as Warning;
use crate::clock::UnixSeconds;

const DAY: u64 = 24 * 3600;

/// What a certificate contains, as far as the server and the doctor need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Start of the validity.
    pub not_before: UnixSeconds,
    /// End of the validity, inclusive.
    pub not_after: UnixSeconds,
    /// DNS names in lower case; some begin with `*.`.
    pub names: Vec<String>,
    /// Distinguished name of the subject.
    pub subject: String,
    /// Distinguished name of the issuer; equal to `subject` if the certificate is self-signed.
    pub issuer: String,
    /// In hexadecimal; differs between two certificates of one issuer for the same name.
    pub serial: String,
}

impl CertificateFacts {
    /// Reads a certificate in DER; `None` if it cannot be parsed.
    pub fn read(der: &[u8]) -> Option<Self> {
        X509Certificate::from_der(der).ok().map(|(_, certificate)| Self::of(&certificate))
    }

    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        let unix = |time: i64| UnixSeconds::try_from(time).unwrap_or(0);
        let named = certificate.subject_alternative_name().ok().flatten();
        let names = named.iter().flat_map(|named| &named.value.general_names).filter_map(|name| {
            if let GeneralName::DNSName(name) = name { Some(name.to_ascii_lowercase()) } else { None }
        });
        Self {
            not_before: unix(validity.not_before.timestamp()),
            not_after: unix(validity.not_after.timestamp()),
            names: names.collect(),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            serial: certificate.raw_serial_as_string(),
        }
    }

    /// Whether the subject issued the certificate.
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether browsers take it for `domain`, which is in lower case. A star stands for one label
    /// (RFC 6125 §6.4.3).
    pub fn covers(&self, domain: &str) -> bool {
        let above = domain.split_once('.').map(|(_, above)| above);
        let star = |name: &str| name.strip_prefix("*.").is_some_and(|rest| above == Some(rest));
        self.names.iter().any(|name| name == domain || star(name))
    }

    /// Whether the validity has ended.
    pub fn is_over(&self, unix: UnixSeconds) -> bool {
        unix > self.not_after
    }

    /// Whether the certificate is valid at this time.
    pub fn is_valid(&self, unix: UnixSeconds) -> bool {
        (self.not_before..=self.not_after).contains(&unix)
    }

    /// The length of the validity, in seconds.
    pub fn life(&self) -> u64 {
        self.not_after.saturating_sub(self.not_before)
    }

    /// What works but needs attention; the warnings begin with `subject`, such as `cert FILE`.
    pub fn warnings(&self, subject: &str, domain: &str, unix: UnixSeconds) -> Vec<Warning> {
        let subject = || subject.to_owned();
        let left = self.not_after.saturating_sub(unix);
        let mut found = Vec::new();
        if self.is_over(unix) {
            found.push(Warning::Expired { subject: subject(), days: (unix - self.not_after) / DAY });
        } else if unix < self.not_before {
            found.push(Warning::NotYetValid { subject: subject() });
        } else if left < self.life() / 4 {
            found.push(Warning::Expires { subject: subject(), seconds: left });
        }
        if !self.covers(domain) {
            let (domain, names) = (domain.to_owned(), self.names.clone());
            found.push(Warning::OtherName { subject: subject(), domain, names });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Hint;

    fn leaf(names: &[&str]) -> CertificateFacts {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        CertificateFacts { not_after: 100 * DAY, names, ..CertificateFacts::default() }
    }

    #[test]
    fn a_star_stands_for_one_label_and_no_more() {
        let leaf = leaf(&["a.example", "*.b.example"]);
        for name in ["a.example", "x.b.example"] {
            assert!(leaf.covers(name), "{name}");
        }
        for name in ["x.a.example", "b.example", "x.y.b.example", "example", ""] {
            assert!(!leaf.covers(name), "{name}");
        }
    }

    #[test]
    fn less_than_a_quarter_of_its_life_is_a_warning_and_so_is_any_time_but_its_own() {
        let leaf = CertificateFacts { not_before: DAY, ..leaf(&["a.example"]) };
        let said = |day: u64| {
            let warnings = leaf.warnings("cert c.pem", "a.example", day * DAY);
            assert!(warnings.len() < 2);
            warnings.first().map(Hint::with_hint).unwrap_or_default()
        };
        assert_eq!(said(1), "");
        assert_eq!(said(74), "");
        assert_eq!(said(76), "cert c.pem expires in 24 days; check its renewal");
        assert!(said(100).contains("expires in 0 hours"), "{}", said(100));
        assert!(said(103).contains("expired 3 days ago"), "{}", said(103));
        assert!(said(0).contains("not valid yet"), "{}", said(0));
    }

    #[test]
    fn facts_are_read_from_a_certificate_in_der() {
        let made = rcgen::generate_simple_self_signed(["Box.example".to_owned()]).unwrap();
        let facts = CertificateFacts::read(made.cert.der()).unwrap();
        assert_eq!(facts.names, ["box.example"]);
        assert!(facts.is_self_signed() && facts.not_before < facts.not_after);
        assert_eq!(CertificateFacts::read(b"not DER"), None);
    }

    #[test]
    fn a_certificate_for_another_name_is_told_with_the_names_it_has() {
        let warnings = leaf(&["a.example", "b.example"]).warnings("cert c.pem", "c.example", DAY);
        let said = warnings[0].with_hint();
        assert!(said.contains("c.example") && said.contains("a.example, b.example"), "{said}");
    }
}
