//! Parsers of single values: text in, typed value out, or an error that names the setting.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use tracing_subscriber::filter::EnvFilter;

use super::error::SettingsError;
use super::settings::{LogFormat, RawSettings};
use super::{ExternalIp, Listen, RelayScope, covers};
use webrtc_box_turn::credential::Secret;

/// The longest credential-ttl: a year, which keeps the expiry a plausible date.
pub(super) const LONGEST_TTL: u64 = 365 * 24 * 3600;

/// The longest grace and drain: a day.
pub(super) const LONGEST_WAIT: u64 = 24 * 3600;

/// Characters of a host key.
const SHORTEST_HOST_KEY: usize = 8;

/// What to type for a secret.
const RANDOM: &str = "(openssl rand -base64 32)";

/// Characters of a name in DNS (RFC 1035 §2.3.4, without the final dot).
const LONGEST_NAME: usize = 253;

/// Characters of a label.
const LONGEST_LABEL: usize = 63;

/// `PATH_MAX` of Linux.
const LONGEST_PATH: usize = 4096;

/// `NAME_MAX` of Linux.
const LONGEST_PATH_PART: usize = 255;

/// Windows editors write it before the first character of a file.
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The realm stands in every 401, so it is kept shorter than the 127 characters of RFC 8489 §14.9.
const LONGEST_REALM: usize = 64;

/// One row of the table of settings, for its parser.
pub(super) struct Field<'a> {
    /// As in the file.
    pub(super) name: &'static str,
    /// What is given; empty if nothing is.
    pub(super) texts: &'a [String],
    /// What counts if nothing is given.
    pub(super) default: &'static str,
    /// All settings as given.
    pub(super) raw: &'a RawSettings,
}

/// One text or a list of texts.
pub(super) trait Texts {
    /// The texts in order.
    fn texts(&self) -> &[String];
}

impl Texts for String {
    fn texts(&self) -> &[String] {
        std::slice::from_ref(self)
    }
}

impl Texts for Vec<String> {
    fn texts(&self) -> &[String] {
        self
    }
}

type Parsed<T> = Result<T, SettingsError>;

