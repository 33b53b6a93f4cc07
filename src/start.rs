//! Stands in for the real start until the listeners exist: opens what a start needs, then waits.

use std::time::SystemTime;

use crate::config::{Identity, Settings};
use crate::error::StartError;
use crate::greeting::lan_addresses;
use crate::ops::Signals;
use crate::state::State;
use crate::tls;

/// A box that runs.
#[derive(Debug)]
pub struct Running {
    signals: Signals,
}

/// Opens the state directory and the certificate.
///
/// # Errors
/// Either cannot be used.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    let state = State::open(&settings.state_dir)?;
    let _kept = state.kept()?;
    let now = SystemTime::now();
    let loaded = match &settings.identity {
        Identity::TryOut => {
            let files = state.self_signed(&lan_addresses(), now)?;
            tls::load(&files.cert, &files.key, now)?
        }
        Identity::Domain { cert, key, .. } => tls::load(cert, key, now)?,
    };
    if let Some(warning) = loaded.warning {
        tracing::warn!("{warning}");
    }
    Ok(Running { signals: Signals::new()? })
}

impl Running {
    /// Waits for the first signal to stop.
    pub async fn stopped(mut self) {
        self.signals.next().await;
    }
}
