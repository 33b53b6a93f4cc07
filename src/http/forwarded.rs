//! Forwarding headers of reverse proxies: `X-Forwarded-For`, `-Proto` and `-Host` as Traefik, nginx, HAProxy, Envoy, Caddy
//! and Cloudflare write them, and `Forwarded` (RFC 7239).
//!
//! Only for requests of a trusted proxy.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The forwarding headers of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Forwarded {
    /// The browser's address: the last hop that is no trusted proxy, or the first hop if all are.
    pub(super) source: Option<IpAddr>,
    /// Whether the browser uses HTTPS.
    pub(super) secure: Option<bool>,
    /// The host and port of the browser's request.
    pub(super) host: Option<String>,
}

/// One element of `Forwarded`: one proxy's description of its client.
#[derive(Default)]
struct Element<'a> {
    node: Option<Cow<'a, str>>,
    proto: Option<Cow<'a, str>>,
    host: Option<Cow<'a, str>>,
}

impl Forwarded {
    /// Parses both kinds of header. A kind that the proxy does not write passes unchanged from the client. Different
    /// sources in both kinds, or an invalid `X-Forwarded-For`, therefore give no source.
    pub(super) fn read(headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let standard = forwarded(headers, trusted);
        let source = match (forwarded_for(headers, trusted), standard.source) {
            (Some(one), Some(other)) => (one == other).then_some(one),
            (None, Some(_)) if headers.contains_key(&FORWARDED_FOR) => None,
            (one, other) => one.or(other),
        };
        Self {
            source,
            secure: last(headers, "x-forwarded-proto").and_then(is_secure).or(standard.secure),
            host: last(headers, "x-forwarded-host").and_then(unquoted).map(Cow::into_owned).or(standard.host),
        }
    }
}

/// Whether `peer` is a trusted proxy.
pub(super) fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    trusted.iter().any(|net| net.contains(&peer))
}

/// The value that the nearest proxy wrote: values before it may come from the client.
fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    line.rsplit(',').next().map(str::trim).filter(|text| !text.is_empty())
}

/// The lines of a list header, last first; a line that is no text counts as invalid.
fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().rev().map(|line| line.to_str().unwrap_or(""))
}

fn forwarded_for(headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut source = None;
    for hop in lines(headers, &FORWARDED_FOR).flat_map(|line| line.rsplit(',')) {
        // An invalid hop ends the chain: hops before it cannot be trusted.
        let Some(address) = unquoted(hop.trim()).and_then(|hop| node_address(&hop)) else { break };
        source = Some(address);
        if !is_trusted(address, trusted) {
            break;
        }
    }
    source
}

/// `proto` and `host` are those of the element that names the browser.
fn forwarded(headers: &HeaderMap, trusted: &[IpNet]) -> Forwarded {
    let mut found = Forwarded::default();
    let elements = lines(headers, &header::FORWARDED).flat_map(|line| {
        let elements: Vec<&str> = split(line, ',').collect();
        elements.into_iter().rev()
    });
    for text in elements {
        let Some(element) = Element::parse(text) else { break };
        let address = element.node.as_deref().and_then(node_address);
        found = Forwarded {
            source: address.or(found.source),
            secure: element.proto.as_deref().and_then(is_secure),
            host: element.host.map(Cow::into_owned),
        };
        if !address.is_some_and(|address| is_trusted(address, trusted)) {
            break;
        }
    }
    found
}

impl<'a> Element<'a> {
    /// Parses an element (RFC 7239 §4).
    fn parse(text: &'a str) -> Option<Self> {
        let mut element = Self::default();
        for pair in split(text, ';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=')?;
            let value = Some(unquoted(value.trim())?).filter(|value| !value.is_empty());
            match name.trim().to_ascii_lowercase().as_str() {
                "for" => element.node = value,
                "proto" => element.proto = value,
                "host" => element.host = value,
                _ => {}
            }
        }
        Some(element)
    }
}

