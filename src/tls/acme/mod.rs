//! A certificate that the box gets and renews by itself (ACME, RFC 8555), proven over TLS on
//! `https-port` (RFC 8737), so that no other port is needed.
//!
//! `schedule` says when, `order` asks, `proof` is what the authority is shown, `https` carries it and
//! `kept` keeps what comes of it. The box serves all the while: with what it has, or a stand-in.

mod https;
mod kept;
mod order;
mod proof;
mod refusal;
mod schedule;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::{Account, NewAccount};
use tokio::time::timeout;
use tracing::{info, warn};

pub use self::kept::kept_by_acme;

use self::https::Https;
use self::kept::{Kept, KeptAccount};
use self::order::{Issued, issue};
use self::refusal::AcmeError;
use self::schedule::Schedule;
use super::in_force::InForce;
use super::pair::{Loaded, Texts};
use super::when::When;
use crate::clock::Now;
use crate::error::StartError;
use crate::state::self_signed;

/// How long one attempt may take in all; its steps have limits of their own.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(8 * 60);

/// The wall clock is asked at least this often: it may be set, and a machine may sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(10 * 60);

/// The least time between two attempts over a restart. A box that ends and starts again without end
/// runs into the authority's limit, but not within a minute.
const RESTART_PAUSE: u64 = 60;

/// A certificate by ACME, and what it takes to get the next.
#[derive(Debug)]
pub struct Renewal {
    domain: String,
    email: String,
    directory: String,
    kept: Kept,
    in_force: Arc<InForce>,
    schedule: Schedule,
}

impl Renewal {
    /// Takes up what is kept in `state_dir`, or a stand-in until there is something.
    ///
    /// # Errors
    /// The state directory cannot be used.
    pub fn open(domain: &str, email: &str, directory: &str, state_dir: &Path) -> Result<Self, StartError> {
        let kept = Kept::open(state_dir, directory)?;
        let now = Now::read();
        let in_force = match kept.certificate(domain) {
            Some(loaded) if !loaded.leaf.is_over(now.unix) => InForce::new(loaded),
            _ => InForce::stand_in(stand_in(domain)?),
        };
        let schedule = Schedule::new(kept.next_attempt(), now, chance());
        let (domain, email, directory) = (domain.to_owned(), email.to_owned(), directory.to_owned());
        Ok(Self { domain, email, directory, kept, in_force, schedule })
    }

