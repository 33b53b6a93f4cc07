//! What is kept between starts, in a folder of the state directory for each authority: the account,
//! the certificate with its key, and when the authority may be asked next.

use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};

use super::order::Issued;
use super::refusal::AcmeError;
use crate::credential::UnixSeconds;
use crate::state::{State, StateError};
use crate::tls::{Loaded, load};

const ACCOUNT: &str = "account.json";

/// Key and chain in one file, so that there is no moment at which they do not belong together.
const CERTIFICATE: &str = "certificate.pem";

const NEXT_ATTEMPT: &str = "next-attempt";

/// The folder of one authority.
#[derive(Clone, Debug)]
pub(super) struct Kept(State);

/// An account with an authority. Has no `Debug`: it holds a key.
#[derive(Deserialize, Serialize)]
pub(super) struct KeptAccount {
    /// The address it was made with.
    pub(super) email: String,
    pub(super) credentials: serde_json::Value,
}

impl KeptAccount {
    pub(super) fn new(email: &str, credentials: &AccountCredentials) -> Result<Self, AcmeError> {
        let credentials = serde_json::to_value(credentials).map_err(jumbled)?;
        Ok(Self { email: email.to_owned(), credentials })
    }

    pub(super) fn credentials(&self) -> Result<AccountCredentials, AcmeError> {
        serde_json::from_value(self.credentials.clone()).map_err(jumbled)
    }
}

fn jumbled(fault: serde_json::Error) -> AcmeError {
    AcmeError::Library(fault.to_string())
}

impl Kept {
    pub(super) fn open(state_dir: &Path, directory: &str) -> Result<Self, StateError> {
        let state = State::open(&folder(state_dir, directory))?;
        state.sweep();
        Ok(Self(state))
    }

    /// The certificate, where one is kept that can be served and is for `domain`.
    pub(super) fn certificate(&self, domain: &str) -> Option<Loaded> {
        let file = self.0.path(CERTIFICATE);
        load(&file, &file).ok().filter(|loaded| loaded.leaf.covers(domain))
    }

    pub(super) fn keep_certificate(&self, issued: &Issued) -> Result<(), StateError> {
        self.0.write(CERTIFICATE, &format!("{}{}", issued.key, issued.chain))
    }

    pub(super) fn account(&self) -> Result<Option<KeptAccount>, StateError> {
        let Some(text) = self.0.read(ACCOUNT)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|_| StateError::Damaged { path: self.0.path(ACCOUNT) })
    }

    pub(super) fn keep_account(&self, account: &KeptAccount) -> Result<(), AcmeError> {
        let text = serde_json::to_string(account).map_err(jumbled)?;
        Ok(self.0.write(ACCOUNT, &text)?)
    }

    /// The authority does not know it any more.
    pub(super) fn forget_account(&self) {
        // Where it cannot be removed the next attempt fails as this one did.
        let _ = std::fs::remove_file(self.0.path(ACCOUNT));
    }

    /// When the authority may be asked next; nothing where nothing sensible is kept.
    pub(super) fn next_attempt(&self) -> Option<UnixSeconds> {
        self.0.read(NEXT_ATTEMPT).ok().flatten()?.trim().parse().ok()
    }

    pub(super) fn keep_next_attempt(&self, unix: UnixSeconds) -> Result<(), StateError> {
        self.0.write(NEXT_ATTEMPT, &format!("{unix}\n"))
    }
}

/// Where the certificate, with its key, from the authority at `directory` is kept.
pub fn kept_by_acme(state_dir: &Path, directory: &str) -> PathBuf {
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

    fn kept(place: &Path) -> Kept {
        Kept::open(&place.join("state"), "https://acme.example:14000/dir").unwrap()
    }

    #[test]
    fn each_authority_has_a_folder_that_says_whose_it_is() {
        assert_eq!(folder_name("https://acme.example:14000/dir"), "acme.example-14000-dir");
        assert!(!folder_name("https://a/../../etc/passwd").contains('/'));
    }

    #[test]
    fn a_certificate_is_kept_for_its_name_and_nobody_else_may_read_it() {
        let place = tempfile::tempdir().unwrap();
        let kept = kept(place.path());
        assert!(kept.certificate("box.test").is_none());
        let made = generate_simple_self_signed(["box.test".to_owned()]).unwrap();
        let issued = Issued { chain: made.cert.pem(), key: made.signing_key.serialize_pem() };
        kept.keep_certificate(&issued).unwrap();
        assert!(kept.certificate("box.test").is_some());
        assert!(kept.certificate("other.test").is_none());
        let mode = fs::metadata(kept.0.path(CERTIFICATE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_damaged_is_a_complaint_or_counts_for_nothing() {
        let place = tempfile::tempdir().unwrap();
        let kept = kept(place.path());
        assert!(matches!(kept.account(), Ok(None)));
        for name in [ACCOUNT, CERTIFICATE, NEXT_ATTEMPT] {
            fs::write(kept.0.path(name), "damaged").unwrap();
        }
        assert!(matches!(kept.account(), Err(StateError::Damaged { .. })));
        assert!(kept.certificate("box.test").is_none());
        assert_eq!(kept.next_attempt(), None);
        kept.keep_next_attempt(17).unwrap();
        assert_eq!(kept.next_attempt(), Some(17));
    }
}
