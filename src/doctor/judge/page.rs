//! The page over HTTPS, the redirect to it, and the WebSocket.

use std::net::SocketAddr;
use std::time::Duration;

use super::certificate::{Chain, Facts, Trust};
use super::{Trouble, over};
use crate::clock::UnixSeconds;
use crate::doctor::report::{Finding, Group};

/// One address that was asked for the page.
#[derive(Clone, Debug)]
pub(in crate::doctor) struct Visit {
    pub(in crate::doctor) address: SocketAddr,
    pub(in crate::doctor) outcome: Result<Visited, Trouble>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(in crate::doctor) struct Visited {
    /// Of the page.
    pub(in crate::doctor) status: u16,
    /// What `/healthz` says; `None` where that is not what a box says.
    pub(in crate::doctor) health: Option<Health>,
    /// The chain that was served.
    pub(in crate::doctor) facts: Vec<Facts>,
    pub(in crate::doctor) trust: Trust,
    pub(in crate::doctor) took: Duration,
}

/// How a box says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Health {
    Up,
    Down(String),
}

/// What plain HTTP comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Redirect {
    pub(in crate::doctor) port: u16,
    /// Status and `Location`.
    pub(in crate::doctor) outcome: Result<(u16, String), Trouble>,
}

/// What asking for a seat comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Joined {
    /// A seat, and how many URLs of STUN and TURN with it.
    Seated { took: Duration, urls: usize },
    /// This box wants a host key for a new room.
    KeyRequired,
    /// An error frame of the box.
    Refused(String),
    /// It did not come to frames.
    NoSocket(String),
}

/// What is known beforehand.
#[derive(Clone, Copy, Debug)]
pub(in crate::doctor) struct Expected<'a> {
    /// The name in the certificate.
    pub(in crate::doctor) name: &'a str,
    /// As people type it.
    pub(in crate::doctor) origin: &'a str,
    /// A self-signed certificate is meant.
    pub(in crate::doctor) try_out: bool,
    /// The box is set up on this host.
    pub(in crate::doctor) here: bool,
    pub(in crate::doctor) now: UnixSeconds,
    /// The authority has not issued a certificate yet.
    pub(in crate::doctor) awaited: bool,
    /// The leaf in the `cert` file.
    pub(in crate::doctor) on_disk: Option<&'a Facts>,
}

const GROUP: Group = Group::Page;

/// Whether nothing at all listens.
pub(in crate::doctor) fn is_absent(visits: &[Visit]) -> bool {
    visits.iter().all(|visit| matches!(visit.outcome, Err(Trouble::Refused | Trouble::NoRoute)))
}

pub(in crate::doctor) fn judge(visits: &[Visit], expected: &Expected<'_>) -> Vec<Finding> {
    if is_absent(visits) {
        return vec![expected.absent()];
    }
    let mut findings: Vec<_> = visits.iter().map(|visit| expected.visit(visit)).collect();
    let mut served: Vec<&Visited> = visits.iter().filter_map(|visit| visit.outcome.as_ref().ok()).collect();
    served.dedup_by(|one, other| one.facts == other.facts && one.trust == other.trust);
    findings.extend(served.into_iter().flat_map(|visited| expected.chain(visited)));
    findings
}

pub(in crate::doctor) fn judge_redirect(redirect: &Redirect, expected: &Expected<'_>) -> Finding {
    let port = format!("{}/tcp", redirect.port);
    match &redirect.outcome {
        Ok((301 | 302 | 307 | 308, location)) if location.starts_with("https://") => {
            Finding::ok(GROUP, format!("plain HTTP on {port} leads to {location}"))
        }
        Ok((status, _)) => {
            let text =
                format!("plain HTTP on {port} answers {status} and does not lead to {}", expected.origin);
            Finding::warn(GROUP, text, "see that nothing else has that port")
        }
        Err(trouble) => {
            let text =
                format!("plain HTTP on {port}: {trouble}, so whoever types the bare name may find nothing");
            Finding::warn(GROUP, text, format!("open {port}, or check with --http-port 0 if that is meant"))
        }
    }
}

pub(in crate::doctor) fn judge_join(joined: &Joined) -> Finding {
    let group = Group::Signaling;
    match joined {
        Joined::Seated { took, urls } => {
            let text = format!("a seat in an empty room was given and given back within {}", millis(*took));
            Finding::ok(group, format!("{text}, with {urls} URLs of STUN and TURN"))
        }
        Joined::KeyRequired => {
            Finding::ok(group, "the WebSocket answers; a new room takes a host key here, so none was opened")
        }
        Joined::Refused(why) => {
            let cure = "see its log, and try again in a minute";
            Finding::fail(group, format!("the box gives no seat ({why})"), cure)
        }
        Joined::NoSocket(why) => {
            let cure = "where a proxy stands before the box, let it pass Upgrade and Connection on for /ws, \
                see docs/operations.md";
            Finding::fail(group, format!("the WebSocket /ws does not open ({why})"), cure)
        }
    }
}

