//! The context of a request: its client, scheme and host, from the connection and the headers; which hosts the server
//! answers for, and which origins may open a WebSocket.
//!
//! Forwarding headers (`forwarded.rs`) are read only from trusted proxies.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, header};
use ipnet::IpNet;

use super::forwarded::{Forwarded, is_trusted};

/// How a connection arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// TLS, terminated by this server.
    Https,
    /// Plain HTTP.
    Http,
    /// Plain HTTP on an HTTPS port.
    HttpOnHttpsPort,
}

/// The connection of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) client: SocketAddr,
    /// The address that the client connected to.
    pub(super) local: IpAddr,
    pub(super) scheme: Scheme,
}

/// The context of one request.
#[derive(Clone, Debug)]
pub(super) struct RequestContext {
    /// The client's address: behind trusted proxies, the last hop that is not one of them.
    pub(super) source: IpAddr,
    /// Whether the browser uses HTTPS, to this server or to the proxy.
    pub(super) secure: bool,
    /// The host that the browser requested; `None` if it is absent or invalid.
    pub(super) authority: Option<Authority>,
    /// It arrived through a trusted proxy.
    pub(super) proxied: bool,
    /// The proxy forwarded no host, so `authority` may be the proxy's own name for this server.
    pub(super) host_unknown: bool,
}

impl RequestContext {
    pub(super) fn new(arrival: Arrival, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = arrival.client.ip().to_canonical();
        let secure = arrival.scheme == Scheme::Https;
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        if !is_trusted(peer, trusted) {
            let authority = host.and_then(Authority::parse);
            return Self { source: peer, secure, authority, proxied: false, host_unknown: false };
        }
        let forwarded = Forwarded::read(headers, trusted);
        Self {
            source: forwarded.source.unwrap_or(peer),
            secure: forwarded.secure.unwrap_or(secure),
            authority: forwarded.host.as_deref().or(host).and_then(Authority::parse),
            proxied: true,
            host_unknown: forwarded.host.is_none(),
        }
    }

    /// Whether the host is the proxy's name for this server, without a dot as in `proxy_pass http://webrtc-box:8080`.
    pub(super) fn is_proxy_alias(&self) -> bool {
        let authority = self.authority.as_ref().filter(|_| self.host_unknown);
        authority.is_some_and(|authority| !authority.host.contains(['.', '[']))
    }
}

/// A host and an optional port, as in a `Host` header (RFC 9110 §7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// A lower-case name without a final dot, an IPv4 address, or an IPv6 address in brackets without a zone.
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

/// A web origin (RFC 6454 §4) with the scheme of HTTP or HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl Authority {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, rest) = split_host(text)?;
        let port = match rest.strip_prefix(':') {
            // RFC 3986 §3.2.3: the port may be empty.
            Some("") => None,
            Some(digits) => Some(port(digits)?),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }

    /// The address, if the host is no name.
    fn address(&self) -> Option<IpAddr> {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Some(bare.unwrap_or(&self.host).parse::<IpAddr>().ok()?.to_canonical())
    }

    /// The origin of a page from this host.
    fn origin(&self, secure: bool) -> Origin {
        let port = self.port.unwrap_or(default_port(secure));
        Origin { secure, host: self.host.clone(), port }
    }
}

impl Origin {
    /// Parses exactly `https://HOST[:PORT]`; `None` for `null` and anything else. Some programs send the scheme of the
    /// WebSocket.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return None,
        };
        Some(Authority::parse(rest)?.origin(secure))
    }
}

/// The hosts that the server answers for. Without a domain it answers for all.
#[derive(Clone, Debug)]
pub(super) struct ServedHosts {
    names: Vec<String>,
}

impl ServedHosts {
    /// `domain`, `node` (the name of this server alone), and the hosts of the allowed origins.
    pub(super) fn new(domain: Option<&str>, node: Option<&str>, origins: &[String]) -> Self {
        let Some(domain) = domain else { return Self { names: Vec::new() } };
        let of_origin = |origin: &String| Some(Authority::parse(origin.split_once("://")?.1)?.host);
        // RFC 6761 §6.3: `localhost` always resolves to this host.
        let names = [domain, "localhost"].into_iter().chain(node).map(str::to_owned);
        Self { names: names.chain(origins.iter().filter_map(of_origin)).collect() }
    }

    /// Whether the server answers for `authority`; `is_own` recognizes addresses of this host.
    pub(super) fn serve(&self, authority: &Authority, is_own: impl Fn(IpAddr) -> bool) -> bool {
        self.serve_all()
            || self.names.contains(&authority.host)
            || authority.address().is_some_and(|ip| ip.is_loopback() || is_own(ip))
    }

    /// Whether the server answers for any host.
    pub(super) fn serve_all(&self) -> bool {
        self.names.is_empty()
    }
}

