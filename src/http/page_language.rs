//! Which language of the page a browser gets: the first one of its `Accept-Language` that the page has.
//!
//! `public/locales/languages.js` chooses by the same rule; tests/languages.json tests both.

use axum::http::{HeaderMap, header};

/// A language of the page.
#[derive(Debug)]
pub(super) struct PageLanguage {
    /// What a language tag begins with, such as `zh-Hant`.
    pub(super) code: &'static str,
    /// Other beginnings, in lower case.
    pub(super) also: &'static [&'static str],
}

/// Parts of a language tag that are compared; no language of a page has more.
const MAX_PARTS: usize = 4;

impl PageLanguage {
    /// The language for a request; `None` if the page has none of those that it accepts.
    pub(super) fn accepted<'a>(languages: &'a [Self], headers: &HeaderMap) -> Option<&'a Self> {
        let lines = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|line| line.to_str().ok());
        let mut wanted: Vec<(f32, &str)> =
            lines.flat_map(|line| line.split(',')).filter_map(weighted).collect();
        // The sort keeps the order of equal weights.
        wanted.sort_by(|one, other| other.0.total_cmp(&one.0));
        wanted.iter().find_map(|(_, tag)| Self::with_tag(languages, tag))
    }

    /// The longest beginning decides: `zh-Hant-HK` is `zh-Hant` before it is `zh`.
    fn with_tag<'a>(languages: &'a [Self], tag: &str) -> Option<&'a Self> {
        let parts = parts(tag);
        (1..=parts.len()).rev().find_map(|length| {
            let start = parts[..length].join("-");
            languages.iter().find(|language| {
                language.code.eq_ignore_ascii_case(&start) || language.also.contains(&&*start)
            })
        })
    }
}

/// A language range and its weight above zero (RFC 9110 §12.5.4).
fn weighted(item: &str) -> Option<(f32, &str)> {
    let mut parts = item.split(';').map(str::trim);
    let range = parts.next()?;
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    let weight = weight.map_or(Some(1.0), |weight| weight.trim().parse().ok())?;
    (weight > 0.0).then_some((weight, range))
}

/// The parts of a tag such as `zh-CN` in lower case. Some systems write `zh_CN` and `en-US@posix`.
fn parts(tag: &str) -> Vec<String> {
    let end_of = |text: &str, ends: fn(char) -> bool| text.find(ends).unwrap_or(text.len());
    let (language, mut rest) = tag.split_at(end_of(tag, |c| !c.is_ascii_alphabetic()));
    let mut parts: Vec<String> =
        if language.is_empty() { Vec::new() } else { vec![language.to_ascii_lowercase()] };
    while let Some(after) = rest.strip_prefix(['-', '_']).filter(|_| (1..MAX_PARTS).contains(&parts.len())) {
        let (part, others) = after.split_at(end_of(after, |c| !c.is_ascii_alphanumeric()));
        if part.is_empty() {
            break;
        }
        parts.push(part.to_ascii_lowercase());
        rest = others;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANGUAGES: [PageLanguage; 3] = [
        PageLanguage { code: "en", also: &[] },
        PageLanguage { code: "zh", also: &[] },
        PageLanguage { code: "zh-Hant", also: &["zh-tw", "zh-hk", "zh-mo"] },
    ];

    fn accepted(lines: &[&str]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT_LANGUAGE, line.parse().unwrap());
        }
        PageLanguage::accepted(&LANGUAGES, &headers).map(|language| language.code)
    }

    #[test]
    fn page_and_server_choose_the_same_language() {
        let vectors: Vec<(Vec<String>, String)> =
            serde_json::from_str(include_str!("../../tests/languages.json")).unwrap();
        for (wanted, code) in vectors {
            assert_eq!(accepted(&[&wanted.join(", ")]).unwrap_or("en"), code, "{wanted:?}");
        }
    }

    #[test]
    fn higher_weights_come_first_and_zero_excludes() {
        for (lines, code) in [
            (&["zh;q=0.5, en"][..], Some("en")),
            (&["en;q=0.8,zh-TW"], Some("zh-Hant")),
            (&["en;q=0, zh;q=0.1"], Some("zh")),
            (&["fr", "zh; Q=0.3"], Some("zh")),
            (&["en;q=x, zh;q=0.2"], Some("zh")),
            (&["en;q=NaN, zh;q=0.2"], Some("zh")),
            (&["*", "fr;q=0.9"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(accepted(lines), code, "{lines:?}");
        }
    }
}
