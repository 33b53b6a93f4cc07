//! TURN REST credentials: short-lived, and verified with nothing but the shared secret.
//!
//! `username = <unix expiry>:<id>`, `password = base64(HMAC-SHA1(secret, username))`, as with coturn's `use-auth-secret`
//! (draft-uberti-behave-turn-rest-00 §2.2).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use serde::Serialize;
use sha1::Sha1;

use crate::principal::{IsolationGroup, PrincipalId, TEXT_LENGTH};

/// Seconds since 1970-01-01 00:00:00 UTC, as in usernames.
pub type UnixSeconds = u64;

/// A shared TURN REST secret. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// The secrets of a server: the first one issues credentials, all verify them. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    first: Secret,
    older: Vec<Secret>,
}

/// A username and its password, ready for an `iceServers` entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credential {
    /// `<unix expiry>:<id>`.
    pub username: String,
    /// base64 of 20 bytes.
    #[serde(rename = "credential")]
    pub password: String,
}

/// The user that a credential names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A participant of an isolation group. It must be admitted when the allocation is opened.
    Participant(IsolationGroup, PrincipalId),
    /// A tool of the operator (`~` before the id): in a group, without admission.
    Tool(IsolationGroup, PrincipalId),
    /// An anonymous user of the connection test (`~~` before the id): its allocations reach only its own group, whatever
    /// the policy, and end when the credential expires.
    Tester(IsolationGroup, PrincipalId),
    /// A user of other software that has the secret. Each id is an isolation group of its own.
    Foreign(String),
}

/// A parsed username. It is a claim until the password has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username {
    /// Until when the credential opens allocations.
    pub expiry: UnixSeconds,
    /// The user.
    pub principal: Principal,
}

impl Secret {
    /// Wraps the secret's bytes as they were configured.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Whether it has fewer than `characters` characters.
    pub fn is_shorter_than(&self, characters: usize) -> bool {
        String::from_utf8_lossy(&self.0).trim().chars().count() < characters
    }

