//! The relay over each transport: two allocations of one credential, and a packet from one to the other and
//! back. Without a credential, a STUN Binding.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use webrtc_box_turn::addr::Transport;
use webrtc_box_turn::credential::Credential;

use super::certificate::{SystemRoots, Trust};
use super::connection::{self, Unreachable, family_and_ip};
use super::report::{Finding, Level, Subject};
use super::server::Server;
use super::turn_client::{TurnClient, TurnError};

const SUBJECT: Subject = Subject::Relay;
/// For one route, connections included.
const ROUTE_LIMIT: Duration = Duration::from_secs(6);
/// For all requests of one route once it is connected.
const REQUESTS_LIMIT: Duration = Duration::from_secs(5);
/// For one packet to come through.
const PACKET_LIMIT: Duration = Duration::from_millis(700);
/// How often a packet is sent until two have come through.
const PACKETS: usize = 5;
/// For an allocation to be deleted; otherwise it expires.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);
/// For all routes that are tried again because of a quota, and the pause before each.
const RETRY_LIMIT: Duration = Duration::from_secs(2);
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// ALPN that distinguishes TURN from HTTP on one port (RFC 7443).
const ALPN: &[u8] = b"stun.turn";

/// A transport and an address of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) transport: Transport,
    pub(super) address: SocketAddr,
}

/// What every route needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access<'a> {
    pub(super) server: &'a Server,
    /// `None`: only a Binding is sent.
    pub(super) credential: Option<&'a Credential>,
    pub(super) roots: &'a SystemRoots,
}

/// The result of one route.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    route: Route,
    pub(super) outcome: Result<Success, TurnError>,
    /// Over TLS: the result of verifying the certificate.
    trust: Option<Trust>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Success {
    /// A packet went from one allocation to another and back.
    Relayed { round_trip: Duration },
    /// A Binding was answered.
    Answered,
}

impl Access<'_> {
    /// Tries all routes at once, and those that hit a quota again, one after the other.
    pub(super) async fn observe(self, routes: Vec<Route>) -> Vec<Attempt> {
        let mut attempts = join_all(routes.into_iter().map(|route| self.attempt(route))).await;
        let retry = async {
            for attempt in &mut attempts {
                while attempt.outcome.as_ref().is_err_and(TurnError::is_quota) {
                    // The deleted allocations of the previous route still count for a moment.
                    sleep(RETRY_PAUSE).await;
                    *attempt = self.attempt(attempt.route).await;
                }
            }
        };
        // Routes that are not tried again by then keep their result.
        let _ = timeout(RETRY_LIMIT, retry).await;
        attempts
    }

    async fn attempt(self, route: Route) -> Attempt {
        let attempt = async {
            match self.connect(route).await {
                Err(error) => (Err(error.into()), None),
                Ok((client, trust)) => (self.relay(route, client).await, trust),
            }
        };
        let no_answer = (Err(TurnError::Unreachable(Unreachable::NoAnswer)), None);
        let (outcome, trust) = timeout(ROUTE_LIMIT, attempt).await.unwrap_or(no_answer);
        Attempt { route, outcome, trust }
    }

    async fn connect(self, route: Route) -> Result<(TurnClient, Option<Trust>), Unreachable> {
        let (address, server) = (route.address, self.server);
        let (mut client, trust) = match route.transport {
            Transport::Udp => (TurnClient::udp(address).await?, None),
            Transport::Tcp => (TurnClient::stream(connection::tcp(address, &server.proxies).await?), None),
            Transport::Tls => {
                let tls = connection::tls(address, &server.proxies, &server.name, &[ALPN]).await?;
                let trust = self.roots.verify(&tls.chain, &server.name).trust;
                (TurnClient::stream(tls.stream), Some(trust))
            }
        };
        client.credential = self.credential.cloned();
        Ok((client, trust))
    }

    async fn relay(self, route: Route, mut first: TurnClient) -> Result<Success, TurnError> {
        let requests = async {
            if self.credential.is_none() {
                return first.binding().await.map(|_| Success::Answered);
            }
            let (mut second, _) = self.connect(route).await?;
            let (near, far) = tokio::join!(first.allocate(), second.allocate());
            let round_trip = match (&near, &far) {
                (Ok(near), Ok(far)) => round_trip((&mut first, *near), (&mut second, *far)).await,
                (Err(error), _) | (_, Err(error)) => Err(error.clone()),
            };
            let release = async |client: &mut TurnClient, is_allocated| {
                if is_allocated {
                    let _ = timeout(RELEASE_LIMIT, client.release()).await;
                }
            };
            tokio::join!(release(&mut first, near.is_ok()), release(&mut second, far.is_ok()));
            round_trip.map(|round_trip| Success::Relayed { round_trip })
        };
        timeout(REQUESTS_LIMIT, requests).await.unwrap_or(Err(Unreachable::NoAnswer.into()))
    }
}

