//! The page over HTTPS with its certificate, and the redirect from plain HTTP.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant, UNIX_EPOCH};

use hyper::header::{DATE, HeaderMap, LOCATION};
use ipnet::IpNet;
use serde::Deserialize;
use webrtc_box_turn::credential::Credential;

use super::certificate::{Chain, Context, SystemRoots};
use super::connection::{self, HttpConnection, Unreachable, family_and_ip, within};
use super::report::{Finding, Subject};
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

#[derive(Clone, Debug, PartialEq, Eq)]
enum Health {
    Up,
    /// With the reason.
    Down(String),
}

/// `/healthz`.
#[derive(Deserialize)]
struct HealthResponse {
    status: String,
    #[serde(default)]
    why: String,
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

/// What the findings depend on besides the responses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    /// The name in the certificate.
    pub(super) name: &'a str,
    /// The URL of the page.
    pub(super) origin: &'a str,
    /// A self-signed certificate is expected.
    pub(super) try_out: bool,
    /// The server is set up on this host.
    pub(super) is_local: bool,
    pub(super) now: UnixSeconds,
    /// ACME has not got a certificate yet.
    pub(super) is_pending: bool,
    /// The leaf in the `cert` file.
    pub(super) stored: Option<&'a CertificateFacts>,
}

/// `host` is the name, with the port if it is not 443.
pub(super) async fn observe(
    address: SocketAddr,
    proxies: &[IpNet],
    name: &str,
    host: &str,
    roots: &SystemRoots,
) -> Visit {
    let visit = async {
        let start = Instant::now();
        let tls = connection::tls(address, proxies, name, &[b"http/1.1"]).await?;
        let mut http = HttpConnection::open(tls.stream).await?;
        let page = http.get(host, "/").await?;
        let took = start.elapsed();
        let health = http.get(host, "/healthz").await.ok();
        let test = http.get(host, "/test.json").await.ok();
        Ok(Page {
            status: page.status.as_u16(),
            health: health.and_then(|response| Health::read(&response.body)),
            chain: roots.verify(&tls.chain, name),
            took,
            connection_test: test.and_then(|response| serde_json::from_slice(&response.body).ok()),
            date: date(&page.headers),
        })
    };
    Visit { address, outcome: within(VISIT_LIMIT, visit).await }
}

pub(super) async fn observe_redirect(address: SocketAddr, name: &str) -> Redirect {
    let visit = async {
        let mut http = HttpConnection::open(connection::tcp(address, &[]).await?).await?;
        let response = http.get(name, "/").await?;
        let location = response.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        Ok((response.status.as_u16(), location.unwrap_or_default().to_owned()))
    };
    Redirect { port: address.port(), outcome: visit.await }
}

fn date(headers: &HeaderMap) -> Option<UnixSeconds> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    date.duration_since(UNIX_EPOCH).ok().as_ref().map(Duration::as_secs)
}

impl Health {
    fn read(body: &[u8]) -> Option<Self> {
        let HealthResponse { status, why } = serde_json::from_slice(body).ok()?;
        match status.as_str() {
            "up" => Some(Self::Up),
            "down" => Some(Self::Down(why)),
            _ => None,
        }
    }
}

