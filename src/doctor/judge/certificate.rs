//! A certificate chain, from the file or as the box serves it: covers the name, lasts, is whole, and
//! is trusted by this system.

use std::fmt;

use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::clock::UnixSeconds;
use crate::doctor::report::{Finding, Group};

/// What one certificate says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::doctor) struct Facts {
    pub(in crate::doctor) subject: String,
    pub(in crate::doctor) issuer: String,
    pub(in crate::doctor) names: Vec<String>,
    pub(in crate::doctor) not_before: UnixSeconds,
    pub(in crate::doctor) not_after: UnixSeconds,
    /// Tells it from another one for the same name.
    pub(in crate::doctor) serial: String,
}

/// What this system's verifier says of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Trust {
    /// As a browser here would trust it.
    Trusted,
    /// It does not name the domain.
    WrongName,
    /// It has run out.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// No way leads from it to a root of this system.
    UnknownIssuer,
    /// This system has no roots at all.
    NoRoots,
    /// What the verifier says.
    Other(String),
}

/// A chain and what is thought of it.
#[derive(Clone, Debug)]
pub(in crate::doctor) struct Chain<'a> {
    pub(in crate::doctor) group: Group,
    /// Begins the sentences: `cert /etc/…` or `the certificate that is served`.
    pub(in crate::doctor) what: &'a str,
    /// The name it must cover.
    pub(in crate::doctor) name: &'a str,
    pub(in crate::doctor) now: UnixSeconds,
    /// The leaf and what follows it.
    pub(in crate::doctor) facts: &'a [Facts],
    pub(in crate::doctor) trust: &'a Trust,
}

const DAY: UnixSeconds = 24 * 3600;
const HAVE_ONE_ISSUED: &str = "have one issued by an authority that browsers know";

impl Facts {
    /// Reads a certificate in DER; `None` where it is none.
    pub(in crate::doctor) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let instant = |unix: i64| UnixSeconds::try_from(unix).unwrap_or(0);
        let validity = certificate.validity();
        Some(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names(&certificate),
            not_before: instant(validity.not_before.timestamp()),
            not_after: instant(validity.not_after.timestamp()),
            serial: certificate.raw_serial_as_string(),
        })
    }

    fn signs_itself(&self) -> bool {
        self.subject == self.issuer
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None }
    };
    names.value.general_names.iter().filter_map(name).collect()
}

impl Chain<'_> {
    pub(in crate::doctor) fn judge(&self) -> Vec<Finding> {
        let Some(leaf) = self.facts.first() else { return Vec::new() };
        let trouble = self.trouble(leaf);
        let fine = trouble.is_none().then(|| self.fine(leaf));
        fine.into_iter().chain(trouble).chain(self.aging(leaf)).chain(self.order()).collect()
    }

    fn fine(&self, leaf: &Facts) -> Finding {
        let Self { group, what, name, .. } = self;
        let days = leaf.not_after.saturating_sub(self.now) / DAY;
        let until = day(leaf.not_after);
        Finding::ok(*group, format!("{what} is trusted, covers {name} and lasts until {until} ({days} days)"))
    }

    fn trouble(&self, leaf: &Facts) -> Option<Finding> {
        let Self { group, what, name, .. } = self;
        let fail = |text: String, cure: String| Some(Finding::fail(*group, text, cure));
        match self.trust {
            Trust::Trusted => None,
            Trust::WrongName => fail(
                format!("{what} is for {} and not for {name}", listed(&leaf.names)),
                format!("have one issued for {name}, or correct domain"),
            ),
            Trust::Expired => fail(
                format!("{what} ran out on {}", day(leaf.not_after)),
                "renew it, browsers refuse it".into(),
            ),
            Trust::NotYetValid => fail(
                format!("{what} is valid from {} on", day(leaf.not_before)),
                "correct the clock, or wait".into(),
            ),
            Trust::UnknownIssuer => Some(self.unknown(leaf)),
            Trust::NoRoots => Some(Finding::warn(
                *group,
                format!("{what} cannot be verified: this system has no root certificates"),
                "install the package ca-certificates",
            )),
            Trust::Other(why) => fail(format!("{what} is refused ({why})"), HAVE_ONE_ISSUED.into()),
        }
    }

    /// Why no way leads to a root of this system.
    fn unknown(&self, leaf: &Facts) -> Finding {
        let Self { group, what, .. } = self;
        let issuer = &leaf.issuer;
        let (text, cure) = if leaf.signs_itself() {
            (format!("{what} is signed by itself, so browsers warn"), HAVE_ONE_ISSUED)
        } else if self.facts.len() == 1 {
            (
                format!("{what} comes without the certificate of its issuer ({issuer})"),
                "name the whole chain, which is often called fullchain.pem",
            )
        } else {
            (
                format!("{what} leads to no root that this system trusts (issuer {issuer})"),
                "have one issued by an authority that browsers know, or add your authority's root to this system",
            )
        };
        Finding::fail(*group, text, cure)
    }

    /// A quarter of its life left is when renewal should have happened.
    fn aging(&self, leaf: &Facts) -> Option<Finding> {
        let left = leaf.not_after.checked_sub(self.now)?;
        let life = leaf.not_after.saturating_sub(leaf.not_before);
        let text = format!("{} has {} days left of {}", self.what, left / DAY, life / DAY);
        (left < life / 4).then(|| Finding::warn(self.group, text, "see whether its renewal works"))
    }

    /// Verifiers mostly put a chain in order themselves; not every browser does.
    fn order(&self) -> Option<Finding> {
        let at = self.facts.windows(2).position(|pair| pair[0].issuer != pair[1].subject)?;
        let text = format!("{}: certificate number {} did not issue the one before it", self.what, at + 2);
        let cure = "put the chain in order: the leaf, its issuer, that one's issuer";
        Some(Finding::warn(self.group, text, cure))
    }
}

