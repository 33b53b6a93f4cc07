//! Which certificate the settings ask for, and who sees to it while the box runs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use super::acme::{CertStore, Renewal};
use super::active_certificate::ActiveCertificate;
use super::error::TlsError;
use super::expiry_warning::warn_of_expiry;
use super::file_watch::{Files, Watch};
use super::key_pair::load;
use super::self_signed;
use crate::config::{CertificateSource, Identity, Settings};
use crate::error::Hint as _;
use crate::net::interfaces::lan_addresses;
use crate::store::State;
use crate::task::{catch_panic, run_blocking};

/// Time between two policy whether the self-signed certificate is valid.
const SELF_SIGNED_LOOK: Duration = Duration::from_secs(60);

/// How long the end waits for a disk.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// What is to be done for the certificate as long as the box runs.
#[derive(Debug)]
pub enum Upkeep {
    /// The self-signed one lasts for a year; it is made again if that year ends meanwhile, or if the clock
    /// was wrong when it was made.
    SelfSigned {
        /// What is served.
        in_force: Arc<ActiveCertificate>,
        /// Where it is kept.
        state_dir: PathBuf,
    },
    /// It is got and renewed.
    Acme(Box<Renewal>),
    /// Its files are looked at.
    Files(Box<Watch>),
}

/// The certificate that `settings` ask for; `lan` are the addresses a self-signed one is to name.
///
/// # Errors
/// The certificate or its key cannot be used, or the state directory cannot.
pub fn open(settings: &Settings, lan: &[IpAddr]) -> Result<(Arc<ActiveCertificate>, Upkeep), TlsError> {
    match &settings.identity {
        Identity::TryOut => {
            let made =
                self_signed::load_or_create(&State::open(&settings.state_dir)?, lan, SystemTime::now())?;
            let in_force = ActiveCertificate::new(load(&made.cert, &made.key)?);
            let state_dir = settings.state_dir.clone();
            Ok((Arc::clone(&in_force), Upkeep::SelfSigned { in_force, state_dir }))
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
pub struct PendingWrites(Option<CertStore>);

impl PendingWrites {
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
    pub fn keeping(&self) -> PendingWrites {
        match self {
            Self::Acme(renewal) => PendingWrites(Some(renewal.kept())),
            Self::SelfSigned { .. } | Self::Files(_) => PendingWrites::default(),
        }
    }

    /// Does it, for ever. A bug in it is told and catch_panic: it has no
    /// heart, for the watchdog would end the calls, which need none of it.
    pub async fn run(self) {
        match self {
            Self::SelfSigned { in_force, state_dir } => keep_self_signed(in_force, state_dir).await,
            Self::Acme(renewal) => {
                let expiry_subject = renewal.expiry_subject();
                tokio::join!(renewal.run(), warn_daily(expiry_subject));
            }
            Self::Files(watch) => {
                let expiry_subject = watch.expiry_subject();
                tokio::join!(watch.run(), warn_daily(expiry_subject));
            }
        }
    }
}

async fn keep_self_signed(in_force: Arc<ActiveCertificate>, state_dir: PathBuf) {
    let mut told = None;
    loop {
        sleep(SELF_SIGNED_LOOK).await;
        let (held, dir) = (Arc::clone(&in_force), state_dir.clone());
        let look = move || renew_self_signed(&held, &dir, &lan_addresses(), SystemTime::now());
        let fault = match catch_panic(run_blocking(look)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.with_hint()),
            Err(bug) => Some(bug.to_string()),
        };
        if let Some(fault) = fault.as_ref().filter(|_| told != fault) {
            error!("the self-signed certificate cannot be made again: {fault}");
        }
        told = fault;
    }
}

/// Makes another where the one in force is not valid now.
fn renew_self_signed(
    in_force: &ActiveCertificate,
    state_dir: &Path,
    lan: &[IpAddr],
    now: SystemTime,
) -> Result<(), TlsError> {
    let unix = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    if in_force.summary().leaf.is_valid(unix) {
        return Ok(());
    }
    let made = self_signed::load_or_create(&State::open(state_dir)?, lan, now)?;
    in_force.take(load(&made.cert, &made.key)?);
    warn!("the self-signed certificate was not valid any more, and another is in force; browsers ask again");
    Ok(())
}

async fn warn_daily((in_force, subject, domain): (Arc<ActiveCertificate>, String, String)) {
    if let Err(bug) = catch_panic(warn_of_expiry(in_force, subject, domain)).await {
        error!("{bug}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn a_try_out_certificate_that_is_not_valid_now_is_made_again() {
        let place = tempfile::tempdir().unwrap();
        let start = SystemTime::now();
        let made = self_signed::load_or_create(&State::open(place.path()).unwrap(), &[], start).unwrap();
        let in_force = ActiveCertificate::new(load(&made.cert, &made.key).unwrap());
        let renewals_at = |now| {
            renew_self_signed(&in_force, place.path(), &[], now).unwrap();
            in_force.summary().renewals
        };
        assert_eq!(renewals_at(start), 0);
        assert_eq!(renewals_at(start + 395 * DAY), 0, "browsers have learnt to trust it");
        assert_eq!(renewals_at(start + 397 * DAY), 1, "a year has passed");
        assert_eq!(renewals_at(start + 398 * DAY), 1);
        assert_eq!(renewals_at(start), 2, "the clock was ahead when it was made");
        assert_eq!(renewals_at(start), 2);
    }
}