/// The time of a packet from `near` to `far` and back; each is a client with its relayed address.
async fn round_trip(
    (near, near_address): (&mut TurnClient, SocketAddr),
    (far, far_address): (&mut TurnClient, SocketAddr),
) -> Result<Duration, TurnError> {
    tokio::try_join!(near.bind_channel(far_address), far.bind_channel(near_address))?;
    let mut last = None;
    for number in 0..PACKETS {
        let (ping, pong) = (format!("ping {number}"), format!("pong {number}"));
        let start = Instant::now();
        near.send_data(ping.as_bytes()).await?;
        if !receives(far, &ping).await? {
            continue;
        }
        far.send_data(pong.as_bytes()).await?;
        // The first packet may wait for caches along the path; the second one is measured.
        if receives(near, &pong).await? && last.replace(start.elapsed()).is_some() {
            break;
        }
    }
    last.ok_or(TurnError::PacketLost)
}

/// Whether `payload` arrives in time.
async fn receives(client: &mut TurnClient, payload: &str) -> Result<bool, TurnError> {
    let arrives = async {
        while client.receive_data().await? != payload.as_bytes() {}
        Ok(true)
    };
    timeout(PACKET_LIMIT, arrives).await.unwrap_or(Ok(false))
}

/// `lenient`: an untrusted certificate is expected. `credential_error`: why there is no credential.
pub(super) fn evaluate(attempts: &[Attempt], lenient: bool, credential_error: Option<&str>) -> Vec<Finding> {
    if attempts.is_empty() {
        let text = "the relay is off (turn-port 0): participants in strict networks cannot connect";
        return vec![SUBJECT.warn(text, "set turn-port, usually to 3478")];
    }
    let has_alternative = |one: &Attempt| attempts.iter().any(|other| other.replaces(one));
    let each = attempts.iter().map(|one| one.evaluate(lenient, has_alternative(one)));
    let untested = credential_error.map(|reason| {
        SUBJECT.warn(
            format!("no allocation was tried, because there is no credential ({reason})"),
            "fix the page, which provides them, or run as a user that may read the state directory",
        )
    });
    each.chain(untested).collect()
}

impl Attempt {
    /// Whether browsers can use this route instead of `other`: TLS on another port.
    fn replaces(&self, other: &Self) -> bool {
        let both_tls = [self, other].iter().all(|one| one.route.transport == Transport::Tls);
        let same_family = self.route.address.is_ipv4() == other.route.address.is_ipv4();
        self.route != other.route && both_tls && same_family && self.outcome.is_ok()
    }

    fn evaluate(&self, lenient: bool, has_alternative: bool) -> Finding {
        let route = self.route;
        let error = match &self.outcome {
            Ok(success) => return self.evaluate_success(*success, lenient),
            Err(error) => error,
        };
        let hint: &str = match error {
            TurnError::Unreachable(Unreachable::NoRoute) => {
                return SUBJECT.ok(format!("{route} was not tried: this machine has no such addresses"));
            }
            TurnError::Unreachable(error) => {
                let protocol = if route.transport == Transport::Udp { "udp" } else { "tcp" };
                &error.hint(&format!("{}/{protocol}", route.address.port()))
            }
            TurnError::Rejected { .. } if error.is_quota() => {
                "try again with fewer calls, or raise user-quota and total-quota"
            }
            TurnError::Rejected { .. } => {
                "look into the log of the server, and check that it uses the static-auth-secret set here"
            }
            TurnError::PacketLost => {
                "look into the log of the server; a limit may be reached (max-bps, bps-capacity)"
            }
        };
        // Browsers use any route that works; and a relay that is full was reached.
        let level = if has_alternative || error.is_quota() { Level::Warn } else { Level::Fail };
        Finding { level, ..SUBJECT.fail(format!("{route}: {error}"), hint) }
    }

