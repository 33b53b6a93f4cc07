//! The facts of one certificate (X.509): names, validity, subject and issuer, and the warnings that follow.
//!
//! Pure: the caller gives the time.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

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
    /// IP addresses among the subject's alternative names.
    pub addresses: Vec<IpAddr>,
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
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        let unix = |time: i64| UnixSeconds::try_from(time).unwrap_or(0);
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        let extension = certificate.subject_alternative_name().ok().flatten();
        for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
            if let GeneralName::DNSName(name) = name {
                names.push(name.to_ascii_lowercase());
            } else if let GeneralName::IPAddress(bytes) = name {
                addresses.extend(ip_address(bytes));
            }
        }
        Some(Self {
            not_before: unix(validity.not_before.timestamp()),
            not_after: unix(validity.not_after.timestamp()),
            names,
            addresses,
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            serial: certificate.raw_serial_as_string(),
        })
    }

    /// Whether the subject issued the certificate.
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }

    /// The names and addresses.
    pub fn hosts(&self) -> Vec<String> {
        self.names.iter().cloned().chain(self.addresses.iter().map(IpAddr::to_string)).collect()
    }

    /// Whether browsers accept it for `domain`, which is an address or a name in lower case. A star stands for one label
    /// (RFC 6125 §6.4.3).
    pub fn covers(&self, domain: &str) -> bool {
        if let Ok(ip) = domain.parse() {
            return self.addresses.contains(&ip);
        }
        let parent = domain.split_once('.').map(|(_, parent)| parent);
        let matches_star = |name: &str| name.strip_prefix("*.").is_some_and(|rest| parent == Some(rest));
        self.names.iter().any(|name| name == domain || matches_star(name))
    }

    /// Whether the validity has ended.
    pub fn is_expired(&self, unix: UnixSeconds) -> bool {
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

    /// What works but needs attention, with what to do; each line follows the name of the certificate. `names` are those
    /// that it should cover, as of [`crate::config::Settings::names`].
    pub fn warnings(&self, names: &[String], unix: UnixSeconds) -> Vec<String> {
        let mut warnings = Vec::new();
        let left = self.not_after.saturating_sub(unix);
        if self.is_expired(unix) {
            let days = (unix - self.not_after) / DAY;
            warnings.push(format!("expired {days} days ago; renew it, browsers refuse it"));
        } else if unix < self.not_before {
            warnings.push("is not valid yet; check this host's clock".to_owned());
        } else if left < self.life() / 4 {
            let hours = left / 3600;
            let left = if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours / 24) };
            warnings.push(format!("expires in {left}; check its renewal"));
        }
        let wanted = names.join(" and ");
        let own = self.hosts().join(", ");
        if own.is_empty() {
            warnings.push(format!("names no host, so browsers refuse it; have one issued for {wanted}"));
            return warnings;
        }
        let missing = names.iter().zip(["domain", "node-name"]).filter(|(name, _)| !self.covers(name));
        warnings.extend(missing.map(|(name, setting)| {
            format!(
                "is for {own}, so browsers refuse it at {name}; have one issued for {wanted}, or correct {setting}"
            )
        }));
        warnings
    }
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The calendar of the `time` crate ends with the year 9999, and a conversion beyond it panics.
const YEAR_10000: UnixSeconds = 253_402_300_800;

/// A time for logs: prints as `2027-02-01 13:05 UTC`.
#[derive(Clone, Copy, Debug)]
pub(super) struct UtcTime(pub(super) UnixSeconds);

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= YEAR_10000 {
            return f.write_str("after the year 9999");
        }
        let time = OffsetDateTime::from(SystemTime::UNIX_EPOCH + Duration::from_secs(self.0));
        write!(f, "{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(names: &[&str]) -> CertificateFacts {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        CertificateFacts { not_after: 100 * DAY, names, ..CertificateFacts::default() }
    }

    #[test]
    fn a_star_stands_for_exactly_one_label() {
        let leaf = leaf(&["a.example", "*.b.example"]);
        for name in ["a.example", "x.b.example"] {
            assert!(leaf.covers(name), "{name}");
        }
        for name in ["x.a.example", "b.example", "x.y.b.example", "example", ""] {
            assert!(!leaf.covers(name), "{name}");
        }
    }

    #[test]
    fn warns_in_the_last_quarter_and_outside_the_validity() {
        let leaf = CertificateFacts { not_before: DAY, ..leaf(&["a.example"]) };
        let warning = |day: u64| {
            let warnings = leaf.warnings(&["a.example".to_owned()], day * DAY);
            assert!(warnings.len() < 2);
            warnings.first().cloned().unwrap_or_default()
        };
        assert_eq!(warning(1), "");
        assert_eq!(warning(74), "");
        assert_eq!(warning(76), "expires in 24 days; check its renewal");
        assert!(warning(100).contains("expires in 0 hours"), "{}", warning(100));
        assert!(warning(103).contains("expired 3 days ago"), "{}", warning(103));
        assert!(warning(0).contains("not valid yet"), "{}", warning(0));
    }

    #[test]
    fn facts_are_read_from_a_certificate_in_der() {
        let names = ["Box.example".to_owned(), "192.0.2.1".to_owned(), "2001:db8::1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let facts = CertificateFacts::read(made.cert.der()).unwrap();
        assert_eq!(facts.names, ["box.example"]);
        assert_eq!(facts.addresses, ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        assert!(facts.is_self_signed() && facts.not_before < facts.not_after);
        assert_eq!(CertificateFacts::read(b"not DER"), None);
    }

    #[test]
    fn a_warning_about_another_name_lists_the_names_it_has() {
        let wanted = ["c.example".to_owned(), "b1.c.example".to_owned()];
        let warnings = leaf(&["a.example", "b.example"]).warnings(&wanted[..1], DAY);
        assert!(warnings[0].contains("c.example") && warnings[0].contains("a.example, b.example"));
        assert!(leaf(&[]).warnings(&wanted, DAY)[0].starts_with("names no host"));
        let warnings = leaf(&["c.example"]).warnings(&wanted, DAY);
        assert_eq!(
            warnings,
            ["is for c.example, so browsers refuse it at b1.c.example; have one issued for c.example and \
              b1.c.example, or correct node-name"]
        );
        assert!(leaf(&["c.example", "*.c.example"]).warnings(&wanted, DAY).is_empty());
    }

    #[test]
    fn a_time_prints_as_date_hour_and_minute() {
        assert_eq!(UtcTime(1_801_487_100).to_string(), "2027-02-01 13:05 UTC");
        assert_eq!(UtcTime(0).to_string(), "1970-01-01 00:00 UTC");
        assert_eq!(UtcTime(YEAR_10000 - 1).to_string(), "9999-12-31 23:59 UTC");
        assert_eq!(UtcTime(u64::MAX).to_string(), "after the year 9999");
    }
}
