//! Applies changed settings to a running server, and logs those that need a restart.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::config::{Reload, Settings};
use crate::error::Hint as _;
use crate::http::HttpServer;
use crate::state_dir::StateDir;
use crate::task::run_blocking;
use webrtc_box_relay::Relay;
use webrtc_box_signaling::HostKeys;
use webrtc_box_turn::credential::Secrets;

/// The settings in use, as configured (port 0 stays 0), so that they can be compared with new ones.
#[derive(Debug)]
pub(super) struct RunningSettings {
    settings: Settings,
    secrets: Secrets,
}

/// How long the files may take to be read. A disk that does not respond must not delay the end of the server.
const READ_LIMIT: Duration = Duration::from_secs(10);

impl RunningSettings {
    pub(super) fn new(settings: Settings, secrets: Secrets) -> Self {
        Self { settings, secrets }
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
            Ok(Ok((new, secrets))) => self.apply(new, secrets, http_server, relay),
            Ok(Err(error)) => error!("settings not reloaded: {error}"),
            Err(_) => error!(
                "settings not reloaded: their files or state-dir do not respond; repair that disk, then reload again"
            ),
        }
    }

    fn apply(&mut self, new: Settings, secrets: Secrets, http_server: &HttpServer, relay: Option<&Relay>) {
        let mut changed = self.settings.changed(&new);
        // The secret of the state directory counts too, so the secrets themselves are compared.
        changed.retain(|(name, _)| *name != "static-auth-secret");
        if secrets != self.secrets {
            changed.push(("static-auth-secret", Reload::Applied));
            // First the relay: it must accept the new credentials before a client has one.
            if let Some(relay) = relay {
                relay.set_secrets(&secrets);
            }
            http_server.set_secrets(secrets.clone());
            self.secrets = secrets;
        }
        http_server.set_host_keys(HostKeys::new(&new.host_key));
        // Cannot fail: the filter has been validated with the other settings.
        let _ = crate::log::set_level(&new.log);
        self.settings.reload(new);
        log_changes(&changed);
    }
}

/// The new settings, and the secrets of them and of the state directory.
///
/// # Errors
/// A setting is invalid, or a file cannot be read; one line.
fn read_all<E: fmt::Display>(
    read: impl Fn() -> Result<Settings, E>,
    state_dir: &Path,
) -> Result<(Settings, Secrets), String> {
    let new = read().map_err(|error| error.to_string())?;
    let stored = StateDir::open(state_dir)
        .and_then(|state| state.load_or_create_keys())
        .map_err(|error| error.with_hint())?;
    let secrets = stored.secrets(&new.static_auth_secret);
    Ok((new, secrets))
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
