//! Features: what a client can do in a call besides one audio and one video track, for the other client to know before
//! it makes an offer. The server passes the names on without understanding them.

use serde::Serialize;

/// Names of one client at most.
const MAX_FEATURES: usize = 8;

/// Characters of a name at most.
const MAX_CHARS: usize = 32;

/// Up to eight names of 1–32 characters `a`–`z`, `0`–`9` and `-`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Features(Box<[Box<str>]>);

impl Features {
    /// The first eight valid names; the others are dropped, so that a client may announce more than this server passes on.
    pub fn parse(given: &[String]) -> Self {
        let valid = given.iter().filter(|name| is_valid(name)).take(MAX_FEATURES);
        Self(valid.map(|name| name.as_str().into()).collect())
    }

    /// Whether no name is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_valid(name: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_CHARS).contains(&name.len()) && name.bytes().all(is_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_limits_are_dropped() {
        let given: Vec<String> =
            ["", "a b", "A", &"x".repeat(33), "\u{e9}", "data-channels", &"x".repeat(32)]
                .map(String::from)
                .into_iter()
                .chain((0..9).map(|n| n.to_string()))
                .collect();
        let kept = Features::parse(&given);
        assert_eq!(kept.0.iter().map(|name| name.len()).collect::<Vec<_>>(), [13, 32, 1, 1, 1, 1, 1, 1]);
        assert!(Features::parse(&given[..5]).is_empty());
    }
}
