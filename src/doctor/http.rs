//! The page over HTTPS with its certificate, and the redirect from plain HTTP.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant, UNIX_EPOCH};

use hyper::Uri;
use hyper::header::{DATE, HeaderMap, LOCATION};
use serde::Deserialize;
use webrtc_box_turn::addr::Transport;
use webrtc_box_turn::credential::Credential;

use super::certificate::{Chain, Context, SystemRoots};
use super::connection::{self, HttpConnection, Unreachable, family_and_ip, within};
use super::report::{Finding, Subject};
use super::server::Server;
use crate::clock::UnixSeconds;
use crate::tls::CertificateFacts;

const SUBJECT: Subject = Subject::Page;
/// For all requests to one address.
const VISIT_LIMIT: Duration = Duration::from_secs(5);

/// One address of the page, and what came back.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) address: SocketAddr,
    pub(super) outcome: Result<Page, Unreachable>,
}

#[derive(Clone, Debug)]
pub(super) struct Page {
    /// HTTP status of `/`.
    status: u16,
    /// Where `/` redirects to; empty if it does not.
    location: String,
    /// `/healthz`; `None` if the response is not one of webrtc-box.
    health: Option<Health>,
    /// The served certificate chain.
    chain: Chain,
    /// The time until the page had arrived, with the connection.
    took: Duration,
    /// `/test.json`.
    pub(super) connection_test: Option<ConnectionTest>,
    /// The `Date` of the response.
    pub(super) date: Option<UnixSeconds>,
}

/// `/healthz`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub(super) enum Health {
    Up,
    Down {
        #[serde(default)]
        why: String,
    },
}

/// `/test.json`, as far as it is needed. `Debug` does not print the credential.
#[derive(Clone, Deserialize)]
pub(super) struct ConnectionTest {
    probes: Vec<Probe>,
    username: String,
    credential: String,
}

#[derive(Clone, Deserialize)]
struct Probe {
    name: String,
    port: u16,
}

/// The response to plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    port: u16,
    /// Status and `Location`, empty if there is none.
    outcome: Result<(u16, String), Unreachable>,
}

/// What the responses are compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) server: &'a Server,
    pub(super) now: UnixSeconds,
    /// ACME has not got a certificate yet.
    pub(super) is_pending: bool,
    /// The leaf in the `cert` file.
    pub(super) stored: Option<&'a CertificateFacts>,
}

pub(super) async fn observe(server: &Server, address: SocketAddr, roots: &SystemRoots) -> Visit {
    let host = server.host();
    let visit = async {
        let start = Instant::now();
        let tls = connection::tls(address, &server.page_proxies, &server.name, &[b"http/1.1"]).await?;
        let mut http = HttpConnection::open(tls.stream).await?;
        let page = http.get(&host, "/").await?;
        let took = start.elapsed();
        let health = http.get(&host, "/healthz").await.ok();
        let test = http.get(&host, "/test.json").await.ok();
        Ok(Page {
            status: page.status().as_u16(),
            location: location(page.headers()),
            health: health.and_then(|response| serde_json::from_slice(response.body()).ok()),
            chain: roots.verify(&tls.chain, &server.name),
            took,
            connection_test: test.and_then(|response| serde_json::from_slice(response.body()).ok()),
            date: date(page.headers()),
        })
    };
    Visit { address, outcome: within(VISIT_LIMIT, visit).await }
}

pub(super) async fn observe_redirect(address: SocketAddr, name: &str) -> Redirect {
    let visit = async {
        let mut http = HttpConnection::open(connection::tcp(address, &[]).await?).await?;
        let response = http.get(name, "/").await?;
        Ok((response.status().as_u16(), location(response.headers())))
    };
    Redirect { port: address.port(), outcome: visit.await }
}

fn location(headers: &HeaderMap) -> String {
    headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn date(headers: &HeaderMap) -> Option<UnixSeconds> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    date.duration_since(UNIX_EPOCH).ok().as_ref().map(Duration::as_secs)
}

