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
use crate::seat::{RoomTag, SeatId, TEXT_LENGTH};

/// Seconds since 1970-01-01 UTC, as they stand in a username.
pub type UnixSeconds = u64;

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
pub enum Holder {
    /// A seat in a room of this box; must be live at the moment of Allocate.
    Seat(RoomTag, SeatId),
    /// Minted by the box's own tools (`~` before the seat): a room's tag, no live seat needed.
    Tool(RoomTag, SeatId),
    /// Minted for anybody who tries the connection test (`~~` before the seat): a tag of its own, which is
    /// all it reaches in any scope, and no life beyond its expiry.
    Tester(RoomTag, SeatId),
    /// Other software that shares the secret: the text after the colon is its own tag.
    Foreign(String),
}

/// A username taken apart. What it claims is true only once a password has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username {
    /// When the credential stops opening allocations.
    pub expiry: UnixSeconds,
    /// Whom it was minted for.
    pub holder: Holder,
}

impl Secret {
    /// Wraps the secret's bytes as they were configured.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
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
    pub fn mint(&self, holder: &Holder, expiry: UnixSeconds) -> Credential {
        let username = format!("{expiry}:{holder}");
        let password = self.first.password(&username);
        Credential { username, password }
    }

    /// The passwords that would be right for `username`, one for each secret.
    pub fn passwords<'a>(&'a self, username: &'a str) -> impl Iterator<Item = String> + 'a {
        std::iter::once(&self.first).chain(&self.older).map(move |secret| secret.password(username))
    }
}

impl Username {
    /// Takes `<unix expiry>:<id>` apart; `None` where it has another shape.
    pub fn parse(text: &str) -> Option<Self> {
        let (expiry, id) = text.split_once(':')?;
        if !expiry.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let expiry = expiry.parse().ok()?;
        Some(Self { expiry, holder: Holder::parse(id) })
    }
}

impl Holder {
    /// Whether it is a stranger's: it reaches its own tag alone, whatever the scope of the box.
    pub fn is_confined(&self) -> bool {
        matches!(self, Self::Tester(..))
    }

    fn parse(id: &str) -> Self {
        Self::ours(id).unwrap_or_else(|| Self::Foreign(id.to_owned()))
    }

    fn ours(id: &str) -> Option<Self> {
        let (tag, seat) = id.split_once('.')?;
        let tag = (tag.len() == TEXT_LENGTH).then(|| RoomTag::parse(tag))??;
        if let Some(seat) = seat.strip_prefix("~~") {
            return Some(Self::Tester(tag, SeatId::parse(seat)?));
        }
        match seat.strip_prefix('~') {
            Some(seat) => Some(Self::Tool(tag, SeatId::parse(seat)?)),
            None => Some(Self::Seat(tag, SeatId::parse(seat)?)),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seat(tag, seat) => write!(f, "{tag}.{seat}"),
            Self::Tool(tag, seat) => write!(f, "{tag}.~{seat}"),
            Self::Tester(tag, seat) => write!(f, "{tag}.~~{seat}"),
            Self::Foreign(id) => f.write_str(id),
        }
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

    fn seat() -> Holder {
        Holder::Seat(RoomTag::new([1; 16]), SeatId::new([2; 16]))
    }

    #[test]
    fn a_minted_credential_is_the_turn_rest_form() {
        // The expected password was made with: printf 1767225600:alice | openssl dgst -sha1 -hmac north -binary | base64
        let secrets = Secrets::new(Secret::new("north"), vec![]);
        let credential = secrets.mint(&Holder::Foreign("alice".into()), 1_767_225_600);
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
        let (tag, id) = (RoomTag::new([1; 16]), SeatId::new([2; 16]));
        let ours = [seat(), Holder::Tool(tag, id), Holder::Tester(tag, id)];
        for holder in ours.into_iter().chain([Holder::Foreign("bob.builder".into())]) {
            let text = format!("17:{holder}");
            assert_eq!(Username::parse(&text), Some(Username { expiry: 17, holder }));
        }
    }

    #[test]
    fn usernames_of_another_shape_are_nobodys() {
        for text in ["", "alice", ":alice", "+5:alice", "99999999999999999999999:alice", "1 :a"] {
            assert_eq!(Username::parse(text), None, "{text}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let secrets = Secrets::new(Secret::new("hush"), vec![Secret::new("older")]);
        assert!(!format!("{secrets:?}").contains("hush"));
    }
}
