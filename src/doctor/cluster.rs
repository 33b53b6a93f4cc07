//! Several boxes as one service: the store that they share, the other boxes, and the common name.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use hyper::StatusCode;
use webrtc_box_cluster::{NodeInfo, NodeName, StoreFacts, StoreStatus};

use super::addresses::resolve;
use super::certificate::SystemRoots;
use super::connection::{self, HttpConnection, Unreachable};
use super::http::milliseconds;
use super::report::{Finding, Subject};
use crate::config::Settings;
use crate::error::Hint as _;
use crate::nodes::{NodesError, read_store};

const SUBJECT: Subject = Subject::Cluster;
/// A store in the same network answers in a hundredth of it; boxes wait for 300 ms.
const SLOW: Duration = Duration::from_millis(50);
/// The policy that deletes nothing.
const NO_EVICTION: &str = "noeviction";
const HTTPS: u16 = 443;

/// This box in its cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    domain: String,
    node_name: NodeName,
    /// The store without user and password.
    store_url: String,
    store: Result<StoreStatus, NodesError>,
    /// What the other boxes answered at their node names.
    others: BTreeMap<NodeName, Result<(), String>>,
    /// The addresses of the common name, or why there are none.
    common: Result<Vec<IpAddr>, String>,
    /// The addresses of this box's node name.
    own: Vec<IpAddr>,
}

impl Cluster {
    /// `None` for a single server. `own` are the addresses of `node-name`.
    pub(super) async fn observe(settings: &Settings, own: &[IpAddr], roots: &SystemRoots) -> Option<Self> {
        let (store_url, node_name) = (settings.cluster.as_ref()?.to_string(), settings.node_name.clone()?);
        let domain = settings.domain()?.to_owned();
        let (store, common) = tokio::join!(read_store(settings), resolve(&domain));
        let port = settings.https_port.unwrap_or(HTTPS);
        let known = store.as_ref().map_or(&[][..], |status| &status.nodes);
        let names: Vec<_> =
            known.iter().map(|node| node.id.name.clone()).filter(|name| *name != node_name).collect();
        let answers = join_all(names.iter().map(|name| health(name.as_str(), port, roots))).await;
        let others = names.into_iter().zip(answers).collect();
        Some(Self { domain, node_name, store_url, store, others, common, own: own.to_vec() })
    }

    /// `is_running`: this box answers, so it should hold a lease.
    pub(super) fn evaluate(&self, is_running: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        match &self.store {
            Err(error) => {
                findings.push(SUBJECT.fail(format!("the store {}: {error}", self.store_url), error.hint()));
            }
            Ok(status) => {
                findings.push(self.evaluate_speed(&status.facts));
                findings.extend(self.evaluate_eviction(&status.facts));
                findings.extend(self.evaluate_nodes(&status.nodes, is_running));
            }
        }
        findings.push(self.evaluate_common_name());
        findings
    }

    fn evaluate_speed(&self, facts: &StoreFacts) -> Finding {
        let StoreFacts { server, latency, .. } = facts;
        let text =
            format!("the store {} is {server} and answers within {}", self.store_url, milliseconds(*latency));
        if *latency < SLOW {
            return SUBJECT.ok(text);
        }
        let hint =
            "put the store into the network of the boxes; each new room waits for it, for 300 ms at most";
        SUBJECT.warn(text, hint)
    }

    /// Leases and owners have a time to live, so the `volatile` policies delete them, too.
    fn evaluate_eviction(&self, facts: &StoreFacts) -> Option<Finding> {
        let policy = &facts.eviction_policy;
        if policy == NO_EVICTION {
            return None;
        }
        let text =
            format!("the store has maxmemory-policy {policy}, which deletes leases and owners of rooms");
        let hint = "set maxmemory-policy noeviction in redis.conf, or use a store that nothing else uses";
        if facts.memory_limit == 0 {
            return Some(SUBJECT.warn(format!("{text} as soon as maxmemory is set"), hint));
        }
        Some(SUBJECT.fail(format!("{text} when its memory is full"), hint))
    }

    fn evaluate_nodes(&self, nodes: &[NodeInfo], is_running: bool) -> Vec<Finding> {
        let mut by_name: BTreeMap<&NodeName, Vec<&NodeInfo>> = BTreeMap::new();
        for node in nodes {
            by_name.entry(&node.id.name).or_default().push(node);
        }
        let is_alone = by_name.keys().all(|name| **name == self.node_name);
        let is_missing = is_running && !by_name.contains_key(&self.node_name);
        let missing = is_missing.then(|| {
            SUBJECT.fail(
                format!("{} runs and holds no lease, so the other boxes take over its rooms", self.node_name),
                "look into its log; if it has just started, check again",
            )
        });
        let alone = is_alone.then(|| {
            SUBJECT.warn(
                "no other box holds a lease in the store",
                "start another one with the same store and key",
            )
        });
        let each = by_name.iter().map(|(name, nodes)| self.evaluate_node(name, nodes));
        missing.into_iter().chain(each).chain(alone).collect()
    }