/// The origins whose pages may open a WebSocket.
#[derive(Clone, Debug)]
pub(super) struct AllowedOrigins {
    domain: Option<(String, Option<u16>)>,
    further: Vec<String>,
}

impl AllowedOrigins {
    /// `domain` with the port of HTTPS, and the `allowed-origin` setting.
    pub(super) fn new(domain: Option<(String, Option<u16>)>, further: Vec<String>) -> Self {
        Self { domain, further }
    }

    /// Whether the origin of a request is allowed. A request without `Origin` is from a program, which could send any, or is
    /// one that a browser sends for an element of a page, such as an image, whose site it names.
    pub(super) fn allow(&self, context: &RequestContext, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(header::ORIGIN).iter();
        match (given.next().map(|origin| origin.to_str()), given.next()) {
            (None, _) => headers.get("sec-fetch-site").is_none_or(|site| site != "cross-site"),
            (Some(Ok(text)), None) => self.is_allowed(context, text),
            (Some(_), _) => false,
        }
    }

    fn is_allowed(&self, context: &RequestContext, text: &str) -> bool {
        if self.further.iter().any(|further| further.eq_ignore_ascii_case(text)) {
            return true;
        }
        let Some(origin) = Origin::parse(text) else { return false };
        let same_host = context.authority.as_ref().is_some_and(|host| is_same_site(context, host, &origin));
        let further = self.further.iter().filter_map(|further| Origin::parse(further));
        same_host || self.is_domain(context, &origin) || further.into_iter().any(|further| further == origin)
    }

    fn is_domain(&self, context: &RequestContext, origin: &Origin) -> bool {
        let Some((name, port)) = &self.domain else { return false };
        // A page of the domain that connects to the name of one of its servers uses one port for both.
        let below =
            |host: &&Authority| host.host.strip_suffix(name).is_some_and(|label| label.ends_with('.'));
        let requested = context.authority.as_ref().filter(below);
        let requested = requested.map(|host| host.origin(context.secure).port);
        // A proxy may forward neither host nor scheme.
        let port_matches = [*port, requested].contains(&Some(origin.port)) || context.proxied;
        origin.secure && origin.host == *name && port_matches
    }
}

/// Whether `origin` is the requested host. Proxies forward the port of the browser's URL (Caddy), their own mapped port, or
/// none (nginx's `$host`): behind a proxy only the host must match. HTTPS may end before the last of several proxies.
fn is_same_site(context: &RequestContext, host: &Authority, origin: &Origin) -> bool {
    match context.proxied {
        true => host.host == origin.host && (origin.secure || !context.secure),
        false => host.origin(context.secure) == *origin,
    }
}

/// Whether the host of a URL is an address.
pub(super) fn is_address(host: &str) -> bool {
    Authority::parse(host).is_some_and(|authority| authority.address().is_some())
}

/// The default port of `https` or `http`.
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

