//! What is kept between starts, in a folder of the state directory for each authority: the account,
//! the certificate with its key, and when the authority may be asked next.
//!
//! What a disk refuses is held in memory, goes for what is kept, and is written as soon as it can be.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as Gate;
use tokio::time::timeout;

use super::order::Issued;
use super::problem::AcmeError;
use crate::clock::UnixSeconds;
use crate::store::{State, StateError};
use crate::task::run_blocking;
use crate::tls::Loaded;
use crate::tls::key_pair::Texts;

const ACCOUNT: &str = "account.json";

/// Key and chain in one file, so that there is no moment at which they do not belong together.
const CERTIFICATE: &str = "certificate.pem";

const NEXT_ATTEMPT: &str = "next-attempt";

/// A disk that takes longer does not answer.
const DISK_LIMIT: Duration = Duration::from_secs(30);

/// The folder of one authority, reached without holding up a thread that serves. Clones are one.
#[derive(Clone)]
pub(in crate::tls) struct CertStore {
    shelf: Arc<StoreFiles>,
    /// One goes to the disk at a time: where that is stuck, the others wait without a thread.
    gate: Arc<Gate<()>>,
}

/// The same, reached directly. Has no `Debug`: it may hold keys.
pub(super) struct StoreFiles {
    state: State,
    /// By file, what is not written yet.
    unsaved: Mutex<BTreeMap<&'static str, String>>,
}

/// An account with an authority. Has no `Debug`: it holds a key.
#[derive(Deserialize, Serialize)]
pub(super) struct StoredAccount {
    /// The address it was made with.
    pub(super) email: String,
    pub(super) credentials: serde_json::Value,
}

impl StoredAccount {
    pub(super) fn new(email: &str, credentials: &AccountCredentials) -> Result<Self, AcmeError> {
        let credentials = serde_json::to_value(credentials).map_err(invalid_json)?;
        Ok(Self { email: email.to_owned(), credentials })
    }

    pub(super) fn credentials(&self) -> Result<AccountCredentials, AcmeError> {
        serde_json::from_value(self.credentials.clone()).map_err(|_| AcmeError::BrokenAccount)
    }
}

/// What the library says of JSON may repeat a value in it, and there is a key among them.
fn invalid_json(_: serde_json::Error) -> AcmeError {
    AcmeError::Library("an account is no JSON".to_owned())
}

impl CertStore {
    pub(super) fn new(shelf: StoreFiles) -> Self {
        Self { shelf: Arc::new(shelf), gate: Arc::default() }
    }

    /// The certificate, where one is kept that can be served and is for `domain`.
    pub(super) async fn certificate(&self, domain: &str) -> Option<Loaded> {
        let domain = domain.to_owned();
        self.at(move |shelf| shelf.certificate(&domain)).await.ok().flatten()
    }

    /// Keeps it in any case; [`Self::save`] says whether it is written.
    pub(super) async fn keep_certificate(&self, issued: &Issued) {
        let text = format!("{}{}", issued.key, issued.chain);
        self.keep(CERTIFICATE, text).await;
    }

    pub(super) async fn account(&self) -> Result<Option<StoredAccount>, StateError> {
        self.at(|shelf| shelf.account()).await?
    }

    /// Keeps it in any case; [`Self::save`] says whether it is written.
    pub(super) async fn keep_account(&self, account: &StoredAccount) -> Result<(), AcmeError> {
        let text = serde_json::to_string(account).map_err(invalid_json)?;
        self.keep(ACCOUNT, text).await;
        Ok(())
    }

    /// The authority does not know it any more.
    pub(super) async fn forget_account(&self) {
        self.shelf.unsaved().remove(ACCOUNT);
        // Where it cannot be removed the next attempt fails as this one did.
        let _ = self.at(|shelf| std::fs::remove_file(shelf.state.path(ACCOUNT))).await;
    }

    pub(super) async fn keep_next_attempt(&self, unix: UnixSeconds) {
        // Where this cannot be written, nothing else can, which `save` tells.
        let _ = self.at(move |shelf| shelf.state.write(NEXT_ATTEMPT, &format!("{unix}\n"))).await;
    }