/// Splits at `separator` outside of quoted strings.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match c {
            '"' => quoted = !quoted,
            '\\' => escaped = quoted,
            _ => {}
        }
        c == separator && !quoted
    })
}

/// A token unchanged, or the content of a quoted string (RFC 9110 §5.6.4); `None` if a quote is anywhere else: a client
/// may have left one open to hide what the proxy appends.
fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let Some(inside) = text.strip_prefix('"') else {
        return (!text.contains('"')).then(|| text.into());
    };
    let inside = inside.strip_suffix('"')?;
    let mut escaped = false;
    let mut content = String::with_capacity(inside.len());
    for c in inside.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return None,
            _ => {
                escaped = false;
                content.push(c);
            }
        }
    }
    // An escaped quote at the end does not close the string.
    (!escaped).then(|| content.into())
}

/// An address with or without a port, brackets or a zone; `unknown` and obfuscated names are none.
fn node_address(text: &str) -> Option<IpAddr> {
    if let Some(inside) = text.strip_prefix('[') {
        let (address, rest) = inside.split_once(']')?;
        return bare_address(address)
            .filter(|_| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
    }
    match text.split_once(':') {
        Some((v4, port)) if is_port(port) => Some(v4.parse::<Ipv4Addr>().ok()?.into()),
        _ => bare_address(text),
    }
}

/// The zone of a link-local address has a meaning only on the proxy.
fn bare_address(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        Some((v6, zone)) if is_made_of(zone, b"._~%-") => v6.parse::<Ipv6Addr>().ok()?.into(),
        Some(_) => return None,
        None => text.parse::<IpAddr>().ok()?,
    };
    Some(address.to_canonical())
}

/// A number, or an obfuscated one (RFC 7239 §6.3).
fn is_port(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits || text.strip_prefix('_').is_some_and(|name| is_made_of(name, b"._-"))
}

