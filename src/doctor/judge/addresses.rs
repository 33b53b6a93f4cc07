//! The domain's addresses beside those of this host, those configured, and the one seen from outside.

use std::net::IpAddr;

use crate::config::RelayScope;
use crate::doctor::report::{Finding, Group, Mark};
use crate::error::Hint as _;
use crate::net::addresses::Known;
use webrtc_box_turn::addr::Family;
use webrtc_box_turn::peer_policy::PeerFilter;

/// What is known of a box on this host.
#[derive(Clone, Debug)]
pub(in crate::doctor) struct Seen {
    /// The domain; `None` in try-out mode.
    pub(in crate::doctor) name: Option<String>,
    /// What the resolver says of it, or why it says nothing.
    pub(in crate::doctor) resolved: Result<Vec<IpAddr>, String>,
    /// `external-ip` and the interfaces.
    pub(in crate::doctor) known: Known,
    pub(in crate::doctor) scope: RelayScope,
    /// What a server outside sees; `None`: nobody was asked.
    pub(in crate::doctor) outside: Option<Outside>,
}

/// Where a STUN server sees this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Outside {
    /// As the user named it.
    pub(in crate::doctor) server: String,
    /// What it said, one for each family; empty: it did not answer.
    pub(in crate::doctor) seen: Vec<IpAddr>,
}

const GROUP: Group = Group::Addresses;

/// A box that is set up on this host.
pub(in crate::doctor) fn judge(seen: &Seen) -> Vec<Finding> {
    let mut findings = vec![seen.lent()];
    findings.extend(seen.known.external.iter().filter_map(|external| seen.mapped(external.local?)));
    if let Some(name) = &seen.name {
        findings.extend(match &seen.resolved {
            Err(why) => vec![unresolved(name, why)],
            Ok(addresses) => addresses.iter().map(|ip| seen.named(name, *ip)).collect(),
        });
    }
    findings.extend(seen.outside.iter().flat_map(|outside| seen.beside(outside)));
    findings
}

/// That nothing but a name is known, and what to do where that is less than could be.
pub(in crate::doctor) fn judge_name_alone(name: &str, leads_here: bool) -> Finding {
    let text = if leads_here {
        format!(
            "the settings of {name} are not here, so it is checked from outside, though it leads to this host: \
             with the settings the box runs with (its flags, or --config) files and ports are looked at too"
        )
    } else {
        format!("the settings of {name} are not here, so it is checked as seen from this machine")
    };
    Finding::ok(Group::Settings, text)
}

/// A box of which only the name is known.
pub(in crate::doctor) fn judge_elsewhere(name: &str, resolved: &Result<Vec<IpAddr>, String>) -> Finding {
    match resolved {
        Err(why) => unresolved(name, why),
        Ok(addresses) => Finding::ok(GROUP, format!("{name} is at {}", listed(addresses))),
    }
}

fn unresolved(name: &str, why: &str) -> Finding {
    let cure = "give the name an A record (and an AAAA record for IPv6) that leads to this host";
    Finding::fail(GROUP, format!("{name} leads nowhere ({why})"), cure)
}

impl Seen {
    /// What the relay names or binds. As at a start, the resolver's answer counts only where nothing
    /// else says more.
    fn lent(&self) -> Finding {
        let domain = self.resolved.clone().unwrap_or_default();
        match (Known { domain, ..self.known.clone() }).lend(self.scope) {
            Ok(lent) => {
                let relayed: Vec<_> = [lent.relayed.v4, lent.relayed.v6].into_iter().flatten().collect();
                Finding::ok(GROUP, format!("relayed addresses are {}", listed(&relayed)))
            }
            Err(error) => Finding::complaint(GROUP, Mark::Fail, &error.with_hint()),
        }
    }

    /// The second half of `external-ip = "PUBLIC/LOCAL"`, where it is not ours.
    fn mapped(&self, local: IpAddr) -> Option<Finding> {
        let text = format!("external-ip maps to {local}, which is no address of this host");
        let cure = "put an address behind the slash that `ip address` shows";
        (!self.known.has(local)).then(|| Finding::fail(GROUP, text, cure))
    }

    /// One address that the domain leads to.
    fn named(&self, name: &str, ip: IpAddr) -> Finding {
        let family = Family::of(ip);
        let record = if ip.is_ipv4() { "A" } else { "AAAA" };
        let text = format!("{name} leads to {ip}");
        if ip.is_loopback() {
            let cure = "take the name out of /etc/hosts, or check from another machine";
            return Finding::warn(GROUP, format!("{text} on this host, whatever the world sees"), cure);
        }
        if self.known.own().contains(&ip) {
            return Finding::ok(GROUP, format!("{text}, an address of this host"));
        }
        if !self.has(family) {
            let text = format!("{text}, and this host has no address of that family");
            return Finding::fail(
                GROUP,
                text,
                format!("remove the {record} record, or give this host such an address"),
            );
        }
        let public = self.public(family);
        if !public.is_empty() {
            let text = format!("{text}, and this host is {}", listed(&public));
            return Finding::fail(
                GROUP,
                text,
                format!("correct the {record} record, or set external-ip = \"{ip}\""),
            );
        }
        // Only private addresses: somebody translates, and who that is cannot be seen from here.
        let cure = format!("if a router passes {ip} on to this host, say so with external-ip = \"{ip}\"");
        Finding::warn(GROUP, format!("{text}, which is no address of this host"), cure)
    }

    fn has(&self, family: Family) -> bool {
        self.of(family).any(|ip| !ip.is_loopback() && !is_link_local(ip))
    }

