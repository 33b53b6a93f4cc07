//! Applies changed settings to a running server, and logs those that need a restart.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::config::{Reload, Settings};
use crate::error::Hint as _;
use crate::http::HttpServer;
use crate::keys::{Keys, cluster_id};
use crate::state_dir::{StateDir, StoredKeys};
use crate::task::run_blocking;
use webrtc_box_relay::Relay;
use webrtc_box_signaling::HostKeys;

/// The settings in use, as configured (port 0 stays 0), so that they can be compared with new ones.
#[derive(Debug)]
pub(super) struct RunningSettings {
    settings: Settings,
    keys: Keys,
}

/// How long the files may take to be read. A disk that does not respond must not delay the end of the server.
const READ_LIMIT: Duration = Duration::from_secs(10);

impl RunningSettings {
    pub(super) fn new(settings: Settings, keys: Keys) -> Self {
        Self { settings, keys }
    }

    pub(super) fn drain_timeout(&self) -> Duration {
        self.settings.drain_timeout
    }

    /// Reads the settings again and applies all that a reload can change, or nothing if one is invalid.
    pub(super) async fn reload<E, R>(&mut self, read: R, http_server: &HttpServer, relay: Option<&Relay>)
    where
        E: fmt::Display,
        R: Fn() -> Result<Settings, E> + Send + 'static,
    {
        let state_dir = self.settings.state_dir.clone();
        match timeout(READ_LIMIT, run_blocking(move || read_all(read, &state_dir))).await {
            Ok(Ok((new, stored))) => self.apply(new, &stored, http_server, relay),
            Ok(Err(error)) => error!("settings not reloaded: {error}"),
            Err(_) => error!(
                "settings not reloaded: their files or state-dir do not respond; repair that disk, then reload again"
            ),
        }
    }

    fn apply(
        &mut self,
        mut new: Settings,
        stored: &StoredKeys,
        http_server: &HttpServer,
        relay: Option<&Relay>,
    ) {
        if new.cluster != self.settings.cluster {
            // The keys belong to the store: both change at the next start.
            new.cluster_key.clone_from(&self.settings.cluster_key);
        }
        let mut changed = self.settings.changed(&new);
        // The secret of the state directory counts too, so the secrets themselves are compared.
        changed.retain(|(name, _)| *name != "static-auth-secret");
        let room_names = cluster_id(&self.settings);
        http_server.set_host_keys(HostKeys::new(&new.host_key));
        // Cannot fail: the filter has been validated with the other settings.
        let _ = crate::log::set_level(&new.log);
        self.settings.reload(new);
        let keys = Keys::new(&self.settings, stored);
        if keys.secrets != self.keys.secrets {
            if !changed.iter().any(|(name, _)| *name == "cluster-key") {
                changed.push(("static-auth-secret", Reload::Applied));
            }
            // First the relay: it must accept the new credentials before a client has one.
            if let Some(relay) = relay {
                relay.set_secrets(&keys.secrets);
            }
            http_server.set_secrets(keys.secrets.clone());
        }
        if keys.resume_key != self.keys.resume_key {
            http_server.set_resume_key(keys.resume_key.clone());
        }
        self.keys = keys;
        log_changes(&changed);
        if cluster_id(&self.settings) != room_names {
            warn!(
                "the last cluster-key names the rooms and has changed; restart all boxes soon after each other"
            );
        }
    }
}

/// The new settings, and the keys of the state directory.
///
/// # Errors
/// A setting is invalid, or a file cannot be read; one line.
fn read_all<E: fmt::Display>(
    read: impl Fn() -> Result<Settings, E>,
    state_dir: &Path,
) -> Result<(Settings, StoredKeys), String> {
    let new = read().map_err(|error| error.to_string())?;
    let stored = StateDir::open(state_dir)
        .and_then(|state| state.load_or_create_keys())
        .map_err(|error| error.with_hint())?;
    Ok((new, stored))
}

fn log_changes(changed: &[(&str, Reload)]) {
    let names = |wanted| {
        let matching = changed.iter().filter(move |(_, rule)| *rule == wanted).map(|(name, _)| *name);
        matching.collect::<Vec<_>>().join(", ")
    };
    let (applied, restart) = (names(Reload::Applied), names(Reload::Restart));
    let applied = if applied.is_empty() { "none" } else { &applied };
    info!(taken = applied, "settings reloaded");
    if !restart.is_empty() {
        warn!(settings = restart, "changed settings need a restart");
    }
}