    /// The password of `username`.
    pub fn password(&self, username: &str) -> String {
        let mut mac: Hmac<Sha1> = keyed(&self.0);
        mac.update(username.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

impl Secrets {
    /// `first` issues credentials; `first` and `older` verify them.
    pub fn new(first: Secret, older: Vec<Secret>) -> Self {
        Self { first, older }
    }

    /// Issues a credential for `principal` that opens allocations until `expiry`.
    pub fn mint(&self, principal: &Principal, expiry: UnixSeconds) -> Credential {
        let username = format!("{expiry}:{principal}");
        let password = self.first.password(&username);
        Credential { username, password }
    }

    /// The valid passwords of `username`, one for each secret.
    pub fn passwords<'a>(&'a self, username: &'a str) -> impl Iterator<Item = String> + 'a {
        std::iter::once(&self.first).chain(&self.older).map(move |secret| secret.password(username))
    }
}

impl Username {
    /// Parses a username as coturn's `use-auth-secret` does: `<unix expiry>:<id>`; `<id>:<unix expiry>` if the part
    /// before the first colon is no number; or the expiry alone, with or without a colon. In the latter two, text after
    /// the digits is part of the id. `None` without an expiry.
    pub fn parse(text: &str) -> Option<Self> {
        let (expiry, id) = match text.split_once(':') {
            Some((first, id)) if is_number(first) => (first.parse().ok()?, id.to_owned()),
            Some((id, rest)) => {
                let (expiry, rest) = leading_number(rest)?;
                (expiry, if rest.is_empty() { id.to_owned() } else { format!("{id}:{rest}") })
            }
            None => leading_number(text).map(|(expiry, id)| (expiry, id.to_owned()))?,
        };
        Some(Self { expiry, principal: Principal::parse(&id) })
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number as C's `atol` reads it, and the text after it; `None` for white space or a minus sign at the start.
fn leading_number(text: &str) -> Option<(UnixSeconds, &str)> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    Some((digits[..end].parse().ok()?, &digits[end..]))
}

impl Principal {
    /// Whether its allocations reach only their own isolation group, whatever the policy of the server.
    pub fn is_confined(&self) -> bool {
        matches!(self, Self::Tester(..))
    }

    fn parse(id: &str) -> Self {
        Self::parse_issued(id).unwrap_or_else(|| Self::Foreign(id.to_owned()))
    }

    /// Parses the id of a credential that this project issues.
    fn parse_issued(id: &str) -> Option<Self> {
        let (group, member) = id.split_once('.')?;
        let group = (group.len() == TEXT_LENGTH).then(|| IsolationGroup::parse(group))??;
        if let Some(member) = member.strip_prefix("~~") {
            return Some(Self::Tester(group, PrincipalId::parse(member)?));
        }
        match member.strip_prefix('~') {
            Some(member) => Some(Self::Tool(group, PrincipalId::parse(member)?)),
            None => Some(Self::Participant(group, PrincipalId::parse(member)?)),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Participant(group, member) => write!(f, "{group}.{member}"),
            Self::Tool(group, member) => write!(f, "{group}.~{member}"),
            Self::Tester(group, member) => write!(f, "{group}.~~{member}"),
            Self::Foreign(id) => f.write_str(id),
        }
    }
}

impl AsRef<[u8]> for Secret {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A MAC with `key`, which may have any length.
pub(crate) fn keyed<M: Mac + KeyInit>(key: &[u8]) -> M {
    match <M as Mac>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC accepts keys of any length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn participant() -> Principal {
        Principal::Participant(IsolationGroup::new([1; 16]), PrincipalId::new([2; 16]))
    }

    #[test]
    fn an_issued_credential_has_the_turn_rest_form() {
        // The expected password is the output of: printf 1767225600:alice | openssl dgst -sha1 -hmac north -binary | base64
        let secrets = Secrets::new(Secret::new("north"), vec![]);
        let credential = secrets.mint(&Principal::Foreign("alice".into()), 1_767_225_600);
        assert_eq!(credential.username, "1767225600:alice");
        assert_eq!(credential.password, "qnVCfmDqv+5N7tpxKH0liO/huIU=");
    }

    #[test]
    fn an_older_secret_verifies_but_issues_no_credentials() {
        let old = Secret::new("old");
        let secrets = Secrets::new(Secret::new("new"), vec![old.clone()]);
        let credential = secrets.mint(&participant(), 5);
        assert_ne!(credential.password, old.password(&credential.username));
        let valid: Vec<_> = secrets.passwords("5:x").collect();
        assert!(valid.contains(&old.password("5:x")));
    }

    #[test]
    fn a_username_round_trips_for_every_kind_of_principal() {
        let (group, id) = (IsolationGroup::new([1; 16]), PrincipalId::new([2; 16]));
        let issued = [participant(), Principal::Tool(group, id), Principal::Tester(group, id)];
        for principal in issued.into_iter().chain([Principal::Foreign("bob.builder".into())]) {
            let text = format!("17:{principal}");
            assert_eq!(Username::parse(&text), Some(Username { expiry: 17, principal }));
        }
    }

    #[test]
    fn every_form_of_username_that_coturn_accepts_is_accepted() {
        // Checked with coturn 4.6.1; tests/robustness/abuse/usernames.rs checks the installed version.
        for (text, expiry, id) in [
            ("123:user", 123, "user"),
            ("user:123", 123, "user"),
            ("123", 123, ""),
            ("123:", 123, ""),
            (":123", 123, ""),
            ("+123", 123, ""),
            ("123:a:b", 123, "a:b"),
            ("a:123:b", 123, "a::b"),
            ("123user", 123, "user"),
            ("123;user", 123, ";user"),
            ("123-user", 123, "-user"),
            ("00123:user", 123, "user"),
            ("user:00123", 123, "user"),
            ("user:+123", 123, "user"),
            ("user:123x", 123, "user:x"),
            ("123:456", 123, "456"),
            ("é:123", 123, "é"),
            // Beyond the year 2106, where coturn counts modulo 2^32.
            ("4294967296:user", 4_294_967_296, "user"),
            ("18446744073709551615:user", u64::MAX, "user"),
        ] {
            let principal = Principal::Foreign(id.into());
            assert_eq!(Username::parse(text), Some(Username { expiry, principal }), "{text}");
        }
    }

    #[test]
    fn a_participant_is_recognised_on_either_side_of_the_colon() {
        let text = format!("{}:17", participant());
        assert_eq!(Username::parse(&text), Some(Username { expiry: 17, principal: participant() }));
    }

    #[test]
    fn usernames_without_an_expiry_are_rejected() {
        for text in [
            "",
            ":",
            "alice",
            "alice:",
            ":alice",
            "a:b:123",
            "::123",
            ":x:123",
            "+5:alice",
            "-5:alice",
            "alice:-5",
            "-5",
            "1 :a",
            " 123",
            " 123:a",
            "a: 123",
            "a:\t123",
            "123x:a",
            "0x7b:a",
            "99999999999999999999999:alice",
            "alice:99999999999999999999999",
        ] {
            assert_eq!(Username::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debug_output_contains_no_secret() {
        let secrets = Secrets::new(Secret::new("hush"), vec![Secret::new("older")]);
        assert!(!format!("{secrets:?}").contains("hush"));
    }
}
