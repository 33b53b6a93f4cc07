//! The addresses of the domain (in a cluster: of the node name), compared with those of this host, with `external-ip` and with the address
//! that a STUN server sees.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::{OptionFuture, join_all};
use tokio::net::lookup_host;
use tokio::time::timeout;
use webrtc_box_turn::addr::Family;
use webrtc_box_turn::peer_policy::PeerFilter;

use super::report::{Finding, Subject};
use super::turn_client::TurnClient;
use crate::config::{RelayScope, Settings};
use crate::net::addresses::{HostAddresses, is_link_local};
use crate::net::interfaces::interfaces;

const SUBJECT: Subject = Subject::Addresses;
/// For a name server to answer.
const RESOLVE_LIMIT: Duration = Duration::from_secs(3);
/// For a STUN server to answer.
const STUN_LIMIT: Duration = Duration::from_secs(3);

/// The addresses of a server on this host.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    /// The name that leads to this server alone; `None` in try-out mode.
    name: Option<String>,
    /// The addresses of that name, or why there are none.
    resolved: Result<Vec<IpAddr>, String>,
    /// `external-ip` and the interfaces.
    known: HostAddresses,
    scope: RelayScope,
    /// What a STUN server sees, if one was asked.
    stun: Option<StunResult>,
}

/// The addresses under which a STUN server sees this host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct StunResult {
    /// `HOST:PORT` as the user named it.
    server: String,
    /// At most one of each family; empty if the server did not answer.
    mapped: Vec<IpAddr>,
}

/// The addresses of `name`, IPv4 first, without duplicates; never an empty list.
pub(super) async fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = timeout(RESOLVE_LIMIT, lookup_host((name, 0))).await;
    let found = found.map_err(|_| "the name server does not answer".to_owned())?;
    let found = found.map_err(|_| "the name server does not know it".to_owned())?;
    let mut addresses: Vec<IpAddr> = found.map(|found| found.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
}

/// Sends `server` a Binding request over each family that it has.
async fn ask_stun(server: &str) -> StunResult {
    let found = timeout(RESOLVE_LIMIT, lookup_host(server)).await;
    let found: Vec<SocketAddr> = found.ok().and_then(Result::ok).map_or_else(Vec::new, Iterator::collect);
    let first = |family| found.iter().copied().find(|address| Family::of(address.ip()) == family);
    let binding = async |address| {
        let binding = async { TurnClient::udp(address).await.ok()?.binding().await.ok() };
        timeout(STUN_LIMIT, binding).await.ok()?.map(|mapped| mapped.ip())
    };
    let mapped = join_all(Family::BOTH.into_iter().filter_map(first).map(binding)).await;
    StunResult { server: server.to_owned(), mapped: mapped.into_iter().flatten().collect() }
}

/// About the settings of a server of which only the name is known. `is_local`: the name leads to this host.
pub(super) fn evaluate_name_only(name: &str, is_local: bool) -> Finding {
    let text = if is_local {
        format!(
            "the settings of {name} are not here, so it is checked from outside, although the name leads to \
             this host: with the settings of the server (its flags, or --config) files and ports are checked too"
        )
    } else {
        format!("the settings of {name} are not here, so it is checked as seen from this machine")
    };
    Subject::Settings.ok(text)
}

/// About the addresses of a server of which only the name is known.
pub(super) fn evaluate_remote(name: &str, resolved: &Result<Vec<IpAddr>, String>) -> Finding {
    match resolved {
        Err(reason) => unresolved(name, reason),
        Ok(addresses) => SUBJECT.ok(format!("{name} is at {}", list(addresses))),
    }
}

fn unresolved(name: &str, reason: &str) -> Finding {
    let hint = "give the name an A record (and an AAAA record for IPv6) that leads to this host";
    SUBJECT.fail(format!("{name} leads nowhere ({reason})"), hint)
}

impl Addresses {
    /// Resolves `name`, and asks the STUN server `stun` (`HOST:PORT`).
    pub(super) async fn observe(settings: &Settings, name: Option<&str>, stun: Option<&str>) -> Self {
        let (resolved, stun) =
            tokio::join!(OptionFuture::from(name.map(resolve)), OptionFuture::from(stun.map(ask_stun)));
        let (name, resolved) = (name.map(str::to_owned), resolved.unwrap_or_else(|| Ok(Vec::new())));
        Self { name, resolved, stun, ..Self::observe_host(settings) }
    }

    /// Without the domain and without network: where only the domain leads to the public address, the start
    /// of the server has resolved it already.
    pub(super) fn observe_host(settings: &Settings) -> Self {
        let external = settings.external_ip.clone();
        let known = HostAddresses { external, interfaces: interfaces(), domain: Vec::new() };
        Self { name: None, resolved: Ok(Vec::new()), known, scope: settings.relay_scope, stun: None }
    }