    /// All boxes with one name.
    fn evaluate_node(&self, name: &NodeName, nodes: &[&NodeInfo]) -> Finding {
        let [node] = nodes else {
            return SUBJECT.fail(
                format!("{} boxes have the node-name {name}", nodes.len()),
                "give each box a node-name of its own, and restart it",
            );
        };
        if node.foreign {
            return SUBJECT.fail(
                format!(
                    "{name} has another cluster-key, or a version that does not fit (it is {})",
                    node.version
                ),
                "give all boxes the same cluster-key and program, or another store",
            );
        }
        let answer = self.others.get(name);
        if node.unreachable {
            return SUBJECT.fail(
                format!("most boxes cannot reach {name}, so it takes no rooms"),
                format!("let {name} lead to it, and open https-port of it to the other boxes"),
            );
        }
        if let Some(Err(reason)) = answer {
            return SUBJECT.warn(
                format!("{name} holds a lease, but {reason}"),
                format!("let {name} lead to it, and open https-port of it to this host"),
            );
        }
        let NodeInfo { version, rooms, load, .. } = node;
        let draining = if node.draining { ", and drains" } else { "" };
        let rooms = if *rooms == 1 { "1 room".to_owned() } else { format!("{rooms} rooms") };
        SUBJECT.ok(format!("{name} has version {version}, {rooms} and {load} % load{draining}"))
    }

    fn evaluate_common_name(&self) -> Finding {
        let Self { domain, node_name, .. } = self;
        let common = match &self.common {
            Ok(common) => common,
            Err(reason) => {
                let hint = "give it the A and AAAA records of all boxes";
                return SUBJECT.fail(format!("{domain} leads nowhere ({reason})"), hint);
            }
        };
        if common.iter().any(|ip| self.own.contains(ip)) {
            let count = common.len();
            return SUBJECT.ok(format!("{domain} leads to this box, as one of {count} addresses"));
        }
        SUBJECT.warn(
            format!("{domain} does not lead to this box, which then serves no page"),
            format!("add the addresses of {node_name} to it, unless the box is being added or retired, or a load balancer has that name"),
        )
    }
}

/// What the box `name` answers at `/healthz`; an error continues a sentence that begins with the box.
async fn health(name: &str, port: u16, roots: &SystemRoots) -> Result<(), String> {
    let addresses = resolve(name).await.map_err(|reason| format!("its name leads nowhere ({reason})"))?;
    let mut last = Err(String::new());
    for ip in addresses {
        last = health_at(SocketAddr::new(ip, port), name, roots).await;
        if last.is_ok() {
            break;
        }
    }
    last
}

async fn health_at(address: SocketAddr, name: &str, roots: &SystemRoots) -> Result<(), String> {
    let unreachable = |error: Unreachable| format!("https://{name}/ at {address}: {error}");
    let tls = connection::tls(address, &[], name, &[b"http/1.1"]).await.map_err(unreachable)?;
    let trust = roots.verify(&tls.chain, name).trust;
    if trust.is_refused() {
        return Err(format!("its certificate is {trust}, so no client gets there"));
    }
    let mut http = HttpConnection::open(tls.stream).await.map_err(unreachable)?;
    match http.get(name, "/healthz").await.map_err(unreachable)?.status() {
        StatusCode::OK => Ok(()),
        status => Err(format!("its /healthz answers {status}")),
    }
}

#[cfg(test)]
mod tests {
    use webrtc_box_cluster::{BoxId, StoreError};

    use super::*;

    fn node(name: &str, boot: u64) -> NodeInfo {
        NodeInfo {
            id: BoxId { name: NodeName::parse(name).unwrap(), boot },
            version: "0.1.0".to_owned(),
            load: 3,
            rooms: 12,
            draining: false,
            unreachable: false,
            foreign: false,
            age: Duration::from_millis(500),
        }
    }

    fn cluster(nodes: Vec<NodeInfo>) -> Cluster {
        let facts = StoreFacts {
            server: "Redis 7.0.15".to_owned(),
            eviction_policy: NO_EVICTION.to_owned(),
            memory_limit: 0,
            latency: Duration::from_micros(400),
        };
        let ip = |text: &str| text.parse().unwrap();
        Cluster {
            domain: "a.example".to_owned(),
            node_name: NodeName::parse("b1.a.example").unwrap(),
            store_url: "redis://10.0.0.5:6379".to_owned(),
            store: Ok(StoreStatus { facts, nodes }),
            others: BTreeMap::from([(NodeName::parse("b2.a.example").unwrap(), Ok(()))]),
            common: Ok(vec![ip("45.0.0.10"), ip("45.0.0.11")]),
            own: vec![ip("45.0.0.10")],
        }
    }