impl Trust {
    /// Whether a browser would not go on.
    pub(in crate::doctor) fn is_doubted(&self) -> bool {
        !self.is_full() && *self != Self::NoRoots
    }

    /// Whether a browser would go on without a word.
    pub(in crate::doctor) fn is_full(&self) -> bool {
        *self == Self::Trusted
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trusted => "trusted",
            Self::WrongName => "for another name",
            Self::Expired => "expired",
            Self::NotYetValid => "not valid yet",
            Self::UnknownIssuer => "from an unknown issuer",
            Self::NoRoots => "not verified",
            Self::Other(why) => why,
        })
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "no name".to_owned() } else { names.join(", ") }
}

/// `2027-01-31`.
fn day(unix: UnixSeconds) -> String {
    let moment = i64::try_from(unix).ok().and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    moment.map_or_else(|| "another age".to_owned(), |moment| moment.date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2027-01-15.
    const NOW: UnixSeconds = 1_800_000_000;

    fn facts(subject: &str, issuer: &str) -> Facts {
        Facts {
            subject: subject.into(),
            issuer: issuer.into(),
            names: vec!["box.example".into()],
            not_before: NOW - 30 * DAY,
            not_after: NOW + 60 * DAY,
            serial: "01".into(),
        }
    }

    fn said(facts: &[Facts], trust: Trust) -> Vec<String> {
        let chain = Chain {
            group: Group::Certificate,
            what: "cert c.pem",
            name: "box.example",
            now: NOW,
            facts,
            trust: &trust,
        };
        chain.judge().iter().map(|finding| format!("{} {finding}", finding.mark)).collect()
    }

    #[test]
    fn a_good_chain_is_one_line() {
        let chain = [facts("leaf", "R1"), facts("R1", "root")];
        let line = "ok cert c.pem is trusted, covers box.example and lasts until 2027-03-16 (60 days)";
        assert_eq!(said(&chain, Trust::Trusted), [line]);
    }

    #[test]
    fn each_fault_is_told_with_its_cure() {
        let other = Facts { names: vec!["a.example".into()], ..facts("leaf", "R1") };
        let line = "fail cert c.pem is for a.example and not for box.example; \
            have one issued for box.example, or correct domain";
        assert_eq!(said(&[other], Trust::WrongName), [line]);
        let old = Facts { not_after: NOW - DAY, ..facts("leaf", "R1") };
        assert!(said(&[old], Trust::Expired)[0].starts_with("fail cert c.pem ran out on 2027-01-14"));
        assert!(said(&[facts("leaf", "R1")], Trust::UnknownIssuer)[0].contains("fullchain.pem"));
        assert!(said(&[facts("me", "me")], Trust::UnknownIssuer)[0].contains("signed by itself"));
        let private = [facts("leaf", "R1"), facts("R1", "ours")];
        assert!(said(&private, Trust::UnknownIssuer)[0].contains("add your authority's root"));
        assert!(said(&private, Trust::NoRoots)[0].starts_with("warn"));
    }

    #[test]
    fn a_certificate_in_its_last_quarter_should_have_been_renewed() {
        let aging = Facts { not_after: NOW + 9 * DAY, ..facts("leaf", "R1") };
        let [fine, warning] = said(&[aging], Trust::Trusted).try_into().unwrap();
        assert!(fine.starts_with("ok"));
        assert_eq!(warning, "warn cert c.pem has 9 days left of 39; see whether its renewal works");
    }

    #[test]
    fn a_chain_out_of_order_is_minded() {
        let chain = [facts("leaf", "R1"), facts("root", "root"), facts("R1", "root")];
        let said = said(&chain, Trust::Trusted);
        assert!(said[1].contains("certificate number 2 did not issue"), "{said:?}");
    }

    #[test]
    fn facts_are_read_from_a_real_certificate() {
        let made = rcgen::generate_simple_self_signed(["box.example".to_owned()]).unwrap();
        let facts = Facts::read(made.cert.der()).unwrap();
        assert_eq!(facts.names, ["box.example"]);
        assert!(facts.signs_itself() && facts.not_before < facts.not_after);
        assert_eq!(Facts::read(b"nothing"), None);
    }
}
