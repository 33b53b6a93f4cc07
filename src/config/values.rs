//! One value at a time: text in, the thing it means out, or a complaint that names the setting.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use tracing_subscriber::filter::EnvFilter;

use super::error::SettingsError;
use super::{ExternalIp, RelayScope};

/// A name in DNS has at most this many characters (RFC 1035 §2.3.4, without the final dot).
const LONGEST_NAME: usize = 253;

/// A label has at most this many.
const LONGEST_LABEL: usize = 63;

/// `PATH_MAX` of Linux.
const LONGEST_PATH: usize = 4096;

/// `NAME_MAX` of Linux.
const LONGEST_PATH_PART: usize = 255;

/// Written by Windows editors before the first character of a file.
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The realm stands in every 401, so it is kept shorter than the 127 characters of RFC 8489 §14.9.
const LONGEST_REALM: usize = 64;

/// A port that a listener takes; 0 is off.
pub(super) fn listener(setting: &'static str, text: &str) -> Result<Option<u16>, SettingsError> {
    let port: u16 = text
        .parse()
        .map_err(|_| bad(setting, text, "no port", "give a number from 1 to 65535, or 0 for off"))?;
    Ok((port != 0).then_some(port))
}

/// A port number from 1.
pub(super) fn port(setting: &'static str, text: &str) -> Result<u16, SettingsError> {
    match text.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(bad(setting, text, "no port", "give a number from 1 to 65535")),
    }
}

/// An address with its port; `off` or nothing is off.
pub(super) fn socket(setting: &'static str, text: &str) -> Result<Option<SocketAddr>, SettingsError> {
    if matches!(text, "" | "off") {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Some(address)),
        _ => {
            let cure = "give both, like 127.0.0.1:9641 or [::1]:9641, or off";
            Err(bad(setting, text, "no address with a port", cure))
        }
    }
}

/// The name of a file, and not what it holds: `KEY="$(cat key.pem)"` is easily typed, and a complaint
/// about a file that is not there would repeat it.
pub(super) fn file(setting: &'static str, path: &Path) -> Result<(), SettingsError> {
    let text = path.as_os_str().as_encoded_bytes();
    let holds = |words: &[u8]| text.windows(words.len()).any(|window| window == words);
    let is_part_too_long = text.split(|byte| *byte == b'/').any(|part| part.len() > LONGEST_PATH_PART);
    let is_contents = text.len() > LONGEST_PATH
        || is_part_too_long
        || holds(b"\n")
        || holds(b"-----BEGIN")
        || is_encoded(text);
    if is_contents { Err(SettingsError::NotAFileName { setting }) } else { Ok(()) }
}

/// Whether `text` is the base64 of PEM, or of a key's or certificate's DER.
fn is_encoded(text: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 5] = [b"LS0tLS1", b"MII", b"MIG", b"MHc", b"MC4"];
    text.len() > 40 && BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}

/// How many; 0 is no limit.
pub(super) fn limit(setting: &'static str, text: &str) -> Result<u32, SettingsError> {
    text.parse().map_err(|_| bad(setting, text, "no number", "give a whole number, or 0 for no limit"))
}

/// How many, at least one.
pub(super) fn count(setting: &'static str, text: &str) -> Result<u32, SettingsError> {
    match text.parse() {
        Ok(count) if count != 0 => Ok(count),
        _ => Err(bad(setting, text, "no number to work with", "give a whole number from 1 up")),
    }
}

/// A length of time in whole seconds: `90`, `90s`, `10m`, `1h`, within `range` (in seconds).
///
/// # Errors
/// Anything else; the complaint names `setting` and repeats `text`.
pub fn seconds(
    setting: &'static str,
    text: &str,
    range: RangeInclusive<u64>,
) -> Result<Duration, SettingsError> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    let number: u64 =
        number.parse().map_err(|_| bad(setting, text, "no time", "give whole seconds, or 30s, 10m, 1h"))?;
    match number.checked_mul(unit) {
        Some(seconds) if range.contains(&seconds) => Ok(Duration::from_secs(seconds)),
        Some(seconds) if seconds < *range.start() => {
            Err(bad(setting, text, "too short", "give one second or more"))
        }
        _ => Err(bad(setting, text, "too long", "give a shorter one, like 1h")),
    }
}

