//! The certificate in the settings and the one that the server sends: name, validity, chain, and whether
//! this system trusts it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::{CertificateError, Error};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use time::OffsetDateTime;

use super::report::{Finding, Subject};
use super::service::FilePermissions;
use crate::clock::{self, UnixSeconds};
use crate::config::{CertificateSource, Identity, Settings};
use crate::net::https_client::system_roots;
use crate::tls::{self, CertificateFacts, TlsError};

const SUBJECT: Subject = Subject::Certificate;
const DAY: UnixSeconds = 24 * 3600;
const GET_PUBLIC_ONE: &str = "get one from an authority that browsers trust";

/// A certificate chain and whether it is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// The leaf, then its issuers.
    pub(super) facts: Vec<CertificateFacts>,
    pub(super) trust: Trust,
}

/// The result of verifying a chain with the root certificates of this system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// A browser would accept it.
    Trusted,
    WrongName,
    Expired,
    NotYetValid,
    /// The chain leads to no root of this system.
    UnknownIssuer,
    /// This system has no root certificates.
    NoRoots,
    /// The error of the verifier.
    Other(String),
}

/// The root certificates of this system; `None` if there are none.
#[derive(Clone, Debug)]
pub(super) struct SystemRoots(Option<Arc<WebPkiServerVerifier>>);

/// The certificate that the settings name, as it is on disk.
#[derive(Debug)]
pub(super) struct StoredCertificate {
    /// The domain that it must cover.
    name: String,
    /// The name of this server alone, if it is one of several.
    node_name: Option<String>,
    cert: PathBuf,
    key: PathBuf,
    /// The server gets it by ACME.
    is_automatic: bool,
    /// ACME has not got one yet.
    pub(super) is_pending: bool,
    /// Why the server could not use the files.
    error: Option<TlsError>,
    /// `None` if the file has no chain.
    chain: Option<Chain>,
}

/// What a finding about a chain is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) subject: Subject,
    /// Begins each text: `cert /etc/…` or `the served certificate`.
    pub(super) what: &'a str,
    /// The name that the certificate must cover.
    pub(super) name: &'a str,
    pub(super) now: UnixSeconds,
}

impl SystemRoots {
    /// Reads the roots of the system, or the file that `SSL_CERT_FILE` names.
    pub(super) fn load() -> Self {
        let (roots, provider) = (Arc::new(system_roots()), Arc::new(ring::default_provider()));
        Self(WebPkiServerVerifier::builder_with_provider(roots, provider).build().ok())
    }

    /// Parses `certificates` and verifies them for `name` as a browser with these roots would.
    pub(super) fn verify(&self, certificates: &[CertificateDer<'static>], name: &str) -> Chain {
        let facts: Vec<_> = certificates.iter().filter_map(|one| CertificateFacts::read(one)).collect();
        let mut trust = self.trust(certificates, name);
        // `openssl req -x509` makes a self-signed CA certificate, which verifiers refuse for a server.
        if matches!(trust, Trust::Other(_)) && facts.first().is_some_and(CertificateFacts::is_self_signed) {
            trust = Trust::UnknownIssuer;
        }
        Chain { facts, trust }
    }

    fn trust(&self, certificates: &[CertificateDer<'static>], name: &str) -> Trust {
        let Some(verifier) = &self.0 else { return Trust::NoRoots };
        let Some((leaf, rest)) = certificates.split_first() else {
            return Trust::Other("there is no certificate".to_owned());
        };
        let Ok(name) = ServerName::try_from(name.to_owned()) else { return Trust::WrongName };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(clock::now().unix));
        let result = verifier.verify_server_cert(leaf, rest, &name, &[], now);
        result.map_or_else(|error| Trust::from_error(&error), |_| Trust::Trusted)
    }
}

impl Trust {
    /// Whether a browser would show a warning. Unknown if this system has no roots, which is reported once.
    pub(super) fn is_refused(&self) -> bool {
        !self.is_trusted() && *self != Self::NoRoots
    }

