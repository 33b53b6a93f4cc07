//! `Host` and `Origin`: text from a header becomes a checked name and port, or nothing.

use std::net::Ipv6Addr;

/// A host and the port that was given with it, as in a `Host` header (RFC 9110 §7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// A name in lower case, an IPv4 address, or an IPv6 address in brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

/// A web origin (RFC 6454 §4) of a scheme a page of ours can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Authority {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, rest) = split_host(text)?;
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(port(digits)?),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }

    /// The origin of a page fetched from here.
    pub(super) fn origin(&self, secure: bool) -> Origin {
        let port = self.port.unwrap_or(default_port(secure));
        Origin { secure, host: self.host.clone(), port }
    }
}

impl Origin {
    /// Reads `https://HOST[:PORT]`, exactly that; `null` and all else are nobody's.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (secure, rest) = match text.split_once("://")? {
            ("https", rest) => (true, rest),
            ("http", rest) => (false, rest),
            _ => return None,
        };
        Some(Authority::parse(rest)?.origin(secure))
    }
}

/// The port that `https` or `http` means where none is given.
pub(super) fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

fn split_host(text: &str) -> Option<(String, &str)> {
    if let Some(inside) = text.strip_prefix('[') {
        let (address, rest) = inside.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return Some((format!("[{address}]"), rest));
    }
    let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
    is_name(name).then(|| (name.to_ascii_lowercase(), rest))
}

/// Letters, digits, hyphens, dots and, since people have them, underscores; no empty label.
fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let labels = text.strip_suffix('.').unwrap_or(text).split('.');
    text.len() <= 253 && labels.into_iter().all(|label| !label.is_empty() && label.bytes().all(allowed))
}

fn port(digits: &str) -> Option<u16> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<(String, Option<u16>)> {
        Authority::parse(text).map(|a| (a.host, a.port))
    }

    #[test]
    fn hosts_are_names_and_addresses_with_or_without_a_port() {
        assert_eq!(parts("LocalHost:8443"), Some(("localhost".into(), Some(8443))));
        assert_eq!(parts("192.0.2.1"), Some(("192.0.2.1".into(), None)));
        assert_eq!(parts("[0:0:0:0:0:0:0:1]:1"), Some(("[::1]".into(), Some(1))));
    }

    #[test]
    fn other_texts_are_no_hosts() {
        for text in [
            "", ":80", "a:", "a:0", "a:65536", "a:+1", "a:1:2", "a b", "a/b", "a@b", "a\\b", "a?b", "a#b",
            ".a", "a..b", "[::1", "[::1]x", "[a]", "::1", "a,b", "é",
        ] {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        assert_eq!(Origin::parse("https://a"), Origin::parse("https://A:443"));
        assert_ne!(Origin::parse("https://a"), Origin::parse("http://a"));
        for text in ["null", "", "https://", "https://a/", "https:a", "HTTPS://a", "https://u@a", "wss://a"] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }
}
