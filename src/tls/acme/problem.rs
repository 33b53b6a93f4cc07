//! Why there is no certificate from the authority: each a value, each one line with the cure.
//!
//! What the authority says is repeated in part, since it knows best; cut short, and on one line.

use std::error::Error;
use std::fmt;

use instant_acme::Problem;

use crate::error::Hint as _;
use crate::store::StateError;
use crate::task::Panic;

/// Of what an authority says, this many characters are repeated.
const LONGEST_DETAIL: usize = 300;

/// And this many of what it calls it.
const LONGEST_KIND: usize = 60;

/// What problems of an authority are called (RFC 8555 §6.7).
const PROBLEM: &str = "urn:ietf:params:acme:error:";

/// There is no certificate. `Display` is one line.
#[derive(Debug)]
pub(super) enum AcmeError {
    /// Nothing here says whom to trust.
    NoRoots,
    /// The authority cannot be spoken to.
    Unreachable(Unreachable),
    /// It does not answer with what was asked for.
    TooSlow,
    /// It has given up our order and says nothing of why.
    NoReason,
    /// It is not convinced that the name is ours.
    ChallengeFailed(AcmeProblem),
    /// It does not take the one proof we can give.
    NoTlsAlpn,
    /// It refuses for another reason.
    Refused(AcmeProblem),
    /// What it issued cannot be served.
    Unusable(String),
    /// The kept account holds no key that can be used.
    BrokenAccount,
    /// The state directory cannot be used.
    State(StateError),
    /// A library refuses something it never should.
    Library(String),
    /// We do something we never should.
    Panic(Panic),
}

/// A problem as the authority has put it. `Display` is one short line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AcmeProblem {
    kind: String,
    detail: String,
}

/// A request that got no answer we can use, told from others on its way through the ACME library.
#[derive(Debug)]
pub(super) struct Unreachable {
    fault: String,
    /// The authority may have got the request, and counts it.
    got: bool,
}

impl Unreachable {
    /// It was never sent.
    pub(super) fn never(fault: impl fmt::Display) -> Self {
        Self { fault: fault.to_string(), got: false }
    }

    /// It was sent, perhaps for nothing.
    pub(super) fn after_all(fault: impl fmt::Display) -> Self {
        Self { fault: fault.to_string(), got: true }
    }
}

impl AcmeError {
    /// Whether the authority was asked for something, which it may count.
    pub(super) fn has_cost(&self) -> bool {
        match self {
            Self::NoRoots | Self::State(_) | Self::BrokenAccount => false,
            Self::Unreachable(unreachable) => unreachable.got,
            Self::TooSlow
            | Self::NoReason
            | Self::ChallengeFailed(_)
            | Self::NoTlsAlpn
            | Self::Refused(_)
            | Self::Unusable(_)
            | Self::Library(_)
            | Self::Panic(_) => true,
        }
    }
}

impl AcmeProblem {
    /// Whether it says that the account is unknown there.
    pub(super) fn is_unknown_account(&self) -> bool {
        self.kind == "accountDoesNotExist"
    }
}

impl From<&Problem> for AcmeProblem {
    fn from(problem: &Problem) -> Self {
        let kind = problem.r#type.as_deref().unwrap_or("problem");
        let inner = problem.subproblems.iter().find_map(|inner| inner.detail.as_deref());
        let detail = problem.detail.as_deref().or(inner).unwrap_or("no reason given");
        Self {
            kind: printable(kind.strip_prefix(PROBLEM).unwrap_or(kind), LONGEST_KIND),
            detail: printable(detail, LONGEST_DETAIL),
        }
    }
}

fn printable(text: &str, longest: usize) -> String {
    text.chars().take(longest).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl fmt::Display for AcmeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)
    }
}

impl From<instant_acme::Error> for AcmeError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library may learn further errors")]
    fn from(error: instant_acme::Error) -> Self {
        match error {
            instant_acme::Error::Api(problem) => Self::Refused(AcmeProblem::from(&problem)),
            instant_acme::Error::Timeout(_) => Self::TooSlow,
            instant_acme::Error::KeyRejected => Self::BrokenAccount,
            instant_acme::Error::Other(inner) => match inner.downcast::<Unreachable>() {
                Ok(unreachable) => Self::Unreachable(*unreachable),
                Err(other) => Self::Library(printable(&other.to_string(), LONGEST_DETAIL)),
            },
            other => Self::Library(printable(&other.to_string(), LONGEST_DETAIL)),
        }
    }
}

