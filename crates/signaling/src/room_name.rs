//! Room names: normalizes what a user typed, or rejects it.
//!
//! `public/app/room-name.js` implements the same rule; tests/room_names.json tests both.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Characters of a name at most.
const MAX_CHARS: usize = 64;

/// Characters of the typed text at most, including white space.
const MAX_TYPED_CHARS: usize = 1024;

/// A normalized name: 1–64 letters, marks, digits, `-`, `_` or `.` of any script, in lower case and NFC.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomName(String);

impl RoomName {
    /// Normalizes `typed`: trim, NFC, lower case, one dash for each run of white space, no full stops at the end,
    /// NFC again. `None` if the result is no valid name.
    pub fn parse(typed: &str) -> Option<Self> {
        if typed.chars().nth(MAX_TYPED_CHARS).is_some() {
            return None;
        }
        let lower = typed.trim().nfc().collect::<String>().to_lowercase();
        let dashed = lower.split_whitespace().collect::<Vec<_>>().join("-");
        let name: String = dashed.trim_end_matches('.').nfc().collect();
        let length = name.chars().count();
        let fits = (1..=MAX_CHARS).contains(&length) && name.chars().all(is_allowed);
        (fits && name != "." && name != "..").then_some(Self(name))
    }

    /// `typed` as earlier versions spelled it: NFC only.
    pub(crate) fn legacy_spelling(typed: &str) -> String {
        typed.chars().take(MAX_TYPED_CHARS).nfc().collect()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RoomName {
    /// Logs must not contain room names.
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
    fn server_and_page_normalize_room_names_alike() {
        let vectors: Vec<(String, Option<String>)> =
            serde_json::from_str(include_str!("../../../tests/room_names.json")).unwrap();
        assert!(vectors.len() > 50);
        for (typed, expected) in vectors {
            assert_eq!(name(&typed), expected, "{typed:?}");
            assert_eq!(expected.as_deref().and_then(name), expected, "a normalized name stays the same");
        }
    }

    #[test]
    fn an_overlong_text_is_no_room_name() {
        assert_eq!(name(&" ".repeat(60_000)), None);
        assert_eq!(name(&"e".repeat(60_000)), None);
    }
}
