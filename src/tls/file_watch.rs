//! An eye on a certificate's files: what they come to hold is what is served.
//!
//! Both files are read every second and compared as a whole. That is little work (a few kilobytes
//! that the system has in memory), and unlike their times and notices of the file system it holds
//! for links that are moved, for files written in place, and for every kind of file system.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, info, warn};

use super::active_certificate::ActiveCertificate;
use super::error::TlsError;
use super::key_pair::{Loaded, Texts};
use super::reload_policy::{ReloadPolicy, Step};
use super::validity::When;
use crate::clock::Now;
use crate::error::Hint;
use crate::task::{catch_panic, run_blocking};

/// Time between two policy.
const LOOK: Duration = Duration::from_secs(1);

/// A file system that takes longer is not heard of again, as far as anybody can tell.
const SILENCE: Duration = Duration::from_secs(60);

const SILENT: &str = "cert and key have not been read for a minute, for their file system does not answer; \
    mend that, the certificate before stays in force";

/// The files a certificate is read from.
#[derive(Clone, Debug)]
pub struct Files {
    /// PEM chain.
    pub cert: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
    /// The name the certificate should be for, in lower case.
    pub domain: String,
}

/// The eye on them.
#[derive(Debug)]
pub struct Watch {
    files: Files,
    in_force: Arc<ActiveCertificate>,
    policy: ReloadPolicy,
}

impl Files {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// A file cannot be read or holds something else, or the two do not belong together.
    pub fn open(self) -> Result<(Arc<ActiveCertificate>, Watch), TlsError> {
        let texts = Texts::read(&self.cert, &self.key)?;
        let in_force = ActiveCertificate::new(texts.load(&self.cert, &self.key)?);
        let policy = ReloadPolicy::new(texts.fingerprint());
        Ok((Arc::clone(&in_force), Watch { files: self, in_force, policy }))
    }

    /// What they hold now; nothing where one of them is a pipe, which holds it only once.
    fn read(&self) -> Option<Result<Texts, TlsError>> {
        if is_pipe(&self.cert) || is_pipe(&self.key) {
            return None;
        }
        Some(Texts::read(&self.cert, &self.key))
    }

    /// How warnings call it.
    fn subject(&self) -> String {
        format!("cert {}", self.cert.display())
    }
}

fn is_pipe(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo() || found.file_type().is_char_device())
}

/// One look, which may take as long as it will: a file system that does not answer holds up this task
/// and nobody else. That, or a bug, is told once, and shows to whoever watches the box until a look
/// comes to its end. Returns how long until the next.
async fn observed(
    in_force: &ActiveCertificate,
    told: &mut Option<String>,
    look: impl FnOnce() + Send + 'static,
) -> Duration {
    let mut looking = pin!(catch_panic(run_blocking(look)));
    let looked = match timeout(SILENCE, &mut looking).await {
        Ok(looked) => looked,
        Err(_) => {
            tell(in_force, told, SILENT.to_owned());
            looking.await
        }
    };
    match looked {
        Err(bug) => {
            tell(in_force, told, bug.to_string());
            // Each panic is a line on stderr by itself.
            SILENCE
        }
        Ok(()) => {
            if told.take().is_some() {
                info!("cert and key are looked at again");
                in_force.note_upkeep(None);
            }
            LOOK
        }
    }
}

fn tell(in_force: &ActiveCertificate, told: &mut Option<String>, fault: String) {
    if told.as_ref() != Some(&fault) {
        error!("{fault}");
        in_force.note_upkeep(Some(fault.clone()));
        *told = Some(fault);
    }
}

impl Watch {
    /// What a daily warning needs to know.
    pub(super) fn expiry_subject(&self) -> (Arc<ActiveCertificate>, String, String) {
        (Arc::clone(&self.in_force), self.files.subject(), self.files.domain.clone())
    }

    /// ReloadPolicy every second, and whenever [`ActiveCertificate::look_now`] asks for it, for ever.
    pub async fn run(self) {
        let in_force = Arc::clone(&self.in_force);
        let (watch, mut told, mut rest) = (Arc::new(Mutex::new(self)), None, LOOK);
        loop {
            let asked = timeout(rest, in_force.asked()).await.is_ok();
            rest = observed(&in_force, &mut told, Self::look_of(&watch, asked)).await;
        }
    }

