//! Account, certificate and the time of the next attempt, in a folder of the state directory for each authority.
//!
//! What the disk refuses stays in memory, is used from there, and is written as soon as the disk accepts it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use super::client::Issued;
use super::error::AcmeError;
use crate::clock::UnixSeconds;
use crate::state_dir::{StateDir, StateError};
use crate::task::run_blocking;
use crate::tls::key_pair::{LoadedCertificate, PemPair};

const ACCOUNT: &str = "account.json";

/// Key and chain in one file, so they always belong together.
const CERTIFICATE: &str = "certificate.pem";

const NEXT_ATTEMPT: &str = "next-attempt";

/// A disk that takes longer does not respond.
const DISK_LIMIT: Duration = Duration::from_secs(30);

/// The folder of one authority, used without blocking the runtime. Clones share it.
#[derive(Clone)]
pub(in crate::tls) struct CertStore {
    files: Arc<StoreFiles>,
    /// Held during an access to the disk: if one is stuck, the others wait without a thread.
    access: Arc<AsyncMutex<()>>,
}

/// The same folder, used directly. Has no `Debug`: it may hold keys.
pub(super) struct StoreFiles {
    dir: StateDir,
    /// The texts that are not written yet, by file name.
    pending: Mutex<BTreeMap<&'static str, String>>,
}

/// An account of an authority. Has no `Debug`: it holds a key.
#[derive(Deserialize, Serialize)]
pub(super) struct StoredAccount {
    /// The contact address that the authority has.
    pub(super) email: String,
    pub(super) credentials: serde_json::Value,
}

impl StoredAccount {
    pub(super) fn new(email: &str, credentials: &AccountCredentials) -> Result<Self, AcmeError> {
        let credentials = serde_json::to_value(credentials).map_err(json_error)?;
        Ok(Self { email: email.to_owned(), credentials })
    }

    pub(super) fn credentials(&self) -> Result<AccountCredentials, AcmeError> {
        serde_json::from_value(self.credentials.clone()).map_err(|_| AcmeError::DamagedAccount)
    }
}

/// The text of the library may repeat a value, and one of the values is a key.
fn json_error(_: serde_json::Error) -> AcmeError {
    AcmeError::Library("an account is not JSON".to_owned())
}

impl CertStore {
    pub(super) fn new(files: StoreFiles) -> Self {
        Self { files: Arc::new(files), access: Arc::default() }
    }

    /// The stored certificate, if it works and covers `domain`.
    pub(super) async fn certificate(&self, domain: &str) -> Option<LoadedCertificate> {
        let domain = domain.to_owned();
        self.run(move |files| files.certificate(&domain)).await.ok().flatten()
    }

    /// Keeps it at least in memory; [`Self::flush`] returns whether it is written.
    pub(super) async fn save_certificate(&self, issued: &Issued) {
        self.save(CERTIFICATE, format!("{}{}", issued.key, issued.chain)).await;
    }

    pub(super) async fn account(&self) -> Result<Option<StoredAccount>, StateError> {
        self.run(|files| files.account()).await?
    }

    /// Keeps it at least in memory; [`Self::flush`] returns whether it is written.
    pub(super) async fn save_account(&self, account: &StoredAccount) -> Result<(), AcmeError> {
        self.save(ACCOUNT, serde_json::to_string(account).map_err(json_error)?).await;
        Ok(())
    }

    /// For an account that the authority does not know any more.
    pub(super) async fn delete_account(&self) {
        self.files.pending().remove(ACCOUNT);
        // If it cannot be removed, the next attempt fails like this one.
        let _ = self.run(|files| std::fs::remove_file(files.dir.path(ACCOUNT))).await;
    }

    pub(super) async fn save_next_attempt(&self, unix: UnixSeconds) {
        // If this cannot be written, neither can anything else, which `flush` reports.
        let _ = self.run(move |files| files.dir.write(NEXT_ATTEMPT, &format!("{unix}\n"))).await;
    }

    /// Writes what could not be written so far.
    ///
    /// # Errors
    /// It still cannot be written.
    pub(in crate::tls) async fn flush(&self) -> Result<(), StateError> {
        if self.files.pending().is_empty() {
            return Ok(());
        }
        self.run(StoreFiles::flush).await?
    }

    async fn save(&self, name: &'static str, text: String) {
        self.files.pending().insert(name, text);
        let _ = self.flush().await;
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StoreFiles) -> T + Send + 'static,
    ) -> Result<T, StateError> {
        let run = async {
            let access = Arc::clone(&self.access).lock_owned().await;
            let files = Arc::clone(&self.files);
            run_blocking(move || {
                let outcome = work(&files);
                drop(access);
                outcome
            })
            .await
        };
        let unresponsive = || StateError::Unresponsive { dir: self.files.dir.dir().to_owned() };
        timeout(DISK_LIMIT, run).await.map_err(|_| unresponsive())
    }
}

impl StoreFiles {
    pub(super) fn open(state_dir: &Path, directory: &str) -> Result<Self, StateError> {
        let dir = StateDir::open(&folder(state_dir, directory))?;
        dir.remove_orphaned_drafts();
        Ok(Self { dir, pending: Mutex::default() })
    }

    /// The stored certificate, if it works and covers `domain`.
    pub(super) fn certificate(&self, domain: &str) -> Option<LoadedCertificate> {
        let text = self.read(CERTIFICATE).ok().flatten()?;
        let loaded = PemPair::new(self.dir.path(CERTIFICATE), &text, &text).load().ok()?;
        loaded.leaf.covers(domain).then_some(loaded)
    }

