//! What this box knows of the others: their leases, which of them it reaches, and which of them reach it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::registry::ListedLease;
use crate::{BoxId, Event, NodeInfo, NodeName};

/// How long a box without a lease stays listed.
const LISTED_TIME: Duration = Duration::from_secs(60);

/// The other boxes.
#[derive(Debug)]
pub(crate) struct Peers {
    key: String,
    domain: NodeName,
    peers: Vec<Peer>,
    /// Those that this box cannot reach by their names.
    unreachable: BTreeSet<BoxId>,
    foreign: BTreeSet<NodeName>,
    /// The store lists a name outside the domain.
    has_foreign_name: bool,
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
    pub(crate) fn new(key: String, domain: NodeName) -> Self {
        Self {
            key,
            domain,
            peers: Vec::new(),
            unreachable: BTreeSet::new(),
            foreign: BTreeSet::new(),
            has_foreign_name: false,
        }
    }

    /// Takes in what the store lists. `keep`: a box that it does not list is still alive, since the store may have lost its
    /// lease.
    pub(crate) fn update(
        &mut self,
        mut nodes: Vec<ListedLease>,
        keep: bool,
        now: Instant,
        events: &mut impl Extend<Event>,
    ) {
        self.drop_foreign_names(&mut nodes, events);
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

    /// Who writes to the store must not be able to send clients anywhere else.
    fn drop_foreign_names(&mut self, nodes: &mut Vec<ListedLease>, events: &mut impl Extend<Event>) {
        let first = nodes.iter().map(|node| &node.id.name).find(|name| !name.is_below(&self.domain)).cloned();
        let had_one = std::mem::replace(&mut self.has_foreign_name, first.is_some());
        if let Some(node) = first {
            nodes.retain(|node| node.id.name.is_below(&self.domain));
            events.extend((!had_one).then_some(Event::ForeignName { node }));
        }
    }

    pub(crate) fn set_reachable(&mut self, node: &BoxId, reachable: bool) {
        if reachable {
            self.unreachable.remove(node);
        } else {
            self.unreachable.insert(node.clone());
        }
    }

    /// The boxes for this one's own lease; those that are no longer listed are forgotten.
    pub(crate) fn unreachable(&mut self) -> Vec<String> {
        self.unreachable.retain(|id| self.peers.iter().any(|peer| peer.listed.id == *id));
        self.unreachable.iter().map(ToString::to_string).collect()
    }

    /// Whether `name` had a lease when the store was last asked, and is reached.
    pub(crate) fn is_alive(&self, name: &NodeName) -> bool {
        let mut members = self.peers.iter().filter(|peer| peer.is_member(&self.key));
        members.any(|Peer { listed, .. }| listed.id.name == *name && !self.unreachable.contains(&listed.id))
    }

    /// Those that may open new rooms while the store is away.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = &NodeName> {
        let is_candidate = |peer: &&Peer| {
            let Peer { listed, .. } = peer;
            peer.is_member(&self.key) && !listed.lease.draining && !self.unreachable.contains(&listed.id)
        };
        self.peers.iter().filter(is_candidate).map(|peer| &peer.listed.id.name)
    }

    /// The boxes that cannot reach `me`, if they are most of at least two others. A box that reaches no other one has no
    /// say: then its own network is at fault, or the health checks are.
    pub(crate) fn voters_against(&self, me: &BoxId) -> Option<Vec<NodeName>> {
        let alive: Vec<&ListedLease> = self
            .peers
            .iter()
            .filter(|peer| peer.alive && !peer.listed.is_foreign(&self.key) && peer.listed.id.name != me.name)
            .map(|peer| &peer.listed)
            .collect();
        let reaches_any = |voter: &ListedLease| {
            alive.iter().any(|other| other.id != voter.id && !voter.cannot_reach(&other.id))
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
