//! Which certificate the settings ask for, and who sees to it while the box runs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tracing::{error, warn};

use super::acme::{Kept, Renewal};
use super::in_force::InForce;
use super::pair::load;
use super::reminder::remind;
use super::watch::{Files, Watch};
use crate::beside::outlived;
use crate::config::{CertificateSource, Identity, Settings};
use crate::error::StartError;
use crate::state::State;

/// How long the end waits for a disk.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// What is to be done for the certificate as long as the box runs.
#[derive(Debug)]
pub enum Upkeep {
    /// Nothing: the self-signed one lasts for a year, and the next start makes another in time.
    None,
    /// It is got and renewed.
    Acme(Box<Renewal>),
    /// Its files are looked at.
    Files(Box<Watch>),
}

/// The certificate that `settings` ask for; `lan` are the addresses a self-signed one is to name.
///
/// # Errors
/// The certificate or its key cannot be used, or the state directory cannot.
pub fn open(settings: &Settings, lan: &[IpAddr]) -> Result<(Arc<InForce>, Upkeep), StartError> {
    match &settings.identity {
        Identity::TryOut => {
            let made = State::open(&settings.state_dir)?.self_signed(lan, SystemTime::now())?;
            Ok((InForce::new(load(&made.cert, &made.key)?), Upkeep::None))
        }
        Identity::Domain { name, source: CertificateSource::Files { cert, key } } => {
            let files = Files { cert: cert.clone(), key: key.clone(), domain: name.clone() };
            let (in_force, watch) = files.open()?;
            Ok((in_force, Upkeep::Files(Box::new(watch))))
        }
        Identity::Domain { name, source: CertificateSource::Acme { email, directory } } => {
            let renewal = Renewal::open(name, email, directory, &settings.state_dir)?;
            Ok((renewal.in_force(), Upkeep::Acme(Box::new(renewal))))
        }
    }
}

/// What of a certificate may be in memory alone.
#[derive(Clone, Debug, Default)]
pub struct Keeping(Option<Kept>);

impl Keeping {
    /// Writes it before the end, if the disk takes it within a moment.
    pub async fn save(&self) {
        if let Some(kept) = &self.0
            && !matches!(timeout(LAST_MOMENT, kept.save()).await, Ok(Ok(())))
        {
            warn!("what the authority has given us could not be written; the next start asks for others");
        }
    }
}

impl Upkeep {
    /// What is to be written before the end.
    pub fn keeping(&self) -> Keeping {
        match self {
            Self::Acme(renewal) => Keeping(Some(renewal.kept())),
            Self::None | Self::Files(_) => Keeping::default(),
        }
    }

    /// Does it, for ever where there is something to do. A bug in it is told and outlived: it has no
    /// heart, for the watchdog would end the calls, which need none of it.
    pub async fn run(self) {
        match self {
            Self::None => {}
            Self::Acme(renewal) => {
                let reminder = renewal.reminder();
                tokio::join!(renewal.run(), reminded(reminder));
            }
            Self::Files(watch) => {
                let reminder = watch.reminder();
                tokio::join!(watch.run(), reminded(reminder));
            }
        }
    }
}

async fn reminded((in_force, subject, domain): (Arc<InForce>, String, String)) {
    if let Err(bug) = outlived(remind(in_force, subject, domain)).await {
        error!("{bug}");
    }
}
