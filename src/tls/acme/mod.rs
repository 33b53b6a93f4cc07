//! A certificate that the box gets and renews by itself (ACME, RFC 8555), proven over TLS on
//! `https-port` (RFC 8737), so that no other port is needed.
//!
//! `schedule` says when, `client` asks and `order` is one asking, `proof` is what the authority is
//! shown, `https` carries it and `kept` keeps what comes of it. The box serves all the while: with
//! what it has, or a stand-in.

mod challenge;
mod client;
mod https;
mod order;
mod problem;
mod schedule;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

pub use self::store::acme_certificate_path;

use self::client::AcmeClient;
pub(super) use self::store::CertStore;

use self::problem::AcmeError;
use self::schedule::Schedule;
use self::store::StoreFiles;
use super::active_certificate::ActiveCertificate;
use super::error::TlsError;
use super::key_pair::{Loaded, Texts};
use super::validity::When;
use crate::clock::Now;
use crate::error::Hint as _;
use crate::task::catch_panic;
use crate::tls::self_signed;

/// How long one attempt may take in all; its steps have limits of their own.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(8 * 60);

/// The wall clock is asked at least this often: it may be set, and a machine may sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(10 * 60);

/// The same where the disk or the clock may mend what is missing.
const SHORT_SLEEP: Duration = Duration::from_secs(60);

/// The least time between two attempts over a restart. A box that ends and starts again without end
/// runs into the authority's limit, but not within a minute.
const RESTART_PAUSE: u64 = 60;

/// A certificate by ACME, and what it takes to get the next.
#[derive(Debug)]
pub struct Renewal {
    client: AcmeClient,
    in_force: Arc<ActiveCertificate>,
    schedule: Schedule,
    /// Why what was got is not on the disk, as it was told.
    unsaved: Option<String>,
    /// Somebody wants to hear of it again.
    asked: bool,
}

impl Renewal {
    /// Takes up what is kept in `state_dir`, or a stand-in until there is something.
    ///
    /// # Errors
    /// The state directory cannot be used.
    pub fn open(domain: &str, email: &str, directory: &str, state_dir: &Path) -> Result<Self, TlsError> {
        Self::open_at(domain, email, directory, state_dir, crate::clock::now())
    }

    fn open_at(
        domain: &str,
        email: &str,
        directory: &str,
        state_dir: &Path,
        now: Now,
    ) -> Result<Self, TlsError> {
        let shelf = StoreFiles::open(state_dir, directory)?;
        let in_force = match shelf.certificate(domain) {
            Some(loaded) if !loaded.leaf.is_over(now.unix) => ActiveCertificate::new(loaded),
            _ => ActiveCertificate::stand_in(stand_in(domain)?),
        };
        let schedule = Schedule::new(shelf.next_attempt(), now, chance());
        let client = AcmeClient {
            domain: domain.to_owned(),
            email: email.to_owned(),
            directory: directory.to_owned(),
            kept: CertStore::new(shelf),
            in_force: Arc::clone(&in_force),
        };
        Ok(Self { client, in_force, schedule, unsaved: None, asked: false })
    }

    /// What the listeners serve with.
    pub fn in_force(&self) -> Arc<ActiveCertificate> {
        Arc::clone(&self.in_force)
    }

    /// What is kept of it.
    pub(super) fn kept(&self) -> CertStore {
        self.client.kept.clone()
    }

    /// What a daily warning needs to know.
    pub(super) fn expiry_subject(&self) -> (Arc<ActiveCertificate>, String, String) {
        (self.in_force(), format!("the certificate of {}", self.domain()), self.domain().to_owned())
    }

    /// Gets a certificate where there is none and renews the one there is, for ever. Whoever asks for
    /// a look gets an attempt if one is due or has failed.
    pub async fn run(mut self) {
        if self.in_force.summary().stand_in {
            self.answer();
        }
        loop {
            match catch_panic(self.turn()).await {
                Ok(()) => self.in_force.note_upkeep(self.unsaved.clone()),
                Err(bug) => {
                    error!("{bug}");
                    self.in_force.note_upkeep(Some(bug.to_string()));
                    sleep(SHORT_SLEEP).await;
                }
            }
        }
    }