impl Expected<'_> {
    fn absent(&self) -> Finding {
        let text = format!("nothing listens at {}", self.origin);
        if self.here {
            let text = format!("{text}: the box does not run, so page, signaling and relay were not tried");
            let start = if self.try_out { "webrtc-box" } else { "systemctl start webrtc-box" };
            return Finding::warn(GROUP, text, format!("start it ({start}) and check again"));
        }
        Finding::fail(GROUP, text, "start the box, or correct the name or --https-port")
    }

    fn visit(&self, visit: &Visit) -> Finding {
        let place = format!("{} over {}", self.origin, over(visit.address));
        let port = format!("{}/tcp", visit.address.port());
        match &visit.outcome {
            Err(Trouble::NoRoute) => {
                Finding::ok(GROUP, format!("{place} was not tried: this machine has no such addresses"))
            }
            Err(trouble) => Finding::fail(GROUP, format!("{place}: {trouble}"), trouble.cure(&port)),
            Ok(visited) => visited.judge(&place, &port),
        }
    }

    fn chain(&self, visited: &Visited) -> Vec<Finding> {
        let what = "the certificate that is served";
        if self.try_out && !visited.trust.is_full() {
            let text = format!(
                "{what} is signed by itself, as in every try-out: browsers warn once, iPhones refuse"
            );
            let cure = "for more than trying out give the box a name and a certificate (--domain NAME --acme-email YOU@EXAMPLE.COM)";
            return vec![Finding::warn(GROUP, text, cure)];
        }
        let (facts, trust) = (&visited.facts, &visited.trust);
        if self.awaited && !trust.is_full() {
            let text = format!("{what} stands in for the one that the authority is to issue");
            return vec![Finding::warn(
                GROUP,
                text,
                "wait a minute; the box's log says what the authority misses",
            )];
        }
        let chain = Chain { group: GROUP, what, name: self.name, now: self.now, facts, trust };
        let stale = self.on_disk.filter(|on_disk| facts.first() != Some(*on_disk)).map(|_| {
            let cure = "systemctl reload webrtc-box (where a proxy has the page: reload that)";
            Finding::warn(GROUP, format!("{what} is not the one in the file cert"), cure)
        });
        chain.judge().into_iter().chain(stale).collect()
    }
}

impl Visited {
    fn judge(&self, place: &str, port: &str) -> Finding {
        let see_its_log = "see the box's log and start it again";
        match (&self.health, self.status) {
            (Some(Health::Up), 200) => {
                Finding::ok(GROUP, format!("{place} shows the page within {}", millis(self.took)))
            }
            (Some(Health::Down(why)), _) => {
                Finding::fail(GROUP, format!("{place}: the box says that it is down ({why})"), see_its_log)
            }
            (Some(Health::Up), 421) => Finding::fail(
                GROUP,
                format!("{place}: the box was asked for another host"),
                "let the proxy before it pass Host on or set X-Forwarded-Host, see docs/operations.md",
            ),
            (Some(Health::Up), status) => {
                Finding::fail(GROUP, format!("{place} answers {status} instead of the page"), see_its_log)
            }
            (None, status) => Finding::fail(
                GROUP,
                format!("{place} is answered ({status}) by something that is not webrtc-box"),
                format!("see what has port {port} there, and that a proxy passes everything on"),
            ),
        }
    }
}