    fn evaluate_success(&self, success: Success, lenient: bool) -> Finding {
        let route = self.route;
        if let Some(trust) = self.trust.as_ref().filter(|trust| trust.is_refused() && !lenient) {
            let text = format!("{route} answers, but its certificate is {trust}, so browsers do not use it");
            return SUBJECT.fail(text, "use a certificate like that of the page");
        }
        match success {
            Success::Relayed { round_trip } => {
                let ms = (round_trip.as_secs_f64() * 10_000.0).round().max(1.0) / 10.0;
                let text = format!("{route}: a packet went through the relay and back in {ms} ms");
                Finding { round_trip_ms: Some(ms), ..SUBJECT.ok(text) }
            }
            Success::Answered => SUBJECT.ok(format!("{route} answers")),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        };
        write!(f, "{transport} on {} over {}", self.address.port(), family_and_ip(self.address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(transport: Transport, address: &str, outcome: Result<Success, TurnError>) -> Attempt {
        let route = Route { transport, address: address.parse().unwrap() };
        Attempt { route, outcome, trust: (transport == Transport::Tls).then_some(Trust::Trusted) }
    }

    fn relayed() -> Result<Success, TurnError> {
        Ok(Success::Relayed { round_trip: Duration::from_micros(440) })
    }

    fn unreachable(error: Unreachable) -> Result<Success, TurnError> {
        Err(TurnError::Unreachable(error))
    }

    fn lines(attempts: &[Attempt]) -> Vec<String> {
        let findings = evaluate(attempts, false, None);
        findings.iter().map(|finding| format!("{} {finding}", finding.level)).collect()
    }

    #[test]
    fn a_relayed_packet_is_reported_with_its_round_trip() {
        let found = evaluate(&[attempt(Transport::Udp, "45.0.0.10:3478", relayed())], false, None);
        let text = "UDP on 3478 over IPv4 (45.0.0.10): a packet went through the relay and back in 0.4 ms";
        assert_eq!((found[0].text.as_str(), found[0].round_trip_ms), (text, Some(0.4)));
    }

    #[test]
    fn a_blocked_port_is_named_in_the_hint() {
        let silent = attempt(Transport::Udp, "45.0.0.10:3478", unreachable(Unreachable::NoAnswer));
        let start = "fail UDP on 3478 over IPv4 (45.0.0.10): no answer; open 3478/udp";
        assert!(lines(&[silent])[0].starts_with(start));
        let refused = attempt(Transport::Tcp, "[2a00::1]:3478", unreachable(Unreachable::Refused));
        assert!(lines(&[refused])[0].contains("nothing listens there"));
    }

    #[test]
    fn one_of_two_tls_ports_is_enough() {
        let silent = || unreachable(Unreachable::NoAnswer);
        let second = attempt(Transport::Tls, "45.0.0.10:5349", silent());
        let with = |address: &str, outcome| {
            lines(&[attempt(Transport::Tls, address, outcome), second.clone()])[1].clone()
        };
        assert!(with("45.0.0.10:443", relayed()).starts_with("warn"));
        assert!(with("[2a00::1]:443", relayed()).starts_with("fail"));
        assert!(with("45.0.0.10:443", silent()).starts_with("fail"));
    }

    #[test]
    fn an_untrusted_certificate_fails_unless_it_is_expected() {
        let attempt = attempt(Transport::Tls, "45.0.0.10:443", relayed());
        let untrusted = Attempt { trust: Some(Trust::WrongName), ..attempt };
        assert!(lines(std::slice::from_ref(&untrusted))[0].contains("its certificate is for another name"));
        assert_eq!(evaluate(std::slice::from_ref(&untrusted), true, None)[0].level, Level::Ok);
        let unknown = Attempt { trust: Some(Trust::NoRoots), ..untrusted };
        assert_eq!(evaluate(&[unknown], false, None)[0].level, Level::Ok, "the page has a finding for it");
    }

    #[test]
    fn a_rejected_lost_or_missing_relay_is_reported() {
        let udp = |error| lines(&[attempt(Transport::Udp, "45.0.0.10:3478", Err(error))])[0].clone();
        let rejected = |code| udp(TurnError::Rejected { code, reason: String::new() });
        assert!(rejected(401).starts_with("fail"));
        let full = rejected(486);
        assert!(full.starts_with("warn") && full.contains("user-quota"), "{full}");
        assert!(udp(TurnError::PacketLost).starts_with("fail"));
        assert!(lines(&[])[0].starts_with("warn the relay is off"));
    }

    #[test]
    fn without_a_credential_the_report_names_what_was_not_tried() {
        let answered = attempt(Transport::Udp, "45.0.0.10:3478", Ok(Success::Answered));
        let found = evaluate(&[answered], false, Some("the page does not answer"));
        assert_eq!(found[0].text, "UDP on 3478 over IPv4 (45.0.0.10) answers");
        assert!(found[1].text.contains("the page does not answer") && found[1].level == Level::Warn);
    }
}