    /// Until the next moment at which there is something to do, or somebody asks.
    async fn turn(&mut self) {
        self.save().await;
        self.look_again(crate::clock::now()).await;
        let wait = self.wait();
        if wait.is_zero() {
            return self.attempt().await;
        }
        let makeshift = self.unsaved.is_some() || self.in_force.summary().stand_in;
        let longest = if makeshift { SHORT_SLEEP } else { LONGEST_SLEEP };
        if timeout(wait.min(longest), self.in_force.asked()).await.is_ok() {
            self.schedule.retry_now();
            self.answer();
            self.asked = true;
        }
    }

    /// Writes what the disk has refused so far; until it takes it, it is served from memory.
    async fn save(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        match (self.client.kept.save().await, self.unsaved.take()) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                info!("what the authority has given us is written now");
                self.in_force.note_upkeep(None);
            }
            (Err(_), Some(told)) => {
                if asked {
                    warn!("{told}");
                }
                self.unsaved = Some(told);
            }
            (Err(error), None) => {
                let fault = format!(
                    "{}; until then account and certificate are in memory alone, and a start asks for others",
                    error.with_hint()
                );
                warn!("{fault}");
                self.in_force.note_upkeep(Some(fault.clone()));
                self.unsaved = Some(fault);
            }
        }
    }

    /// What is kept looked as if it had run out when the clock was wrong; by now the clock may be right.
    async fn look_again(&mut self, now: Now) {
        if !self.in_force.summary().stand_in {
            return;
        }
        let kept = self.client.kept.certificate(self.domain()).await;
        if let Some(loaded) = kept.filter(|loaded| !loaded.leaf.is_over(now.unix)) {
            info!(until = %When(loaded.leaf.not_after), "the certificate that is kept is good by this host's clock now");
            self.in_force.take(loaded);
        }
    }

    fn domain(&self) -> &str {
        &self.client.domain
    }

    /// How long until the next attempt.
    fn wait(&self) -> Duration {
        let summary = self.in_force.summary();
        let leaf = (!summary.stand_in).then_some(&summary.leaf);
        self.schedule.wait(leaf, crate::clock::now())
    }

    /// Says what happens next to who asked; where an attempt follows, that says it.
    fn answer(&self) {
        let wait = self.wait();
        if wait.is_zero() {
            return;
        }
        let next = When(crate::clock::now().unix.saturating_add(wait.as_secs()));
        let summary = self.in_force.summary();
        match &summary.fault {
            Some(fault) => {
                warn!("{fault}; the next attempt is at {next}, no sooner, for the authority counts")
            }
            None if summary.stand_in => {
                warn!("no certificate for {} yet; the next attempt is at {next}", self.domain());
            }
            None => info!(%next, "the certificate of {} is good until its renewal", self.domain()),
        }
    }

    async fn attempt(&mut self) {
        let now = crate::clock::now();
        self.client.kept.keep_next_attempt(now.unix.saturating_add(RESTART_PAUSE)).await;
        // A bug in it counts as a failure: without a rest it would be met again at once.
        match catch_panic(timeout(ATTEMPT_LIMIT, self.client.obtain())).await {
            // Served first: a disk may take its time.
            Ok(Ok(Ok((loaded, issued)))) => {
                self.take(loaded);
                self.client.kept.keep_certificate(&issued).await;
            }
            Ok(Ok(Err((error, asked)))) => self.failed(&error, asked).await,
            Ok(Err(_)) => self.failed(&AcmeError::TooSlow, None).await,
            Err(bug) => self.failed(&AcmeError::Panic(bug), None).await,
        }
    }

    fn take(&mut self, loaded: Loaded) {
        self.schedule.obtained(&loaded.leaf, crate::clock::now(), chance());
        let (until, renewal) = (When(loaded.leaf.not_after), When(self.schedule.renewal(&loaded.leaf)));
        info!(%until, %renewal, "a new certificate for {} is in force", self.domain());
        self.in_force.take(loaded);
    }

    async fn failed(&mut self, error: &AcmeError, asked: Option<Duration>) {
        let now = crate::clock::now();
        self.schedule.failed(error.has_cost(), asked, now, chance());
        let next = now.unix.saturating_add(self.wait().as_secs());
        if asked.is_some() {
            self.client.kept.keep_next_attempt(next).await;
        }
        let summary = self.in_force.summary();
        let next = When(next);
        if summary.stand_in {
            warn!("no certificate for {} yet: {error}; the next attempt is at {next}", self.domain());
        } else {
            let until = When(summary.leaf.not_after);
            warn!(
                "the certificate of {}, good until {until}, was not renewed: {error}; \
                 the next attempt is at {next}",
                self.domain()
            );
        }
        self.in_force.note(Some(error.to_string()));
    }
}

