//! The two names of one of several servers: the common one, which leads to all of them and serves the page, and its own,
//! for connections that must reach this server. Which requests belong where, and what browsers must be told of it.
//!
//! A page of the common name connects to the names of the servers. That is a foreign origin to a browser, so the policy of
//! the page permits it, and the replies to HTTP long polling permit the page to read them (CORS).

use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::request_context::{RequestContext, default_port};

/// How long a browser may remember that it may send JSON to another name; Chromium limits it to two hours.
const PREFLIGHT_LIFETIME: &str = "7200";

/// The names of one of several servers.
#[derive(Clone, Debug)]
pub(super) struct NodeNames {
    domain: String,
    node: String,
    /// The port of HTTPS as in a URL: empty, or a colon and the number.
    port: String,
    policy: HeaderValue,
}

impl NodeNames {
    /// `base_policy` is the policy of the page of a single server, whose `connect-src 'self'` is extended. `None` if the
    /// names have characters that no host name has.
    pub(super) fn new(domain: &str, node: &str, https_port: Option<u16>, base_policy: &str) -> Option<Self> {
        let port = url_port(https_port);
        let sources = format!("connect-src 'self' https://*.{domain}{port} wss://*.{domain}{port}");
        let policy = HeaderValue::from_str(&base_policy.replace("connect-src 'self'", &sources)).ok()?;
        Some(Self { domain: domain.to_owned(), node: node.to_owned(), port, policy })
    }

    /// The content security policy of the page.
    pub(super) fn content_security_policy(&self) -> HeaderValue {
        self.policy.clone()
    }

    /// The server's own name, with the port of HTTPS if it is not the default one.
    pub(super) fn node_authority(&self) -> String {
        format!("{}{}", self.node, self.port)
    }

    /// The redirect to the common name, if the request is for the page under this server's own name: a page must have the
    /// same origin whichever server sent it.
    pub(super) fn redirect_page(
        &self,
        context: &RequestContext,
        request: &Request<Body>,
    ) -> Option<Response> {
        let authority = context.authority.as_ref().filter(|authority| authority.host == self.node)?;
        if belongs_to_node(request.uri().path()) {
            return None;
        }
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let path = if path.starts_with('/') { path } else { "/" };
        // As seen from outside, where another port may lead here.
        let location = format!("https://{}{}{path}", self.domain, url_port(authority.port));
        Some((StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response())
    }
}

/// Paths of connections rather than of the page.
fn belongs_to_node(path: &str) -> bool {
    matches!(path, "/ws" | "/healthz" | "/health") || has_cors(path) || path.starts_with("/socket.io/")
}

/// Paths that the page of the common name requests by `fetch`.
fn has_cors(path: &str) -> bool {
    matches!(path, "/poll" | "/leave")
}

/// Whether a browser asks if a page of another origin may send a request (Fetch §3.2.2).
pub(super) fn is_preflight(request: &Request<Body>) -> bool {
    request.method() == Method::OPTIONS
        && has_cors(request.uri().path())
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The reply to a preflight of an allowed origin.
pub(super) fn preflight_reply(headers: &HeaderMap) -> Response {
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_LIFETIME),
    ];
    permit_origin((StatusCode::NO_CONTENT, allowed).into_response(), headers)
}

/// The reply, readable for the origin of the request, which is allowed.
pub(super) fn permit_origin(mut reply: Response, request_headers: &HeaderMap) -> Response {
    if let Some(origin) = request_headers.get(header::ORIGIN) {
        reply.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    // A cache must not give the reply to another origin.
    reply.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    reply
}

/// The port of HTTPS as in a URL.
fn url_port(port: Option<u16>) -> String {
    port.filter(|&port| port != default_port(true)).map_or_else(String::new, |port| format!(":{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "default-src 'self'; connect-src 'self'; object-src 'none'";

    fn policy(port: Option<u16>) -> String {
        let names = NodeNames::new("call.example", "b1.call.example", port, POLICY).unwrap();
        names.content_security_policy().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_page_may_connect_to_all_servers_of_its_domain() {
        let expected = "default-src 'self'; connect-src 'self' https://*.call.example wss://*.call.example; \
                        object-src 'none'";
        assert_eq!(policy(Some(443)), expected);
        assert_eq!(policy(None), expected, "behind a proxy");
        assert!(policy(Some(8443)).contains("wss://*.call.example:8443;"));
    }

    #[test]
    fn connections_belong_to_the_node_and_pages_to_the_common_name() {
        for path in
            ["/ws", "/poll", "/leave", "/healthz", "/health", "/socket.io/", "/socket.io/socket.io.js"]
        {
            assert!(belongs_to_node(path), "{path}");
        }
        for path in ["/", "/r/kitchen", "/test", "/test.json", "/app/main.js", "/ws/", "/polls", "/socket.io"]
        {
            assert!(!belongs_to_node(path), "{path}");
        }
    }
}
