//! What is to be known of a certificate besides how to serve it: whose it is and for how long, and
//! what of that deserves a warning.
//!
//! Pure: the time of day comes in.

use x509_parser::prelude::{GeneralName, X509Certificate};

use super::error::CertificateWarning as Warning;
use crate::clock::UnixSeconds;

const DAY: u64 = 24 * 3600;

/// The certificate that browsers are shown as ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaf {
    /// Not valid before.
    pub from: UnixSeconds,
    /// Not valid after.
    pub until: UnixSeconds,
    /// Names it is good for, in lower case; some begin with `*.`.
    pub names: Vec<String>,
}

impl Leaf {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        let unix = |time: i64| UnixSeconds::try_from(time).unwrap_or(0);
        let named = certificate.subject_alternative_name().ok().flatten();
        let names = named.iter().flat_map(|named| &named.value.general_names).filter_map(|name| {
            if let GeneralName::DNSName(name) = name { Some(name.to_ascii_lowercase()) } else { None }
        });
        Self {
            from: unix(validity.not_before.timestamp()),
            until: unix(validity.not_after.timestamp()),
            names: names.collect(),
        }
    }

    /// Whether browsers take it for `domain`, which is in lower case. A star stands for one label
    /// (RFC 6125 §6.4.3).
    pub fn covers(&self, domain: &str) -> bool {
        let above = domain.split_once('.').map(|(_, above)| above);
        let star = |name: &str| name.strip_prefix("*.").is_some_and(|rest| above == Some(rest));
        self.names.iter().any(|name| name == domain || star(name))
    }

    /// Whether its time is over.
    pub fn is_over(&self, unix: UnixSeconds) -> bool {
        unix > self.until
    }

    /// Whether it is valid at this moment.
    pub fn is_valid(&self, unix: UnixSeconds) -> bool {
        (self.from..=self.until).contains(&unix)
    }

    /// The whole of its time, in seconds.
    pub fn life(&self) -> u64 {
        self.until.saturating_sub(self.from)
    }

    /// What of it works but should not stay like this; `subject` is how the warnings call it.
    pub fn warnings(&self, subject: &str, domain: &str, unix: UnixSeconds) -> Vec<Warning> {
        let subject = || subject.to_owned();
        let left = self.until.saturating_sub(unix);
        let mut found = Vec::new();
        if self.is_over(unix) {
            found.push(Warning::Expired { subject: subject(), days: (unix - self.until) / DAY });
        } else if unix < self.from {
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

    fn leaf(names: &[&str]) -> Leaf {
        Leaf { from: 0, until: 100 * DAY, names: names.iter().map(|&name| name.to_owned()).collect() }
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
        let leaf = Leaf { from: DAY, ..leaf(&["a.example"]) };
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
    fn a_certificate_for_another_name_is_told_with_the_names_it_has() {
        let warnings = leaf(&["a.example", "b.example"]).warnings("cert c.pem", "c.example", DAY);
        let said = warnings[0].with_hint();
        assert!(said.contains("c.example") && said.contains("a.example, b.example"), "{said}");
    }
}
