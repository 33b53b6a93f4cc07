//! A certificate that the server gets and renews itself by ACME (RFC 8555). The authority validates the domain over
//! TLS on `https-port` (RFC 8737), so no other port is needed.
//!
//! `schedule` decides when, `client` makes the requests, `store` keeps the results. Meanwhile the server uses the
//! certificate it has, or a temporary one.

mod client;
mod error;
mod schedule;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};
use webrtc_box_cluster::ClusterHandle;

use self::client::AcmeClient;
use self::error::AcmeError;
use self::schedule::{Random, Schedule};
use self::store::StoreFiles;
use super::active_certificate::ActiveCertificate;
use super::certificate_facts::UtcTime;
use super::error::TlsError;
use super::key_pair::{LoadedCertificate, PemPair};
use super::self_signed;
use crate::clock::{self, Now};
use crate::error::Hint as _;
use crate::task::catch_panic;

pub(super) use self::store::CertStore;
pub use self::store::acme_certificate_path;

/// For one attempt; its steps have limits of their own.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(8 * 60);

/// The wall clock is read at least this often: it may be set, and a machine may sleep.
const MAX_SLEEP: Duration = Duration::from_secs(10 * 60);

/// The same while the disk or the clock may recover.
const SHORT_SLEEP: Duration = Duration::from_secs(60);

/// Seconds between two attempts, also over a restart: a server that keeps crashing reaches the rate limit of the
/// authority later.
const RESTART_PAUSE: u64 = 60;

/// Gets the certificate and renews it.
#[derive(Debug)]
pub(super) struct AcmeRenewal {
    client: AcmeClient,
    schedule: Schedule,
    /// Why something is not written to disk; logged once.
    unwritten: Option<String>,
    /// [`ActiveCertificate::check_now`] was called, so log that again.
    check_requested: bool,
    /// Another server of the cluster orders; logged once.
    waits_for_turn: bool,
}

impl AcmeRenewal {
    /// Uses the certificate stored in `state_dir`, or a temporary one.
    ///
    /// # Errors
    /// The state directory cannot be used.
    pub(super) fn open(
        domain: &str,
        node_name: Option<&str>,
        email: &str,
        directory: &str,
        state_dir: &Path,
        now: Now,
    ) -> Result<Self, TlsError> {
        let files = StoreFiles::open(state_dir, directory)?;
        let active = match files.certificate(domain) {
            Some(loaded) if !loaded.leaf.is_expired(now.unix) => ActiveCertificate::new(loaded),
            _ => ActiveCertificate::temporary(temporary_certificate(domain, node_name)?),
        };
        let schedule = Schedule::new(files.next_attempt(), now, random());
        let client = AcmeClient {
            domain: domain.to_owned(),
            node_name: node_name.map(str::to_owned),
            cluster: None,
            email: email.to_owned(),
            directory: directory.to_owned(),
            store: CertStore::new(files),
            active,
        };
        Ok(Self { client, schedule, unwritten: None, check_requested: false, waits_for_turn: false })
    }

    /// From now on one server of `cluster` orders at a time, and each answers challenges of the others.
    pub(super) fn join_cluster(&mut self, cluster: ClusterHandle) {
        self.client.active.challenges().share(&self.client.domain, cluster.clone());
        self.client.cluster = Some(cluster);
    }

    pub(super) fn active(&self) -> Arc<ActiveCertificate> {
        Arc::clone(&self.client.active)
    }

    pub(super) fn store(&self) -> CertStore {
        self.client.store.clone()
    }

    /// Gets a certificate if there is none and renews it in time, forever. [`ActiveCertificate::check_now`] starts an
    /// attempt if one is due or has failed.
    pub(super) async fn run(mut self) {
        let subject = format!("the certificate of {}", self.domain());
        let warnings = self.active().warn_daily(subject, self.client.names().map(str::to_owned).collect());
        let renewal = async {
            if self.client.active.status().is_temporary {
                self.log_next_attempt();
            }
            loop {
                match catch_panic(self.step()).await {
                    Ok(()) => _ = self.client.active.set_maintenance_error(self.unwritten.clone()),
                    Err(panic) => {
                        error!("{panic}");
                        self.client.active.set_maintenance_error(Some(panic.to_string()));
                        sleep(SHORT_SLEEP).await;
                    }
                }
            }
        };
        tokio::join!(renewal, warnings);
    }

    /// Makes an attempt if one is due; otherwise waits until then, or until a check is requested.
    async fn step(&mut self) {
        self.flush().await;
        self.use_stored_certificate(clock::now()).await;
        let wait = self.wait();
        if wait.is_zero() {
            return self.attempt().await;
        }
        let active = self.active();
        let is_degraded = self.unwritten.is_some() || active.status().is_temporary;
        let max_sleep = if is_degraded { SHORT_SLEEP } else { MAX_SLEEP };
        if timeout(wait.min(max_sleep), active.check_requested()).await.is_ok() {
            self.schedule.retry_now();
            self.log_next_attempt();
            self.check_requested = true;
        }
    }