    /// The earliest time of the next request; `None` if nothing valid is stored.
    pub(super) fn next_attempt(&self) -> Option<UnixSeconds> {
        self.read(NEXT_ATTEMPT).ok().flatten()?.trim().parse().ok()
    }

    fn account(&self) -> Result<Option<StoredAccount>, StateError> {
        let Some(text) = self.read(ACCOUNT)? else { return Ok(None) };
        let account = serde_json::from_str(&text);
        account.map(Some).map_err(|_| StateError::Damaged { path: self.dir.path(ACCOUNT) })
    }

    fn read(&self, name: &str) -> Result<Option<String>, StateError> {
        let pending = self.pending().get(name).cloned();
        pending.map_or_else(|| self.dir.read(name), |text| Ok(Some(text)))
    }

    /// Tries every file and returns the first error.
    fn flush(&self) -> Result<(), StateError> {
        let pending = self.pending().clone();
        let outcomes = pending.into_iter().map(|(name, text)| {
            self.dir.write(name, &text)?;
            let mut pending = self.pending();
            // A newer text may have arrived meanwhile; the next flush writes it.
            if pending.get(name) == Some(&text) {
                pending.remove(name);
            }
            Ok(())
        });
        outcomes.fold(Ok(()), Result::and)
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CertStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertStore").field("dir", &self.files.dir.dir()).finish_non_exhaustive()
    }
}

/// The file of the certificate, with its key, from the authority at `directory`.
pub fn acme_certificate_path(state_dir: &Path, directory: &str) -> PathBuf {
    folder(state_dir, directory).join(CERTIFICATE)
}

fn folder(state_dir: &Path, directory: &str) -> PathBuf {
    state_dir.join("acme").join(folder_name(directory))
}

/// `https://acme.example:14000/dir` is `acme.example-14000-dir`.
fn folder_name(directory: &str) -> String {
    let name = directory.strip_prefix("https://").unwrap_or(directory).trim_matches('/');
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    name.chars().map(safe).take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::generate_simple_self_signed;

    use super::*;

    fn files(dir: &Path) -> StoreFiles {
        StoreFiles::open(&dir.join("state"), "https://acme.example:14000/dir").unwrap()
    }

    fn issued() -> Issued {
        let made = generate_simple_self_signed(["box.test".to_owned()]).unwrap();
        Issued { chain: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn account(email: &str) -> StoredAccount {
        StoredAccount { email: email.to_owned(), credentials: serde_json::json!({}) }
    }

    #[test]
    fn the_folder_of_an_authority_is_named_after_its_url() {
        assert_eq!(folder_name("https://acme.example:14000/dir"), "acme.example-14000-dir");
        assert!(!folder_name("https://a/../../etc/passwd").contains('/'));
    }

    #[tokio::test]
    async fn a_certificate_is_private_and_only_for_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let file = files.dir.path(CERTIFICATE);
        let store = CertStore::new(files);
        assert!(store.certificate("box.test").await.is_none());
        store.save_certificate(&issued()).await;
        assert!(store.certificate("box.test").await.is_some());
        assert!(store.certificate("other.test").await.is_none());
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    /// A file cannot replace a folder, not even for root.
    #[tokio::test]
    async fn what_the_disk_refuses_is_used_from_memory_and_written_later() {
        let dir = tempfile::tempdir().unwrap();
        let files_before = files(dir.path());
        let paths = [CERTIFICATE, ACCOUNT].map(|name| files_before.dir.path(name));
        paths.iter().for_each(|path| fs::create_dir(path).unwrap());
        let store = CertStore::new(files_before);
        store.save_certificate(&issued()).await;
        store.save_account(&account("me@box.test")).await.unwrap();
        assert!(store.certificate("box.test").await.is_some());
        assert_eq!(store.account().await.unwrap().unwrap().email, "me@box.test");
        for path in &paths {
            assert!(matches!(store.flush().await, Err(StateError::Unwritable { .. })));
            fs::remove_dir(path).unwrap();
        }
        store.flush().await.unwrap();
        let written = files(dir.path());
        assert!(written.certificate("box.test").is_some());
        assert_eq!(written.account().unwrap().unwrap().email, "me@box.test");
        store.delete_account().await;
        assert!(written.account().unwrap().is_none());
    }

    #[tokio::test]
    async fn an_outdated_pending_text_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let path = files.dir.path(ACCOUNT);
        fs::create_dir(&path).unwrap();
        let store = CertStore::new(files);
        store.save_account(&account("old@box.test")).await.unwrap();
        fs::remove_dir(&path).unwrap();
        store.save_account(&account("new@box.test")).await.unwrap();
        store.flush().await.unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("new@box.test"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unresponsive_disk_is_an_error_and_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let store = CertStore::new(files(dir.path()));
        let stuck = Arc::clone(&store.access).lock_owned().await;
        store.save_certificate(&issued()).await;
        assert!(matches!(store.flush().await, Err(StateError::Unresponsive { .. })));
        drop(stuck);
        tokio::time::resume();
        store.flush().await.unwrap();
        assert!(files(dir.path()).certificate("box.test").is_some());
    }

    #[tokio::test]
    async fn a_damaged_account_is_an_error_and_other_damaged_files_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        assert!(matches!(files.account(), Ok(None)));
        for name in [ACCOUNT, CERTIFICATE, NEXT_ATTEMPT] {
            fs::write(files.dir.path(name), "damaged").unwrap();
        }
        assert!(matches!(files.account(), Err(StateError::Damaged { .. })));
        assert!(files.certificate("box.test").is_none());
        assert_eq!(files.next_attempt(), None);
        let store = CertStore::new(files);
        store.save_next_attempt(17).await;
        assert_eq!(store.files.next_attempt(), Some(17));
    }
}