    /// The addresses of the name, if it has any.
    pub(super) fn resolved(&self) -> &[IpAddr] {
        self.resolved.as_deref().unwrap_or_default()
    }

    /// The addresses of the interfaces.
    pub(super) fn interfaces(&self) -> Vec<IpAddr> {
        self.known.interfaces.iter().map(|interface| interface.ip).collect()
    }

    pub(super) fn evaluate(&self) -> Vec<Finding> {
        let mut findings = vec![self.evaluate_relayed()];
        findings.extend(self.evaluate_names());
        findings
    }

    /// Everything but the relayed addresses.
    pub(super) fn evaluate_names(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let local = self.known.external.iter().filter_map(|external| external.local);
        // LOCAL in `external-ip = "PUBLIC/LOCAL"`.
        findings.extend(local.filter(|local| !self.known.has(*local)).map(|local| {
            SUBJECT.fail(
                format!("external-ip maps to {local}, which is not an address of this host"),
                "put an address that `ip address` shows behind the slash",
            )
        }));
        if let Some(name) = &self.name {
            match &self.resolved {
                Err(reason) => findings.push(unresolved(name, reason)),
                Ok(addresses) => findings.extend(addresses.iter().map(|ip| self.evaluate_named(name, *ip))),
            }
        }
        findings.extend(self.stun.iter().flat_map(|stun| self.evaluate_stun(stun)));
        findings
    }

    /// The relayed addresses. As at a start, the domain counts only if nothing else gives a public address.
    fn evaluate_relayed(&self) -> Finding {
        let domain = self.resolved().to_vec();
        match (HostAddresses { domain, ..self.known.clone() }).relay_addresses(self.scope) {
            Ok(found) => {
                let relayed: Vec<_> = found.relayed.iter().copied().collect();
                SUBJECT.ok(format!("relayed addresses are {}", list(&relayed)))
            }
            Err(error) => SUBJECT.error(&error),
        }
    }

    /// One address of the name.
    fn evaluate_named(&self, name: &str, ip: IpAddr) -> Finding {
        let record = if ip.is_ipv4() { "the A record" } else { "the AAAA record" };
        let is_address = name.parse() == Ok(ip);
        let (text, source, remedy) = match is_address {
            true => (format!("domain is {ip}"), "domain", "correct domain".to_owned()),
            false => (format!("{name} leads to {ip}"), record, format!("remove {record}")),
        };
        if ip.is_loopback() && !is_address {
            return SUBJECT.warn(
                format!("{text} on this host, whatever it leads to elsewhere"),
                "remove the name from /etc/hosts, or check from another machine",
            );
        }
        if self.known.own().contains(&ip) {
            return SUBJECT.ok(format!("{text}, an address of this host"));
        }
        let family = Family::of(ip);
        let of_family: Vec<_> =
            self.interfaces().into_iter().filter(|ip| Family::of(*ip) == family).collect();
        if of_family.iter().all(|ip| ip.is_loopback() || is_link_local(*ip)) {
            return SUBJECT.fail(
                format!("{text}, and this host has no address of that family"),
                format!("{remedy}, or give this host such an address"),
            );
        }
        // The public addresses of this host, from `external-ip` and its interfaces.
        let filter = PeerFilter::default();
        let external = self.known.external.iter().map(|external| external.public);
        let external = external.filter(|ip| Family::of(*ip) == family);
        let public: Vec<_> = external.chain(of_family.into_iter().filter(|ip| filter.permits(*ip))).collect();
        if !public.is_empty() {
            return SUBJECT.fail(
                format!("{text}, and this host is {}", list(&public)),
                format!("correct {source}, or set external-ip = \"{ip}\""),
            );
        }
        // Only private addresses: which NAT is before this host cannot be observed from here.
        SUBJECT.warn(
            format!("{text}, which is not an address of this host"),
            format!("if a router forwards {ip} to this host, set external-ip = \"{ip}\""),
        )
    }

    fn evaluate_stun(&self, stun: &StunResult) -> Vec<Finding> {
        if stun.mapped.is_empty() {
            let text = format!("the STUN server {} does not answer", stun.server);
            return vec![SUBJECT.warn(text, "name another one, or let UDP out of this host")];
        }
        stun.mapped.iter().map(|ip| self.evaluate_mapped(&stun.server, *ip)).collect()
    }

