//! An eye on a certificate's files: what they come to hold is what is served.
//!
//! Both files are read every second and compared as a whole. That is little work (a few kilobytes
//! that the system has in memory), and unlike their times and notices of the file system it holds
//! for links that are moved, for files written in place, and for every kind of file system.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{info, warn};

use super::fault::TlsError;
use super::in_force::InForce;
use super::looks::{Looks, Step};
use super::pair::{Loaded, Texts};
use super::when::When;
use crate::clock::Now;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);

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
    in_force: Arc<InForce>,
    looks: Looks,
}

impl Files {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// A file cannot be read or holds something else, or the two do not belong together.
    pub fn open(self) -> Result<(Arc<InForce>, Watch), TlsError> {
        let texts = Texts::read(&self.cert, &self.key)?;
        let in_force = InForce::new(texts.load(&self.cert, &self.key)?);
        let looks = Looks::new(texts.fingerprint());
        Ok((Arc::clone(&in_force), Watch { files: self, in_force, looks }))
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

impl Watch {
    /// What a daily warning needs to know.
    pub(super) fn reminder(&self) -> (Arc<InForce>, String, String) {
        (Arc::clone(&self.in_force), self.files.subject(), self.files.domain.clone())
    }

    /// Looks every second, and whenever [`InForce::look_now`] asks for it, for ever.
    pub async fn run(mut self) {
        loop {
            let asked = timeout(LOOK, self.in_force.asked()).await.is_ok();
            // A file system that does not answer holds up this task and nobody else.
            let looked = tokio::task::spawn_blocking(move || {
                self.look(asked, Now::read());
                self
            });
            // It ends early only with the process.
            let Ok(watch) = looked.await else { return };
            self = watch;
        }
    }

    fn look(&mut self, asked: bool, now: Now) {
        let Some(texts) = self.files.read() else { return };
        let seen = texts.as_ref().map(Texts::fingerprint).map_err(TlsError::to_string);
        let step = match (self.looks.see(seen, asked, now.instant), texts) {
            (Step::Try(_), Ok(texts)) => self.attempt(&texts, asked, now),
            (step, _) => step,
        };
        match step {
            Step::Rest | Step::Try(_) => {}
            Step::Complain(fault) => {
                let until = When(self.in_force.summary().leaf.until);
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
                info!(until = %When(loaded.leaf.until), "a new certificate is in force");
                for warning in loaded.leaf.warnings(&self.files.subject(), &self.files.domain, now.unix) {
                    warn!("{warning}");
                }
                self.in_force.take(loaded);
                self.looks.taken(tried);
                Step::Rest
            }
            Err(fault) => self.looks.refused(tried, fault, asked, now.instant),
        }
    }

    /// One that has run out is no gain over one that has not.
    fn load(&self, texts: &Texts, now: Now) -> Result<Loaded, String> {
        let loaded = texts.load(&self.files.cert, &self.files.key).map_err(|fault| fault.to_string())?;
        if loaded.leaf.is_over(now.unix) && !self.in_force.summary().leaf.is_over(now.unix) {
            let warnings = loaded.leaf.warnings(&self.files.subject(), &self.files.domain, now.unix);
            return Err(warnings.first().map(ToString::to_string).unwrap_or_default());
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
        Now { unix: (56 * 365 + 14 + 182) * DAY, ..Now::read() }
    }

    #[test]
    fn one_that_has_run_out_is_no_gain_over_one_that_has_not() {
        let place = tempfile::tempdir().unwrap();
        let mut watch = watch(place.path(), [2026, 2027]);
        let valid = watch.in_force.summary().leaf.until;
        write(&watch.files, [2024, 2025]);
        watch.look(true, now());
        let summary = watch.in_force.summary();
        assert_eq!((summary.renewals, summary.leaf.until), (0, valid));
        assert!(summary.fault.as_deref().is_some_and(|fault| fault.contains("ran out")), "{summary:?}");
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
}