/// Whether there are only letters, digits and `others` in `text`, and at least one.
fn is_made_of(text: &str, others: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

/// Traefik writes the scheme of a WebSocket.
fn is_secure(proto: &str) -> Option<bool> {
    let proto = unquoted(proto)?;
    let is = |names: [&str; 2]| names.iter().any(|name| proto.eq_ignore_ascii_case(name));
    if is(["https", "wss"]) { Some(true) } else { is(["http", "ws"]).then_some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &'static str)]) -> Forwarded {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
        Forwarded::read(&headers, &trusted)
    }

    fn source(name: &'static str, value: &'static str) -> Option<String> {
        read(&[(name, value)]).source.map(|source| source.to_string())
    }

    #[test]
    fn x_forwarded_for_is_parsed_in_every_spelling() {
        for (hop, address) in [
            ("192.0.2.9", "192.0.2.9"),
            ("192.0.2.9:4711", "192.0.2.9"),
            ("\"192.0.2.9\"", "192.0.2.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%eth0]:4711", "fe80::1"),
            ("[fe80::1%25eth0]", "fe80::1"),
            ("::ffff:192.0.2.9", "192.0.2.9"),
            ("[::ffff:192.0.2.9]:1", "192.0.2.9"),
            ("6.6.6.6, 192.0.2.9, 10.1.1.1", "192.0.2.9"),
            ("6.6.6.6,[2001:db8::1],[fd00::1]:1,10.1.1.1:80", "2001:db8::1"),
            ("10.3.3.3, 10.1.1.1", "10.3.3.3"),
        ] {
            assert_eq!(source("x-forwarded-for", hop).as_deref(), Some(address), "{hop}");
        }
        for hop in [
            "",
            "unknown",
            "_x",
            "unix:",
            "1.2.3.4, nonsense",
            "1.2.3.4:x",
            "[::1",
            "[a]",
            "fe80::1%",
            "\"1.2.3.4",
        ] {
            assert_eq!(source("x-forwarded-for", hop), None, "{hop}");
        }
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.9")];
        assert_eq!(read(&lines).source, "192.0.2.9".parse().ok(), "HAProxy appends a line");
    }

    #[test]
    fn forwarded_is_parsed_as_in_rfc_7239() {
        for (line, address) in [
            ("for=192.0.2.9", "192.0.2.9"),
            ("For=\"192.0.2.9:4711\";proto=https;by=10.0.0.1", "192.0.2.9"),
            ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]:_port\" ; Host=a", "2001:db8::1"),
            ("FOR=\"\\1\\9\\2.0.2.9\"", "192.0.2.9"),
            ("for=6.6.6.6, for=192.0.2.9;ext=\"a,b;c\\\"\", for=10.0.0.2", "192.0.2.9"),
            ("for=_hidden, for=10.0.0.2", "10.0.0.2"),
        ] {
            assert_eq!(source("forwarded", line).as_deref(), Some(address), "{line}");
        }
        for line in
            ["", "for=unknown", "for=_hidden", "for", "for=\"", "for=1.2.3.4, for=\"5.6.7.8", "proto=https"]
        {
            assert_eq!(source("forwarded", line), None, "{line}");
        }
    }

    #[test]
    fn an_open_quote_does_not_hide_what_the_proxy_appends() {
        for line in [
            "for=\"6.6.6.6:_, for=\"[2001:db8::1]:4711\"",
            "for=\"2001:db8::bad%, for=\"[2001:db8::1]\"",
            "for=\"6.6.6.6:_, for=192.0.2.9;host=\"box.example\"",
            "for=6.6.6.6;ext=\"a, for=\"[2001:db8::1]\"",
            "for=6.6.6.6;ext=a\", for=\"[2001:db8::1]\"",
            "for=6.6.6.6;ext=\"a, for=192.0.2.9",
            "for=\"6.6.6.6\\\", for=192.0.2.9",
            "for=\"6.6.6.6:_\\\", for=\"",
            "for=\"6.6.6.6:_ x\"",
            "for=\"6.6.6.6:_\"",
            "for=\"fe80::1%a,b\"",
        ] {
            assert_eq!(source("forwarded", line), None, "{line}");
        }
    }

    #[test]
    fn forwarded_is_ignored_if_x_forwarded_for_is_invalid() {
        for hop in ["unknown", "", "192.0.2.9, \"1.2.3.4", "unix:"] {
            assert_eq!(read(&[("x-forwarded-for", hop), ("forwarded", "for=6.6.6.6")]).source, None, "{hop}");
        }
    }

    #[test]
    fn scheme_and_host_come_from_the_element_of_the_browser() {
        let line = "for=6.6.6.6;proto=http;host=forged.example, \
            for=\"192.0.2.9\";proto=https;host=\"box.example:8443\", for=10.0.0.2;proto=http;host=inner";
        let found = read(&[("forwarded", line)]);
        assert_eq!((found.secure, found.host.as_deref()), (Some(true), Some("box.example:8443")));
    }

    #[test]
    fn the_schemes_of_websockets_are_accepted() {
        for (proto, secure) in [
            ("https", Some(true)),
            ("wss", Some(true)),
            ("WSS", Some(true)),
            ("http, https", Some(true)),
            ("http", Some(false)),
            ("ws", Some(false)),
            ("https, http", Some(false)),
            ("", None),
            ("gopher", None),
        ] {
            assert_eq!(read(&[("x-forwarded-proto", proto)]).secure, secure, "{proto}");
        }
        let both = [("x-forwarded-proto", "wss"), ("forwarded", "for=1.2.3.4;proto=http")];
        assert_eq!(read(&both).secure, Some(true));
    }

    #[test]
    fn contradicting_headers_give_no_source() {
        let both = |other| read(&[("x-forwarded-for", "192.0.2.9"), ("forwarded", other)]).source;
        assert_eq!(both("for=192.0.2.9"), "192.0.2.9".parse().ok());
        assert_eq!(both("for=\"192.0.2.9:1\""), "192.0.2.9".parse().ok());
        assert_eq!(both("for=6.6.6.6"), None);
        assert_eq!(both("for=_hidden"), "192.0.2.9".parse().ok());
    }
}
