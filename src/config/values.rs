//! Parsers of simple values: numbers, times, switches and names; and how a row of the table uses a parser.

use std::ops::RangeInclusive;
use std::time::Duration;

use tracing_subscriber::filter::EnvFilter;

use super::settings::{LogFormat, RawSettings};
use super::{RelayScope, SettingsError};

/// The longest credential-ttl in seconds: a year, so that the expiry is a plausible date.
pub(super) const LONGEST_TTL: u64 = 365 * 24 * 3600;

/// The longest grace and drain in seconds: a day.
pub(super) const LONGEST_WAIT: u64 = 24 * 3600;

/// Characters of a realm. Every 401 contains it, so it is shorter than the 127 characters of RFC 8489 §14.9.
const LONGEST_REALM: usize = 64;

/// One row of the table of settings, as input of its parser.
pub(super) struct Field<'a> {
    /// The name in the file.
    pub(super) name: &'static str,
    /// The given texts; empty if the setting is not given.
    pub(super) texts: &'a [String],
    /// The value if nothing is given.
    pub(super) default: &'static str,
    /// All settings as given.
    pub(super) raw: &'a RawSettings,
}

/// One text or a list of texts.
pub(super) trait Texts {
    /// Whether the setting is repeatable.
    const IS_LIST: bool;

    /// The texts in order.
    fn texts(&self) -> &[String];
}

impl Texts for String {
    const IS_LIST: bool = false;

    fn texts(&self) -> &[String] {
        std::slice::from_ref(self)
    }
}

impl Texts for Vec<String> {
    const IS_LIST: bool = true;

    fn texts(&self) -> &[String] {
        self
    }
}

/// Why a text is no value of a setting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Invalid {
    /// Completes "min-port 7 is …".
    reason: &'static str,
    hint: &'static str,
}

pub(super) type Parsed<T> = Result<T, Invalid>;

pub(super) fn invalid<T>(reason: &'static str, hint: &'static str) -> Parsed<T> {
    Err(Invalid { reason, hint })
}

/// Parses `text` as the value of `setting`.
pub(super) fn parse<T>(
    setting: &str,
    text: &str,
    parser: impl Fn(&str) -> Parsed<T>,
) -> Result<T, SettingsError> {
    let error = |invalid: Invalid| {
        SettingsError::invalid(format!("{setting} {text:?} is {}", invalid.reason), invalid.hint)
    };
    parser(text).map_err(error)
}

/// Parses the text, or the default.
pub(super) fn one<T>(parser: impl Fn(&str) -> Parsed<T>) -> impl Fn(&Field<'_>) -> Result<T, SettingsError> {
    move |field| parse(field.name, field.texts.first().map_or(field.default, String::as_str), &parser)
}

/// Parses each text of a list.
pub(super) fn each<T>(
    parser: impl Fn(&str) -> Parsed<T>,
) -> impl Fn(&Field<'_>) -> Result<Vec<T>, SettingsError> {
    move |field| field.texts.iter().map(|text| parse(field.name, text, &parser)).collect()
}

/// `min_port` as `min-port`.
pub(super) const fn kebab<const N: usize>(name: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        let byte = name.as_bytes()[at];
        bytes[at] = if byte == b'_' { b'-' } else { byte };
        at += 1;
    }
    bytes
}

/// The port of a listener; 0 is off.
pub(super) fn listener(text: &str) -> Parsed<Option<u16>> {
    match text.parse() {
        Ok(port) => Ok((port != 0).then_some(port)),
        Err(_) => invalid("no port", "give a number from 1 to 65535, or 0 for off"),
    }
}

/// A port number from 1.
pub(super) fn port(text: &str) -> Parsed<u16> {
    match text.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => invalid("no port", "give a number from 1 to 65535"),
    }
}

/// A number; 0 is no limit.
pub(super) fn limit(text: &str) -> Parsed<u32> {
    text.parse().or_else(|_| invalid("no number", "give a whole number, or 0 for no limit"))
}