    pub(super) fn is_trusted(&self) -> bool {
        *self == Self::Trusted
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "errors without a hint of their own keep their text")]
    fn from_error(error: &Error) -> Self {
        let Error::InvalidCertificate(error) = error else { return Self::Other(error.to_string()) };
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            // Bad signature: another authority with the name of a root, but not its key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            other => Self::Other(other.to_string()),
        }
    }
}

impl StoredCertificate {
    /// `None` in try-out mode, which has no files. Reads the files that the settings name.
    pub(super) fn observe(settings: &Settings, roots: &SystemRoots) -> Option<Self> {
        let Identity::Domain { name, source } = &settings.identity else { return None };
        let (cert, key, is_pending) = match source {
            CertificateSource::Files { cert, key } => (cert.clone(), key.clone(), false),
            CertificateSource::Acme { directory, .. } => {
                let file = tls::acme_certificate_path(&settings.state_dir, directory);
                let is_pending = matches!(file.try_exists(), Ok(false));
                (file.clone(), file, is_pending)
            }
        };
        let error = tls::load(&cert, &key).err();
        let chain = tls::certificates(&cert).ok().map(|chain| roots.verify(&chain, name));
        let node_name = settings.names().get(1).map(|&name| name.to_owned());
        let is_automatic = matches!(source, CertificateSource::Acme { .. });
        Some(Self { name: name.clone(), node_name, cert, key, is_automatic, is_pending, error, chain })
    }

    /// The certificate in the file `cert`.
    pub(super) fn leaf(&self) -> Option<&CertificateFacts> {
        self.chain.as_ref()?.facts.first()
    }

    /// The permissions on the way to `cert` and `key`, unless ACME has yet to write them.
    pub(super) fn permissions(&self) -> Vec<FilePermissions> {
        if self.is_pending {
            return Vec::new();
        }
        vec![FilePermissions::observe("cert", &self.cert), FilePermissions::observe("key", &self.key)]
    }

    pub(super) fn evaluate(&self) -> Vec<Finding> {
        if self.is_pending {
            return vec![SUBJECT.warn(
                format!("there is no certificate for {} yet (acme-email)", self.name),
                "the log of the server shows the progress, and what the authority complains about",
            )];
        }
        let what = format!("cert {}", self.cert.display());
        let context = Context { subject: SUBJECT, what: &what, name: &self.name, now: clock::now().unix };
        let chain = self.chain.iter().flat_map(|chain| chain.evaluate(&context));
        let node_name = self.evaluate_node_name(&what);
        self.error.as_ref().map(unusable).into_iter().chain(chain).chain(node_name).collect()
    }

    /// Pages of the domain connect to the name of this server.
    fn evaluate_node_name(&self, what: &str) -> Option<Finding> {
        let (name, node_name, leaf) = (&self.name, self.node_name.as_ref()?, self.leaf()?);
        if leaf.covers(node_name) {
            return Some(SUBJECT.ok(format!("{what} covers {node_name} as well")));
        }
        let text =
            format!("{what} does not cover node-name {node_name}, so no page connects to this server there");
        Some(match self.is_automatic {
            true => SUBJECT.warn(text, "the server orders one for both names; its log shows the progress"),
            false => {
                SUBJECT.fail(text, format!("get one for {name} and {node_name}, or for {name} and *.{name}"))
            }
        })
    }
}

/// That this user cannot read what only the service may read is not a fault of the files.
fn unusable(error: &TlsError) -> Finding {
    if let TlsError::Unreadable { setting, path, source } = error
        && source.kind() == io::ErrorKind::PermissionDenied
    {
        let text = format!("{setting} {} was not checked: this user may not read it", path.display());
        return SUBJECT.warn(text, "run the check as root");
    }
    SUBJECT.error(error)
}

impl Chain {
    /// No finding for an empty chain.
    pub(super) fn evaluate(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(leaf) = self.facts.first() else { return Vec::new() };
        let first = self.evaluate_trust(leaf, context);
        let rest = [context.evaluate_age(leaf), self.evaluate_order(context)];
        std::iter::once(first).chain(rest.into_iter().flatten()).collect()
    }