    /// What the listeners serve with.
    pub fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force)
    }

    /// What a daily warning needs to know.
    pub(super) fn reminder(&self) -> (Arc<InForce>, String, String) {
        (self.in_force(), format!("the certificate of {}", self.domain), self.domain.clone())
    }

    /// Gets a certificate where there is none and renews the one there is, for ever. Whoever asks for
    /// a look gets an attempt if one is due or has failed.
    pub async fn run(mut self) {
        if self.in_force.summary().stand_in {
            self.answer();
        }
        loop {
            let wait = self.wait();
            if wait.is_zero() {
                self.attempt().await;
            } else if timeout(wait.min(LONGEST_SLEEP), self.in_force.asked()).await.is_ok() {
                self.schedule.hurry();
                self.answer();
            }
        }
    }

    /// How long until the next attempt.
    fn wait(&self) -> Duration {
        let summary = self.in_force.summary();
        let leaf = (!summary.stand_in).then_some(&summary.leaf);
        self.schedule.wait(leaf, Now::read())
    }

    /// Says what happens next to who asked; where an attempt follows, that says it.
    fn answer(&self) {
        let wait = self.wait();
        if wait.is_zero() {
            return;
        }
        let next = When(Now::read().unix.saturating_add(wait.as_secs()));
        let summary = self.in_force.summary();
        match &summary.fault {
            Some(fault) => warn!("{fault}; the next attempt is at {next}, as the authority wants it"),
            None if summary.stand_in => {
                warn!("no certificate for {} yet; the next attempt is at {next}", self.domain);
            }
            None => info!(%next, "the certificate of {} is good until its renewal", self.domain),
        }
    }

    async fn attempt(&mut self) {
        let now = Now::read();
        // Where this cannot be written, nothing else can; that comes out below.
        let _ = self.kept.keep_next_attempt(now.unix.saturating_add(RESTART_PAUSE));
        match timeout(ATTEMPT_LIMIT, self.obtain()).await {
            Ok(Ok(loaded)) => self.take(loaded),
            Ok(Err((error, asked))) => self.failed(&error, asked),
            Err(_) => self.failed(&AcmeError::TooSlow, None),
        }
    }

    fn take(&mut self, loaded: Loaded) {
        self.schedule.obtained(&loaded.leaf, Now::read(), chance());
        let (until, renewal) = (When(loaded.leaf.until), When(self.schedule.renewal(&loaded.leaf)));
        info!(%until, %renewal, "a new certificate for {} is in force", self.domain);
        self.in_force.take(loaded);
    }

    fn failed(&mut self, error: &AcmeError, asked: Option<Duration>) {
        let now = Now::read();
        self.schedule.failed(asked, now, chance());
        let next = now.unix.saturating_add(self.wait().as_secs());
        if asked.is_some() {
            let _ = self.kept.keep_next_attempt(next);
        }
        let summary = self.in_force.summary();
        let next = When(next);
        if summary.stand_in {
            warn!("no certificate for {} yet: {error}; the next attempt is at {next}", self.domain);
        } else {
            let until = When(summary.leaf.until);
            warn!(
                "the certificate of {}, good until {until}, was not renewed: {error}; \
                 the next attempt is at {next}",
                self.domain
            );
        }
        self.in_force.note(Some(error.to_string()));
    }

    /// A certificate that can be served, and is kept where it can be; else why not, and what the
    /// authority asked us to wait.
    async fn obtain(&self) -> Result<Loaded, (AcmeError, Option<Duration>)> {
        let https = Https::with_roots_of_the_system().map_err(|error| (error, None))?;
        let outcome = self.order(&https).await;
        outcome.map_err(|error| (error, https.asked_to_wait()))
    }

    async fn order(&self, https: &Https) -> Result<Loaded, AcmeError> {
        info!(domain = self.domain, directory = self.directory, "asking for a certificate");
        let account = self.account(https).await?;
        let issued = match issue(&account, &self.domain, &self.in_force).await {
            Err(AcmeError::Refused(complaint)) if complaint.is_of_no_account() => {
                self.kept.forget_account();
                issue(&self.account(https).await?, &self.domain, &self.in_force).await?
            }
            outcome => outcome?,
        };
        let loaded = self.examine(&issued)?;
        if let Err(error) = self.kept.keep_certificate(&issued) {
            warn!("{error}; until then each start asks for another certificate");
        }
        Ok(loaded)
    }

    fn examine(&self, issued: &Issued) -> Result<Loaded, AcmeError> {
        let useless = |fault: String| AcmeError::Useless(fault);
        let loaded = Texts::new(&issued.chain, &issued.key)
            .load(Path::new("(issued)"), Path::new("(issued)"))
            .map_err(|fault| useless(fault.to_string()))?;
        if loaded.leaf.is_over(Now::read().unix) {
            return Err(useless("it has run out already; check this host's clock".to_owned()));
        }
        if !loaded.leaf.covers(&self.domain) {
            return Err(useless("it is for another name; choose another acme-directory".to_owned()));
        }
        Ok(loaded)
    }

    /// The account that is kept, or a new one. The terms of the authority are agreed to by setting
    /// `acme-email`; the README says so.
    async fn account(&self, https: &Https) -> Result<Account, AcmeError> {
        let builder = Account::builder_with_http(Box::new(https.clone()));
        let contact = format!("mailto:{}", self.email);
        if let Some(kept) = self.kept.account()? {
            let account = builder.from_credentials(kept.credentials()?).await?;
            if kept.email != self.email {
                account.update_contacts(&[&contact]).await?;
                self.kept.keep_account(&KeptAccount { email: self.email.clone(), ..kept })?;
            }
            return Ok(account);
        }
        let wish =
            NewAccount { contact: &[&contact], terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder.create(&wish, self.directory.clone(), None).await?;
        self.kept.keep_account(&KeptAccount::new(&self.email, &credentials)?)?;
        Ok(account)
    }
}

/// Signed by itself: what a visitor is served while there is nothing better.
fn stand_in(domain: &str) -> Result<Loaded, StartError> {
    let (cert, key) = self_signed::make(vec![domain.to_owned()], SystemTime::now())?;
    Ok(Texts::new(&cert, &key).load(Path::new("(stand-in)"), Path::new("(stand-in)"))?)
}

fn chance() -> schedule::Chance {
    let mut bytes = [0; 4];
    // Without randomness there are worse troubles than renewals at the same time.
    let drawn = getrandom::fill(&mut bytes).map(|()| u32::from_ne_bytes(bytes));
    drawn.map_or(0.5, |drawn| f64::from(drawn) / f64::from(u32::MAX))
}