impl ConnectionTest {
    /// The ports of the relay, each once.
    pub(super) fn relay_ports(&self) -> Vec<(Transport, u16)> {
        let names =
            [("turn-udp", Transport::Udp), ("turn-tcp", Transport::Tcp), ("turn-tls", Transport::Tls)];
        let ports = |name| {
            let probes = self.probes.iter().filter(move |probe| probe.name == name);
            probes.map(|probe| probe.port).collect::<BTreeSet<_>>()
        };
        let of_transport = |(name, it)| ports(name).into_iter().map(move |port| (it, port));
        names.into_iter().flat_map(of_transport).collect()
    }

    /// It reaches only its own allocations.
    pub(super) fn credential(&self) -> Credential {
        Credential { username: self.username.clone(), password: self.credential.clone() }
    }
}

impl fmt::Debug for ConnectionTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionTest(…)")
    }
}

/// Whether nothing listens on any address.
pub(super) fn is_absent(visits: &[Visit]) -> bool {
    visits.iter().all(|visit| matches!(visit.outcome, Err(Unreachable::Refused | Unreachable::NoRoute)))
}

/// No finding if no page was visited.
pub(super) fn evaluate(visits: &[Visit], expected: &Expected<'_>) -> Vec<Finding> {
    if visits.is_empty() {
        return Vec::new();
    }
    if is_absent(visits) {
        return vec![expected.server.absent()];
    }
    let origin = expected.server.origin();
    let mut findings: Vec<_> = visits.iter().map(|visit| visit.evaluate(&origin)).collect();
    let mut chains: Vec<&Chain> =
        visits.iter().filter_map(|visit| visit.outcome.as_ref().ok()).map(|page| &page.chain).collect();
    chains.dedup();
    findings.extend(chains.into_iter().flat_map(|chain| expected.evaluate_chain(chain)));
    findings
}

impl Server {
    /// Nothing listens on the port of the page.
    fn absent(&self) -> Finding {
        let text = format!("nothing listens at {}", self.origin());
        if !self.is_local {
            return SUBJECT.fail(text, "start the server, or correct the name or --https-port");
        }
        let start = if self.try_out { "webrtc-box" } else { "systemctl start webrtc-box" };
        SUBJECT.warn(
            format!("{text}: the server does not run; page, signaling and relay were not tried"),
            format!("start it ({start}) and check again"),
        )
    }
}

impl Visit {
    fn evaluate(&self, origin: &str) -> Finding {
        let place = format!("{origin} over {}", family_and_ip(self.address));
        let port = format!("{}/tcp", self.address.port());
        match &self.outcome {
            Err(Unreachable::NoRoute) => {
                SUBJECT.ok(format!("{place} was not tried: this machine has no such addresses"))
            }
            Err(error) => SUBJECT.fail(format!("{place}: {error}"), error.hint(&port)),
            Ok(page) => page.evaluate(&place, &port),
        }
    }
}

impl Page {
    /// The common name of the cluster, if `name` is one of its node names: a box redirects pages to it.
    pub(super) fn common_name(&self, name: &str) -> Option<String> {
        let target: Uri = self.location.parse().ok().filter(|_| self.status == 308)?;
        let host = target.host()?.to_ascii_lowercase();
        name.strip_suffix(&host).is_some_and(|label| label.ends_with('.')).then_some(host)
    }

    fn evaluate(&self, place: &str, port: &str) -> Finding {
        let restart = "look into the log of the server and restart it";
        match (&self.health, self.status) {
            (Some(Health::Up), 200) => {
                SUBJECT.ok(format!("{place} shows the page within {}", milliseconds(self.took)))
            }
            (Some(Health::Down { why }), _) => {
                SUBJECT.fail(format!("{place}: the server reports that it is down ({why})"), restart)
            }
            (Some(Health::Up), 421) => SUBJECT.fail(
                format!("{place}: the request arrived for another host name"),
                "let the proxy before the server keep Host, or set X-Forwarded-Host, see docs/operations.md",
            ),
            (Some(Health::Up), status) => {
                SUBJECT.fail(format!("{place} answers {status} instead of the page"), restart)
            }
            (None, status) => SUBJECT.fail(
                format!("{place} is answered ({status}) by a program other than webrtc-box"),
                format!("check which program has port {port} there, and that a proxy forwards all paths"),
            ),
        }
    }
}

