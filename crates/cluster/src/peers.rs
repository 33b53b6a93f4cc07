//! What this box knows of the others: their leases, which of them it reaches, and which of them reach it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::registry::ListedLease;
use crate::{Event, NodeInfo, NodeName};

/// How long a box without a lease stays listed.
const LISTED_TIME: Duration = Duration::from_secs(60);

/// The other boxes.
#[derive(Debug)]
pub(crate) struct Peers {
    key: String,
    peers: Vec<Peer>,
    /// Those that this box cannot reach by their names.
    unreachable: BTreeSet<NodeName>,
    foreign: BTreeSet<NodeName>,
}

#[derive(Debug)]
struct Peer {
    listed: ListedLease,
    /// When the lease was read, less its age.
    renewed: Instant,
    /// It had a lease when the store was last asked.
    alive: bool,
}

impl Peer {
    /// Takes part in the service.
    fn is_member(&self, key: &str) -> bool {
        self.alive && !self.listed.withdrawn && !self.listed.is_foreign(key)
    }
}

impl Peers {
    pub(crate) fn new(key: String) -> Self {
        Self { key, peers: Vec::new(), unreachable: BTreeSet::new(), foreign: BTreeSet::new() }
    }

    /// Takes in what the store lists. `keep`: a box that it does not list is still alive, since the store may have lost its
    /// lease.
    pub(crate) fn update(
        &mut self,
        nodes: Vec<ListedLease>,
        keep: bool,
        now: Instant,
        events: &mut impl Extend<Event>,
    ) {
        self.peers.retain(|peer| {
            nodes.iter().all(|node| node.id != peer.listed.id) && now < peer.renewed + LISTED_TIME
        });
        self.peers.iter_mut().for_each(|peer| peer.alive &= keep);
        for listed in nodes {
            let name = &listed.id.name;
            if listed.is_foreign(&self.key) && self.foreign.insert(name.clone()) {
                let key_differs = listed.lease.key != self.key;
                events.extend([Event::ForeignBox { node: name.clone(), key_differs }]);
            }
            let renewed = now.checked_sub(listed.age).unwrap_or(now);
            self.peers.push(Peer { listed, renewed, alive: true });
        }
        self.foreign.retain(|name| self.peers.iter().any(|peer| peer.listed.id.name == *name));
    }

    pub(crate) fn set_reachable(&mut self, node: &NodeName, reachable: bool) {
        if reachable {
            self.unreachable.remove(node);
        } else {
            self.unreachable.insert(node.clone());
        }
    }

    /// The names for this box's own lease; those that are no longer listed are forgotten.
    pub(crate) fn unreachable(&mut self) -> Vec<String> {
        self.unreachable.retain(|name| self.peers.iter().any(|peer| peer.listed.id.name == *name));
        self.unreachable.iter().map(ToString::to_string).collect()
    }

    /// Whether `name` had a lease when the store was last asked, and is reached.
    pub(crate) fn is_alive(&self, name: &NodeName) -> bool {
        !self.unreachable.contains(name)
            && self.peers.iter().any(|peer| peer.listed.id.name == *name && peer.is_member(&self.key))
    }

    /// Those that may open new rooms while the store is away.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = &NodeName> {
        let is_candidate = |peer: &&Peer| {
            let Peer { listed, .. } = peer;
            peer.is_member(&self.key) && !listed.lease.draining && !self.unreachable.contains(&listed.id.name)
        };
        self.peers.iter().filter(is_candidate).map(|peer| &peer.listed.id.name)
    }

    /// The boxes that cannot reach `me`, if they are most of at least two others. A box that reaches no other one has no
    /// say: then its own network is at fault, or the health checks are.
    pub(crate) fn voters_against(&self, me: &NodeName) -> Option<Vec<NodeName>> {
        let alive: Vec<&ListedLease> = self
            .peers
            .iter()
            .filter(|peer| peer.alive && !peer.listed.is_foreign(&self.key) && peer.listed.id.name != *me)
            .map(|peer| &peer.listed)
            .collect();
        let reaches_any = |voter: &ListedLease| {
            alive.iter().any(|other| other.id != voter.id && !voter.cannot_reach(&other.id.name))
        };
        let against: Vec<NodeName> = alive
            .iter()
            .filter(|voter| voter.cannot_reach(me) && reaches_any(voter))
            .map(|voter| voter.id.name.clone())
            .collect();
        (alive.len() >= 2 && against.len() * 2 > alive.len()).then_some(against)
    }

    /// All, for the operator.
    pub(crate) fn infos(&self, now: Instant) -> impl Iterator<Item = NodeInfo> {
        self.peers.iter().map(move |peer| NodeInfo {
            age: now.saturating_duration_since(peer.renewed),
            ..peer.listed.info(&self.key)
        })
    }
}