    /// How the world may see this host.
    fn public(&self, family: Family) -> Vec<IpAddr> {
        let filter = PeerFilter::default();
        let external = self.known.external.iter().map(|external| external.public);
        let external = external.filter(|ip| Family::of(*ip) == family);
        external.chain(self.of(family).filter(|ip| filter.permits(*ip))).collect()
    }

    fn of(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        self.known.interfaces.iter().map(|interface| interface.ip).filter(move |ip| Family::of(*ip) == family)
    }

    fn beside(&self, outside: &Outside) -> Vec<Finding> {
        let server = &outside.server;
        if outside.seen.is_empty() {
            let text = format!("the STUN server {server} does not answer");
            return vec![Finding::warn(GROUP, text, "name another one, or let UDP out of this host")];
        }
        outside.seen.iter().map(|ip| self.seen_as(server, *ip)).collect()
    }

    fn seen_as(&self, server: &str, ip: IpAddr) -> Finding {
        let text = format!("{server} sees this host as {ip}");
        if self.known.own().contains(&ip) {
            return Finding::ok(GROUP, format!("{text}, as it should be"));
        }
        let text = format!("{text}, which is neither external-ip nor an address of an interface");
        let cure = format!("set external-ip = \"{ip}\"");
        match self.scope {
            RelayScope::Room => Finding::warn(GROUP, text, cure),
            RelayScope::Public => Finding::fail(GROUP, text, cure),
        }
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ExternalIp;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn host(interfaces: &[&str], resolved: &[&str]) -> Seen {
        Seen {
            name: Some("box.example".into()),
            resolved: Ok(ips(resolved)),
            known: Known {
                interfaces: ips(interfaces).into_iter().map(Into::into).collect(),
                ..Known::default()
            },
            scope: RelayScope::Room,
            outside: None,
        }
    }

    /// The findings behind the first, which is about relayed addresses.
    fn said(seen: &Seen) -> Vec<String> {
        judge(seen).iter().skip(1).map(|finding| format!("{} {finding}", finding.mark)).collect()
    }

    #[test]
    fn a_name_that_leads_to_this_host_is_well() {
        let seen = host(&["127.0.0.1", "45.0.0.10", "2a00::10"], &["45.0.0.10", "2a00::10"]);
        let lines = said(&seen);
        assert_eq!(lines[0], "ok box.example leads to 45.0.0.10, an address of this host");
        assert!(lines[1].starts_with("ok"), "{lines:?}");
        assert_eq!(judge(&seen)[0].text, "relayed addresses are 45.0.0.10 and 2a00::10");
    }

    #[test]
    fn a_name_that_leads_elsewhere_or_nowhere_fails() {
        let line = "fail box.example leads to 45.0.0.11, and this host is 45.0.0.10; \
            correct the A record, or set external-ip = \"45.0.0.11\"";
        assert_eq!(said(&host(&["45.0.0.10"], &["45.0.0.11"])), [line]);
        assert!(said(&host(&["45.0.0.10"], &["2a00::10"]))[0].contains("remove the AAAA record"));
        let nowhere = Seen { resolved: Err("no such name".into()), ..host(&[], &[]) };
        assert!(
            said(&nowhere)[0].starts_with("fail box.example leads nowhere (no such name); give the name")
        );
    }

    #[test]
    fn behind_a_translator_external_ip_is_asked_for() {
        let mut seen = host(&["127.0.0.1", "10.0.0.5"], &["45.0.0.10"]);
        assert!(said(&seen)[0].starts_with("warn box.example leads to 45.0.0.10, which is no address"));
        seen.known.external = vec![ExternalIp { public: ips(&["45.0.0.10"])[0], local: None }];
        assert!(said(&seen)[0].starts_with("ok"));
    }

    #[test]
    fn external_ip_maps_to_an_address_of_this_host() {
        let mut seen = host(&["10.0.0.5"], &["45.0.0.10"]);
        let external =
            |local: &str| vec![ExternalIp { public: ips(&["45.0.0.10"])[0], local: local.parse().ok() }];
        seen.known.external = external("10.0.0.5");
        assert!(said(&seen).iter().all(|line| line.starts_with("ok")));
        seen.known.external = external("10.0.0.6");
        assert!(said(&seen)[0].starts_with("fail external-ip maps to 10.0.0.6"), "{:?}", said(&seen));
    }

    #[test]
    fn a_name_in_the_hosts_file_tells_nothing() {
        assert!(said(&host(&["45.0.0.10"], &["127.0.1.1"]))[0].contains("/etc/hosts"));
    }

    #[test]
    fn what_is_seen_from_outside_is_held_against_what_is_known() {
        let outside = |seen: &[&str]| Some(Outside { server: "stun.example:3478".into(), seen: ips(seen) });
        let seen = Seen { outside: outside(&["45.0.0.10"]), ..host(&["45.0.0.10"], &[]) };
        assert_eq!(said(&seen), ["ok stun.example:3478 sees this host as 45.0.0.10, as it should be"]);
        let hidden = Seen { outside: outside(&["45.0.0.10"]), ..host(&["10.0.0.5"], &[]) };
        let line = &said(&hidden)[0];
        assert!(line.starts_with("warn") && line.ends_with("external-ip = \"45.0.0.10\""), "{line}");
        let public = Seen { scope: RelayScope::Public, ..hidden };
        assert!(said(&public)[0].starts_with("fail"));
        assert!(judge(&public)[0].text.contains("relay-scope public needs a public address"), "{public:?}");
        let mute = Seen { outside: outside(&[]), ..host(&["45.0.0.10"], &[]) };
        assert!(said(&mute)[0].starts_with("warn the STUN server stun.example:3478 does not answer"));
    }
}
