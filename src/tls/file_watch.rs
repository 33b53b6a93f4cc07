//! Watches the certificate files and replaces the active certificate when their contents change.
//!
//! Both files are read every second and compared as a whole. That costs little (the system has a few kilobytes in
//! memory). Unlike modification times and inotify, it notices moved links and files written in place, and works
//! on every file system.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, info, warn};

use super::active_certificate::ActiveCertificate;
use super::certificate_facts::UtcTime;
use super::error::TlsError;
use super::key_pair::{LoadedCertificate, PemPair};
use super::reload_policy::{ReloadPolicy, Step};
use crate::clock::{self, Now};
use crate::error::Hint;
use crate::task::{catch_panic, run_blocking};

/// Between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A check that takes longer is reported: the file system may never respond.
const CHECK_LIMIT: Duration = Duration::from_secs(60);

/// After a panic, each of which is a line on stderr.
const PANIC_INTERVAL: Duration = CHECK_LIMIT;

const UNRESPONSIVE: &str = "cert and key have not been read for a minute: their file system does not respond; \
    repair it, the previous certificate stays active";

/// The files that a certificate is read from.
#[derive(Clone, Debug)]
pub(super) struct CertificateFiles {
    /// PEM chain.
    pub(super) cert: PathBuf,
    /// PEM private key.
    pub(super) key: PathBuf,
    /// The names that the certificate should cover, in lower case.
    pub(super) names: Vec<String>,
}

/// Keeps the active certificate equal to the files.
#[derive(Debug)]
pub(super) struct FileWatcher {
    files: CertificateFiles,
    active: Arc<ActiveCertificate>,
    policy: ReloadPolicy,
}

impl CertificateFiles {
    /// The name of the certificate in warnings.
    fn subject(&self) -> String {
        format!("cert {}", self.cert.display())
    }

    /// The current contents; `None` if one of them is a pipe, which can be read only once.
    fn read(&self) -> Option<Result<PemPair, TlsError>> {
        if is_pipe(&self.cert) || is_pipe(&self.key) {
            return None;
        }
        Some(PemPair::read(&self.cert, &self.key))
    }
}

fn is_pipe(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo() || found.file_type().is_char_device())
}

impl FileWatcher {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// A file cannot be read or parsed, or the key does not belong to the certificate.
    pub(super) fn open(files: CertificateFiles) -> Result<Self, TlsError> {
        let pair = PemPair::read(&files.cert, &files.key)?;
        let active = ActiveCertificate::new(pair.load()?);
        Ok(Self { files, active, policy: ReloadPolicy::new(pair.fingerprint()) })
    }

    pub(super) fn active(&self) -> Arc<ActiveCertificate> {
        Arc::clone(&self.active)
    }

    /// Checks the files every second, and when [`ActiveCertificate::check_now`] requests it, forever.
    pub(super) async fn run(self) {
        let active = self.active();
        let warnings = self.active().warn_daily(self.files.subject(), self.files.names.clone());
        let watcher = Arc::new(Mutex::new(self));
        let checks = async {
            let mut pause = CHECK_INTERVAL;
            loop {
                let requested = timeout(pause, active.check_requested()).await.is_ok();
                pause = run_check(&active, Self::check_in_thread(&watcher, requested)).await;
            }
        };
        tokio::join!(checks, warnings);
    }

    fn check_in_thread(watcher: &Arc<Mutex<Self>>, requested: bool) -> impl FnOnce() + Send + 'static {
        let watcher = Arc::clone(watcher);
        // A panic leaves at most an incomplete check.
        move || watcher.lock().unwrap_or_else(PoisonError::into_inner).check(requested, clock::now())
    }

    fn check(&mut self, requested: bool, now: Now) {
        let Some(pair) = self.files.read() else { return };
        let seen = pair.as_ref().map(PemPair::fingerprint).map_err(Hint::with_hint);
        let step = match (self.policy.checked(seen, requested, now.instant), pair) {
            (Step::Load, Ok(pair)) => self.load(&pair, requested, now),
            (step, _) => step,
        };
        match step {
            Step::Wait | Step::Load => {}
            Step::ReportError(error) => {
                let until = UtcTime(self.active.status().leaf.not_after);
                warn!(%until, "{error}; the previous certificate stays active");
                self.active.set_renewal_error(Some(error));
            }
            Step::ReportGood => {
                info!("cert and key contain the active certificate");
                self.active.set_renewal_error(None);
            }
        }
    }

    fn load(&mut self, pair: &PemPair, requested: bool, now: Now) -> Step {
        match self.load_unexpired(pair, now) {
            Ok(loaded) => {
                info!(until = %UtcTime(loaded.leaf.not_after), "new certificate active");
                for warning in loaded.leaf.warnings(&self.files.names, now.unix) {
                    warn!("{} {warning}", self.files.subject());
                }
                self.active.replace(loaded);
                self.policy.loaded();
                Step::Wait
            }
            Err(error) => self.policy.failed(error, requested, now.instant),
        }
    }

    /// An expired certificate does not replace one that is not.
    fn load_unexpired(&self, pair: &PemPair, now: Now) -> Result<LoadedCertificate, String> {
        let loaded = pair.load().map_err(|error| error.with_hint())?;
        if loaded.leaf.is_expired(now.unix) && !self.active.status().leaf.is_expired(now.unix) {
            let warnings = loaded.leaf.warnings(&self.files.names, now.unix);
            return Err(format!("{} {}", self.files.subject(), warnings.first().map_or("", String::as_str)));
        }
        Ok(loaded)
    }
}