    /// Writes what could not be written so far.
    ///
    /// # Errors
    /// It still cannot.
    pub(in crate::tls) async fn save(&self) -> Result<(), StateError> {
        if self.shelf.unsaved().is_empty() {
            return Ok(());
        }
        self.at(StoreFiles::save).await?
    }

    async fn keep(&self, name: &'static str, text: String) {
        self.shelf.unsaved().insert(name, text);
        let _ = self.save().await;
    }

    async fn at<T: Send + 'static>(
        &self,
        deed: impl FnOnce(&StoreFiles) -> T + Send + 'static,
    ) -> Result<T, StateError> {
        let done = async {
            let gate = Arc::clone(&self.gate).lock_owned().await;
            let shelf = Arc::clone(&self.shelf);
            run_blocking(move || {
                let done = deed(&shelf);
                drop(gate);
                done
            })
            .await
        };
        let silent = || StateError::Unresponsive { dir: self.shelf.state.dir().to_owned() };
        timeout(DISK_LIMIT, done).await.map_err(|_| silent())
    }
}

impl StoreFiles {
    pub(super) fn open(state_dir: &Path, directory: &str) -> Result<Self, StateError> {
        let state = State::open(&folder(state_dir, directory))?;
        state.sweep();
        Ok(Self { state, unsaved: Mutex::default() })
    }

    /// As [`CertStore::certificate`].
    pub(super) fn certificate(&self, domain: &str) -> Option<Loaded> {
        let file = self.state.path(CERTIFICATE);
        let text = self.read(CERTIFICATE).ok().flatten()?;
        Texts::new(&text, &text).load(&file, &file).ok().filter(|loaded| loaded.leaf.covers(domain))
    }

    /// When the authority may be asked next; nothing where nothing sensible is kept.
    pub(super) fn next_attempt(&self) -> Option<UnixSeconds> {
        self.read(NEXT_ATTEMPT).ok().flatten()?.trim().parse().ok()
    }

    fn account(&self) -> Result<Option<StoredAccount>, StateError> {
        let Some(text) = self.read(ACCOUNT)? else { return Ok(None) };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|_| StateError::Damaged { path: self.state.path(ACCOUNT) })
    }

    fn read(&self, name: &str) -> Result<Option<String>, StateError> {
        let unsaved = self.unsaved().get(name).cloned();
        unsaved.map_or_else(|| self.state.read(name), |text| Ok(Some(text)))
    }

    fn save(&self) -> Result<(), StateError> {
        let held = self.unsaved().clone();
        // Each is tried, whatever comes of another.
        let outcomes = held.into_iter().map(|(name, text)| {
            self.state.write(name, &text)?;
            let mut unsaved = self.unsaved();
            // Something newer may have come meanwhile; the next time writes it.
            if unsaved.get(name) == Some(&text) {
                unsaved.remove(name);
            }
            Ok(())
        });
        outcomes.fold(Ok(()), Result::and)
    }

    fn unsaved(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CertStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertStore").field("dir", &self.shelf.state.dir()).finish_non_exhaustive()
    }
}

/// Where the certificate, with its key, from the authority at `directory` is kept.
pub fn acme_certificate_path(state_dir: &Path, directory: &str) -> PathBuf {
    folder(state_dir, directory).join(CERTIFICATE)
}

fn folder(state_dir: &Path, directory: &str) -> PathBuf {
    state_dir.join("acme").join(folder_name(directory))
}

