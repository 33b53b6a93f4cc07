//! Whether the listeners can be bound, and by whom they are held.

use std::fmt;
use std::net::IpAddr;

use crate::doctor::report::{Finding, Group, Mark};

/// Which of the two a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Protocol {
    Tcp,
    Udp,
}

/// One listener of the settings, and what trying to bind it came to.
#[derive(Clone, Debug)]
pub(in crate::doctor) struct Listener {
    pub(in crate::doctor) setting: &'static str,
    pub(in crate::doctor) port: u16,
    pub(in crate::doctor) protocol: Protocol,
    /// The box's socket unit has systemd open it.
    pub(in crate::doctor) by_systemd: bool,
    pub(in crate::doctor) bound: Bound,
}

/// What trying to bind came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Bound {
    /// It could be bound.
    Free,
    /// Somebody has it: the programs, as far as this user may know them.
    Taken(Vec<String>),
    /// This user may not.
    Forbidden,
    /// `listen` names an address that this host has not.
    NoAddress(IpAddr),
    /// What the system says.
    Other(String),
}

/// What stands in `/proc/PID/comm` of a box.
pub(in crate::doctor) const OURS: &str = "webrtc-box";
/// Holds the sockets of a socket unit before and beside the service.
const SYSTEMD: &str = "systemd";

/// `running`: whether a box answers on this host. `service`: whether another user is there to run it.
pub(in crate::doctor) fn judge(listeners: &[Listener], running: bool, service: bool) -> Vec<Finding> {
    let named = |what: &dyn Fn(&Listener) -> bool| {
        let these = listeners.iter().filter(|listener| what(listener));
        these.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let kept = named(&|listener| listener.is_ours(running) && listener.is_kept());
    let ours = named(&|listener| listener.is_ours(running) && !listener.is_kept());
    let free = named(&|listener| listener.bound == Bound::Free);
    let fine = [
        (ours, "held by the running box"),
        (kept, "held by systemd for the box"),
        (free, "free for the box"),
    ];
    let fine = fine.into_iter().filter(|(ports, _)| !ports.is_empty());
    let fine = fine.map(|(ports, words)| Finding::ok(Group::Ports, format!("{ports}: {words}")));
    let rest = listeners.iter().filter(|listener| !listener.is_ours(running));
    fine.chain(rest.filter_map(|listener| listener.trouble(service))).collect()
}

impl Listener {
    fn is_ours(&self, running: bool) -> bool {
        match &self.bound {
            Bound::Taken(programs) if programs.is_empty() => running,
            Bound::Taken(programs) => programs.iter().any(|program| program == OURS) || self.is_kept(),
            Bound::Free | Bound::Forbidden | Bound::NoAddress(_) | Bound::Other(_) => false,
        }
    }

    /// By the socket unit, whether or not the service has come for it.
    fn is_kept(&self) -> bool {
        let systemd = |programs: &[String]| programs.iter().any(|program| program == SYSTEMD);
        matches!(&self.bound, Bound::Taken(programs) if self.by_systemd && systemd(programs))
    }

    fn trouble(&self, service: bool) -> Option<Finding> {
        let setting = self.setting;
        let fail = |text: String, cure: String| Some(Finding::fail(Group::Ports, text, cure));
        match &self.bound {
            Bound::Free => None,
            Bound::Taken(programs) if *programs == [SYSTEMD] => fail(
                format!("{self} is taken by a socket unit of another service"),
                format!("stop that unit, which systemctl list-sockets names, or choose another {setting}"),
            ),
            Bound::Taken(programs) => {
                let program = match programs.as_slice() {
                    [] => "a program that this user cannot see".to_owned(),
                    programs => programs.join(" and "),
                };
                fail(
                    format!("{self} is taken by {program}"),
                    format!("stop that program, or choose another {setting}"),
                )
            }
            // The unit grants it to the service, whoever asks here.
            Bound::Forbidden => {
                let cure = "use the systemd unit, which grants it, or grant CAP_NET_BIND_SERVICE, \
                    or set the sysctl net.ipv4.ip_unprivileged_port_start to 80";
                let finding =
                    Finding::fail(Group::Ports, format!("{self} may not be bound by this user"), cure);
                Some(Finding { mark: if service { Mark::Warn } else { Mark::Fail }, ..finding })
            }
            Bound::NoAddress(ip) => fail(
                format!("listen {ip} is no address of this host"),
                "take one that `ip address` shows, or leave listen out".to_owned(),
            ),
            Bound::Other(why) => {
                fail(format!("{self} cannot be bound ({why})"), format!("choose another {setting}"))
            }
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{}/{protocol} ({})", self.port, self.setting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(setting: &'static str, port: u16, bound: Bound) -> Listener {
        Listener { setting, port, protocol: Protocol::Tcp, by_systemd: false, bound }
    }

    fn said(bound: Bound, running: bool, service: bool) -> String {
        said_of(listener("http-port", 80, bound), running, service)
    }

    fn said_of(listener: Listener, running: bool, service: bool) -> String {
        let found = judge(&[listener], running, service);
        found.iter().map(|finding| format!("{} {finding}", finding.mark)).collect::<Vec<_>>().join("\n")
    }

    fn taken(programs: &[&str]) -> Bound {
        Bound::Taken(programs.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_port_that_the_running_box_holds_is_well_and_one_of_another_program_is_not() {
        let well = "ok 80/tcp (http-port): held by the running box";
        assert_eq!(said(taken(&["webrtc-box"]), true, false), well);
        for holders in [&["systemd"][..], &["systemd", "webrtc-box"]] {
            let kept = "ok 80/tcp (http-port): held by systemd for the box";
            let listener = Listener { by_systemd: true, ..listener("http-port", 80, taken(holders)) };
            assert_eq!(said_of(listener, false, true), kept);
        }
        assert_eq!(
            said(taken(&["nginx"]), true, false),
            "fail 80/tcp (http-port) is taken by nginx; stop that program, or choose another http-port"
        );
    }

    #[test]
    fn a_port_that_systemd_holds_for_another_service_is_not_ours() {
        let said = said(taken(&["systemd"]), true, true);
        let taken = "fail 80/tcp (http-port) is taken by a socket unit of another service; stop that unit";
        assert!(said.starts_with(taken), "{said}");
    }

    #[test]
    fn whose_port_it_is_that_cannot_be_seen_follows_from_whether_a_box_answers() {
        assert!(said(taken(&[]), true, false).starts_with("ok"));
        assert!(said(taken(&[]), false, false).contains("a program that this user cannot see"));
    }

    #[test]
    fn a_right_that_the_service_has_only_warns() {
        assert!(said(Bound::Forbidden, false, false).starts_with("fail"));
        let warning = said(Bound::Forbidden, false, true);
        assert!(warning.starts_with("warn") && warning.contains("CAP_NET_BIND_SERVICE"), "{warning}");
    }

    #[test]
    fn ports_that_are_free_share_a_line() {
        let two = [listener("https-port", 443, Bound::Free), listener("http-port", 80, Bound::Free)];
        let found = judge(&two, false, false);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].text, "443/tcp (https-port), 80/tcp (http-port): free for the box");
    }
}
