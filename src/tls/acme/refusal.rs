//! Why there is no certificate from the authority: each a value, each one line with the cure.
//!
//! What the authority says is repeated in part, since it knows best; cut short, and on one line.

use std::error::Error;
use std::fmt;

use instant_acme::Problem;

use crate::state::StateError;

/// Of what an authority says, this many characters are repeated.
const LONGEST_DETAIL: usize = 300;

/// What problems of an authority are called (RFC 8555 §6.7).
const PROBLEM: &str = "urn:ietf:params:acme:error:";

/// There is no certificate. `Display` is one line.
#[derive(Debug)]
pub(super) enum AcmeError {
    /// Nothing here says whom to trust.
    NoRoots,
    /// The authority cannot be spoken to.
    Unreachable(String),
    /// It does not answer with what was asked for.
    TooSlow,
    /// It is not convinced that the name is ours.
    Unproven(Complaint),
    /// It does not take the one proof we can give.
    NoTlsAlpn,
    /// It refuses for another reason.
    Refused(Complaint),
    /// What it issued cannot be served.
    Useless(String),
    /// The state directory cannot be used.
    State(StateError),
    /// A library refuses something it never should.
    Library(String),
}

/// A problem as the authority has put it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    kind: String,
    detail: String,
}

/// How a request that got no answer is told from others on its way through the ACME library.
#[derive(Debug)]
pub(super) struct Unreachable(pub(super) String);

impl Complaint {
    /// Whether it says that the account is unknown there.
    pub(super) fn is_of_no_account(&self) -> bool {
        self.kind == "accountDoesNotExist"
    }
}

impl From<&Problem> for Complaint {
    fn from(problem: &Problem) -> Self {
        let kind = problem.r#type.as_deref().unwrap_or_default();
        let inner = problem.subproblems.iter().find_map(|inner| inner.detail.as_deref());
        let detail = problem.detail.as_deref().or(inner).unwrap_or("no reason given");
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        Self {
            kind: kind.strip_prefix(PROBLEM).unwrap_or(kind).to_owned(),
            detail: detail.chars().take(LONGEST_DETAIL).map(printable).collect(),
        }
    }
}

impl From<instant_acme::Error> for AcmeError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library may learn further errors")]
    fn from(error: instant_acme::Error) -> Self {
        match error {
            instant_acme::Error::Api(problem) => Self::Refused(Complaint::from(&problem)),
            instant_acme::Error::Timeout(_) => Self::TooSlow,
            instant_acme::Error::Other(inner) => match inner.downcast::<Unreachable>() {
                Ok(unreachable) => Self::Unreachable(unreachable.0),
                Err(other) => Self::Library(other.to_string()),
            },
            other => Self::Library(other.to_string()),
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
            Self::Unreachable(fault) => write!(
                f,
                "acme-directory cannot be reached ({fault}); let this host reach it, or correct acme-directory"
            ),
            Self::TooSlow => f.write_str("the authority is still at work; nothing to mend here"),
            Self::Unproven(complaint) => write!(f, "{}", proof_sentence(complaint)),
            Self::NoTlsAlpn => f.write_str(
                "the authority does not take a proof over TLS (tls-alpn-01); \
                 choose another acme-directory, or take cert and key",
            ),
            Self::Refused(complaint) => write!(f, "{}", refusal_sentence(complaint)),
            Self::Useless(fault) => write!(f, "what the authority issued cannot be used: {fault}"),
            Self::State(error) => error.fmt(f),
            Self::Library(fault) => {
                write!(f, "the authority is not understood ({fault}); check that acme-directory is one")
            }
        }
    }
}

fn proof_sentence(Complaint { kind, detail }: &Complaint) -> String {
    match kind.as_str() {
        "dns" => {
            format!("domain is not found in DNS ({detail}); make an A or AAAA record that leads to this host")
        }
        "connection" => format!(
            "the authority cannot reach domain on port 443 ({detail}); \
             open 443/tcp, and let every A and AAAA record of it lead to this host"
        ),
        "caa" => format!(
            "DNS forbids this authority to issue for domain ({detail}); \
             mend the CAA record, or choose another acme-directory"
        ),
        _ => format!(
            "the authority does not find this box on port 443 of domain ({detail}); \
             let every A and AAAA record of it lead to this host, and 443/tcp to https-port"
        ),
    }
}

fn refusal_sentence(Complaint { kind, detail }: &Complaint) -> String {
    match kind.as_str() {
        "rateLimited" => format!("the authority has been asked too often ({detail}); nothing to do but wait"),
        "invalidContact" | "unsupportedContact" => {
            format!("the authority does not take acme-email ({detail}); correct it")
        }
        "rejectedIdentifier" => {
            format!("the authority issues nothing for domain ({detail}); it must be a public name")
        }
        "externalAccountRequired" => format!(
            "the authority wants an account made beforehand ({detail}), which is not built; \
             choose another acme-directory, or take cert and key"
        ),
        "caa" | "dns" | "connection" => {
            proof_sentence(&Complaint { kind: kind.clone(), detail: detail.clone() })
        }
        _ => format!("the authority refuses ({detail}); mend that, or choose another acme-directory"),
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unreachable {}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> Complaint {
        let json = serde_json::json!({ "type": format!("{PROBLEM}{kind}"), "detail": detail });
        Complaint::from(&serde_json::from_value::<Problem>(json).unwrap())
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
            let said = AcmeError::Unproven(problem(kind, "because")).to_string();
            assert!(said.contains(cure) && said.contains("(because)"), "{said}");
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
            assert!(said.contains(cure) && said.contains("(because)"), "{said}");
        }
    }

    #[test]
    fn whatever_an_authority_says_stays_one_line_of_bounded_length() {
        let said = AcmeError::Refused(problem("x", &"evil\n\x1b[2J".repeat(1000))).to_string();
        assert!(said.len() < 500 && !said.contains(char::is_control), "{said}");
    }

    #[test]
    fn an_authority_out_of_reach_is_told_from_one_that_refuses() {
        let lost = instant_acme::Error::Other(Box::new(Unreachable("Connection refused".to_owned())));
        let said = AcmeError::from(lost).to_string();
        assert!(said.starts_with("acme-directory cannot be reached (Connection refused)"), "{said}");
    }
}
