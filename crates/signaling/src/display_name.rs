//! Display names: cleans what a participant typed as their name.
//!
//! `public/app/display-name.js` implements the same rule; tests/display_names.json tests both.

use std::fmt;

use serde::{Serialize, Serializer};
use unicode_normalization::UnicodeNormalization as _;

/// Characters of a name at most.
const MAX_CHARS: usize = 64;

/// Characters of the typed text that are read: NFC of a whole frame takes milliseconds.
const MAX_TYPED_CHARS: usize = 1024;

/// The two format characters that some scripts and emoji need.
const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];

/// A cleaned name: 1–64 characters in NFC, on one line, that cannot change the direction of the text around it.
#[derive(Clone, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    /// Cleans `typed`: each run of white space becomes one space, control and format characters except the joiners are
    /// removed, NFC, no space or joiner at either end, cut to 64 characters. `None` if nothing is left. Text after the
    /// first 1,024 characters is ignored.
    pub fn parse(typed: &str) -> Option<Self> {
        let spaced = typed.chars().take(MAX_TYPED_CHARS).map(|c| if c.is_whitespace() { ' ' } else { c });
        let visible: String = spaced.filter(|c| !c.is_control() && !is_format(*c)).nfc().collect();
        let words = visible.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let cut: String = words.trim_matches(is_trimmed).chars().take(MAX_CHARS).collect();
        let name = cut.trim_matches(is_trimmed);
        (!name.is_empty()).then(|| Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for DisplayName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Debug for DisplayName {
    /// Logs must not contain names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DisplayName(…)")
    }
}

fn is_trimmed(c: char) -> bool {
    c == ' ' || JOINERS.contains(&c)
}

/// Format characters (category Cf of Unicode 16) except the joiners.
fn is_format(c: char) -> bool {
    !JOINERS.contains(&c)
        && matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(typed: &str) -> String {
        DisplayName::parse(typed).map(|name| name.0).unwrap_or_default()
    }

    #[test]
    fn server_and_page_clean_display_names_alike() {
        let vectors: Vec<(String, String)> =
            serde_json::from_str(include_str!("../../../tests/display_names.json")).unwrap();
        assert!(vectors.len() > 50);
        for (typed, expected) in vectors {
            assert_eq!(name(&typed), expected, "{typed:?}");
            assert_eq!(name(&expected), expected, "a cleaned name stays the same");
        }
    }

    #[test]
    fn a_whole_frame_of_text_is_cut_to_a_name() {
        assert_eq!(name(&"e\u{301}".repeat(20_000)), "\u{e9}".repeat(64));
        assert_eq!(name(&" \u{202e}".repeat(20_000)), "");
        assert_eq!(name(&format!("{}Ada", " ".repeat(1021))), "Ada");
        assert_eq!(name(&format!("{}Ada", " ".repeat(1024))), "");
    }
}
