//! Each way to the relay, and whether a packet went through it and back.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::certificate::Trust;
use super::{Trouble, over};
use crate::doctor::report::{Finding, Group, Mark};

/// A way to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Way {
    pub(in crate::doctor) carrier: Carrier,
    pub(in crate::doctor) address: SocketAddr,
}

/// What carries TURN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Carrier {
    Udp,
    Tcp,
    Tls,
}

/// A way that was tried.
#[derive(Clone, Debug)]
pub(in crate::doctor) struct Tried {
    pub(in crate::doctor) way: Way,
    pub(in crate::doctor) outcome: Result<Carried, Fault>,
    /// For TLS: what a browser would think of the certificate.
    pub(in crate::doctor) trust: Option<Trust>,
}

/// What went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Carried {
    /// A packet from one allocation to another and back.
    There { round_trip: Duration },
    /// A STUN question and its answer: there was no credential for more.
    Answered,
}

/// Why nothing went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Fault {
    /// The port was not reached.
    Unreached(Trouble),
    /// The relay answers and gives no allocation.
    Denied(String),
    /// There are allocations, and no packet comes through.
    Lost,
}

const GROUP: Group = Group::Relay;

/// `lenient`: a certificate that nobody trusts is meant, or another is waited for. `no_credential`: why there is
/// none, where there is none.
pub(in crate::doctor) fn judge(tried: &[Tried], lenient: bool, no_credential: Option<&str>) -> Vec<Finding> {
    if tried.is_empty() {
        let text = "the relay is off (turn-port 0): who is on a strict network is not reached";
        return vec![Finding::warn(GROUP, text, "give turn-port a port, usually 3478")];
    }
    let spare = |one: &Tried| {
        let twins = tried.iter().filter(|other| other.way != one.way && other.way.serves_as(&one.way));
        twins.into_iter().any(|twin| twin.outcome.is_ok())
    };
    let each = tried.iter().map(|one| one.judge(lenient, spare(one)));
    each.chain(no_credential.map(untested)).collect()
}

fn untested(why: &str) -> Finding {
    let text = format!("no allocation was tried, because there is no credential for one ({why})");
    let cure = "mend the page, which hands them out, or run as a user who may read the state directory";
    Finding::warn(GROUP, text, cure)
}

impl Way {
    /// Whether it does for whomever the other was meant: TLS on one port or on the other.
    fn serves_as(&self, other: &Self) -> bool {
        let same_family = self.address.is_ipv4() == other.address.is_ipv4();
        self.carrier == Carrier::Tls && other.carrier == Carrier::Tls && same_family
    }

    fn port(&self) -> String {
        let protocol = if self.carrier == Carrier::Udp { "udp" } else { "tcp" };
        format!("{}/{protocol}", self.address.port())
    }
}

impl Tried {
    fn judge(&self, lenient: bool, spare: bool) -> Finding {
        let way = self.way;
        let fault = match &self.outcome {
            Ok(carried) => return self.carried(*carried, lenient),
            Err(fault) => fault,
        };
        if *fault == Fault::Unreached(Trouble::NoRoute) {
            return Finding::ok(GROUP, format!("{way} was not tried: this machine has no such addresses"));
        }
        let cure = match fault {
            Fault::Unreached(trouble) => trouble.cure(&way.port()),
            Fault::Denied(_) if fault.is_quota() => {
                "try again when fewer people talk, or raise user-quota and total-quota".to_owned()
            }
            Fault::Denied(_) => {
                "see the box's log, and that it runs with the static-auth-secret set here".to_owned()
            }
            Fault::Lost => "see the box's log; it may be at its limit (max-bps, bps-capacity)".to_owned(),
        };
        let finding = Finding::fail(GROUP, format!("{way}: {fault}"), cure);
        // Browsers take whichever works; and a relay that is full has been reached.
        Finding { mark: if spare || fault.is_quota() { Mark::Warn } else { Mark::Fail }, ..finding }
    }

    fn carried(&self, carried: Carried, lenient: bool) -> Finding {
        let way = self.way;
        if let Some(trust) = self.trust.as_ref().filter(|trust| trust.is_doubted() && !lenient) {
            let text = format!("{way} answers, but its certificate is {trust}, so no browser uses it");
            return Finding::fail(GROUP, text, "give it a certificate as for the page");
        }
        match carried {
            Carried::There { round_trip } => {
                let ms = (round_trip.as_secs_f64() * 10_000.0).round() / 10.0;
                let text = format!("{way}: a packet went through the relay and back in {ms} ms");
                Finding { round_trip_ms: Some(ms), ..Finding::ok(GROUP, text) }
            }
            Carried::Answered => Finding::ok(GROUP, format!("{way} answers")),
        }
    }
}

