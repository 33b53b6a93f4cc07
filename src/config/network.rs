//! Addresses, networks, host names, origins and URLs: their types and parsers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use super::SettingsError;
use super::values::{Field, Parsed, each, invalid};

/// Characters of a name in DNS (RFC 1035 §2.3.4, without the final dot).
const LONGEST_NAME: usize = 253;

/// Characters of a label of such a name.
const LONGEST_LABEL: usize = 63;

/// The addresses to bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `::` with V6ONLY off, or `0.0.0.0` if the host has no IPv6.
    Any,
    /// Only these.
    These(Vec<IpAddr>),
}

/// `PUBLIC` or `PUBLIC/LOCAL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternalIp {
    /// The address that clients reach.
    pub public: IpAddr,
    /// The local address behind it, if NAT maps it.
    pub local: Option<IpAddr>,
}

impl Listen {
    /// Whether a listener receives what arrives at `ip`, an address of this host.
    pub fn covers(&self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::These(addresses) => addresses.iter().any(|&bound| covers(bound, ip)),
        }
    }

    /// Parses the addresses to bind; none means any. A wildcard next to an address that it covers would fail to bind.
    pub(super) fn parse(field: &Field<'_>) -> Result<Self, SettingsError> {
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
        Ok(if addresses.is_empty() { Self::Any } else { Self::These(addresses) })
    }
}

/// Whether a socket bound to `bound` receives what arrives at `ip`. `::` is bound with V6ONLY off.
fn covers(bound: IpAddr, ip: IpAddr) -> bool {
    bound == ip || (bound.is_unspecified() && (bound.is_ipv6() || ip.is_ipv4()))
}

/// An address to bind.
fn address(text: &str) -> Parsed<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(ip) if !ip.is_multicast() => Ok(ip.to_canonical()),
        _ => invalid(
            "no address to bind",
            "give a bare one like 192.0.2.1 or 2001:db8::1; ports have settings of their own",
        ),
    }
}

impl ExternalIp {
    pub(super) fn parse(text: &str) -> Parsed<Self> {
        let (public, local) = match text.split_once('/') {
            Some((public, local)) => (public, Some(local)),
            None => (text, None),
        };
        let ip = |text: &str| text.parse::<IpAddr>().map(|ip| ip.to_canonical());
        let (Ok(public), Ok(local)) = (ip(public), local.map(ip).transpose()) else {
            return invalid("no address", "give PUBLIC or PUBLIC/LOCAL, like 203.0.113.7/10.0.0.7");
        };
        if local.is_some_and(|local| local.is_ipv4() != public.is_ipv4()) {
            return invalid("a pair of different families", "give PUBLIC/LOCAL both IPv4 or both IPv6");
        }
        if is_no_host(public) || local.is_some_and(is_no_host) {
            return invalid("not the address of a host", "give the one that clients reach this server by");
        }
        Ok(Self { public, local })
    }
}

fn is_no_host(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// An address with a port; `off` or an empty text is off.
pub(super) fn socket(text: &str) -> Parsed<Option<SocketAddr>> {
    if matches!(text, "" | "off") {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Some(address)),
        _ => invalid("no address with a port", "give both, like 127.0.0.1:9641 or [::1]:9641, or off"),
    }
}

/// A network, or one address as a network of its own; IPv4-mapped ones become IPv4.
pub(super) fn network(text: &str) -> Parsed<IpNet> {
    match text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
        Ok(net) => Ok(canonical(net).trunc()),
        Err(_) => invalid("no network", "give one in CIDR form, like 10.0.0.0/8 or fd00::/8"),
    }
}

fn canonical(net: IpNet) -> IpNet {
    let (IpAddr::V4(v4), Some(prefix)) = (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) else {
        return net;
    };
    // Not reached by a plain IPv4 network: its prefix is 32 at most.
    Ipv4Net::new(v4, prefix).map_or(net, IpNet::V4)
}

/// A host name in lower case, or an address in its canonical form, without brackets.
pub(super) fn domain(text: &str) -> Parsed<String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(ip) if is_no_host(ip) => invalid(
            "not the address of a host",
            "give the one that clients reach this server by, or leave domain out for try-out mode",
        ),
        Ok(ip) => Ok(ip.to_string()),
        Err(_) => host_name(text),
    }
}

