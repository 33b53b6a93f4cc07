//! Who asks, and by which name: a connection and its request's headers become a [`Visit`].
//!
//! What a proxy says (`forwarded.rs`) is believed from trusted ones only; from anybody else it is not even
//! read.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};
use ipnet::IpNet;

use super::forwarded::Forwarded;
use super::origin::{Authority, Origin};

/// Through which door a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// TLS, ours.
    Https,
    /// Plain HTTP.
    Http,
    /// Plain HTTP on a port of HTTPS.
    HttpOnHttps,
}

/// One connection as a request sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) client: SocketAddr,
    /// The address it came to.
    pub(super) local: IpAddr,
    pub(super) door: Door,
}

/// One request's circumstances.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// The person's address: behind trusted proxies, the last one that is not theirs.
    pub(super) source: IpAddr,
    /// Whether the browser speaks HTTPS, to us or to the proxy.
    pub(super) secure: bool,
    /// The name by which the browser reached us; `None` where it said none or nonsense.
    pub(super) authority: Option<Authority>,
    /// It came through a trusted proxy.
    pub(super) proxied: bool,
    /// The proxy has not said by which name the browser reached it: the authority may be its own name
    /// for us.
    pub(super) unnamed: bool,
}

/// Whose WebSockets are let in.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    domain: Option<(String, Option<u16>)>,
    further: Vec<String>,
}

impl Visit {
    pub(super) fn new(arrival: Arrival, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = arrival.client.ip().to_canonical();
        let secure = arrival.door == Door::Https;
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        if !is_trusted(peer, trusted) {
            let authority = host.and_then(Authority::parse);
            return Self { source: peer, secure, authority, proxied: false, unnamed: false };
        }
        let forwarded = Forwarded::read(headers, trusted);
        Self {
            source: forwarded.source.unwrap_or(peer),
            secure: forwarded.secure.unwrap_or(secure),
            authority: forwarded.host.as_deref().or(host).and_then(Authority::parse),
            proxied: true,
            unnamed: forwarded.host.is_none(),
        }
    }

    /// Whether a host without a dot is a proxy's name for us, as in `proxy_pass http://webrtc-box:8080`.
    pub(super) fn is_proxys_name(&self) -> bool {
        let authority = self.authority.as_ref().filter(|_| self.unnamed);
        authority.is_some_and(|authority| !authority.host.contains(['.', '[']))
    }
}

impl Origins {
    /// `domain` with the port of HTTPS, and the origins allowed besides our own.
    pub(super) fn new(domain: Option<(String, Option<u16>)>, further: Vec<String>) -> Self {
        Self { domain, further }
    }

    /// Whether a page may talk to us. One without an `Origin` is no page: a program, which could
    /// say anything there.
    pub(super) fn allow(&self, visit: &Visit, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(header::ORIGIN).iter();
        match (given.next().map(|origin| origin.to_str()), given.next()) {
            (None, _) => true,
            (Some(Ok(text)), None) => self.is_allowed(visit, text),
            (Some(_), _) => false,
        }
    }

    fn is_allowed(&self, visit: &Visit, text: &str) -> bool {
        if self.further.iter().any(|further| further.eq_ignore_ascii_case(text)) {
            return true;
        }
        let Some(origin) = Origin::parse(text) else { return false };
        let same_host = visit.authority.as_ref().is_some_and(|host| is_same_site(visit, host, &origin));
        let further = self.further.iter().filter_map(|further| Origin::parse(further));
        same_host || self.is_domain(visit, &origin) || further.into_iter().any(|further| further == origin)
    }

    fn is_domain(&self, visit: &Visit, origin: &Origin) -> bool {
        let Some((name, port)) = &self.domain else { return false };
        // A proxy may forward neither host nor scheme.
        let port_fits = Some(origin.port) == *port || visit.proxied;
        origin.secure && origin.host == *name && port_fits
    }
}

/// Whether `peer` is one of the proxies that are believed.
pub(super) fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    trusted.iter().any(|net| net.contains(&peer))
}

/// Proxies say the port of the browser's URL (Caddy), their own behind a mapping, or none (nginx's
/// `$host`): behind one the host decides. HTTPS may have ended before the last of several proxies.
fn is_same_site(visit: &Visit, host: &Authority, origin: &Origin) -> bool {
    match visit.proxied {
        true => host.host == origin.host && (origin.secure || !visit.secure),
        false => host.origin(visit.secure) == *origin,
    }
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

    fn visit(client: &str, door: Door, lines: &[(&'static str, &'static str)]) -> Visit {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let arrival = Arrival { client: client.parse().unwrap(), local: "192.0.2.7".parse().unwrap(), door };
        Visit::new(arrival, &headers(lines), &trusted)
    }

    const FORWARDED: [(&str, &str); 4] = [
        ("host", "inner"),
        ("x-forwarded-for", "6.6.6.6, 192.0.2.9, 10.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "forged.example, box.example"),
    ];

    #[test]
    fn strangers_forward_nothing() {
        let visit = visit("192.0.2.1:9", Door::Http, &FORWARDED);
        assert_eq!(visit.source, "192.0.2.1".parse::<IpAddr>().unwrap());
        assert!(!visit.secure && !visit.proxied);
        assert_eq!(visit.authority.unwrap().host, "inner");
    }

    #[test]
    fn a_trusted_proxy_says_for_whom_it_asks() {
        let visit = visit("[::ffff:10.0.0.1]:9", Door::Http, &FORWARDED);
        assert_eq!(visit.source, "192.0.2.9".parse::<IpAddr>().unwrap());
        assert!(visit.secure && visit.proxied);
        assert_eq!(visit.authority.unwrap().host, "box.example");
    }

    #[test]
    fn nonsense_from_a_proxy_makes_the_proxy_the_source() {
        let visit = visit("10.0.0.1:9", Door::Http, &[("x-forwarded-for", "1.2.3.4, nonsense")]);
        assert_eq!(visit.source, "10.0.0.1".parse::<IpAddr>().unwrap());
        assert!(!visit.secure);
    }

    #[test]
    fn behind_a_proxy_the_host_decides_on_any_public_port() {
        let origins = Origins::new(Some(("box.example".into(), None)), vec![]);
        let allowed = |lines: &[(&'static str, &'static str)], origin: &'static str| {
            origins.allow(&visit("10.0.0.1:9", Door::Http, lines), &headers(&[("origin", origin)]))
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
    fn origins_are_compared_whole() {
        let origins = Origins::new(
            Some(("box.example".into(), Some(443))),
            vec!["https://friend.example".into(), "app://page".into()],
        );
        let visit = visit("192.0.2.1:9", Door::Https, &[("host", "192.0.2.7:8443")]);
        let allowed = |origin: &'static str| origins.allow(&visit, &headers(&[("origin", origin)]));
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
        assert!(origins.allow(&visit, &HeaderMap::new()));
        let twice = headers(&[("origin", "https://box.example"), ("origin", "https://box.example")]);
        assert!(!origins.allow(&visit, &twice));
    }
}
