//! Why the authority issued no certificate, and what to do about it.
//!
//! The text of the authority is repeated, cut short and on one line.

use instant_acme::Problem;

use crate::error::Hint;
use crate::state_dir::StateError;
use crate::task::Panic;

/// Characters of an error text of the authority.
const MAX_DETAIL: usize = 300;

/// Characters of the name of a problem.
const MAX_KIND: usize = 60;

/// The namespace of ACME problems (RFC 8555 §6.7).
const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// There is no certificate. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub(super) enum AcmeError {
    /// This host has no trusted roots.
    #[error("this host has no root certificates to verify the authority with")]
    NoRoots,
    /// A request got no usable response. The authority may count one that was sent.
    #[error("acme-directory cannot be reached ({reason})")]
    Unreachable { reason: String, is_sent: bool },
    /// The order is not complete within the time limit.
    #[error("the authority has not finished in time")]
    TooSlow,
    /// The authority rejected the order without a reason.
    #[error("the authority rejected the order without a reason")]
    NoReason,
    /// The authority rejected the answer to its challenge.
    #[error("{} ({})", challenge_text(.0).0, .0)]
    ChallengeFailed(AcmeProblem),
    /// The other servers of the cluster do not learn the answer to the challenge, which they may be asked for.
    #[error("the store of the cluster does not take the answer to the challenge")]
    NotShared,
    /// The authority offers no TLS-ALPN-01 challenge.
    #[error("the authority offers no validation over TLS (tls-alpn-01)")]
    NoTlsAlpn,
    /// The authority refused a request.
    #[error("{} ({})", refusal_text(.0).0, .0)]
    Refused(AcmeProblem),
    /// The certificate does not work.
    #[error("the issued certificate cannot be used: {0}")]
    Unusable(String),
    /// The stored account has no usable key.
    #[error("the stored account of the authority is damaged")]
    DamagedAccount,
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A library failed, or did not understand the authority.
    #[error("the authority's response is not understood ({0})")]
    Library(String),
    /// The code panicked.
    #[error("{0}")]
    Panic(Panic),
}

impl Hint for AcmeError {
    fn hint(&self) -> String {
        let hint = match self {
            Self::NoRoots => "install them (apt install ca-certificates), or correct SSL_CERT_FILE",
            Self::Unreachable { .. } => "let this host reach it, or correct acme-directory",
            Self::TooSlow => "wait, there is nothing to fix here",
            Self::NoReason => "if that lasts, choose another acme-directory",
            Self::ChallengeFailed(problem) => challenge_text(problem).1,
            Self::NotShared => "let this server reach the store, and see that the store accepts writes",
            Self::NoTlsAlpn => "choose another acme-directory, or use cert and key",
            Self::Refused(problem) => refusal_text(problem).1,
            Self::DamagedAccount => {
                "delete account.json in the folder acme of state-dir, and the next attempt creates a new account"
            }
            Self::State(error) => return error.hint(),
            Self::Library(_) => "check that acme-directory is one",
            // The texts contain what to do.
            Self::Unusable(_) | Self::Panic(_) => "",
        };
        hint.to_owned()
    }
}

impl AcmeError {
    /// Whether the authority received a request, which it may count.
    pub(super) fn may_be_counted(&self) -> bool {
        !matches!(
            self,
            Self::NoRoots | Self::State(_) | Self::DamagedAccount | Self::Unreachable { is_sent: false, .. }
        )
    }
}

impl From<instant_acme::Error> for AcmeError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library may add errors")]
    fn from(error: instant_acme::Error) -> Self {
        match error {
            instant_acme::Error::Api(problem) => Self::Refused(AcmeProblem::from(&problem)),
            instant_acme::Error::Timeout(_) => Self::TooSlow,
            instant_acme::Error::KeyRejected => Self::DamagedAccount,
            // Our own HTTP client put it there.
            instant_acme::Error::Other(inner) => match inner.downcast::<Self>() {
                Ok(error) => *error,
                Err(other) => Self::Library(printable(&other.to_string(), MAX_DETAIL)),
            },
            other => Self::Library(printable(&other.to_string(), MAX_DETAIL)),
        }
    }
}