    /// Writes what the disk has refused so far; until it succeeds, memory is used.
    async fn flush(&mut self) {
        let log_again = std::mem::take(&mut self.check_requested);
        match (self.client.store.flush().await, self.unwritten.take()) {
            (Ok(()), None) => return,
            (Ok(()), Some(_)) => info!("account and certificate are written now"),
            (Err(error), logged) => {
                let is_new = logged.is_none();
                let error = logged.unwrap_or_else(|| {
                    let error = error.with_hint();
                    format!("{error}; until then account and certificate are in memory alone, and a restart requests new ones")
                });
                if is_new || log_again {
                    warn!("{error}");
                }
                self.unwritten = Some(error);
            }
        }
        self.client.active.set_maintenance_error(self.unwritten.clone());
    }

    /// The stored certificate seemed to be expired if the clock was wrong at the start; by now the clock may be right.
    async fn use_stored_certificate(&mut self, now: Now) {
        if !self.client.active.status().is_temporary {
            return;
        }
        let stored = self.client.store.certificate(self.domain()).await;
        if let Some(loaded) = stored.filter(|loaded| !loaded.leaf.is_expired(now.unix)) {
            let until = UtcTime(loaded.leaf.not_after);
            info!(%until, "the stored certificate is valid now that the clock has changed");
            self.client.active.replace(loaded);
        }
    }

    fn domain(&self) -> &str {
        &self.client.domain
    }

    /// How long until the next attempt. A certificate that lacks a name, such as that of a server which joined a cluster,
    /// is used and replaced.
    fn wait(&self) -> Duration {
        let status = self.client.active.status();
        let is_complete = !status.is_temporary && self.client.names().all(|name| status.leaf.covers(name));
        self.schedule.wait(is_complete.then_some(&status.leaf), clock::now())
    }

    /// Logs the state and the next attempt; an attempt that is due now logs for itself.
    fn log_next_attempt(&self) {
        let (domain, wait) = (self.domain(), self.wait());
        if wait.is_zero() {
            return;
        }
        let next_attempt = UtcTime(clock::now().unix.saturating_add(wait.as_secs()));
        let status = self.client.active.status();
        match &status.renewal_error {
            Some(error) => {
                warn!(%next_attempt, "{error}; no earlier attempt, because the authority counts them");
            }
            None if status.is_temporary => warn!(%next_attempt, "no certificate for {domain} yet"),
            None => info!(%next_attempt, "the certificate of {domain} is valid until its renewal"),
        }
    }

    async fn attempt(&mut self) {
        let Some(cluster) = self.client.cluster.clone() else { return self.order().await };
        if cluster.lock_order().await {
            self.waits_for_turn = false;
            self.order().await;
            cluster.unlock_order().await;
            return;
        }
        if !std::mem::replace(&mut self.waits_for_turn, true) {
            info!("another box orders a certificate, or the store is unreachable; waiting");
        }
        self.schedule.wait_for_turn(clock::now(), random());
    }

    async fn order(&mut self) {
        let now = clock::now();
        self.client.store.save_next_attempt(now.unix.saturating_add(RESTART_PAUSE)).await;
        // A panic counts as a failure: without a pause it would happen again immediately.
        match catch_panic(timeout(ATTEMPT_LIMIT, self.client.obtain())).await {
            // Used before it is written: the disk may be slow.
            Ok(Ok(Ok((loaded, issued)))) => {
                self.obtained(loaded);
                self.client.store.save_certificate(&issued).await;
            }
            Ok(Ok(Err((error, retry_after)))) => self.failed(&error, retry_after).await,
            Ok(Err(_)) => self.failed(&AcmeError::TooSlow, None).await,
            Err(panic) => self.failed(&AcmeError::Panic(panic), None).await,
        }
    }

    fn obtained(&mut self, loaded: LoadedCertificate) {
        self.schedule.obtained(&loaded.leaf, clock::now(), random());
        let (until, renewal) = (UtcTime(loaded.leaf.not_after), UtcTime(self.schedule.renewal(&loaded.leaf)));
        info!(%until, %renewal, "new certificate for {} active", self.domain());
        self.client.active.replace(loaded);
    }

    /// The error with its hint, which is another one if the domain leads to several boxes.
    fn explain(&self, error: &AcmeError) -> String {
        let text = error.with_hint();
        match (error, &self.client.node_name) {
            (AcmeError::ChallengeFailed(_), Some(node_name)) => {
                let domain = self.domain();
                format!(
                    "{text}; of several boxes, each address of {domain} must lead to one that runs, and {node_name} to this one"
                )
            }
            _ => text,
        }
    }