/// `on` or `off`.
pub(super) fn switch(setting: &'static str, text: &str) -> Result<bool, SettingsError> {
    match text {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(bad(setting, text, "neither on nor off", "give on or off")),
    }
}

/// Text logs or JSON logs; true is JSON.
pub(super) fn json(setting: &'static str, text: &str) -> Result<bool, SettingsError> {
    match text {
        "json" => Ok(true),
        "text" => Ok(false),
        _ => Err(bad(setting, text, "no log format", "give text or json")),
    }
}

/// `room` or `public`.
pub(super) fn scope(setting: &'static str, text: &str) -> Result<RelayScope, SettingsError> {
    match text {
        "room" => Ok(RelayScope::Room),
        "public" => Ok(RelayScope::Public),
        _ => Err(bad(setting, text, "no scope", "give room or public")),
    }
}

/// A log filter. A lone word that is no level would be taken for a module's name and silence the
/// rest, so it is a complaint.
pub(super) fn filter(setting: &'static str, text: &str) -> Result<String, SettingsError> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let understood = text.split(',').all(|directive| {
        directive.contains('=') || LEVELS.contains(&directive.trim().to_ascii_lowercase().as_str())
    });
    if !understood || EnvFilter::builder().parse(text).is_err() {
        let cure = "give error, warn, info, debug or trace, or a filter like info,webrtc_box=debug";
        return Err(bad(setting, text, "no log filter", cure));
    }
    Ok(text.to_owned())
}

/// A realm that fits into quotes.
pub(super) fn realm(setting: &'static str, text: &str) -> Result<String, SettingsError> {
    let fits = !text.is_empty() && text.chars().count() <= LONGEST_REALM;
    let quotable = |c: char| !c.is_control() && !matches!(c, '"' | '\\');
    if !fits || !text.chars().all(quotable) {
        return Err(bad(setting, text, "no realm", "give 1 to 64 characters without quotes and backslashes"));
    }
    Ok(text.to_owned())
}

/// A host name, in lower case.
pub(super) fn domain(setting: &'static str, text: &str) -> Result<String, SettingsError> {
    let complain = |fault, cure| Err(bad(setting, text, fault, cure));
    if text.contains("://") || text.contains('/') {
        return complain("a URL", "give the name alone, like call.example.com");
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return complain(
            "an address",
            "give a name like call.example.com, or leave domain out to try things out",
        );
    }
    if text.contains(':') {
        return complain("a name with a port", "give the name alone and the port as https-port");
    }
    if !text.is_ascii() {
        return complain("not in ASCII", "give the name as DNS has it, like xn--bcher-kva.example");
    }
    if !is_host_name(text) {
        return complain("no host name", "give one like call.example.com");
    }
    Ok(text.to_ascii_lowercase())
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // Browsers take a name whose last label is a number for an IPv4 address (WHATWG URL).
    let numeric_end = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= LONGEST_NAME && text.split('.').all(label) && !numeric_end
}

/// An address to bind.
pub(super) fn address(setting: &'static str, text: &str) -> Result<IpAddr, SettingsError> {
    let cure = "give a bare one like 192.0.2.1 or 2001:db8::1; ports have settings of their own";
    match text.parse::<IpAddr>() {
        Ok(ip) if !ip.is_multicast() => Ok(ip.to_canonical()),
        _ => Err(bad(setting, text, "no address to bind", cure)),
    }
}