fn millis(took: Duration) -> String {
    format!("{} ms", took.as_millis().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Mark;

    fn expected<'a>() -> Expected<'a> {
        Expected {
            name: "box.example",
            origin: "https://box.example/",
            try_out: false,
            here: true,
            now: 2000,
            awaited: false,
            on_disk: None,
        }
    }

    fn facts(subject: &str) -> Facts {
        let (names, not_after) = (vec!["box.example".into()], 9_000_000);
        Facts { subject: subject.into(), issuer: "R1".into(), names, not_after, ..Facts::default() }
    }

    fn visited() -> Visited {
        Visited {
            status: 200,
            health: Some(Health::Up),
            facts: vec![facts("leaf")],
            trust: Trust::Trusted,
            took: Duration::from_millis(20),
        }
    }

    fn said(outcomes: &[Result<Visited, Trouble>], expected: &Expected<'_>) -> Vec<String> {
        let addresses = ["45.0.0.10:443", "[2a00::10]:443"].map(|text| text.parse().unwrap());
        let visits = outcomes.iter().cloned().zip(addresses);
        let visits: Vec<_> = visits.map(|(outcome, address)| Visit { address, outcome }).collect();
        judge(&visits, expected).iter().map(|finding| format!("{} {finding}", finding.mark)).collect()
    }

    #[test]
    fn a_page_that_shows_is_a_line_for_each_family_and_one_for_its_certificate() {
        let lines = said(&[Ok(visited()), Ok(visited())], &expected());
        assert_eq!(lines[0], "ok https://box.example/ over IPv4 (45.0.0.10) shows the page within 20 ms");
        assert_eq!(lines[1], "ok https://box.example/ over IPv6 (2a00::10) shows the page within 20 ms");
        assert!(lines[2].starts_with("ok the certificate that is served is trusted"), "{lines:?}");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_box_that_does_not_run_is_a_warning_here_and_a_failure_from_elsewhere() {
        let refused = [Err(Trouble::Refused), Err(Trouble::NoRoute)];
        assert!(said(&refused, &expected())[0].starts_with("warn nothing listens at https://box.example/"));
        let elsewhere = Expected { here: false, ..expected() };
        assert!(said(&refused, &elsewhere)[0].starts_with("fail"));
    }

    #[test]
    fn a_firewall_and_a_stranger_are_told_apart() {
        let lines = said(&[Err(Trouble::Silent), Ok(Visited { health: None, ..visited() })], &expected());
        assert!(lines[0].contains("no answer; open 443/tcp in every firewall"), "{lines:?}");
        assert!(lines[1].contains("(200) by something that is not webrtc-box"), "{lines:?}");
        let misdirected = Visited { status: 421, ..visited() };
        assert!(said(&[Ok(misdirected)], &expected())[0].contains("let the proxy before it pass Host on"));
        let health = Some(Health::Down("the relay has stopped".into()));
        let down = Visited { status: 503, health, ..visited() };
        assert!(said(&[Ok(down)], &expected())[0].contains("it is down (the relay has stopped)"));
    }

    #[test]
    fn trying_out_a_certificate_signed_by_itself_is_a_warning() {
        let own = Visited { trust: Trust::UnknownIssuer, ..visited() };
        assert!(said(&[Ok(own.clone())], &expected())[1].starts_with("fail"));
        let trying = Expected { try_out: true, ..expected() };
        let lines = said(&[Ok(own)], &trying);
        assert!(lines[1].starts_with("warn the certificate that is served is signed by itself"), "{lines:?}");
    }

    #[test]
    fn a_certificate_that_is_still_to_come_is_waited_for() {
        let own = Visited { trust: Trust::UnknownIssuer, ..visited() };
        let lines = said(&[Ok(own)], &Expected { awaited: true, ..expected() });
        assert!(lines[1].starts_with("warn the certificate that is served stands in for"), "{lines:?}");
    }

    #[test]
    fn a_certificate_that_was_renewed_and_is_not_served_yet_is_told() {
        let renewed = facts("another leaf");
        let lines = said(&[Ok(visited())], &Expected { on_disk: Some(&renewed), ..expected() });
        assert!(lines[2].starts_with("warn the certificate that is served is not the one in the file cert"));
        let same = facts("leaf");
        assert_eq!(said(&[Ok(visited())], &Expected { on_disk: Some(&same), ..expected() }).len(), 2);
    }

    #[test]
    fn a_join_is_judged_by_what_the_box_says() {
        let mark = |joined: Joined| judge_join(&joined).mark;
        assert_eq!(mark(Joined::Seated { took: Duration::from_millis(3), urls: 4 }), Mark::Ok);
        assert_eq!(mark(Joined::KeyRequired), Mark::Ok);
        assert_eq!(mark(Joined::Refused("rate-limited".into())), Mark::Fail);
        assert!(judge_join(&Joined::NoSocket("HTTP 404".into())).cure.unwrap().contains("Upgrade"));
    }

    #[test]
    fn the_redirect_is_not_needed_but_missed() {
        let judged = |outcome| judge_redirect(&Redirect { port: 80, outcome }, &expected());
        assert_eq!(judged(Ok((308, "https://box.example/".into()))).mark, Mark::Ok);
        assert_eq!(judged(Ok((200, String::new()))).mark, Mark::Warn);
        assert!(judged(Err(Trouble::Silent)).cure.unwrap().contains("--http-port 0"));
    }
}