/// Parses the text, or the default.
pub(super) fn one<T>(parse: impl Fn(&'static str, &str) -> Parsed<T>) -> impl Fn(&Field<'_>) -> Parsed<T> {
    move |field| parse(field.name, field.texts.first().map_or(field.default, String::as_str))
}

/// Parses the text if there is one.
pub(super) fn optional<T>(
    parse: impl Fn(&'static str, &str) -> Parsed<T>,
) -> impl Fn(&Field<'_>) -> Parsed<Option<T>> {
    move |field| field.texts.first().map(|text| parse(field.name, text)).transpose()
}

/// Parses each text of a list.
pub(super) fn each<T>(
    parse: impl Fn(&'static str, &str) -> Parsed<T>,
) -> impl Fn(&Field<'_>) -> Parsed<Vec<T>> {
    move |field| field.texts.iter().map(|text| parse(field.name, text)).collect()
}

/// [`seconds`] within `range`.
pub(super) fn time(range: RangeInclusive<u64>) -> impl Fn(&'static str, &str) -> Parsed<Duration> {
    move |setting, text| seconds(setting, text, range.clone())
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
pub(super) fn listener(setting: &'static str, text: &str) -> Parsed<Option<u16>> {
    let port: u16 = text.parse().map_err(|_| {
        SettingsError::value(setting, text, "no port", "give a number from 1 to 65535, or 0 for off")
    })?;
    Ok((port != 0).then_some(port))
}

/// A port number from 1.
pub(super) fn port(setting: &'static str, text: &str) -> Parsed<u16> {
    match text.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(SettingsError::value(setting, text, "no port", "give a number from 1 to 65535")),
    }
}

/// An address with a port; `off` or an empty text is off.
pub(super) fn socket(setting: &'static str, text: &str) -> Parsed<Option<SocketAddr>> {
    if matches!(text, "" | "off") {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Some(address)),
        _ => {
            let hint = "give both, like 127.0.0.1:9641 or [::1]:9641, or off";
            Err(SettingsError::value(setting, text, "no address with a port", hint))
        }
    }
}

/// The name of a file. Refuses the contents of one: `KEY="$(cat key.pem)"` is easily typed, and the error about the
/// missing file would print the key.
pub(super) fn file(setting: &'static str, path: &str) -> Parsed<PathBuf> {
    file_name(setting, Path::new(path))
}

/// [`file`] of a name that may not be UTF-8.
pub(super) fn file_name(setting: &'static str, path: &Path) -> Parsed<PathBuf> {
    let text = path.as_os_str().as_encoded_bytes();
    let holds = |words: &[u8]| text.windows(words.len()).any(|window| window == words);
    let is_part_too_long = text.split(|byte| *byte == b'/').any(|part| part.len() > LONGEST_PATH_PART);
    let is_contents = text.len() > LONGEST_PATH
        || is_part_too_long
        || holds(b"\n")
        || holds(b"-----BEGIN")
        || is_encoded(text);
    if is_contents {
        let hint = "write them to a file, and name that file";
        return Err(SettingsError::invalid(format!("{setting} holds the contents of a file"), hint));
    }
    Ok(path.to_owned())
}

/// Whether `text` is the base64 of PEM, or of a key's or certificate's DER.
fn is_encoded(text: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 5] = [b"LS0tLS1", b"MII", b"MIG", b"MHc", b"MC4"];
    text.len() > 40 && BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}

/// A number; 0 is no limit.
pub(super) fn limit(setting: &'static str, text: &str) -> Parsed<u32> {
    text.parse().map_err(|_| {
        SettingsError::value(setting, text, "no number", "give a whole number, or 0 for no limit")
    })
}

/// A number, at least one.
pub(super) fn count(setting: &'static str, text: &str) -> Parsed<u32> {
    match text.parse() {
        Ok(count) if count != 0 => Ok(count),
        _ => {
            Err(SettingsError::value(setting, text, "not a positive number", "give a whole number from 1 up"))
        }
    }
}

/// A length of time in whole seconds: `90`, `90s`, `10m`, `1h`, within `range` (in seconds).
///
/// # Errors
/// Anything else; the error names `setting` and repeats `text`.
pub fn seconds(setting: &'static str, text: &str, range: RangeInclusive<u64>) -> Parsed<Duration> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| SettingsError::value(setting, text, "no time", "give whole seconds, or 30s, 10m, 1h"))?;
    match number.checked_mul(unit) {
        Some(seconds) if range.contains(&seconds) => Ok(Duration::from_secs(seconds)),
        Some(seconds) if seconds < *range.start() => {
            Err(SettingsError::value(setting, text, "too short", "give one second or more"))
        }
        _ => Err(SettingsError::value(setting, text, "too long", "give a shorter one, like 1h")),
    }
}

/// `on` or `off`.
pub(super) fn switch(setting: &'static str, text: &str) -> Parsed<bool> {
    match text {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(SettingsError::value(setting, text, "neither on nor off", "give on or off")),
    }
}

/// `text` or `json`.
pub(super) fn log_format(setting: &'static str, text: &str) -> Parsed<LogFormat> {
    match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err(SettingsError::value(setting, text, "no log format", "give text or json")),
    }
}

/// `room` or `public`.
pub(super) fn scope(setting: &'static str, text: &str) -> Parsed<RelayScope> {
    match text {
        "room" => Ok(RelayScope::Room),
        "public" => Ok(RelayScope::Public),
        _ => Err(SettingsError::value(setting, text, "no scope", "give room or public")),
    }
}

/// A log filter. A single word that is no level is an error: `tracing` would take it for the name of a module and
/// silence the rest.
pub(super) fn filter(setting: &'static str, text: &str) -> Parsed<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let understood = text.split(',').all(|directive| {
        directive.contains('=') || LEVELS.contains(&directive.trim().to_ascii_lowercase().as_str())
    });
    if !understood || EnvFilter::builder().parse(text).is_err() {
        let hint = "give error, warn, info, debug or trace, or a filter like info,webrtc_box=debug";
        return Err(SettingsError::value(setting, text, "no log filter", hint));
    }
    Ok(text.to_owned())
}

/// A realm that needs no quoting.
pub(super) fn realm(setting: &'static str, text: &str) -> Parsed<String> {
    let fits = !text.is_empty() && text.chars().count() <= LONGEST_REALM;
    let quotable = |c: char| !c.is_control() && !matches!(c, '"' | '\\');
    if !fits || !text.chars().all(quotable) {
        return Err(SettingsError::value(
            setting,
            text,
            "no realm",
            "give 1 to 64 characters without quotes and backslashes",
        ));
    }
    Ok(text.to_owned())
}