    fn evaluate_trust(&self, leaf: &CertificateFacts, context: &Context<'_>) -> Finding {
        let Context { subject, what, name, now } = *context;
        let issuer = &leaf.issuer;
        match &self.trust {
            Trust::Trusted => {
                let (until, days) = (day(leaf.not_after), leaf.not_after.saturating_sub(now) / DAY);
                subject
                    .ok(format!("{what} is trusted, covers {name} and is valid until {until} ({days} days)"))
            }
            Trust::WrongName => {
                let names = leaf.hosts().join(", ");
                let names = if names.is_empty() { "no name" } else { &names };
                let hint = format!("get one for {name}, or correct domain");
                subject.fail(format!("{what} is for {names} and not for {name}"), hint)
            }
            Trust::Expired => {
                let text = format!("{what} expired on {}", day(leaf.not_after));
                subject.fail(text, "renew it; browsers refuse it")
            }
            Trust::NotYetValid => {
                let text = format!("{what} is valid from {}", day(leaf.not_before));
                subject.fail(text, "correct the clock, or wait")
            }
            Trust::UnknownIssuer if leaf.is_self_signed() => {
                subject.fail(format!("{what} is self-signed, so browsers show a warning"), GET_PUBLIC_ONE)
            }
            Trust::UnknownIssuer if self.facts.len() == 1 => subject.fail(
                format!("{what} comes without the certificate of its issuer ({issuer})"),
                "name the file with the whole chain, often called fullchain.pem",
            ),
            Trust::UnknownIssuer => subject.fail(
                format!("{what} leads to no root that this system trusts (issuer {issuer})"),
                format!("{GET_PUBLIC_ONE}, or add your authority's root to this system"),
            ),
            Trust::NoRoots => subject.warn(
                format!("{what} cannot be verified: this system has no root certificates"),
                "install the package ca-certificates",
            ),
            Trust::Other(reason) => subject.fail(format!("{what} is refused ({reason})"), GET_PUBLIC_ONE),
        }
    }

    /// Most verifiers sort a chain; some browsers do not.
    fn evaluate_order(&self, context: &Context<'_>) -> Option<Finding> {
        let at = self.facts.windows(2).position(|pair| pair[0].issuer != pair[1].subject)?;
        let text = format!("{}: certificate number {} did not issue the one before it", context.what, at + 2);
        let hint = "sort the chain: the leaf, then its issuer, then the issuer of that";
        Some(context.subject.warn(text, hint))
    }
}

impl Context<'_> {
    /// Renewal is due well before the last quarter of the validity.
    fn evaluate_age(&self, leaf: &CertificateFacts) -> Option<Finding> {
        let left = leaf.not_after.checked_sub(self.now)?;
        let text = format!("{} has {} days left of {}", self.what, left / DAY, leaf.life() / DAY);
        (left < leaf.life() / 4).then(|| self.subject.warn(text, "check that its renewal works"))
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
            Self::Other(reason) => reason,
        })
    }
}