impl Expected<'_> {
    fn evaluate_chain(&self, chain: &Chain) -> Vec<Finding> {
        let what = "the served certificate";
        if self.server.try_out && !chain.trust.is_trusted() {
            return vec![SUBJECT.warn(
                format!("{what} is self-signed, as always in try-out mode: browsers warn once, iPhones refuse"),
                "for more than a try-out set a name and get a certificate (--domain NAME --acme-email YOU@EXAMPLE.COM)",
            )];
        }
        if self.is_pending && !chain.trust.is_trusted() {
            let hint = "wait a minute; the log of the server shows what the authority complains about";
            return vec![SUBJECT.warn(format!("{what} is temporary, until the authority issues one"), hint)];
        }
        let context = Context { subject: SUBJECT, what, name: &self.server.name, now: self.now };
        let outdated = self.stored.filter(|stored| chain.facts.first() != Some(*stored)).map(|_| {
            let hint = "systemctl reload webrtc-box (if a proxy serves the page: reload the proxy)";
            SUBJECT.warn(format!("{what} is not the one in the file cert"), hint)
        });
        chain.evaluate(&context).into_iter().chain(outdated).collect()
    }
}

impl Redirect {
    /// `origin`: the URL of the page.
    pub(super) fn evaluate(&self, origin: &str) -> Finding {
        let port = format!("{}/tcp", self.port);
        match &self.outcome {
            Ok((301 | 302 | 307 | 308, location)) if location.starts_with("https://") => {
                SUBJECT.ok(format!("plain HTTP on {port} leads to {location}"))
            }
            Ok((status, _)) => SUBJECT.warn(
                format!("plain HTTP on {port} answers {status} and does not lead to {origin}"),
                "check that no other program has that port",
            ),
            Err(error) => SUBJECT.warn(
                format!(
                    "plain HTTP on {port}: {error}, so the name without https:// may not lead to the page"
                ),
                format!("open {port}, or check with --http-port 0 if that is intended"),
            ),
        }
    }
}

