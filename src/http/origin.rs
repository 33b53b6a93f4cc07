//! `Host` and `Origin`: text from a header becomes a checked name and port, or nothing; and which hosts
//! are ours.

use std::net::{IpAddr, Ipv6Addr};

/// A host and the port that was given with it, as in a `Host` header (RFC 9110 §7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// A name in lower case and without a final dot, an IPv4 address, or an IPv6 address in brackets and
    /// without its zone.
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
            // RFC 3986 §3.2.3: it may be left out after its colon.
            Some("") => None,
            Some(digits) => Some(port(digits)?),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }

    /// The address it is, where it is no name.
    fn address(&self) -> Option<IpAddr> {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Some(bare.unwrap_or(&self.host).parse::<IpAddr>().ok()?.to_canonical())
    }

    /// The origin of a page fetched from here.
    pub(super) fn origin(&self, secure: bool) -> Origin {
        let port = self.port.unwrap_or(default_port(secure));
        Origin { secure, host: self.host.clone(), port }
    }
}

impl Origin {
    /// Reads `https://HOST[:PORT]`, exactly that; `null` and all else are nobody's. Some programs name the
    /// scheme of the WebSocket.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return None,
        };
        Some(Authority::parse(rest)?.origin(secure))
    }
}

/// The hosts that a box with a name answers for. A box without one answers for all.
#[derive(Clone, Debug)]
pub(super) struct ServedHosts {
    names: Vec<String>,
}

impl ServedHosts {
    /// `domain`, and the hosts of the origins allowed besides.
    pub(super) fn new(domain: Option<&str>, origins: &[String]) -> Self {
        let Some(domain) = domain else { return Self { names: Vec::new() } };
        let of_origin = |origin: &String| Some(Authority::parse(origin.split_once("://")?.1)?.host);
        // RFC 6761 §6.3: it leads to an address of this host, wherever it is asked.
        let names = [domain.to_owned(), "localhost".to_owned()].into_iter();
        Self { names: names.chain(origins.iter().filter_map(of_origin)).collect() }
    }

    /// Whether it answers for `authority`; `is_own` tells an address of this host.
    pub(super) fn serve(&self, authority: &Authority, is_own: impl Fn(IpAddr) -> bool) -> bool {
        self.serve_all()
            || self.names.contains(&authority.host)
            || authority.address().is_some_and(|ip| ip.is_loopback() || is_own(ip))
    }

    /// Whether it answers for whatever host is named.
    pub(super) fn serve_all(&self) -> bool {
        self.names.is_empty()
    }
}

/// The port that `https` or `http` means where none is given.
pub(super) fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

fn split_host(text: &str) -> Option<(String, &str)> {
    if let Some(inside) = text.strip_prefix('[') {
        let (address, rest) = inside.split_once(']')?;
        let bare = address.split_once('%').map_or(address, |(bare, _zone)| bare);
        let address: Ipv6Addr = bare.parse().ok()?;
        return Some((format!("[{address}]"), rest));
    }
    let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
    let bare = name.strip_suffix('.').unwrap_or(name);
    is_name(bare).then(|| (bare.to_ascii_lowercase(), rest))
}

/// Letters, digits, hyphens, dots and, since people have them, underscores; no empty label.
fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    text.len() <= 253 && text.split('.').all(|label| !label.is_empty() && label.bytes().all(allowed))
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
        assert_eq!(parts("[fe80::1%25eth0]:1"), Some(("[fe80::1]".into(), Some(1))));
        assert_eq!(parts("a:"), Some(("a".into(), None)));
        assert_eq!(parts("Box.Example.:443"), Some(("box.example".into(), Some(443))));
    }

    #[test]
    fn other_texts_are_no_hosts() {
        for text in [
            "", ":80", ":", "a:0", "a:65536", "a:+1", "a:1:2", "a b", "a/b", "a@b", "a\\b", "a?b", "a#b",
            ".", ".a", "a..b", "a..", "[::1", "[::1]x", "[a]", "::1", "a,b", "é",
        ] {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        assert_eq!(Origin::parse("https://a"), Origin::parse("https://A:443"));
        assert_ne!(Origin::parse("https://a"), Origin::parse("http://a"));
        assert_eq!(Origin::parse("HTTPS://a."), Origin::parse("wss://a"));
        for text in ["null", "", "https://", "https://a/", "https:a", "https://u@a", "ftp://a"] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_box_with_a_name_answers_for_it_and_for_its_own_addresses() {
        let allowed = ["https://www.box.example:8443".to_owned(), "app://page".to_owned()];
        let own: IpAddr = "192.0.2.1".parse().unwrap();
        let serves =
            |hosts: &ServedHosts, text: &str| hosts.serve(&Authority::parse(text).unwrap(), |ip| ip == own);
        let named = ServedHosts::new(Some("box.example"), &allowed);
        for host in
            ["box.example", "BOX.example.:8443", "www.box.example", "localhost:1", "[::1]", "127.0.0.1:443"]
        {
            assert!(serves(&named, host), "{host}");
        }
        assert!(serves(&named, "192.0.2.1:8443") && serves(&named, "[::ffff:192.0.2.1]"));
        for host in
            ["evil.example", "box.example.evil.example", "a.box.example", "box", "192.0.2.2", "[2001:db8::1]"]
        {
            assert!(!serves(&named, host), "{host}");
        }
        assert!(serves(&ServedHosts::new(None, &[]), "evil.example"), "one without a name asks nobody");
    }
}
