//! Short-lived TURN credentials in the TURN REST form: minted for a seat, verified from nothing
//! but the secret.
//!
//! `username = <unix expiry>:<id>`, `password = base64(HMAC-SHA1(secret, username))`, as coturn's
//! `use-auth-secret` has them (draft-uberti-behave-turn-rest-00 §2.2). Nothing here reads a clock
//! or keeps a user.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use serde::Serialize;
use sha1::Sha1;

use crate::mac::keyed;
use crate::principal::{IsolationGroup, PrincipalId, TEXT_LENGTH};
use crate::time::UnixSeconds;

/// One shared TURN REST secret; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// The secrets of a box: the first mints, all verify. Never empty.
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

/// Whom a credential's id names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A seat in a room of this box; must be live at the moment of Allocate.
    Participant(IsolationGroup, PrincipalId),
    /// Minted by the box's own tools (`~` before the seat): a room's tag, no live seat needed.
    Tool(IsolationGroup, PrincipalId),
    /// Minted for anybody who tries the connection test (`~~` before the seat): a tag of its own, which is
    /// all it reaches in any scope, and no life beyond its expiry.
    Tester(IsolationGroup, PrincipalId),
    /// Other software that shares the secret: the text after the colon is its own tag.
    Foreign(String),
}

/// A username taken apart. What it claims is true only once a password has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username {
    /// When the credential stops opening allocations.
    pub expiry: UnixSeconds,
    /// Whom it was minted for.
    pub principal: Principal,
}

impl Secret {
    /// Wraps the secret's bytes as they were configured.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Whether it has fewer characters than that.
    pub fn is_shorter_than(&self, characters: usize) -> bool {
        String::from_utf8_lossy(&self.0).trim().chars().count() < characters
    }

    /// The password that belongs to `username` under this secret.
    pub fn password(&self, username: &str) -> String {
        let mut mac: Hmac<Sha1> = keyed(&self.0);
        mac.update(username.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

impl Secrets {
    /// `first` mints; it and `older` verify.
    pub fn new(first: Secret, older: Vec<Secret>) -> Self {
        Self { first, older }
    }

    /// A credential for `holder` that opens allocations until `expiry`.
    pub fn mint(&self, principal: &Principal, expiry: UnixSeconds) -> Credential {
        let username = format!("{expiry}:{principal}");
        let password = self.first.password(&username);
        Credential { username, password }
    }

    /// The passwords that would be right for `username`, one for each secret.
    pub fn passwords<'a>(&'a self, username: &'a str) -> impl Iterator<Item = String> + 'a {
        std::iter::once(&self.first).chain(&self.older).map(move |secret| secret.password(username))
    }
}

impl Username {
    /// Takes a username apart as coturn's `use-auth-secret` does: `<unix expiry>:<id>`; `<id>:<unix expiry>`
    /// where the part before the first colon is no number; and the expiry alone, with or without a colon. What
    /// follows the digits of the latter two is part of the id. `None` where it says no moment.
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

/// A number as C's `atol` reads it, and what follows; white space and a minus are no beginning of a moment.
fn leading_number(text: &str) -> Option<(UnixSeconds, &str)> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    Some((digits[..end].parse().ok()?, &digits[end..]))
}

impl Principal {
    /// Whether it is a stranger's: it reaches its own tag alone, whatever the scope of the box.
    pub fn is_confined(&self) -> bool {
        matches!(self, Self::Tester(..))
    }

    fn parse(id: &str) -> Self {
        Self::ours(id).unwrap_or_else(|| Self::Foreign(id.to_owned()))
    }

    fn ours(id: &str) -> Option<Self> {
        let (group, seat) = id.split_once('.')?;
        let group = (group.len() == TEXT_LENGTH).then(|| IsolationGroup::parse(group))??;
        if let Some(seat) = seat.strip_prefix("~~") {
            return Some(Self::Tester(group, PrincipalId::parse(seat)?));
        }
        match seat.strip_prefix('~') {
            Some(seat) => Some(Self::Tool(group, PrincipalId::parse(seat)?)),
            None => Some(Self::Participant(group, PrincipalId::parse(seat)?)),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Participant(group, seat) => write!(f, "{group}.{seat}"),
            Self::Tool(group, seat) => write!(f, "{group}.~{seat}"),
            Self::Tester(group, seat) => write!(f, "{group}.~~{seat}"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn seat() -> Principal {
        Principal::Participant(IsolationGroup::new([1; 16]), PrincipalId::new([2; 16]))
    }

    #[test]
    fn a_minted_credential_is_the_turn_rest_form() {
        // The expected password was made with: printf 1767225600:alice | openssl dgst -sha1 -hmac north -binary | base64
        let secrets = Secrets::new(Secret::new("north"), vec![]);
        let credential = secrets.mint(&Principal::Foreign("alice".into()), 1_767_225_600);
        assert_eq!(credential.username, "1767225600:alice");
        assert_eq!(credential.password, "qnVCfmDqv+5N7tpxKH0liO/huIU=");
    }

    #[test]
    fn an_older_secret_still_verifies_but_does_not_mint() {
        let old = Secret::new("old");
        let secrets = Secrets::new(Secret::new("new"), vec![old.clone()]);
        let credential = secrets.mint(&seat(), 5);
        assert_ne!(credential.password, old.password(&credential.username));
        let right: Vec<_> = secrets.passwords("5:x").collect();
        assert!(right.contains(&old.password("5:x")));
    }

    #[test]
    fn a_username_says_whom_it_was_minted_for() {
        let (group, id) = (IsolationGroup::new([1; 16]), PrincipalId::new([2; 16]));
        let ours = [seat(), Principal::Tool(group, id), Principal::Tester(group, id)];
        for principal in ours.into_iter().chain([Principal::Foreign("bob.builder".into())]) {
            let text = format!("17:{principal}");
            assert_eq!(Username::parse(&text), Some(Username { expiry: 17, principal }));
        }
    }

    #[test]
    fn every_form_of_a_rest_username_that_coturn_reads_is_read() {
        // Measured against coturn 4.6.1; tests/robustness/abuse/usernames.rs asks the one that is installed.
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
            // A year beyond 2106, where coturn counts modulo 2^32.
            ("4294967296:user", 4_294_967_296, "user"),
            ("18446744073709551615:user", u64::MAX, "user"),
        ] {
            let principal = Principal::Foreign(id.into());
            assert_eq!(Username::parse(text), Some(Username { expiry, principal }), "{text}");
        }
    }

    #[test]
    fn a_seat_stays_a_seat_on_either_side_of_the_colon() {
        let text = format!("{}:17", seat());
        assert_eq!(Username::parse(&text), Some(Username { expiry: 17, principal: seat() }));
    }

    #[test]
    fn usernames_that_say_no_moment_are_nobodys() {
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
    fn secrets_do_not_print() {
        let secrets = Secrets::new(Secret::new("hush"), vec![Secret::new("older")]);
        assert!(!format!("{secrets:?}").contains("hush"));
    }
}