/// Signed by itself: what a visitor is served while there is nothing better.
fn stand_in(domain: &str) -> Result<Loaded, TlsError> {
    let (cert, key) = self_signed::make(vec![domain.to_owned()], SystemTime::now())?;
    Texts::new(&cert, &key).load(Path::new("(stand-in)"), Path::new("(stand-in)"))
}

fn chance() -> schedule::Chance {
    let mut bytes = [0; 4];
    // Without randomness there are worse troubles than renewals at the same time.
    let drawn = getrandom::fill(&mut bytes).map(|()| u32::from_ne_bytes(bytes));
    drawn.map_or(0.5, |drawn| f64::from(drawn) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::tls::acme::order::Issued;

    const DIRECTORY: &str = "https://acme.example/dir";
    /// Within 2031, and long before.
    const YEARS: [u64; 2] = [1_940_000_000, 1_600_000_000];

    fn open(place: &Path, unix: u64) -> Renewal {
        let now = Now { unix, ..crate::clock::now() };
        Renewal::open_at("box.test", "me@box.test", DIRECTORY, place, now).unwrap()
    }

    fn issued() -> Issued {
        let mut params = CertificateParams::new(["box.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate().unwrap();
        Issued { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    #[tokio::test]
    async fn a_certificate_that_a_wrong_clock_took_for_over_is_served_when_the_clock_is_right() {
        let place = tempfile::tempdir().unwrap();
        let [wrong, right] = YEARS;
        open(place.path(), right).client.kept.keep_certificate(&issued()).await;
        let mut renewal = open(place.path(), wrong);
        renewal.look_again(Now { unix: wrong, ..crate::clock::now() }).await;
        assert!(renewal.in_force.summary().stand_in);
        renewal.look_again(Now { unix: right, ..crate::clock::now() }).await;
        assert!(!renewal.in_force.summary().stand_in);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_a_fault_for_who_watches_until_it_is_written() {
        let place = tempfile::tempdir().unwrap();
        let mut renewal = open(place.path(), YEARS[1]);
        let file = acme_certificate_path(place.path(), DIRECTORY);
        std::fs::create_dir(&file).unwrap();
        renewal.client.kept.keep_certificate(&issued()).await;
        renewal.save().await;
        let fault = renewal.in_force.summary().upkeep.clone().unwrap();
        assert!(fault.contains("cannot be written") && fault.contains("in memory alone"), "{fault}");
        // Neither the next that comes nor a failure of another kind takes that back.
        renewal.failed(&AcmeError::TooSlow, None).await;
        renewal.save().await;
        renewal.take(renewal.client.kept.certificate("box.test").await.unwrap());
        assert_eq!(renewal.in_force.summary().upkeep.as_ref(), Some(&fault));
        renewal.failed(&AcmeError::TooSlow, None).await;
        std::fs::remove_dir(&file).unwrap();
        renewal.save().await;
        assert_eq!(renewal.in_force.summary().upkeep, None);
        assert!(renewal.in_force.summary().fault.is_some());
        assert!(file.is_file());
    }
}