/// A host name, in lower case.
pub(super) fn host_name(text: &str) -> Parsed<String> {
    if text.contains("://") || text.contains('/') {
        return invalid("a URL", "give the name alone, like call.example.com");
    }
    if text.contains(':') {
        return invalid("a name with a port", "give the name alone and the port as https-port");
    }
    if !text.is_ascii() {
        return invalid("not in ASCII", "give the name as DNS has it, like xn--bcher-kva.example");
    }
    if !is_host_name(text) {
        return invalid("no host name", "give one like call.example.com");
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
    // Browsers parse a name whose last label is a number as an IPv4 address (WHATWG URL).
    let numeric_end = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= LONGEST_NAME && text.split('.').all(label) && !numeric_end
}

/// `scheme://host[:port]` as browsers send it: lower case, without the default port of the scheme.
pub(super) fn origin(text: &str) -> Parsed<String> {
    let hint = "give scheme://host or scheme://host:port, like https://www.example.com";
    normalized_origin(&text.to_ascii_lowercase()).map_or_else(|| invalid("no origin", hint), Ok)
}

fn normalized_origin(text: &str) -> Option<String> {
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
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok() || is_host_name(host),
    };
    let port = port.filter(|port| !matches!((scheme, port), ("https", 443) | ("http", 80)));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    (is_scheme && is_host).then(|| format!("{scheme}://{host}{port}"))
}

/// A mail address; finds the mistakes that can be found without sending mail.
pub(super) fn email(text: &str) -> Parsed<String> {
    let has_parts = text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && is_host_name(host));
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b':' | b'?'));
    if has_parts && printable && text.len() <= LONGEST_NAME {
        return Ok(text.to_owned());
    }
    invalid("no mail address", "give one like you@example.com")
}

/// An https URL.
pub(super) fn https_url(text: &str) -> Parsed<String> {
    let host = text.strip_prefix("https://").and_then(|rest| rest.split(['/', '?']).next());
    let has_host = host
        .is_some_and(|host| normalized_origin(&format!("https://{}", host.to_ascii_lowercase())).is_some());
    if has_host && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Ok(text.to_owned());
    }
    invalid("no https URL", "give one like https://acme.example.com/directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_bare_name_in_lower_case_or_an_address() {
        for (text, parsed) in [
            ("Call.Example.COM", "call.example.com"),
            ("localhost", "localhost"),
            ("203.0.113.5", "203.0.113.5"),
            ("[2001:DB8::0:5]", "2001:db8::5"),
            ("::ffff:203.0.113.5", "203.0.113.5"),
        ] {
            assert_eq!(domain(text).unwrap(), parsed);
        }
        for text in [
            "",
            "a..b",
            "-a.b",
            "a b",
            "0.0.0.0",
            "[::]",
            "203.0.113.5:443",
            "[::1]:443",
            "fe80::1%eth0",
            "https://a.b",
            "a.b:443",
            "a.b/",
            "büro.de",
            "a.1",
        ] {
            assert!(domain(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_external_address_may_have_a_local_one() {
        let pair = ExternalIp::parse("203.0.113.7/10.0.0.7").unwrap();
        assert_eq!(pair.public, IpAddr::from([203, 0, 113, 7]));
        assert_eq!(pair.local, Some(IpAddr::from([10, 0, 0, 7])));
        assert_eq!(ExternalIp::parse("::ffff:203.0.113.7").unwrap().public, pair.public);
        for text in ["", "0.0.0.0", "203.0.113.7/::1", "203.0.113.7/24", "ff02::1", "203.0.113.7:80"] {
            assert!(ExternalIp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_is_canonical() {
        let net = |text| network(text).map(|net| net.to_string()).ok();
        assert_eq!(net("10.1.2.3/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(net("192.0.2.1").as_deref(), Some("192.0.2.1/32"));
        assert_eq!(net("::ffff:10.0.0.0/104").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(net("::/0").as_deref(), Some("::/0"));
        assert_eq!(net("10.0.0.0/33"), None);
        assert_eq!(net("10.0.0.1-10.0.0.9"), None);
    }

    #[test]
    fn an_origin_is_normalized_as_browsers_send_it() {
        let one = |text| origin(text).ok();
        assert_eq!(one("HTTPS://Www.Example.com:443").as_deref(), Some("https://www.example.com"));
        assert_eq!(one("http://[::1]:8080").as_deref(), Some("http://[::1]:8080"));
        assert_eq!(one("capacitor://localhost").as_deref(), Some("capacitor://localhost"));
        for text in ["*", "example.com", "https://", "https://a.b/", "https://a.b:x", "https://u@a.b", "null"]
        {
            assert_eq!(one(text), None, "{text}");
        }
    }

    #[test]
    fn acme_needs_an_https_url_and_a_mail_address() {
        for text in ["https://ca.example/dir", "https://localhost:14000/dir", "https://[::1]:1/"] {
            assert!(https_url(text).is_ok(), "{text}");
        }
        for text in ["", "http://ca.example/dir", "https://", "https:///dir", "ca.example", "https://a b/"] {
            assert!(https_url(text).is_err(), "{text}");
        }
        assert_eq!(email("a+b@c.example").unwrap(), "a+b@c.example");
        for text in ["", "a", "@c.example", "a@", "a b@c.example", "mailto:a@c.example", "a@b,c@d"] {
            assert!(email(text).is_err(), "{text}");
        }
    }
}
