//! The context of a request: its client, scheme and host, from the connection and the headers.
//!
//! Forwarding headers (`forwarded.rs`) are read only from trusted proxies.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};
use ipnet::IpNet;

use super::forwarded::Forwarded;
use super::origin::Authority;

/// How a connection arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
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

/// Whether `peer` is a trusted proxy.
pub(super) fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    trusted.iter().any(|net| net.contains(&peer))
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