/// A number, at least one.
pub(super) fn count(text: &str) -> Parsed<u32> {
    match text.parse() {
        Ok(count) if count != 0 => Ok(count),
        _ => invalid("not a positive number", "give a whole number from 1 up"),
    }
}

/// A time in whole seconds, within `range` (in seconds): `90`, `90s`, `10m`, `1h`.
pub(super) fn time(range: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| {
        let (number, unit) = match text.as_bytes().last() {
            Some(b's') => (&text[..text.len() - 1], 1),
            Some(b'm') => (&text[..text.len() - 1], 60),
            Some(b'h') => (&text[..text.len() - 1], 3600),
            _ => (text, 1),
        };
        let Ok(number) = number.parse::<u64>() else {
            return invalid("no time", "give whole seconds, or 30s, 10m, 1h");
        };
        match number.checked_mul(unit) {
            Some(seconds) if range.contains(&seconds) => Ok(Duration::from_secs(seconds)),
            Some(seconds) if seconds < *range.start() => invalid("too short", "give one second or more"),
            _ => invalid("too long", "give a shorter one, like 1h"),
        }
    }
}

/// [`time`] for a value that is no row of the table.
///
/// # Errors
/// The error names `setting` and repeats `text`.
pub fn seconds(setting: &str, text: &str, range: RangeInclusive<u64>) -> Result<Duration, SettingsError> {
    parse(setting, text, time(range))
}

/// `on` or `off`.
pub(super) fn switch(text: &str) -> Parsed<bool> {
    match text {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => invalid("neither on nor off", "give on or off"),
    }
}

/// `text` or `json`.
pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => invalid("no log format", "give text or json"),
    }
}

/// `room` or `public`.
pub(super) fn scope(text: &str) -> Parsed<RelayScope> {
    match text {
        "room" => Ok(RelayScope::Room),
        "public" => Ok(RelayScope::Public),
        _ => invalid("no scope", "give room or public"),
    }
}

/// A log filter. A single word that is no level is an error: `tracing` would use it as the name of a module and disable all
/// others.
pub(super) fn filter(text: &str) -> Parsed<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_known = |directive: &str| {
        directive.contains('=') || LEVELS.contains(&directive.trim().to_ascii_lowercase().as_str())
    };
    if text.split(',').all(is_known) && EnvFilter::builder().parse(text).is_ok() {
        return Ok(text.to_owned());
    }
    invalid("no log filter", "give error, warn, info, debug or trace, or a filter like info,webrtc_box=debug")
}

/// A realm that needs no quoting.
pub(super) fn realm(text: &str) -> Parsed<String> {
    let fits = !text.is_empty() && text.chars().count() <= LONGEST_REALM;
    let is_plain = |c: char| !c.is_control() && !matches!(c, '"' | '\\');
    if fits && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    invalid("no realm", "give 1 to 64 characters without quotes and backslashes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_or_has_a_unit() {
        let time = |text| time(1..=86_400)(text).map(|time| time.as_secs()).ok();
        assert_eq!(["90", "90s", "10m", "24h"].map(time), [Some(90), Some(90), Some(600), Some(86_400)]);
        for text in ["", "s", "1d", "-1", "1.5", "1 h", "ü", "0", "25h", "99999999999999999999h"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_log_filter_with_a_typo_is_invalid() {
        for text in ["info", "off", "WARN", "info,webrtc_box=debug"] {
            assert!(filter(text).is_ok(), "{text}");
        }
        for text in ["", "inof", "webrtc_box", "a=b=c", "info,x"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_realm_needs_no_quoting() {
        assert!(realm("webrtc box").is_ok());
        for text in [String::new(), "a\"b".to_owned(), "a\nb".to_owned(), "x".repeat(65)] {
            assert!(realm(&text).is_err(), "{text}");
        }
    }
}