/// A network, or one address as a network of its own; IPv4-mapped ones are reduced to IPv4.
pub(super) fn network(setting: &'static str, text: &str) -> Result<IpNet, SettingsError> {
    let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match net {
        Ok(net) => Ok(reduced(net).trunc()),
        Err(_) => Err(bad(setting, text, "no network", "give one in CIDR form, like 10.0.0.0/8 or fd00::/8")),
    }
}

fn reduced(net: IpNet) -> IpNet {
    let (IpAddr::V4(v4), Some(prefix)) = (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) else {
        return net;
    };
    // A plain IPv4 network never gets here: its prefix is 32 at most.
    Ipv4Net::new(v4, prefix).map_or(net, IpNet::V4)
}

/// `PUBLIC` or `PUBLIC/LOCAL`.
pub(super) fn external_ip(setting: &'static str, text: &str) -> Result<ExternalIp, SettingsError> {
    let shape = || bad(setting, text, "no address", "give PUBLIC or PUBLIC/LOCAL, like 203.0.113.7/10.0.0.7");
    let ip = |text: &str| text.parse::<IpAddr>().map(|ip| ip.to_canonical()).map_err(|_| shape());
    let (public, local) = match text.split_once('/') {
        Some((public, local)) => (ip(public)?, Some(ip(local)?)),
        None => (ip(text)?, None),
    };
    if local.is_some_and(|local| local.is_ipv4() != public.is_ipv4()) {
        let cure = "give PUBLIC/LOCAL both IPv4 or both IPv6";
        return Err(bad(setting, text, "a pair of different families", cure));
    }
    if is_nobodys(public) || local.is_some_and(is_nobodys) {
        return Err(bad(setting, text, "no host's address", "give the one others reach this box by"));
    }
    Ok(ExternalIp { public, local })
}

fn is_nobodys(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// `scheme://host[:port]` as browsers send it: lower case, the scheme's own port left out.
pub(super) fn origin(setting: &'static str, text: &str) -> Result<String, SettingsError> {
    let lower = text.to_ascii_lowercase();
    split_origin(&lower).ok_or_else(|| {
        bad(
            setting,
            text,
            "no origin",
            "give scheme://host or scheme://host:port, like https://www.example.com",
        )
    })
}

fn split_origin(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse::<u16>().ok()?)),
        _ => (rest, None),
    };
    let scheme_letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_lowercase()) && scheme.bytes().all(scheme_letters);
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok() || is_host_name(host),
    };
    let port = port.filter(|port| !matches!((scheme, port), ("https", 443) | ("http", 80)));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    (is_scheme && is_host).then(|| format!("{scheme}://{host}{port}"))
}

/// A mail address, as far as a mistake in it can be told without writing to it.
pub(super) fn email(setting: &'static str, text: &str) -> Result<String, SettingsError> {
    let parts = text.split_once('@').filter(|(name, host)| !name.is_empty() && is_host_name(host));
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b':' | b'?'));
    if parts.is_none() || !printable || text.len() > LONGEST_NAME {
        return Err(bad(setting, text, "no mail address", "give one like you@example.com"));
    }
    Ok(text.to_owned())
}

/// The URL of something behind HTTPS.
pub(super) fn https_url(setting: &'static str, text: &str) -> Result<String, SettingsError> {
    let host = text.strip_prefix("https://").and_then(|rest| rest.split(['/', '?']).next());
    let named =
        host.is_some_and(|host| split_origin(&format!("https://{}", host.to_ascii_lowercase())).is_some());
    if !named || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(bad(setting, text, "no https URL", "give one like https://acme.example.com/directory"));
    }
    Ok(text.to_owned())
}

