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