/// A problem as the authority describes it. `Display` is one short line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub(super) struct AcmeProblem {
    kind: String,
    detail: String,
}

impl AcmeProblem {
    /// Whether the authority does not know the account.
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
            kind: printable(kind.strip_prefix(NAMESPACE).unwrap_or(kind), MAX_KIND),
            detail: printable(detail, MAX_DETAIL),
        }
    }
}

fn printable(text: &str, max: usize) -> String {
    text.chars().take(max).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The reason and the hint.
fn challenge_text(problem: &AcmeProblem) -> (&'static str, &'static str) {
    match problem.kind.as_str() {
        "dns" => ("domain is not found in DNS", "create an A or AAAA record that leads to this host"),
        "connection" => (
            "the authority cannot reach domain on port 443",
            "open 443/tcp, and let every A and AAAA record of it lead to this host",
        ),
        "caa" => (
            "DNS forbids this authority to issue for domain",
            "correct the CAA record, or choose another acme-directory",
        ),
        _ => (
            "the authority does not find this server on port 443 of domain",
            "let every A and AAAA record of it lead to this host, and 443/tcp to https-port",
        ),
    }
}

/// The reason and the hint.
fn refusal_text(problem: &AcmeProblem) -> (&'static str, &'static str) {
    match problem.kind.as_str() {
        "rateLimited" => {
            ("the authority has received too many requests", "wait, there is nothing to fix here")
        }
        "invalidContact" | "unsupportedContact" => ("the authority does not accept acme-email", "correct it"),
        "rejectedIdentifier" | "unsupportedIdentifier" => (
            "the authority does not issue for domain",
            "it must be a public name, or a public address where the authority takes one",
        ),
        "externalAccountRequired" => (
            "the authority requires an account created beforehand, which is not supported",
            "choose another acme-directory, or use cert and key",
        ),
        "caa" | "dns" | "connection" => challenge_text(problem),
        _ => ("the authority refuses", "fix that, or choose another acme-directory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> AcmeProblem {
        let json = serde_json::json!({ "type": format!("{NAMESPACE}{kind}"), "detail": detail });
        AcmeProblem::from(&serde_json::from_value::<Problem>(json).unwrap())
    }

    #[test]
    fn each_problem_of_the_authority_has_a_hint() {
        for (kind, hint) in [
            ("dns", "create an A or AAAA record"),
            ("connection", "open 443/tcp"),
            ("caa", "correct the CAA record"),
            ("unauthorized", "443/tcp to https-port"),
            ("tls", "443/tcp to https-port"),
        ] {
            let text = AcmeError::ChallengeFailed(problem(kind, "because")).with_hint();
            assert!(text.contains(hint) && text.contains(&format!("({kind}: because)")), "{text}");
        }
        for (kind, hint) in [
            ("rateLimited", "wait"),
            ("invalidContact", "acme-email"),
            ("rejectedIdentifier", "public name"),
            ("unsupportedIdentifier", "public address"),
            ("externalAccountRequired", "cert and key"),
            ("caa", "CAA record"),
            ("malformed", "fix that"),
        ] {
            let text = AcmeError::Refused(problem(kind, "because")).with_hint();
            assert!(text.contains(hint) && text.contains(&format!("({kind}: because)")), "{text}");
        }
    }

    #[test]
    fn a_text_of_the_authority_is_one_line_of_bounded_length() {
        let evil = "evil\n\x1b[2J".repeat(1000);
        let text = AcmeError::Refused(problem(&evil, &evil)).with_hint();
        assert!(text.len() < 500 && !text.contains(char::is_control), "{text}");
    }

    #[test]
    fn a_request_that_was_not_sent_is_not_counted() {
        let reason = "Connection refused".to_owned();
        let error = AcmeError::Unreachable { reason, is_sent: false };
        let error = AcmeError::from(instant_acme::Error::Other(Box::new(error)));
        assert!(!error.may_be_counted());
        let text = error.to_string();
        assert!(text.starts_with("acme-directory cannot be reached (Connection refused)"), "{text}");
    }
}
