//! A room's name: what a person typed becomes the one spelling of it, or cannot be a name.
//!
//! `public/app/room-name.js` has the same rule; tests/room_names.json holds both to it.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Characters a name may have.
const LONGEST: usize = 64;

/// Characters that are looked at, white space and all.
const LONGEST_TYPED: usize = 1024;

/// A checked name: 1–64 letters, marks, digits, `-`, `_` or `.` of any script, in lower case and NFC.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomName(String);

impl RoomName {
    /// The one spelling of `typed`: trimmed, NFC, lower case, each run of white space one dash, without full
    /// stops at the end, NFC again. `None` where that cannot be a name.
    pub fn parse(typed: &str) -> Option<Self> {
        if typed.chars().nth(LONGEST_TYPED).is_some() {
            return None;
        }
        let lower = typed.trim().nfc().collect::<String>().to_lowercase();
        let dashed = lower.split_whitespace().collect::<Vec<_>>().join("-");
        let name: String = dashed.trim_end_matches('.').nfc().collect();
        let length = name.chars().count();
        let fits = (1..=LONGEST).contains(&length) && name.chars().all(is_allowed);
        (fits && name != "." && name != "..").then_some(Self(name))
    }

    /// The spelling of `typed` before names had only one: its case and its full stops are as they were.
    pub(super) fn earlier(typed: &str) -> String {
        typed.chars().take(LONGEST_TYPED).nfc().collect()
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RoomName {
    /// Names stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomName(…)")
    }
}

/// Letters, marks and numbers (categories L, M, N): circled and squared letters are symbols.
fn is_allowed(c: char) -> bool {
    let symbol = matches!(c, '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f189}');
    (c.is_alphanumeric() && !symbol) || is_combining_mark(c) || matches!(c, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(typed: &str) -> Option<String> {
        RoomName::parse(typed).map(|name| name.0)
    }

    #[test]
    fn page_and_box_spell_room_names_alike() {
        let vectors: Vec<(String, Option<String>)> =
            serde_json::from_str(include_str!("../../../tests/room_names.json")).unwrap();
        assert!(vectors.len() > 50);
        for (typed, expected) in vectors {
            assert_eq!(name(&typed), expected, "{typed:?}");
            assert_eq!(expected.as_deref().and_then(name), expected, "one spelling is its own");
        }
    }

    #[test]
    fn a_long_text_is_no_name() {
        assert_eq!(name(&" ".repeat(60_000)), None);
        assert_eq!(name(&"e".repeat(60_000)), None);
    }
}