    async fn failed(&mut self, error: &AcmeError, retry_after: Option<Duration>) {
        let now = clock::now();
        self.schedule.failed(error.may_be_counted(), retry_after, now, random());
        let next = now.unix.saturating_add(self.wait().as_secs());
        if retry_after.is_some() {
            self.client.store.save_next_attempt(next).await;
        }
        let (domain, error, next_attempt) = (self.domain(), self.explain(error), UtcTime(next));
        let status = self.client.active.status();
        if status.is_temporary {
            warn!(%next_attempt, "no certificate for {domain} yet: {error}");
        } else {
            let until = UtcTime(status.leaf.not_after);
            warn!(%until, %next_attempt, "the certificate of {domain} was not renewed: {error}");
        }
        self.client.active.set_renewal_error(Some(error));
    }
}

/// A self-signed certificate, used until the authority issues one.
fn temporary_certificate(domain: &str, node_name: Option<&str>) -> Result<LoadedCertificate, TlsError> {
    let names = std::iter::once(domain).chain(node_name).map(str::to_owned).collect();
    let (cert, key) = self_signed::create(names, SystemTime::now())?;
    PemPair::new("(temporary)", &cert, &key).load()
}

fn random() -> Random {
    let mut bytes = [0; 4];
    // Without randomness, renewals at the same time are the smallest problem.
    let number = getrandom::fill(&mut bytes).map(|()| u32::from_ne_bytes(bytes));
    number.map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::client::Issued;
    use super::*;

    const DIRECTORY: &str = "https://acme.example/dir";
    /// Within 2031, and long before.
    const YEARS: [u64; 2] = [1_940_000_000, 1_600_000_000];

    fn open(dir: &Path, unix: u64) -> AcmeRenewal {
        let now = Now { unix, ..clock::now() };
        AcmeRenewal::open("box.test", None, "me@box.test", DIRECTORY, dir, now).unwrap()
    }

    fn issued() -> Issued {
        let mut params = CertificateParams::new(["box.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate().unwrap();
        Issued { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    #[tokio::test]
    async fn a_stored_certificate_is_used_once_the_clock_is_right() {
        let dir = tempfile::tempdir().unwrap();
        let [wrong, right] = YEARS;
        open(dir.path(), right).client.store.save_certificate(&issued()).await;
        let mut renewal = open(dir.path(), wrong);
        renewal.use_stored_certificate(Now { unix: wrong, ..clock::now() }).await;
        assert!(renewal.active().status().is_temporary);
        renewal.use_stored_certificate(Now { unix: right, ..clock::now() }).await;
        assert!(!renewal.active().status().is_temporary);
    }

    #[tokio::test]
    async fn a_stored_certificate_without_the_node_name_is_used_and_replaced_now() {
        let dir = tempfile::tempdir().unwrap();
        let alone = open(dir.path(), YEARS[1]);
        alone.client.store.save_certificate(&issued()).await;
        let now = clock::now();
        let renewal =
            AcmeRenewal::open("box.test", Some("b1.box.test"), "me@box.test", DIRECTORY, dir.path(), now)
                .unwrap();
        assert!(!renewal.active().status().is_temporary);
        assert_eq!(renewal.wait(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_failed_challenge_of_a_box_names_both_names() {
        let dir = tempfile::tempdir().unwrap();
        let mut renewal = open(dir.path(), YEARS[1]);
        let json = serde_json::json!({ "type": "urn:ietf:params:acme:error:dns", "detail": "no record" });
        let problem: instant_acme::Problem = serde_json::from_value(json).unwrap();
        let error = AcmeError::ChallengeFailed(error::AcmeProblem::from(&problem));
        assert!(!renewal.explain(&error).contains("several boxes"));
        renewal.client.node_name = Some("b1.box.test".to_owned());
        let text = renewal.explain(&error);
        assert!(
            text.contains("each address of box.test") && text.contains("b1.box.test to this one"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn an_unwritten_certificate_is_a_maintenance_error_until_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut renewal = open(dir.path(), YEARS[1]);
        let active = renewal.active();
        let file = acme_certificate_path(dir.path(), DIRECTORY);
        std::fs::create_dir(&file).unwrap();
        renewal.client.store.save_certificate(&issued()).await;
        renewal.flush().await;
        let error = active.status().maintenance_error.clone().unwrap();
        assert!(error.contains("cannot be written") && error.contains("in memory alone"), "{error}");
        // Neither another certificate nor another failure clears it.
        renewal.failed(&AcmeError::TooSlow, None).await;
        renewal.flush().await;
        renewal.obtained(renewal.client.store.certificate("box.test").await.unwrap());
        assert_eq!(active.status().maintenance_error.as_ref(), Some(&error));
        renewal.failed(&AcmeError::TooSlow, None).await;
        std::fs::remove_dir(&file).unwrap();
        renewal.flush().await;
        assert_eq!(active.status().maintenance_error, None);
        assert!(active.status().renewal_error.is_some());
        assert!(file.is_file());
    }
}