/// `2027-01-31`.
fn day(unix: UnixSeconds) -> String {
    let time = i64::try_from(unix).ok().and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    time.map_or_else(|| "a date after the year 9999".to_owned(), |time| time.date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2027-01-15.
    const NOW: UnixSeconds = 1_800_000_000;

    fn facts(subject: &str, issuer: &str) -> CertificateFacts {
        CertificateFacts {
            subject: subject.into(),
            issuer: issuer.into(),
            names: vec!["box.example".into()],
            not_before: NOW - 30 * DAY,
            not_after: NOW + 60 * DAY,
            serial: "01".into(),
            ..CertificateFacts::default()
        }
    }

    fn lines(facts: &[CertificateFacts], trust: Trust) -> Vec<String> {
        let chain = Chain { facts: facts.to_vec(), trust };
        let context =
            Context { subject: Subject::Certificate, what: "cert c.pem", name: "box.example", now: NOW };
        chain.evaluate(&context).iter().map(|finding| format!("{} {finding}", finding.level)).collect()
    }

    #[test]
    fn a_good_chain_is_one_finding() {
        let chain = [facts("leaf", "R1"), facts("R1", "root")];
        let line = "ok cert c.pem is trusted, covers box.example and is valid until 2027-03-16 (60 days)";
        assert_eq!(lines(&chain, Trust::Trusted), [line]);
    }

    #[test]
    fn each_fault_has_a_hint() {
        let other = CertificateFacts { names: vec!["a.example".into()], ..facts("leaf", "R1") };
        let line = "fail cert c.pem is for a.example and not for box.example; \
            get one for box.example, or correct domain";
        assert_eq!(lines(&[other], Trust::WrongName), [line]);
        let old = CertificateFacts { not_after: NOW - DAY, ..facts("leaf", "R1") };
        assert!(lines(&[old], Trust::Expired)[0].starts_with("fail cert c.pem expired on 2027-01-14"));
        assert!(lines(&[facts("leaf", "R1")], Trust::UnknownIssuer)[0].contains("fullchain.pem"));
        assert!(lines(&[facts("me", "me")], Trust::UnknownIssuer)[0].contains("is self-signed"));
        let private = [facts("leaf", "R1"), facts("R1", "ours")];
        assert!(lines(&private, Trust::UnknownIssuer)[0].contains("add your authority's root"));
        assert!(lines(&private, Trust::NoRoots)[0].starts_with("warn"));
    }

    #[test]
    fn one_of_several_servers_needs_both_names() {
        let line = |names: &[&str], is_automatic| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            let leaf = CertificateFacts { names, ..facts("leaf", "R1") };
            let stored = StoredCertificate {
                name: "box.example".to_owned(),
                node_name: Some("b1.box.example".to_owned()),
                cert: "c.pem".into(),
                key: "k.pem".into(),
                is_automatic,
                is_pending: false,
                error: None,
                chain: Some(Chain { facts: vec![leaf], trust: Trust::Trusted }),
            };
            let finding = stored.evaluate().pop().unwrap();
            format!("{} {finding}", finding.level)
        };
        let missing = line(&["box.example"], false);
        assert!(missing.starts_with("fail cert c.pem does not cover node-name b1.box.example"), "{missing}");
        assert!(
            missing.ends_with(
                "get one for box.example and b1.box.example, or for box.example and *.box.example"
            )
        );
        assert!(line(&["box.example"], true).starts_with("warn"));
        assert_eq!(
            line(&["box.example", "*.box.example"], false),
            "ok cert c.pem covers b1.box.example as well"
        );
    }

    #[test]
    fn the_last_quarter_of_the_validity_is_a_warning() {
        let aging = CertificateFacts { not_after: NOW + 9 * DAY, ..facts("leaf", "R1") };
        let [good, warning] = lines(&[aging], Trust::Trusted).try_into().unwrap();
        assert!(good.starts_with("ok"));
        assert_eq!(warning, "warn cert c.pem has 9 days left of 39; check that its renewal works");
    }

    #[test]
    fn a_chain_out_of_order_is_a_warning() {
        let chain = [facts("leaf", "R1"), facts("root", "root"), facts("R1", "root")];
        let lines = lines(&chain, Trust::Trusted);
        assert!(lines[1].contains("certificate number 2 did not issue"), "{lines:?}");
    }

    #[test]
    fn a_self_signed_ca_certificate_has_an_unknown_issuer() {
        let root = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
        let mut store = rustls::RootCertStore::empty();
        store.add(root.cert.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build().unwrap();
        let roots = SystemRoots(Some(verifier));
        let mut params = rcgen::CertificateParams::new(["box.example".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let chain = roots.verify(&[certificate.der().clone()], "box.example");
        assert_eq!((chain.trust, chain.facts[0].is_self_signed()), (Trust::UnknownIssuer, true));
    }
}