/// Letters, digits, hyphens, dots and, because they occur in practice, underscores; no empty label.
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

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn context(client: &str, scheme: Scheme, lines: &[(&'static str, &'static str)]) -> RequestContext {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let arrival =
            Arrival { client: client.parse().unwrap(), local: "192.0.2.7".parse().unwrap(), scheme };
        RequestContext::new(arrival, &headers(lines), &trusted)
    }

    fn parts(text: &str) -> Option<(String, Option<u16>)> {
        Authority::parse(text).map(|a| (a.host, a.port))
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        assert_eq!(parts("LocalHost:8443"), Some(("localhost".into(), Some(8443))));
        assert_eq!(parts("192.0.2.1"), Some(("192.0.2.1".into(), None)));
        assert_eq!(parts("[0:0:0:0:0:0:0:1]:1"), Some(("[::1]".into(), Some(1))));
        assert_eq!(parts("[fe80::1%25eth0]:1"), Some(("[fe80::1]".into(), Some(1))));
        assert_eq!(parts("a:"), Some(("a".into(), None)));
        assert_eq!(parts("Box.Example.:443"), Some(("box.example".into(), Some(443))));
    }

    #[test]
    fn invalid_hosts_are_rejected() {
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
    fn a_server_answers_for_its_domain_and_its_own_addresses() {
        let allowed = ["https://www.box.example:8443".to_owned(), "app://page".to_owned()];
        let own: IpAddr = "192.0.2.1".parse().unwrap();
        let serves =
            |hosts: &ServedHosts, text: &str| hosts.serve(&Authority::parse(text).unwrap(), |ip| ip == own);
        let named = ServedHosts::new(Some("box.example"), Some("b1.box.example"), &allowed);
        for host in [
            "box.example",
            "BOX.example.:8443",
            "b1.box.example",
            "www.box.example",
            "localhost:1",
            "[::1]",
            "127.0.0.1:443",
        ] {
            assert!(serves(&named, host), "{host}");
        }
        assert!(serves(&named, "192.0.2.1:8443") && serves(&named, "[::ffff:192.0.2.1]"));
        for host in
            ["evil.example", "box.example.evil.example", "a.box.example", "box", "192.0.2.2", "[2001:db8::1]"]
        {
            assert!(!serves(&named, host), "{host}");
        }
        assert!(
            serves(&ServedHosts::new(None, None, &[]), "evil.example"),
            "without a domain every host is served"
        );
    }

    #[test]
    fn behind_a_proxy_the_origin_matches_by_host_on_any_port() {
        let origins = AllowedOrigins::new(Some(("box.example".into(), None)), vec![]);
        let allowed = |lines: &[(&'static str, &'static str)], origin: &'static str| {
            origins.allow(&context("10.0.0.1:9", Scheme::Http, lines), &headers(&[("origin", origin)]))
        };
        for lines in [
            &[("host", "box.example"), ("x-forwarded-proto", "https")][..],
            &[("host", "box.example"), ("x-forwarded-proto", "wss")],
            &[("host", "box.example:443"), ("x-forwarded-proto", "https")],
            &[
                ("host", "box.example"),
                ("x-forwarded-host", "box.example:8443"),
                ("x-forwarded-proto", "https"),
            ],
            &[("host", "inner"), ("forwarded", "for=1.2.3.4;host=\"box.example:8443\";proto=https")],
            &[("host", "10.0.0.7:8080")],
        ] {
            for origin in ["https://box.example", "https://box.example:8443"] {
                assert!(allowed(lines, origin), "{lines:?} {origin}");
            }
            for origin in [
                "https://evil.example",
                "http://evil.example:8443",
                "https://box.example.evil.example",
                "null",
            ] {
                assert!(!allowed(lines, origin), "{lines:?} {origin}");
            }
        }
        let secure = [("host", "box.example"), ("x-forwarded-proto", "wss")];
        assert!(!allowed(&secure, "http://box.example"));
    }

    #[test]
    fn origins_match_exactly() {
        let origins = AllowedOrigins::new(
            Some(("box.example".into(), Some(443))),
            vec!["https://friend.example".into(), "app://page".into()],
        );
        let context = context("192.0.2.1:9", Scheme::Https, &[("host", "192.0.2.7:8443")]);
        let allowed = |origin: &'static str| origins.allow(&context, &headers(&[("origin", origin)]));
        for origin in [
            "https://192.0.2.7:8443",
            "https://box.example",
            "https://BOX.example:443",
            "https://friend.example",
            "app://page",
        ] {
            assert!(allowed(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "https://192.0.2.7",
            "http://192.0.2.7:8443",
            "https://192.0.2.7:84430",
            "http://box.example",
            "https://box.example:8443",
            "https://box.example.evil.example",
            "https://evilbox.example",
            "https://evil.example",
            "https://friend.example.evil",
            "https://box.example/",
        ] {
            assert!(!allowed(origin), "{origin}");
        }
        assert!(origins.allow(&context, &HeaderMap::new()));
        assert!(origins.allow(&context, &headers(&[("sec-fetch-site", "same-origin")])));
        assert!(
            !origins.allow(&context, &headers(&[("sec-fetch-site", "cross-site")])),
            "an image of a foreign page"
        );
        let twice = headers(&[("origin", "https://box.example"), ("origin", "https://box.example")]);
        assert!(!origins.allow(&context, &twice));
    }

    const FORWARDED: [(&str, &str); 4] = [
        ("host", "inner"),
        ("x-forwarded-for", "6.6.6.6, 192.0.2.9, 10.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "forged.example, box.example"),
    ];

    #[test]
    fn an_untrusted_client_forwards_nothing() {
        let context = context("192.0.2.1:9", Scheme::Http, &FORWARDED);
        assert_eq!(context.source, "192.0.2.1".parse::<IpAddr>().unwrap());
        assert!(!context.secure && !context.proxied);
        assert_eq!(context.authority.unwrap().host, "inner");
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        let context = context("[::ffff:10.0.0.1]:9", Scheme::Http, &FORWARDED);
        assert_eq!(context.source, "192.0.2.9".parse::<IpAddr>().unwrap());
        assert!(context.secure && context.proxied);
        assert_eq!(context.authority.unwrap().host, "box.example");
    }

    #[test]
    fn an_invalid_header_of_a_proxy_makes_the_proxy_the_source() {
        let context = context("10.0.0.1:9", Scheme::Http, &[("x-forwarded-for", "1.2.3.4, nonsense")]);
        assert_eq!(context.source, "10.0.0.1".parse::<IpAddr>().unwrap());
        assert!(!context.secure);
    }
}