impl ConnectionTest {
    /// Ports of the probes named `name`.
    pub(super) fn ports(&self, name: &str) -> BTreeSet<u16> {
        self.probes.iter().filter(|probe| probe.name == name).map(|probe| probe.port).collect()
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

pub(super) fn evaluate(visits: &[Visit], expected: &Expected<'_>) -> Vec<Finding> {
    if is_absent(visits) {
        return vec![expected.evaluate_absence()];
    }
    let mut findings: Vec<_> = visits.iter().map(|visit| expected.evaluate_visit(visit)).collect();
    let mut chains: Vec<&Chain> =
        visits.iter().filter_map(|visit| visit.outcome.as_ref().ok()).map(|page| &page.chain).collect();
    chains.dedup();
    findings.extend(chains.into_iter().flat_map(|chain| expected.evaluate_chain(chain)));
    findings
}

pub(super) fn evaluate_redirect(redirect: &Redirect, expected: &Expected<'_>) -> Finding {
    let port = format!("{}/tcp", redirect.port);
    match &redirect.outcome {
        Ok((301 | 302 | 307 | 308, location)) if location.starts_with("https://") => {
            Finding::ok(SUBJECT, format!("plain HTTP on {port} leads to {location}"))
        }
        Ok((status, _)) => {
            let text =
                format!("plain HTTP on {port} answers {status} and does not lead to {}", expected.origin);
            Finding::warn(SUBJECT, text, "check that no other program has that port")
        }
        Err(error) => {
            let text = format!(
                "plain HTTP on {port}: {error}, so the name without https:// may not lead to the page"
            );
            let hint = format!("open {port}, or check with --http-port 0 if that is intended");
            Finding::warn(SUBJECT, text, hint)
        }
    }
}

impl Expected<'_> {
    fn evaluate_absence(&self) -> Finding {
        let text = format!("nothing listens at {}", self.origin);
        if self.is_local {
            let text = format!("{text}: the server does not run; page, signaling and relay were not tried");
            let start = if self.try_out { "webrtc-box" } else { "systemctl start webrtc-box" };
            return Finding::warn(SUBJECT, text, format!("start it ({start}) and check again"));
        }
        Finding::fail(SUBJECT, text, "start the server, or correct the name or --https-port")
    }

    fn evaluate_visit(&self, visit: &Visit) -> Finding {
        let place = format!("{} over {}", self.origin, family_and_ip(visit.address));
        let port = format!("{}/tcp", visit.address.port());
        match &visit.outcome {
            Err(Unreachable::NoRoute) => {
                Finding::ok(SUBJECT, format!("{place} was not tried: this machine has no such addresses"))
            }
            Err(error) => Finding::fail(SUBJECT, format!("{place}: {error}"), error.hint(&port)),
            Ok(page) => page.evaluate(&place, &port),
        }
    }

    fn evaluate_chain(&self, chain: &Chain) -> Vec<Finding> {
        let what = "the served certificate";
        let warn = |text: String, hint: &str| Finding::warn(SUBJECT, text, hint);
        if self.try_out && !chain.trust.is_trusted() {
            let text = format!(
                "{what} is self-signed, as always in try-out mode: browsers warn once, iPhones refuse"
            );
            let hint = "for more than a try-out set a name and get a certificate (--domain NAME --acme-email YOU@EXAMPLE.COM)";
            return vec![warn(text, hint)];
        }
        if self.is_pending && !chain.trust.is_trusted() {
            let text = format!("{what} is temporary, until the authority issues one");
            let hint = "wait a minute; the log of the server shows what the authority complains about";
            return vec![warn(text, hint)];
        }
        let context = Context { subject: SUBJECT, what, name: self.name, now: self.now };
        let outdated = self.stored.filter(|stored| chain.facts.first() != Some(*stored)).map(|_| {
            let hint = "systemctl reload webrtc-box (if a proxy serves the page: reload the proxy)";
            warn(format!("{what} is not the one in the file cert"), hint)
        });
        chain.evaluate(&context).into_iter().chain(outdated).collect()
    }
}

impl Page {
    fn evaluate(&self, place: &str, port: &str) -> Finding {
        let fail = |text: String, hint: &str| Finding::fail(SUBJECT, text, hint);
        let restart = "look into the log of the server and restart it";
        match (&self.health, self.status) {
            (Some(Health::Up), 200) => {
                Finding::ok(SUBJECT, format!("{place} shows the page within {}", milliseconds(self.took)))
            }
            (Some(Health::Down(reason)), _) => {
                fail(format!("{place}: the server reports that it is down ({reason})"), restart)
            }
            (Some(Health::Up), 421) => fail(
                format!("{place}: the request arrived for another host name"),
                "let the proxy before the server keep Host, or set X-Forwarded-Host, see docs/operations.md",
            ),
            (Some(Health::Up), status) => {
                fail(format!("{place} answers {status} instead of the page"), restart)
            }
            (None, status) => fail(
                format!("{place} is answered ({status}) by a program other than webrtc-box"),
                &format!("check which program has port {port} there, and that a proxy forwards all paths"),
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
    use crate::doctor::certificate::Trust;
    use crate::doctor::report::Level;

    fn expected<'a>() -> Expected<'a> {
        Expected {
            name: "box.example",
            origin: "https://box.example/",
            try_out: false,
            is_local: true,
            now: 2000,
            is_pending: false,
            stored: None,
        }
    }

    fn facts(subject: &str) -> CertificateFacts {
        let (names, not_after) = (vec!["box.example".into()], 9_000_000);
        let (subject, issuer) = (subject.into(), "R1".into());
        CertificateFacts { subject, issuer, names, not_after, ..CertificateFacts::default() }
    }

    fn page() -> Page {
        Page {
            status: 200,
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
        let lines = lines(&[Ok(page()), Ok(page())], &expected());
        assert_eq!(lines[0], "ok https://box.example/ over IPv4 (45.0.0.10) shows the page within 20 ms");
        assert_eq!(lines[1], "ok https://box.example/ over IPv6 (2a00::10) shows the page within 20 ms");
        assert!(lines[2].starts_with("ok the served certificate is trusted"), "{lines:?}");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_stopped_server_is_a_warning_locally_and_a_failure_remotely() {
        let refused = [Err(Unreachable::Refused), Err(Unreachable::NoRoute)];
        assert!(lines(&refused, &expected())[0].starts_with("warn nothing listens at https://box.example/"));
        let remote = Expected { is_local: false, ..expected() };
        assert!(lines(&refused, &remote)[0].starts_with("fail"));
    }

    #[test]
    fn firewall_other_program_proxy_and_outage_are_told_apart() {
        let other = Page { health: None, ..page() };
        let lines_of_two = lines(&[Err(Unreachable::NoAnswer), Ok(other)], &expected());
        assert!(lines_of_two[0].contains("no answer; open 443/tcp in every firewall"), "{lines_of_two:?}");
        assert!(lines_of_two[1].contains("(200) by a program other than webrtc-box"), "{lines_of_two:?}");
        let misdirected = Page { status: 421, ..page() };
        assert!(
            lines(&[Ok(misdirected)], &expected())[0].contains("let the proxy before the server keep Host")
        );
        let down = Page { status: 503, health: Some(Health::Down("the relay has stopped".into())), ..page() };
        assert!(lines(&[Ok(down)], &expected())[0].contains("it is down (the relay has stopped)"));
    }

    #[test]
    fn a_self_signed_certificate_in_try_out_mode_is_a_warning() {
        assert!(lines(&[Ok(untrusted())], &expected())[1].starts_with("fail"));
        let lines = lines(&[Ok(untrusted())], &Expected { try_out: true, ..expected() });
        assert!(lines[1].starts_with("warn the served certificate is self-signed"), "{lines:?}");
    }

    #[test]
    fn a_temporary_certificate_is_a_warning_while_acme_is_pending() {
        let lines = lines(&[Ok(untrusted())], &Expected { is_pending: true, ..expected() });
        assert!(lines[1].starts_with("warn the served certificate is temporary"), "{lines:?}");
    }

    #[test]
    fn a_renewed_certificate_that_is_not_served_is_a_warning() {
        let renewed = facts("another leaf");
        let outdated = lines(&[Ok(page())], &Expected { stored: Some(&renewed), ..expected() });
        assert!(outdated[2].starts_with("warn the served certificate is not the one in the file cert"));
        let same = facts("leaf");
        assert_eq!(lines(&[Ok(page())], &Expected { stored: Some(&same), ..expected() }).len(), 2);
    }

    #[test]
    fn a_missing_redirect_is_a_warning() {
        let evaluate = |outcome| evaluate_redirect(&Redirect { port: 80, outcome }, &expected());
        assert_eq!(evaluate(Ok((308, "https://box.example/".into()))).level, Level::Ok);
        assert_eq!(evaluate(Ok((200, String::new()))).level, Level::Warn);
        assert!(evaluate(Err(Unreachable::NoAnswer)).hint.unwrap().contains("--http-port 0"));
    }
}