pub(super) fn bad(
    setting: &'static str,
    value: &str,
    fault: &'static str,
    cure: &'static str,
) -> SettingsError {
    SettingsError::Value { setting, value: value.to_owned(), fault, cure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_or_has_a_unit() {
        let time = |text| seconds("credential-ttl", text, 1..=86_400).map(|time| time.as_secs()).ok();
        assert_eq!(["90", "90s", "10m", "24h"].map(time), [Some(90), Some(90), Some(600), Some(86_400)]);
        for text in ["", "s", "1d", "-1", "1.5", "1 h", "ü", "0", "25h", "99999999999999999999h"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_domain_is_a_bare_name_in_lower_case() {
        assert_eq!(domain("domain", "Call.Example.COM").unwrap(), "call.example.com");
        assert_eq!(domain("domain", "localhost").unwrap(), "localhost");
        for text in [
            "",
            "a..b",
            "-a.b",
            "a b",
            "192.0.2.1",
            "[::1]",
            "https://a.b",
            "a.b:443",
            "a.b/",
            "büro.de",
            "a.1",
        ] {
            assert!(domain("domain", text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_external_address_may_name_its_local_one() {
        let pair = external_ip("external-ip", "203.0.113.7/10.0.0.7").unwrap();
        assert_eq!(pair.public, IpAddr::from([203, 0, 113, 7]));
        assert_eq!(pair.local, Some(IpAddr::from([10, 0, 0, 7])));
        assert_eq!(external_ip("external-ip", "::ffff:203.0.113.7").unwrap().public, pair.public);
        for text in ["", "0.0.0.0", "203.0.113.7/::1", "203.0.113.7/24", "ff02::1", "203.0.113.7:80"] {
            assert!(external_ip("external-ip", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_is_reduced_to_what_it_means() {
        let net = |text| network("denied-peer-ip", text).map(|net| net.to_string()).ok();
        assert_eq!(net("10.1.2.3/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(net("192.0.2.1").as_deref(), Some("192.0.2.1/32"));
        assert_eq!(net("::ffff:10.0.0.0/104").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(net("::/0").as_deref(), Some("::/0"));
        assert_eq!(net("10.0.0.0/33"), None);
        assert_eq!(net("10.0.0.1-10.0.0.9"), None);
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        let one = |text| origin("allowed-origin", text).ok();
        assert_eq!(one("HTTPS://Www.Example.com:443").as_deref(), Some("https://www.example.com"));
        assert_eq!(one("http://[::1]:8080").as_deref(), Some("http://[::1]:8080"));
        assert_eq!(one("capacitor://localhost").as_deref(), Some("capacitor://localhost"));
        for text in ["*", "example.com", "https://", "https://a.b/", "https://a.b:x", "https://u@a.b", "null"]
        {
            assert_eq!(one(text), None, "{text}");
        }
    }

    #[test]
    fn an_authority_is_an_https_url_and_an_account_a_mail_address() {
        for text in ["https://ca.example/dir", "https://localhost:14000/dir", "https://[::1]:1/"] {
            assert!(https_url("acme-directory", text).is_ok(), "{text}");
        }
        for text in ["", "http://ca.example/dir", "https://", "https:///dir", "ca.example", "https://a b/"] {
            assert!(https_url("acme-directory", text).is_err(), "{text}");
        }
        assert_eq!(email("acme-email", "a+b@c.example").unwrap(), "a+b@c.example");
        for text in ["", "a", "@c.example", "a@", "a b@c.example", "mailto:a@c.example", "a@b,c@d"] {
            assert!(email("acme-email", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_filter_that_would_silence_the_log_by_a_typo_is_refused() {
        for text in ["info", "off", "WARN", "info,webrtc_box=debug"] {
            assert!(filter("log", text).is_ok(), "{text}");
        }
        for text in ["", "inof", "webrtc_box", "a=b=c", "info,x"] {
            assert!(filter("log", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_realm_fits_into_quotes() {
        assert!(realm("realm", "webrtc box").is_ok());
        for text in [String::new(), "a\"b".to_owned(), "a\nb".to_owned(), "x".repeat(65)] {
            assert!(realm("realm", &text).is_err(), "{text}");
        }
    }
}
