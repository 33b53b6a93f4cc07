//! `webrtc-box nodes`: the boxes of a cluster as the store knows them, as a table or as JSON.

use std::fmt;

use serde::Serialize;
use webrtc_box_cluster::{NodeInfo, StoreError, StoreStatus, read_nodes};

use crate::config::Settings;
use crate::error::Hint;
use crate::keys::cluster_id;
use crate::net::https_client::system_roots;
use crate::task::run_blocking;

/// The boxes in the store, by name.
#[derive(Clone, Debug)]
pub struct Nodes(Vec<NodeInfo>);

/// Why there is no list of boxes. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodesError {
    /// The settings describe a single server.
    #[error("cluster is not set, so there are no other boxes")]
    NoCluster,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One box as `--json` prints it.
#[derive(Serialize)]
struct Json<'a> {
    name: &'a str,
    /// Of this start of the box.
    boot: String,
    version: &'a str,
    rooms: u64,
    /// In percent.
    load: u8,
    draining: bool,
    unreachable: bool,
    foreign: bool,
    /// Since it renewed its lease.
    seconds: f64,
}

/// What the store of `settings` has.
///
/// # Errors
/// `settings` name no store, or it does not answer.
pub async fn read_store(settings: &Settings) -> Result<StoreStatus, NodesError> {
    let (Some(cluster), Some(key_id)) = (settings.cluster_settings(), cluster_id(settings)) else {
        return Err(NodesError::NoCluster);
    };
    let roots = run_blocking(system_roots).await;
    Ok(read_nodes(&cluster.store, &cluster.domain, key_id, roots).await?)
}

impl Nodes {
    /// Reads them from the store of `settings`.
    ///
    /// # Errors
    /// `settings` name no store, or it does not answer.
    pub async fn read(settings: &Settings) -> Result<Self, NodesError> {
        read_store(settings).await.map(|status| Self::new(status.nodes))
    }

    fn new(mut nodes: Vec<NodeInfo>) -> Self {
        nodes.sort_by(|one, other| one.id.cmp(&other.id));
        Self(nodes)
    }

    /// The list for scripts, on one line.
    ///
    /// # Errors
    /// None in practice: it consists of texts and numbers.
    pub fn json(&self) -> serde_json::Result<String> {
        let nodes: Vec<_> = self.0.iter().map(Json::new).collect();
        serde_json::to_string(&serde_json::json!({ "nodes": nodes }))
    }
}

impl<'a> Json<'a> {
    fn new(node: &'a NodeInfo) -> Self {
        Self {
            name: node.id.name.as_str(),
            boot: format!("{:016x}", node.id.boot),
            version: &node.version,
            rooms: node.rooms,
            load: node.load,
            draining: node.draining,
            unreachable: node.unreachable,
            foreign: node.foreign,
            seconds: node.age.as_secs_f64(),
        }
    }
}

/// What a box does; the worst comes first.
fn state(node: &NodeInfo) -> &'static str {
    match node {
        NodeInfo { foreign: true, .. } => "foreign",
        NodeInfo { unreachable: true, .. } => "unreachable",
        NodeInfo { draining: true, .. } => "draining",
        _ => "serving",
    }
}

impl fmt::Display for Nodes {
    /// A heading, and a line for each box.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no box holds a lease in the store");
        }
        let width = |text: fn(&NodeInfo) -> usize, heading: &str| {
            self.0.iter().map(text).chain([heading.len()]).max().unwrap_or_default()
        };
        let name = width(|node| node.id.name.as_str().len(), "node");
        let version = width(|node| node.version.len(), "version");
        write!(f, "{:name$}  {:version$}  rooms  load  {:11}  last seen", "node", "version", "state")?;
        for node in &self.0 {
            let (rooms, load, seconds) = (node.rooms, node.load, node.age.as_secs_f64());
            write!(
                f,
                "\n{:name$}  {:version$}  {rooms:5}  {load:3}%  {:11}  {seconds:.1} s ago",
                node.id.name.as_str(),
                printable(&node.version),
                state(node)
            )?;
        }
        Ok(())
    }
}

/// The version comes from the store, and must not control the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl Hint for NodesError {
    fn hint(&self) -> String {
        match self {
            Self::NoCluster => "set cluster, see docs/scaling.md".to_owned(),
            Self::Store(error) => error.hint().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use webrtc_box_cluster::{BoxId, NodeName};

    use super::*;

    fn node(name: &str, rooms: u64) -> NodeInfo {
        NodeInfo {
            id: BoxId { name: NodeName::parse(name).unwrap(), boot: 7 },
            version: "0.1.0".to_owned(),
            load: 9,
            rooms,
            draining: false,
            unreachable: false,
            foreign: false,
            age: Duration::from_millis(450),
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_box_by_name() {
        let draining =
            NodeInfo { draining: true, version: "0.1.0\u{1b}".to_owned(), ..node("b1.a.example", 12) };
        let text = Nodes::new(vec![node("b10.a.example", 1234), draining]).to_string();
        let lines = [
            "node           version  rooms  load  state        last seen",
            "b1.a.example   0.1.0\u{fffd}      12    9%  draining     0.5 s ago",
            "b10.a.example  0.1.0     1234    9%  serving      0.5 s ago",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
        assert!(Nodes::new(Vec::new()).to_string().contains("no box"));
    }

    #[test]
    fn json_has_one_object_for_each_box() {
        let json: serde_json::Value =
            serde_json::from_str(&Nodes::new(vec![node("b1.a.example", 12)]).json().unwrap()).unwrap();
        let expected = serde_json::json!({ "nodes": [{
            "name": "b1.a.example", "boot": "0000000000000007", "version": "0.1.0", "rooms": 12, "load": 9,
            "draining": false, "unreachable": false, "foreign": false, "seconds": 0.45,
        }]});
        assert_eq!(json, expected);
    }
}