/// Runs one check in a thread of its own, so a file system that does not respond blocks only this task. Reports
/// that, or a panic, once; both are in the status until a check completes. Returns the pause before the next.
async fn run_check(active: &ActiveCertificate, check: impl FnOnce() + Send + 'static) -> Duration {
    let report = |error: String| {
        if active.set_maintenance_error(Some(error.clone())) {
            error!("{error}");
        }
    };
    let mut check = pin!(catch_panic(run_blocking(check)));
    let outcome = match timeout(CHECK_LIMIT, &mut check).await {
        Ok(outcome) => outcome,
        Err(_) => {
            report(UNRESPONSIVE.to_owned());
            check.await
        }
    };
    if let Err(panic) = outcome {
        report(panic.to_string());
        return PANIC_INTERVAL;
    }
    if active.set_maintenance_error(None) {
        info!("cert and key are read again");
    }
    CHECK_INTERVAL
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    const DAY: u64 = 24 * 3600;

    /// Watches files with a certificate for `years`.
    fn watcher(dir: &Path, years: [i32; 2]) -> FileWatcher {
        let files = CertificateFiles {
            cert: dir.join("c.pem"),
            key: dir.join("k.pem"),
            names: vec!["box.test".into()],
        };
        write(&files, years);
        FileWatcher::open(files).unwrap()
    }

    fn write(files: &CertificateFiles, [from, until]: [i32; 2]) {
        let mut params = CertificateParams::new(["box.test".to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().unwrap();
        fs::write(&files.cert, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
    }

    /// In the middle of 2026.
    fn now() -> Now {
        Now { unix: (56 * 365 + 14 + 182) * DAY, ..clock::now() }
    }

    #[test]
    fn an_expired_certificate_does_not_replace_a_valid_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = watcher(dir.path(), [2026, 2027]);
        let valid = watcher.active.status().leaf.not_after;
        write(&watcher.files, [2024, 2025]);
        watcher.check(true, now());
        let status = watcher.active.status();
        assert_eq!((status.renewals, status.leaf.not_after), (0, valid));
        assert!(status.renewal_error.as_deref().is_some_and(|error| error.contains("expired")), "{status:?}");
        write(&watcher.files, [2026, 2028]);
        watcher.check(true, now());
        let status = watcher.active.status();
        assert_eq!((status.renewals, &status.renewal_error), (1, &None));
    }

    #[test]
    fn an_expired_certificate_replaces_another_expired_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = watcher(dir.path(), [2023, 2024]);
        write(&watcher.files, [2024, 2025]);
        watcher.check(true, now());
        assert_eq!(watcher.active.status().renewals, 1);
    }

    #[test]
    fn a_pipe_is_read_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = watcher(dir.path(), [2026, 2027]);
        fs::remove_file(&watcher.files.key).unwrap();
        nix::unistd::mkfifo(&watcher.files.key, nix::sys::stat::Mode::S_IRUSR).unwrap();
        watcher.check(true, now());
        assert_eq!(watcher.active.status().renewal_error, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unresponsive_file_system_is_an_error_until_it_responds() {
        let dir = tempfile::tempdir().unwrap();
        let active = watcher(dir.path(), [2026, 2027]).active;
        let (response, waiting) = std::sync::mpsc::channel::<()>();
        let task = tokio::spawn({
            let active = Arc::clone(&active);
            async move { run_check(&active, move || _ = waiting.recv()).await }
        });
        // The paused clock does not advance by itself while a thread is at work.
        tokio::task::yield_now().await;
        tokio::time::advance(2 * CHECK_LIMIT).await;
        tokio::task::yield_now().await;
        assert_eq!(active.status().maintenance_error.as_deref(), Some(UNRESPONSIVE));
        drop(response);
        task.await.unwrap();
        assert_eq!(active.status().maintenance_error, None);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_until_a_check_completes() {
        let dir = tempfile::tempdir().unwrap();
        let watcher = Arc::new(Mutex::new(watcher(dir.path(), [2026, 2027])));
        let active = watcher.lock().unwrap().active();
        let locked = Arc::clone(&watcher);
        let panics = move || {
            let _watcher = locked.lock().unwrap();
            panic!("a bug");
        };
        assert_eq!(run_check(&active, panics).await, PANIC_INTERVAL);
        let error = active.status().maintenance_error.clone().unwrap_or_default();
        assert!(error.contains("(a bug)"), "{error}");
        let check = FileWatcher::check_in_thread(&watcher, false);
        assert_eq!(run_check(&active, check).await, CHECK_INTERVAL);
        assert_eq!(active.status().maintenance_error, None);
    }
}