/// At least 1 ms.
pub(super) fn milliseconds(took: Duration) -> String {
    format!("{} ms", took.as_millis().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RawSettings, Settings, StateDirDefaults};
    use crate::doctor::certificate::Trust;
    use crate::doctor::report::Level;

    fn settings() -> Settings {
        let settings = RawSettings::default().validate(&StateDirDefaults::default()).unwrap();
        Settings { https_port: Some(443), ..settings }
    }

    fn example() -> Server {
        Server::local(&settings(), Some("box.example"), &[], &[])
    }

    fn expected(server: &Server) -> Expected<'_> {
        Expected { server, now: 2000, is_pending: false, stored: None }
    }

    fn facts(subject: &str) -> CertificateFacts {
        let (names, not_after) = (vec!["box.example".into()], 9_000_000);
        let (subject, issuer) = (subject.into(), "R1".into());
        CertificateFacts { subject, issuer, names, not_after, ..CertificateFacts::default() }
    }

    fn page() -> Page {
        Page {
            status: 200,
            location: String::new(),
            health: Some(Health::Up),
            chain: Chain { facts: vec![facts("leaf")], trust: Trust::Trusted },
            took: Duration::from_millis(20),
            connection_test: None,
            date: None,
        }
    }

    fn untrusted() -> Page {
        Page { chain: Chain { facts: vec![facts("leaf")], trust: Trust::UnknownIssuer }, ..page() }
    }

    fn lines(outcomes: &[Result<Page, Unreachable>], expected: &Expected<'_>) -> Vec<String> {
        let addresses = ["45.0.0.10:443", "[2a00::10]:443"].map(|text| text.parse().unwrap());
        let visits = outcomes.iter().cloned().zip(addresses);
        let visits: Vec<_> = visits.map(|(outcome, address)| Visit { address, outcome }).collect();
        evaluate(&visits, expected).iter().map(|finding| format!("{} {finding}", finding.level)).collect()
    }

    #[test]
    fn a_page_has_a_finding_per_family_and_one_for_its_certificate() {
        let lines = lines(&[Ok(page()), Ok(page())], &expected(&example()));
        assert_eq!(lines[0], "ok https://box.example/ over IPv4 (45.0.0.10) shows the page within 20 ms");
        assert_eq!(lines[1], "ok https://box.example/ over IPv6 (2a00::10) shows the page within 20 ms");
        assert!(lines[2].starts_with("ok the served certificate is trusted"), "{lines:?}");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_page_that_leads_to_the_name_above_it_is_that_of_a_box() {
        let page = |status, location: &str| Page { status, location: location.to_owned(), ..page() };
        let common = |location: &str| page(308, location).common_name("b1.a.example");
        assert_eq!(common("https://A.example:8443/").as_deref(), Some("a.example"));
        for other in ["https://b1.a.example/", "https://ba.example/", "https://b.example/", "/", ""] {
            assert_eq!(common(other), None, "{other}");
        }
        assert_eq!(page(200, "https://a.example/").common_name("b1.a.example"), None);
    }

    #[test]
    fn a_stopped_server_is_a_warning_locally_and_a_failure_remotely() {
        let refused = [Err(Unreachable::Refused), Err(Unreachable::NoRoute)];
        assert!(
            lines(&refused, &expected(&example()))[0]
                .starts_with("warn nothing listens at https://box.example/")
        );
        let remote = Server::remote(&settings(), "box.example", &[]);
        assert!(lines(&refused, &expected(&remote))[0].starts_with("fail"));
    }

    #[test]
    fn firewall_other_program_proxy_and_outage_have_their_own_texts() {
        let other = Page { health: None, ..page() };
        let lines_of_two = lines(&[Err(Unreachable::NoAnswer), Ok(other)], &expected(&example()));
        assert!(lines_of_two[0].contains("no answer; open 443/tcp in every firewall"), "{lines_of_two:?}");
        assert!(lines_of_two[1].contains("(200) by a program other than webrtc-box"), "{lines_of_two:?}");
        let misdirected = Page { status: 421, ..page() };
        assert!(
            lines(&[Ok(misdirected)], &expected(&example()))[0]
                .contains("let the proxy before the server keep Host")
        );
        let down = Page {
            status: 503,
            health: Some(Health::Down { why: "the relay has stopped".into() }),
            ..page()
        };
        assert!(lines(&[Ok(down)], &expected(&example()))[0].contains("it is down (the relay has stopped)"));
    }

    #[test]
    fn a_self_signed_certificate_in_try_out_mode_is_a_warning() {
        assert!(lines(&[Ok(untrusted())], &expected(&example()))[1].starts_with("fail"));
        let lines = lines(&[Ok(untrusted())], &expected(&Server::local(&settings(), None, &[], &[])));
        assert!(lines[1].starts_with("warn the served certificate is self-signed"), "{lines:?}");
    }

    #[test]
    fn a_temporary_certificate_is_a_warning_while_acme_is_pending() {
        let lines = lines(&[Ok(untrusted())], &Expected { is_pending: true, ..expected(&example()) });
        assert!(lines[1].starts_with("warn the served certificate is temporary"), "{lines:?}");
    }

    #[test]
    fn a_renewed_certificate_that_is_not_served_is_a_warning() {
        let renewed = facts("another leaf");
        let outdated = lines(&[Ok(page())], &Expected { stored: Some(&renewed), ..expected(&example()) });
        assert!(outdated[2].starts_with("warn the served certificate is not the one in the file cert"));
        let same = facts("leaf");
        assert_eq!(lines(&[Ok(page())], &Expected { stored: Some(&same), ..expected(&example()) }).len(), 2);
    }

    #[test]
    fn a_missing_redirect_is_a_warning() {
        let evaluate = |outcome| Redirect { port: 80, outcome }.evaluate("https://box.example/");
        assert_eq!(evaluate(Ok((308, "https://box.example/".into()))).level, Level::Ok);
        assert_eq!(evaluate(Ok((200, String::new()))).level, Level::Warn);
        assert!(evaluate(Err(Unreachable::NoAnswer)).hint.unwrap().contains("--http-port 0"));
    }
}