    fn evaluate_mapped(&self, server: &str, ip: IpAddr) -> Finding {
        let text = format!("{server} sees this host as {ip}");
        if self.known.own().contains(&ip) {
            return SUBJECT.ok(format!("{text}, as expected"));
        }
        let text = format!("{text}, which is neither external-ip nor an address of an interface");
        let hint = format!("set external-ip = \"{ip}\"");
        match self.scope {
            RelayScope::Room => SUBJECT.warn(text, hint),
            RelayScope::Public => SUBJECT.fail(text, hint),
        }
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ExternalIp;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn host(interfaces: &[&str], resolved: &[&str]) -> Addresses {
        Addresses {
            name: Some("box.example".into()),
            resolved: Ok(ips(resolved)),
            known: HostAddresses {
                interfaces: ips(interfaces).into_iter().map(Into::into).collect(),
                ..HostAddresses::default()
            },
            scope: RelayScope::Room,
            stun: None,
        }
    }

    /// The findings after the first, which is about relayed addresses.
    fn lines(addresses: &Addresses) -> Vec<String> {
        addresses.evaluate().iter().skip(1).map(|finding| format!("{} {finding}", finding.level)).collect()
    }

    #[test]
    fn a_name_that_leads_to_this_host_is_ok() {
        let seen = host(&["127.0.0.1", "45.0.0.10", "2a00::10"], &["45.0.0.10", "2a00::10"]);
        let found = lines(&seen);
        assert_eq!(found[0], "ok box.example leads to 45.0.0.10, an address of this host");
        assert!(found[1].starts_with("ok"), "{found:?}");
        assert_eq!(seen.evaluate()[0].text, "relayed addresses are 45.0.0.10 and 2a00::10");
    }

    #[test]
    fn a_name_that_leads_elsewhere_or_nowhere_fails() {
        let line = "fail box.example leads to 45.0.0.11, and this host is 45.0.0.10; \
            correct the A record, or set external-ip = \"45.0.0.11\"";
        assert_eq!(lines(&host(&["45.0.0.10"], &["45.0.0.11"])), [line]);
        assert!(lines(&host(&["45.0.0.10"], &["2a00::10"]))[0].contains("remove the AAAA record"));
        let nowhere = Addresses { resolved: Err("no such name".into()), ..host(&[], &[]) };
        assert!(
            lines(&nowhere)[0].starts_with("fail box.example leads nowhere (no such name); give the name")
        );
    }

    #[test]
    fn behind_nat_the_hint_is_external_ip() {
        let mut seen = host(&["127.0.0.1", "10.0.0.5"], &["45.0.0.10"]);
        assert!(lines(&seen)[0].starts_with("warn box.example leads to 45.0.0.10, which is not an address"));
        seen.known.external = vec![ExternalIp { public: ips(&["45.0.0.10"])[0], local: None }];
        assert!(lines(&seen)[0].starts_with("ok"));
    }

    #[test]
    fn external_ip_must_map_to_an_address_of_this_host() {
        let mut seen = host(&["10.0.0.5"], &["45.0.0.10"]);
        let external =
            |local: &str| vec![ExternalIp { public: ips(&["45.0.0.10"])[0], local: local.parse().ok() }];
        seen.known.external = external("10.0.0.5");
        assert!(lines(&seen).iter().all(|line| line.starts_with("ok")));
        seen.known.external = external("10.0.0.6");
        assert!(lines(&seen)[0].starts_with("fail external-ip maps to 10.0.0.6"), "{:?}", lines(&seen));
    }

    #[test]
    fn a_name_in_the_hosts_file_is_a_warning() {
        assert!(lines(&host(&["45.0.0.10"], &["127.0.1.1"]))[0].contains("/etc/hosts"));
    }

    #[test]
    fn the_address_a_stun_server_sees_is_compared() {
        let stun =
            |mapped: &[&str]| Some(StunResult { server: "stun.example:3478".into(), mapped: ips(mapped) });
        let seen = Addresses { stun: stun(&["45.0.0.10"]), ..host(&["45.0.0.10"], &[]) };
        assert_eq!(lines(&seen), ["ok stun.example:3478 sees this host as 45.0.0.10, as expected"]);
        let hidden = Addresses { stun: stun(&["45.0.0.10"]), ..host(&["10.0.0.5"], &[]) };
        let line = &lines(&hidden)[0];
        assert!(line.starts_with("warn") && line.ends_with("external-ip = \"45.0.0.10\""), "{line}");
        let public = Addresses { scope: RelayScope::Public, ..hidden };
        assert!(lines(&public)[0].starts_with("fail"));
        assert!(public.evaluate()[0].text.contains("public needs a public address"), "{public:?}");
        let silent = Addresses { stun: stun(&[]), ..host(&["45.0.0.10"], &[]) };
        assert!(lines(&silent)[0].starts_with("warn the STUN server stun.example:3478 does not answer"));
    }
}