    fn look_of(watch: &Arc<Mutex<Self>>, asked: bool) -> impl FnOnce() + Send + 'static {
        let watch = Arc::clone(watch);
        // What a bug may have left behind is half a look.
        move || watch.lock().unwrap_or_else(PoisonError::into_inner).look(asked, crate::clock::now())
    }

    fn look(&mut self, asked: bool, now: Now) {
        let Some(texts) = self.files.read() else { return };
        let seen = texts.as_ref().map(Texts::fingerprint).map_err(Hint::with_hint);
        let step = match (self.policy.see(seen, asked, now.instant), texts) {
            (Step::Try(_), Ok(texts)) => self.attempt(&texts, asked, now),
            (step, _) => step,
        };
        match step {
            Step::Rest | Step::Try(_) => {}
            Step::Complain(fault) => {
                let until = When(self.in_force.summary().leaf.not_after);
                warn!("{fault}; the certificate before stays in force, until {until}");
                self.in_force.note(Some(fault));
            }
            Step::Reassure => {
                info!("cert and key hold the certificate that is in force");
                self.in_force.note(None);
            }
        }
    }

    fn attempt(&mut self, texts: &Texts, asked: bool, now: Now) -> Step {
        let tried = texts.fingerprint();
        match self.load(texts, now) {
            Ok(loaded) => {
                info!(until = %When(loaded.leaf.not_after), "a new certificate is in force");
                for warning in loaded.leaf.warnings(&self.files.subject(), &self.files.domain, now.unix) {
                    warn!("{}", warning.with_hint());
                }
                self.in_force.take(loaded);
                self.policy.taken(tried);
                Step::Rest
            }
            Err(fault) => self.policy.refused(tried, fault, asked, now.instant),
        }
    }

    /// One that has run out is no gain over one that has not.
    fn load(&self, texts: &Texts, now: Now) -> Result<Loaded, String> {
        let loaded = texts.load(&self.files.cert, &self.files.key).map_err(|error| error.with_hint())?;
        if loaded.leaf.is_over(now.unix) && !self.in_force.summary().leaf.is_over(now.unix) {
            let warnings = loaded.leaf.warnings(&self.files.subject(), &self.files.domain, now.unix);
            return Err(warnings.first().map(Hint::with_hint).unwrap_or_default());
        }
        Ok(loaded)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    const DAY: u64 = 24 * 3600;

    /// Files with a certificate for `years`, and the eye on them.
    fn watch(place: &Path, years: [i32; 2]) -> Watch {
        let files = Files { cert: place.join("c.pem"), key: place.join("k.pem"), domain: "box.test".into() };
        write(&files, years);
        files.open().unwrap().1
    }

    fn write(files: &Files, [from, until]: [i32; 2]) {
        let mut params = CertificateParams::new(["box.test".to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().unwrap();
        fs::write(&files.cert, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
    }

    /// In the middle of 2026.
    fn now() -> Now {
        Now { unix: (56 * 365 + 14 + 182) * DAY, ..crate::clock::now() }
    }

    #[test]
    fn one_that_has_run_out_is_no_gain_over_one_that_has_not() {
        let place = tempfile::tempdir().unwrap();
        let mut watch = watch(place.path(), [2026, 2027]);
        let valid = watch.in_force.summary().leaf.not_after;
        write(&watch.files, [2024, 2025]);
        watch.look(true, now());
        let summary = watch.in_force.summary();
        assert_eq!((summary.renewals, summary.leaf.not_after), (0, valid));
        assert!(summary.fault.as_deref().is_some_and(|fault| fault.contains("expired")), "{summary:?}");
        write(&watch.files, [2026, 2028]);
        watch.look(true, now());
        assert_eq!((watch.in_force.summary().renewals, &watch.in_force.summary().fault), (1, &None));
    }

    #[test]
    fn one_that_has_run_out_is_taken_where_there_is_nothing_better() {
        let place = tempfile::tempdir().unwrap();
        let mut watch = watch(place.path(), [2023, 2024]);
        write(&watch.files, [2024, 2025]);
        watch.look(true, now());
        assert_eq!(watch.in_force.summary().renewals, 1);
    }

    #[test]
    fn a_pipe_is_read_once_and_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let mut watch = watch(place.path(), [2026, 2027]);
        fs::remove_file(&watch.files.key).unwrap();
        nix::unistd::mkfifo(&watch.files.key, nix::sys::stat::Mode::S_IRUSR).unwrap();
        watch.look(true, now());
        assert_eq!(watch.in_force.summary().fault, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_system_that_does_not_answer_is_a_fault_for_who_watches_until_it_does() {
        let place = tempfile::tempdir().unwrap();
        let in_force = watch(place.path(), [2026, 2027]).in_force;
        let (answer, silent) = std::sync::mpsc::channel::<()>();
        let task = tokio::spawn({
            let in_force = Arc::clone(&in_force);
            async move { observed(&in_force, &mut None, move || _ = silent.recv()).await }
        });
        // The clock of a test stands still while a disk is waited for, until it is pushed.
        tokio::task::yield_now().await;
        tokio::time::advance(2 * SILENCE).await;
        tokio::task::yield_now().await;
        assert_eq!(in_force.summary().upkeep.as_deref(), Some(SILENT));
        drop(answer);
        task.await.unwrap();
        assert_eq!(in_force.summary().upkeep, None);
    }

    #[tokio::test]
    async fn a_bug_in_a_look_is_a_fault_for_who_watches_until_a_look_is_taken_again() {
        let place = tempfile::tempdir().unwrap();
        let watch = Arc::new(Mutex::new(watch(place.path(), [2026, 2027])));
        let in_force = Arc::clone(&watch.lock().unwrap().in_force);
        let held = Arc::clone(&watch);
        let mut told = None;
        let bug = move || {
            let _watch = held.lock().unwrap();
            panic!("a bug");
        };
        assert_eq!(observed(&in_force, &mut told, bug).await, SILENCE);
        let fault = in_force.summary().upkeep.clone().unwrap_or_default();
        assert!(fault.contains("(a bug)"), "{fault}");
        assert_eq!(observed(&in_force, &mut told, Watch::look_of(&watch, false)).await, LOOK);
        assert_eq!(in_force.summary().upkeep, None);
    }
}
