//! A room's name: what a person typed becomes the one spelling of it (NFC), or cannot be a name.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Characters a name may have, counted in NFC.
const LONGEST: usize = 64;

/// A checked name: 1–64 letters, marks, digits, `-`, `_` or `.` of any script, in NFC.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomName(String);

impl RoomName {
    /// Checks `typed` and brings it to NFC; `None` where it cannot be a name. Case and spaces are
    /// the page's affair: `Kitchen` and `kitchen` are two rooms, and a space is in no name.
    pub fn parse(typed: &str) -> Option<Self> {
        // No character is composed of more than four, so a longer text need not be normalised to be
        // refused.
        if typed.chars().nth(LONGEST * 4).is_some() {
            return None;
        }
        let name: String = typed.nfc().collect();
        let length = name.chars().count();
        let fits = (1..=LONGEST).contains(&length) && name.chars().all(is_allowed);
        (fits && name != "." && name != "..").then_some(Self(name))
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

fn is_allowed(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c) || matches!(c, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(typed: &str) -> Option<String> {
        RoomName::parse(typed).map(|name| name.0)
    }

    #[test]
    fn two_spellings_of_one_name_are_one_room() {
        assert_eq!(name("Caf\u{65}\u{301}"), Some("Caf\u{e9}".into()));
        assert_ne!(name("kitchen"), name("Kitchen"));
    }

    #[test]
    fn names_come_in_any_script() {
        for typed in ["a", "...", "küche-2_b.c", "台所", "кухня", "غرفة", "रसोई", "ห้องครัว", "४२"]
        {
            assert!(name(typed).is_some(), "{typed}");
        }
    }

    #[test]
    fn other_texts_are_no_names() {
        for typed in
            ["", ".", "..", "a b", "a/b", "a\\b", "a\0", "<b>", "a%2fb", "😀", "a\u{200b}", "a\u{202e}b"]
        {
            assert_eq!(name(typed), None, "{typed:?}");
        }
    }

    #[test]
    fn sixty_four_characters_are_the_most() {
        assert!(name(&"é".repeat(64)).is_some());
        assert!(name(&"e\u{301}".repeat(64)).is_some(), "counted after normalising");
        assert_eq!(name(&"e".repeat(65)), None);
        assert_eq!(name(&"e".repeat(60_000)), None);
    }
}