impl From<StateError> for AcmeError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl fmt::Display for AcmeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoots => f.write_str(
                "this host has no root certificates, so no authority can be told from a stranger; \
                 install them (apt install ca-certificates), or correct SSL_CERT_FILE",
            ),
            Self::Unreachable(unreachable) => write!(
                f,
                "acme-directory cannot be reached ({unreachable}); let this host reach it, or correct acme-directory"
            ),
            Self::TooSlow => f.write_str("the authority is still at work; nothing to mend here"),
            Self::NoReason => f.write_str(
                "the authority has given up the order and says nothing of why; if that lasts, \
                 choose another acme-directory",
            ),
            Self::ChallengeFailed(complaint) => write!(f, "{}", challenge_text(complaint)),
            Self::NoTlsAlpn => f.write_str(
                "the authority does not take a proof over TLS (tls-alpn-01); \
                 choose another acme-directory, or take cert and key",
            ),
            Self::Refused(complaint) => write!(f, "{}", refusal_text(complaint)),
            Self::Unusable(fault) => write!(f, "what the authority issued cannot be used: {fault}"),
            Self::BrokenAccount => f.write_str(
                "the kept account with the authority is damaged; delete account.json in the folder acme of state-dir, \
                 and the next attempt makes another",
            ),
            Self::State(error) => f.write_str(&error.with_hint()),
            Self::Panic(bug) => bug.fmt(f),
            Self::Library(fault) => {
                write!(f, "the authority is not understood ({fault}); check that acme-directory is one")
            }
        }
    }
}

fn challenge_text(complaint: &AcmeProblem) -> String {
    match complaint.kind.as_str() {
        "dns" => {
            format!(
                "domain is not found in DNS ({complaint}); make an A or AAAA record that leads to this host"
            )
        }
        "connection" => format!(
            "the authority cannot reach domain on port 443 ({complaint}); \
             open 443/tcp, and let every A and AAAA record of it lead to this host"
        ),
        "caa" => format!(
            "DNS forbids this authority to issue for domain ({complaint}); \
             mend the CAA record, or choose another acme-directory"
        ),
        _ => format!(
            "the authority does not find this box on port 443 of domain ({complaint}); \
             let every A and AAAA record of it lead to this host, and 443/tcp to https-port"
        ),
    }
}

fn refusal_text(complaint: &AcmeProblem) -> String {
    match complaint.kind.as_str() {
        "rateLimited" => {
            format!("the authority has been asked too often ({complaint}); nothing to do but wait")
        }
        "invalidContact" | "unsupportedContact" => {
            format!("the authority does not take acme-email ({complaint}); correct it")
        }
        "rejectedIdentifier" => {
            format!("the authority issues nothing for domain ({complaint}); it must be a public name")
        }
        "externalAccountRequired" => format!(
            "the authority wants an account made beforehand ({complaint}), which is not built; \
             choose another acme-directory, or take cert and key"
        ),
        "caa" | "dns" | "connection" => challenge_text(complaint),
        _ => format!("the authority refuses ({complaint}); mend that, or choose another acme-directory"),
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fault)
    }
}

impl Error for Unreachable {}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> AcmeProblem {
        let json = serde_json::json!({ "type": format!("{PROBLEM}{kind}"), "detail": detail });
        AcmeProblem::from(&serde_json::from_value::<Problem>(json).unwrap())
    }

    #[test]
    fn what_an_authority_misses_names_the_cure() {
        for (kind, cure) in [
            ("dns", "make an A or AAAA record"),
            ("connection", "open 443/tcp"),
            ("caa", "mend the CAA record"),
            ("unauthorized", "443/tcp to https-port"),
            ("tls", "443/tcp to https-port"),
        ] {
            let said = AcmeError::ChallengeFailed(problem(kind, "because")).to_string();
            assert!(said.contains(cure) && said.contains(&format!("({kind}: because)")), "{said}");
        }
        for (kind, cure) in [
            ("rateLimited", "but wait"),
            ("invalidContact", "acme-email"),
            ("rejectedIdentifier", "public name"),
            ("externalAccountRequired", "cert and key"),
            ("caa", "CAA record"),
            ("malformed", "mend that"),
        ] {
            let said = AcmeError::Refused(problem(kind, "because")).to_string();
            assert!(said.contains(cure) && said.contains(&format!("({kind}: because)")), "{said}");
        }
    }

    #[test]
    fn whatever_an_authority_says_stays_one_line_of_bounded_length() {
        let evil = "evil\n\x1b[2J".repeat(1000);
        let said = AcmeError::Refused(problem(&evil, &evil)).to_string();
        assert!(said.len() < 500 && !said.contains(char::is_control), "{said}");
    }

    #[test]
    fn an_authority_out_of_reach_is_told_from_one_that_refuses() {
        let lost = instant_acme::Error::Other(Box::new(Unreachable::never("Connection refused")));
        let lost = AcmeError::from(lost);
        assert!(!lost.has_cost(), "nobody counts what nobody got");
        let said = lost.to_string();
        assert!(said.starts_with("acme-directory cannot be reached (Connection refused)"), "{said}");
    }
}