impl Fault {
    /// All that may be had is had (486, 508): by others, or by the other ways that are tried at once.
    pub(in crate::doctor) fn is_quota(&self) -> bool {
        matches!(self, Self::Denied(why) if why.contains("error 486") || why.contains("error 508"))
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let carrier = match self.carrier {
            Carrier::Udp => "UDP",
            Carrier::Tcp => "TCP",
            Carrier::Tls => "TLS",
        };
        write!(f, "{carrier} on {} over {}", self.address.port(), over(self.address))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreached(trouble) => trouble.fmt(f),
            Self::Denied(why) => write!(f, "no allocation ({why})"),
            Self::Lost => f.write_str("two allocations were made, and no packet came through"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(carrier: Carrier, address: &str, outcome: Result<Carried, Fault>) -> Tried {
        let way = Way { carrier, address: address.parse().unwrap() };
        Tried { way, outcome, trust: (carrier == Carrier::Tls).then_some(Trust::Trusted) }
    }

    fn there() -> Result<Carried, Fault> {
        Ok(Carried::There { round_trip: Duration::from_micros(440) })
    }

    fn silent() -> Result<Carried, Fault> {
        Err(Fault::Unreached(Trouble::Silent))
    }

    fn said(tried: &[Tried]) -> Vec<String> {
        judge(tried, false, None).iter().map(|finding| format!("{} {finding}", finding.mark)).collect()
    }

    #[test]
    fn a_packet_that_went_through_is_told_with_its_time() {
        let found = judge(&[tried(Carrier::Udp, "45.0.0.10:3478", there())], false, None);
        let text = "UDP on 3478 over IPv4 (45.0.0.10): a packet went through the relay and back in 0.4 ms";
        assert_eq!((found[0].text.as_str(), found[0].round_trip_ms), (text, Some(0.4)));
    }

    #[test]
    fn a_closed_port_names_what_to_open() {
        let lines = said(&[tried(Carrier::Udp, "45.0.0.10:3478", silent())]);
        assert!(lines[0].starts_with("fail UDP on 3478 over IPv4 (45.0.0.10): no answer; open 3478/udp"));
        let refused = Err(Fault::Unreached(Trouble::Refused));
        assert!(said(&[tried(Carrier::Tcp, "[2a00::1]:3478", refused)])[0].contains("nothing listens there"));
    }

    #[test]
    fn the_second_tls_port_is_a_spare() {
        let spare = tried(Carrier::Tls, "45.0.0.10:5349", silent());
        let beside = |address: &str, outcome| said(&[tried(Carrier::Tls, address, outcome), spare.clone()]);
        assert!(beside("45.0.0.10:443", there())[1].starts_with("warn"));
        assert!(beside("[2a00::1]:443", there())[1].starts_with("fail"));
        assert!(beside("45.0.0.10:443", silent())[1].starts_with("fail"));
    }

    #[test]
    fn a_certificate_no_browser_trusts_closes_the_way_unless_it_is_meant() {
        let untrusted =
            Tried { trust: Some(Trust::WrongName), ..tried(Carrier::Tls, "45.0.0.10:443", there()) };
        assert!(said(std::slice::from_ref(&untrusted))[0].contains("its certificate is for another name"));
        assert_eq!(judge(std::slice::from_ref(&untrusted), true, None)[0].mark, Mark::Ok);
        let unknown = Tried { trust: Some(Trust::NoRoots), ..untrusted };
        assert_eq!(judge(&[unknown], false, None)[0].mark, Mark::Ok, "the page has a line for that");
    }

    #[test]
    fn denied_lost_and_off_are_told() {
        let denied =
            |why: &str| said(&[tried(Carrier::Udp, "45.0.0.10:3478", Err(Fault::Denied(why.into())))]);
        assert!(denied("error 401: Unauthorized")[0].starts_with("fail"));
        let full = &denied("error 486: Allocation Quota Reached")[0];
        assert!(full.starts_with("warn") && full.contains("user-quota"), "{full}");
        assert!(said(&[tried(Carrier::Udp, "45.0.0.10:3478", Err(Fault::Lost))])[0].starts_with("fail"));
        assert!(said(&[])[0].starts_with("warn the relay is off"));
    }

    #[test]
    fn without_a_credential_it_is_said_what_was_not_tried() {
        let answered = tried(Carrier::Udp, "45.0.0.10:3478", Ok(Carried::Answered));
        let found = judge(&[answered], false, Some("the page is out of reach"));
        assert_eq!(found[0].text, "UDP on 3478 over IPv4 (45.0.0.10) answers");
        assert!(found[1].text.contains("the page is out of reach") && found[1].mark == Mark::Warn);
    }
}