/// A host name, in lower case.
pub(super) fn domain(setting: &'static str, text: &str) -> Parsed<String> {
    let refuse = |reason, hint| Err(SettingsError::value(setting, text, reason, hint));
    if text.contains("://") || text.contains('/') {
        return refuse("a URL", "give the name alone, like call.example.com");
    }
    let host = text.trim_start_matches('[').trim_end_matches(']');
    if host.parse::<IpAddr>().is_ok() {
        return refuse(
            "an address",
            "give a name like call.example.com, or leave domain out for try-out mode",
        );
    }
    if text.contains(':') {
        return refuse("a name with a port", "give the name alone and the port as https-port");
    }
    if !text.is_ascii() {
        return refuse("not in ASCII", "give the name as DNS has it, like xn--bcher-kva.example");
    }
    if !is_host_name(text) {
        return refuse("no host name", "give one like call.example.com");
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
pub(super) fn address(setting: &'static str, text: &str) -> Parsed<IpAddr> {
    let hint = "give a bare one like 192.0.2.1 or 2001:db8::1; ports have settings of their own";
    match text.parse::<IpAddr>() {
        Ok(ip) if !ip.is_multicast() => Ok(ip.to_canonical()),
        _ => Err(SettingsError::value(setting, text, "no address to bind", hint)),
    }
}

/// A network, or one address as a network of its own; IPv4-mapped ones are reduced to IPv4.
pub(super) fn network(setting: &'static str, text: &str) -> Parsed<IpNet> {
    let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match net {
        Ok(net) => Ok(reduced(net).trunc()),
        Err(_) => Err(SettingsError::value(
            setting,
            text,
            "no network",
            "give one in CIDR form, like 10.0.0.0/8 or fd00::/8",
        )),
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
pub(super) fn external_ip(setting: &'static str, text: &str) -> Parsed<ExternalIp> {
    let shape = || {
        SettingsError::value(
            setting,
            text,
            "no address",
            "give PUBLIC or PUBLIC/LOCAL, like 203.0.113.7/10.0.0.7",
        )
    };
    let ip = |text: &str| text.parse::<IpAddr>().map(|ip| ip.to_canonical()).map_err(|_| shape());
    let (public, local) = match text.split_once('/') {
        Some((public, local)) => (ip(public)?, Some(ip(local)?)),
        None => (ip(text)?, None),
    };
    if local.is_some_and(|local| local.is_ipv4() != public.is_ipv4()) {
        let hint = "give PUBLIC/LOCAL both IPv4 or both IPv6";
        return Err(SettingsError::value(setting, text, "a pair of different families", hint));
    }
    if is_not_a_host(public) || local.is_some_and(is_not_a_host) {
        return Err(SettingsError::value(
            setting,
            text,
            "not the address of a host",
            "give the one that clients reach this server by",
        ));
    }
    Ok(ExternalIp { public, local })
}

fn is_not_a_host(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// `scheme://host[:port]` as browsers send it: lower case, the scheme's own port left out.
pub(super) fn origin(setting: &'static str, text: &str) -> Parsed<String> {
    let lower = text.to_ascii_lowercase();
    split_origin(&lower).ok_or_else(|| {
        SettingsError::value(
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

/// A mail address; finds the mistakes that show without sending mail.
pub(super) fn email(setting: &'static str, text: &str) -> Parsed<String> {
    let parts = text.split_once('@').filter(|(name, host)| !name.is_empty() && is_host_name(host));
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b':' | b'?'));
    if parts.is_none() || !printable || text.len() > LONGEST_NAME {
        return Err(SettingsError::value(setting, text, "no mail address", "give one like you@example.com"));
    }
    Ok(text.to_owned())
}

/// An https URL.
pub(super) fn https_url(setting: &'static str, text: &str) -> Parsed<String> {
    let host = text.strip_prefix("https://").and_then(|rest| rest.split(['/', '?']).next());
    let named =
        host.is_some_and(|host| split_origin(&format!("https://{}", host.to_ascii_lowercase())).is_some());
    if !named || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(SettingsError::value(
            setting,
            text,
            "no https URL",
            "give one like https://acme.example.com/directory",
        ));
    }
    Ok(text.to_owned())
}

/// Addresses to bind; none at all means any. A wildcard beside an address it covers would fail to bind.
pub(super) fn listen(field: &Field<'_>) -> Parsed<Listen> {
    let mut addresses: Vec<IpAddr> = vec![];
    for address in each(address)(field)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    for &wildcard in &addresses {
        if let Some(covered) = addresses.iter().find(|ip| wildcard != **ip && covers(wildcard, **ip)) {
            let reason = format!("listen {covered} is already covered by listen {wildcard}");
            return Err(SettingsError::invalid(reason, "leave one of them out"));
        }
    }
    Ok(if addresses.is_empty() { Listen::Any } else { Listen::These(addresses) })
}

/// A folder with a page in it.
pub(super) fn page_folder(setting: &'static str, text: &str) -> Parsed<PathBuf> {
    let folder = file(setting, text)?;
    let unreadable = |source| SettingsError::Unreadable { setting, path: Some(folder.clone()), source };
    if !std::fs::metadata(&folder).map_err(unreadable)?.is_dir() {
        return Err(unreadable(io::ErrorKind::NotADirectory.into()));
    }
    if !folder.join("index.html").is_file() {
        return Err(SettingsError::value(
            setting,
            text,
            "a folder without index.html",
            "name the folder that holds the page",
        ));
    }
    Ok(folder)
}

/// The folder as given, else the one of try-out mode; systemd's comes in later.
pub(super) fn state_dir(field: &Field<'_>) -> Parsed<PathBuf> {
    match field.texts.first() {
        None => Ok("certs".into()),
        Some(text) if text.is_empty() => {
            Err(SettingsError::value(field.name, "", "empty", "name a folder, or leave state-dir out"))
        }
        Some(text) => file(field.name, text),
    }
}

/// Secrets, or those of the file. A line of the file that begins with `#` may be a secret.
pub(super) fn auth_secrets(field: &Field<'_>) -> Parsed<Vec<Secret>> {
    secrets(field, "static-auth-secret-file", field.raw.static_auth_secret_file.as_ref(), false)
}

/// Keys, or those of the file, that take more than a moment to guess.
pub(super) fn host_keys(field: &Field<'_>) -> Parsed<Vec<Secret>> {
    let keys = secrets(field, "host-key-file", field.raw.host_key_file.as_ref(), true)?;
    if keys.iter().any(|key| key.is_shorter_than(SHORTEST_HOST_KEY)) {
        let reason = format!("a host-key is shorter than {SHORTEST_HOST_KEY} characters");
        return Err(SettingsError::invalid(reason, format!("give a longer one {RANDOM}")));
    }
    Ok(keys)
}

fn secrets(
    field: &Field<'_>,
    file_setting: &'static str,
    path: Option<&String>,
    comments: bool,
) -> Parsed<Vec<Secret>> {
    let given = each(|setting, text: &str| match trim_secret(text) {
        "" => Err(empty_secret(setting)),
        _ => Ok(Secret::new(text.trim_matches(['\r', '\n', BYTE_ORDER_MARK]))),
    })(field)?;
    match path {
        Some(_) if !given.is_empty() => {
            let reason = format!("{} and {file_setting} are both set", field.name);
            Err(SettingsError::invalid(reason, "keep one of them"))
        }
        Some(path) => secret_lines(file_setting, &file(file_setting, path)?, comments),
        None => Ok(given),
    }
}

/// One secret a line; blank lines do not count.
fn secret_lines(setting: &'static str, path: &Path, comments: bool) -> Parsed<Vec<Secret>> {
    // A word without a folder may be the secret itself.
    let is_path = path.as_os_str().as_encoded_bytes().contains(&b'/');
    let shown = is_path.then(|| path.to_owned());
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
        setting,
        path: shown,
        source,
    })?;
    let is_secret = |line: &&str| !(line.is_empty() || comments && line.starts_with('#'));
    let lines = text.split(['\n', '\r']).map(trim_secret).filter(is_secret);
    let secrets: Vec<_> = lines.map(Secret::new).collect();
    if secrets.is_empty() { Err(empty_secret(setting)) } else { Ok(secrets) }
}

fn empty_secret(setting: &str) -> SettingsError {
    SettingsError::invalid(format!("{setting} is empty"), format!("give it a long random text {RANDOM}"))
}

/// Without surrounding white space and byte-order marks.
fn trim_secret(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == BYTE_ORDER_MARK)
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
    fn a_network_is_canonical() {
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
    fn acme_takes_an_https_url_and_a_mail_address() {
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
    fn a_log_filter_with_a_typo_is_refused() {
        for text in ["info", "off", "WARN", "info,webrtc_box=debug"] {
            assert!(filter("log", text).is_ok(), "{text}");
        }
        for text in ["", "inof", "webrtc_box", "a=b=c", "info,x"] {
            assert!(filter("log", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_realm_needs_no_quoting() {
        assert!(realm("realm", "webrtc box").is_ok());
        for text in [String::new(), "a\"b".to_owned(), "a\nb".to_owned(), "x".repeat(65)] {
            assert!(realm("realm", &text).is_err(), "{text}");
        }
    }
}