/// `https://acme.example:14000/dir` is `acme.example-14000-dir`.
fn folder_name(directory: &str) -> String {
    let bare = directory.strip_prefix("https://").unwrap_or(directory);
    let harmless = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    bare.trim_matches('/').chars().map(harmless).take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::generate_simple_self_signed;

    use super::*;

    fn shelf(place: &Path) -> StoreFiles {
        StoreFiles::open(&place.join("state"), "https://acme.example:14000/dir").unwrap()
    }

    fn issued() -> Issued {
        let made = generate_simple_self_signed(["box.test".to_owned()]).unwrap();
        Issued { chain: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn account(email: &str) -> StoredAccount {
        StoredAccount { email: email.to_owned(), credentials: serde_json::json!({}) }
    }

    #[test]
    fn each_authority_has_a_folder_that_says_whose_it_is() {
        assert_eq!(folder_name("https://acme.example:14000/dir"), "acme.example-14000-dir");
        assert!(!folder_name("https://a/../../etc/passwd").contains('/'));
    }

    #[tokio::test]
    async fn a_certificate_is_kept_for_its_name_and_nobody_else_may_read_it() {
        let place = tempfile::tempdir().unwrap();
        let shelf = shelf(place.path());
        let file = shelf.state.path(CERTIFICATE);
        let kept = CertStore::new(shelf);
        assert!(kept.certificate("box.test").await.is_none());
        kept.keep_certificate(&issued()).await;
        assert!(kept.certificate("box.test").await.is_some());
        assert!(kept.certificate("other.test").await.is_none());
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    /// A file cannot take the place of a folder; that holds for root as well.
    #[tokio::test]
    async fn what_a_disk_refuses_is_held_in_memory_and_written_as_soon_as_it_can_be() {
        let place = tempfile::tempdir().unwrap();
        let shelf = shelf(place.path());
        let files = [CERTIFICATE, ACCOUNT].map(|name| shelf.state.path(name));
        files.iter().for_each(|file| fs::create_dir(file).unwrap());
        let kept = CertStore::new(shelf);
        kept.keep_certificate(&issued()).await;
        kept.keep_account(&account("me@box.test")).await.unwrap();
        assert!(kept.certificate("box.test").await.is_some());
        assert_eq!(kept.account().await.unwrap().unwrap().email, "me@box.test");
        for file in &files {
            assert!(matches!(kept.save().await, Err(StateError::Unwritable { .. })));
            fs::remove_dir(file).unwrap();
        }
        kept.save().await.unwrap();
        let found = StoreFiles::open(&place.path().join("state"), "https://acme.example:14000/dir").unwrap();
        assert!(found.certificate("box.test").is_some());
        assert_eq!(found.account().unwrap().unwrap().email, "me@box.test");
        kept.forget_account().await;
        assert!(found.account().unwrap().is_none());
    }

    #[tokio::test]
    async fn what_was_refused_and_is_out_of_date_is_not_written() {
        let place = tempfile::tempdir().unwrap();
        let shelf = shelf(place.path());
        let file = shelf.state.path(ACCOUNT);
        fs::create_dir(&file).unwrap();
        let kept = CertStore::new(shelf);
        kept.keep_account(&account("old@box.test")).await.unwrap();
        fs::remove_dir(&file).unwrap();
        kept.keep_account(&account("new@box.test")).await.unwrap();
        kept.save().await.unwrap();
        assert!(fs::read_to_string(&file).unwrap().contains("new@box.test"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_answer_is_a_complaint_and_what_was_given_meanwhile_is_kept() {
        let place = tempfile::tempdir().unwrap();
        let kept = CertStore::new(shelf(place.path()));
        let stuck = Arc::clone(&kept.gate).lock_owned().await;
        kept.keep_certificate(&issued()).await;
        assert!(matches!(kept.save().await, Err(StateError::Unresponsive { .. })));
        drop(stuck);
        tokio::time::resume();
        kept.save().await.unwrap();
        assert!(shelf(place.path()).certificate("box.test").is_some());
    }

    #[tokio::test]
    async fn what_is_damaged_is_a_complaint_or_counts_for_nothing() {
        let place = tempfile::tempdir().unwrap();
        let shelf = shelf(place.path());
        assert!(matches!(shelf.account(), Ok(None)));
        for name in [ACCOUNT, CERTIFICATE, NEXT_ATTEMPT] {
            fs::write(shelf.state.path(name), "damaged").unwrap();
        }
        assert!(matches!(shelf.account(), Err(StateError::Damaged { .. })));
        assert!(shelf.certificate("box.test").is_none());
        assert_eq!(shelf.next_attempt(), None);
        let kept = CertStore::new(shelf);
        kept.keep_next_attempt(17).await;
        assert_eq!(kept.shelf.next_attempt(), Some(17));
    }
}
