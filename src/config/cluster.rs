//! The settings of a service of several servers: the store, the name of this one, and the keys that all share.

use std::net::IpAddr;

use webrtc_box_cluster::{Fallback, NodeName, StoreUrl, StoreUrlError};
use webrtc_box_turn::credential::Secret;

use super::values::{Field, Parsed, invalid, parse};
use super::{Identity, RawSettings, Settings, SettingsError, network};

/// The settings of one of several servers, which are only valid together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The store that all share.
    pub store: StoreUrl,
    /// The common name of all servers.
    pub domain: NodeName,
    /// The name of this server, a subdomain of `domain`.
    pub node_name: NodeName,
    /// The keys that all share: the first signs, all verify. Never empty.
    pub keys: Vec<Secret>,
    /// What happens to new rooms while the store cannot be reached.
    pub fallback: Fallback,
}

/// The store, if one is given. The error does not repeat the URL, which may contain a password.
pub(super) fn store(field: &Field<'_>) -> Result<Option<StoreUrl>, SettingsError> {
    let Some(text) = field.texts.first() else { return Ok(None) };
    let refuse = |error: StoreUrlError| SettingsError::invalid(format!("cluster: {error}"), error.hint());
    StoreUrl::parse(text).map(Some).map_err(refuse)
}

/// The name of this server, if one is given.
pub(super) fn node_name(field: &Field<'_>) -> Result<Option<NodeName>, SettingsError> {
    let hint = "give the name alone as DNS has it, like b1.call.example.com";
    let name = |text: &str| match NodeName::parse(text) {
        // A name that a browser takes for an address is none.
        Ok(name) if network::host_name(text).is_ok() => Ok(name),
        _ => invalid("no host name", hint),
    };
    field.texts.first().map(|text| parse(field.name, text, name)).transpose()
}

/// `open` or `refuse`.
pub(super) fn fallback(text: &str) -> Parsed<Fallback> {
    match text {
        "open" => Ok(Fallback::Open),
        "refuse" => Ok(Fallback::Refuse),
        _ => invalid("neither open nor refuse", "give open or refuse"),
    }
}

impl RawSettings {
    /// Without the settings of several servers, for a server that is only reached by its name.
    pub(super) fn without_cluster(self) -> Self {
        Self {
            cluster: None,
            node_name: None,
            cluster_key: None,
            cluster_key_file: None,
            cluster_fallback: None,
            ..self
        }
    }
}

impl Settings {
    /// The settings of this server as one of several; `None` if it is the only one.
    pub fn cluster_settings(&self) -> Option<ClusterSettings> {
        Some(ClusterSettings {
            store: self.cluster.clone()?,
            domain: NodeName::parse(self.names().first()?).ok()?,
            node_name: self.node_name.clone()?,
            keys: self.cluster_key.clone(),
            fallback: self.cluster_fallback,
        })
    }

    /// The name that leads to this server alone: `node-name` if it is one of several, else `domain`. `None` in try-out mode.
    pub fn own_name(&self) -> Option<&str> {
        self.names().last().copied()
    }

    /// The public names of this server: `domain`, then `node-name` if it is one of several.
    pub fn names(&self) -> Vec<&str> {
        let Identity::Domain { name, .. } = &self.identity else { return Vec::new() };
        let node_name = self.cluster.as_ref().and(self.node_name.as_ref().map(NodeName::as_str));
        std::iter::once(name.as_str()).chain(node_name).collect()
    }

    /// The settings of several servers need each other. `cluster-fallback` alone has no effect: the example file has it
    /// with its default.
    pub(super) fn check_cluster(&self) -> Result<(), SettingsError> {
        let refuse = |reason: String, hint: String| Err(SettingsError::invalid(reason, hint));
        if self.cluster.is_none() {
            let given =
                [("node-name", self.node_name.is_some()), ("cluster-key", !self.cluster_key.is_empty())];
            return match given.into_iter().find(|(_, is_given)| *is_given) {
                None => Ok(()),
                Some((setting, _)) => refuse(
                    format!("{setting} is set without cluster"),
                    format!("add --cluster redis://HOST (setting cluster), or leave {setting} out"),
                ),
            };
        }
        let Identity::Domain { name: domain, .. } = &self.identity else {
            return refuse(
                "cluster is set without domain".to_owned(),
                "add --domain NAME, the name that all servers share, with its certificate".to_owned(),
            );
        };
        if domain.parse::<IpAddr>().is_ok() {
            return refuse(
                format!("cluster needs a name, and domain {domain} is an address"),
                "give all servers one name, and each a subdomain of it as node-name".to_owned(),
            );
        }
        let Some(node_name) = &self.node_name else {
            return refuse(
                "cluster is set without node-name".to_owned(),
                format!("add --node-name b1.{domain}, the name of this server alone (setting node-name)"),
            );
        };
        if !node_name.as_str().strip_suffix(domain.as_str()).is_some_and(|label| label.ends_with('.')) {
            return refuse(
                format!("node-name {node_name} is not a subdomain of domain {domain}"),
                format!("give a name like b1.{domain}, which leads to this server alone"),
            );
        }
        if self.cluster_key.is_empty() {
            return refuse(
                "cluster is set without cluster-key".to_owned(),
                "add --cluster-key-file FILE with the same random text on all servers (openssl rand -base64 32)"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