    fn two() -> Vec<NodeInfo> {
        vec![node("b1.a.example", 1), node("b2.a.example", 2)]
    }

    fn with_facts(change: impl FnOnce(&mut StoreFacts)) -> Cluster {
        let mut seen = cluster(two());
        change(&mut seen.store.as_mut().unwrap().facts);
        seen
    }

    /// The findings that are not ok.
    fn faults(seen: &Cluster) -> Vec<String> {
        let findings = seen.evaluate(true);
        let faults = findings.iter().filter(|finding| finding.hint.is_some());
        faults.map(|finding| format!("{} {finding}", finding.level)).collect()
    }

    #[track_caller]
    fn assert_fault(seen: &Cluster, parts: &[&str]) {
        let found = faults(seen);
        assert!(found.len() == 1 && parts.iter().all(|part| found[0].contains(part)), "{found:#?}");
    }

    #[test]
    fn a_good_cluster_has_a_line_for_store_boxes_and_common_name() {
        let findings = cluster(two()).evaluate(true);
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "the store redis://10.0.0.5:6379 is Redis 7.0.15 and answers within 1 ms",
                "b1.a.example has version 0.1.0, 12 rooms and 3 % load",
                "b2.a.example has version 0.1.0, 12 rooms and 3 % load",
                "a.example leads to this box, as one of 2 addresses",
            ]
        );
    }

    #[test]
    fn a_store_that_does_not_answer_is_a_failure_with_its_remedy() {
        let error = NodesError::Store(StoreError::Version("6.0.16".to_owned()));
        assert_fault(&Cluster { store: Err(error), ..cluster(two()) }, &["fail", "6.0.16", "6.2 or later"]);
    }

    #[test]
    fn a_slow_store_is_a_warning() {
        let slow = with_facts(|facts| facts.latency = Duration::from_millis(80));
        assert_fault(&slow, &["warn", "80 ms", "network of the boxes"]);
    }

    #[test]
    fn a_policy_that_deletes_keys_fails_once_memory_is_limited() {
        for policy in ["allkeys-lru", "volatile-ttl"] {
            let unlimited = with_facts(|facts| facts.eviction_policy = policy.to_owned());
            assert_fault(&unlimited, &["warn", policy, "noeviction"]);
            let limited = with_facts(|facts| {
                facts.eviction_policy = policy.to_owned();
                facts.memory_limit = 1 << 20;
            });
            assert_fault(&limited, &["fail", policy, "noeviction"]);
        }
    }

    #[test]
    fn two_boxes_with_one_name_and_other_keys_fail() {
        let twice = [two(), vec![node("b1.a.example", 3)]].concat();
        assert_fault(&cluster(twice), &["fail", "2 boxes have the node-name b1.a.example"]);
        let foreign = NodeInfo { foreign: true, ..node("b3.a.example", 3) };
        assert_fault(&cluster([two(), vec![foreign]].concat()), &["fail", "b3.a.example", "cluster-key"]);
    }

    #[test]
    fn a_box_without_lease_or_without_others_is_reported() {
        assert_fault(
            &cluster(vec![node("b2.a.example", 2)]),
            &["fail", "b1.a.example runs and holds no lease"],
        );
        assert!(cluster(vec![node("b2.a.example", 2)]).evaluate(false).iter().all(|it| it.hint.is_none()));
        assert_fault(&cluster(vec![node("b1.a.example", 1)]), &["warn", "no other box"]);
    }

    #[test]
    fn a_box_that_cannot_be_reached_is_reported() {
        let given_up = NodeInfo { unreachable: true, ..node("b2.a.example", 2) };
        assert_fault(
            &cluster(vec![node("b1.a.example", 1), given_up]),
            &["fail", "b2.a.example", "https-port"],
        );
        let mut seen = cluster(two());
        seen.others
            .values_mut()
            .for_each(|answer| *answer = Err("its name leads nowhere (no address)".to_owned()));
        assert_fault(&seen, &["warn", "b2.a.example holds a lease, but its name leads nowhere"]);
    }

    #[test]
    fn the_common_name_must_lead_to_each_box() {
        let elsewhere = Cluster { own: vec!["45.0.0.12".parse().unwrap()], ..cluster(two()) };
        assert_fault(&elsewhere, &["warn", "a.example does not lead to this box", "b1.a.example"]);
        let nowhere = Cluster { common: Err("it has no address".to_owned()), ..cluster(two()) };
        assert_fault(&nowhere, &["fail", "a.example leads nowhere"]);
    }
}
