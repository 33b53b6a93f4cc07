//! Settings read anew while the box runs: what can be taken is taken, the rest is named.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, info, warn};

use super::Running;
use crate::config::{Reload, Settings};
use crate::error::Hint as _;
use crate::store::State;
use crate::systemd::notify::Notification;
use crate::task::run_blocking;
use webrtc_box_signaling::HostKeys;
use webrtc_box_turn::credential::Secrets;

/// What a running box goes by: as it was typed, so that it can be compared with what is typed later.
#[derive(Debug)]
pub(super) struct RunningSettings {
    settings: Settings,
    secrets: Secrets,
}

/// A disk that takes longer does not answer, and whoever wants the box to end is not to wait for it.
const READ_LIMIT: Duration = Duration::from_secs(10);

impl RunningSettings {
    pub(super) fn new(settings: Settings, secrets: Secrets) -> Self {
        Self { settings, secrets }
    }

    pub(super) fn drain_timeout(&self) -> Duration {
        self.settings.drain_timeout
    }
}

/// What is typed now, and the secrets it leads to; the kept one may have been replaced as well.
///
/// # Errors
/// It makes no sense, or cannot be read; one line.
fn read<E: fmt::Display>(
    reread: impl Fn() -> Result<Settings, E>,
    state_dir: &Path,
) -> Result<(Settings, Secrets), String> {
    let new = reread().map_err(|error| error.to_string())?;
    let kept = State::open(state_dir).and_then(|state| state.kept()).map_err(|error| error.with_hint())?;
    let secrets = kept.secrets(&new.static_auth_secret);
    Ok((new, secrets))
}

impl Running {
    /// The certificate, and the settings: all or nothing of those, so that where one makes no sense
    /// everything stays as it was.
    pub(super) async fn reload<E, R>(&mut self, reread: R)
    where
        E: fmt::Display,
        R: Fn() -> Result<Settings, E> + Send + 'static,
    {
        self.service.tell(Notification::Reloading);
        // Says for itself what it finds, whatever the settings say.
        self.certificate.look_now();
        let state_dir = self.current.settings.state_dir.clone();
        match timeout(READ_LIMIT, run_blocking(move || read(reread, &state_dir))).await {
            Ok(Ok((new, secrets))) => self.take(new, secrets),
            Ok(Err(error)) => error!("nothing is read anew: {error}"),
            Err(_) => error!(
                "nothing is read anew: the settings or state-dir do not answer; mend that disk, then reload again"
            ),
        }
        self.service.tell(Notification::Ready);
    }

    fn take(&mut self, new: Settings, secrets: Secrets) {
        let mut changed = self.current.settings.changed(&new);
        // The secret of the state directory counts as well, so the secrets themselves are compared.
        changed.retain(|(name, _)| *name != "static-auth-secret");
        if secrets != self.current.secrets {
            changed.push(("static-auth-secret", Reload::Applied));
            self.take_secrets(secrets);
        }
        self.web.set_host_keys(HostKeys::new(&new.host_key));
        // Cannot fail: the filter has been checked with the other settings.
        let _ = crate::log::set_level(&new.log);
        self.current.settings.reload(new);
        tell(&changed);
    }

    /// The relay first: what a client holds has to be known there.
    fn take_secrets(&mut self, secrets: Secrets) {
        if let Some(relay) = &self.relay {
            relay.set_secrets(&secrets);
        }
        self.web.set_secrets(secrets.clone());
        self.current.secrets = secrets;
    }
}

fn tell(changed: &[(&str, Reload)]) {
    let with = |wanted| changed.iter().filter(move |(_, rule)| *rule == wanted).map(|(name, _)| *name);
    let (taken, waiting): (Vec<_>, Vec<_>) =
        (with(Reload::Applied).collect(), with(Reload::Restart).collect());
    let taken = if taken.is_empty() { "nothing new".to_owned() } else { taken.join(", ") };
    info!(taken, "settings read anew");
    if !waiting.is_empty() {
        warn!(settings = waiting.join(", "), "changed, but taken only at a restart");
    }
}
