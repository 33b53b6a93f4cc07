//! The state directory: keys that the server creates at its first start and uses from then on, and the files of
//! certificates.
//!
//! Each key is a file with one line. A file that looks damaged is an error and is never overwritten.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use webrtc_box_signaling::TagKey;
use webrtc_box_turn::credential::{Secret, Secrets};

use crate::error::Hint;
use crate::file_permissions;

/// The TURN REST secret: the text and not the bytes it encodes, so that it can be copied to other software.
const SECRET_FILE: &str = "turn-secret";

/// The key of room tags.
const TAG_KEY_FILE: &str = "room-tag-key";

/// The key of resume tokens.
const TOKEN_KEY_FILE: &str = "resume-token-key";

/// The keys of the state directory. `Debug` prints none of them.
#[derive(Clone)]
pub struct StoredKeys {
    /// The TURN REST secret that is used if none is configured.
    pub secret: Secret,
    /// Makes room tags.
    pub tag_key: TagKey,
    /// Authenticates resume tokens.
    pub token_key: [u8; 32],
}

/// A state directory that exists.
#[derive(Clone, Debug)]
pub struct StateDir {
    dir: PathBuf,
}

impl StateDir {
    /// Opens `dir`; creates it with mode 0700 if it does not exist.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        created.map_err(|source| StateError::NoDirectory { dir: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Opens `dir` without creating it.
    ///
    /// # Errors
    /// It does not exist, or this user may not list it.
    pub fn open_existing(dir: &Path) -> Result<Self, StateError> {
        let path = dir.to_owned();
        match fs::read_dir(dir) {
            Ok(_) => Ok(Self { dir: path }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Err(StateError::Missing { path }),
            Err(source) => Err(StateError::Unreadable { path, source }),
        }
    }

    /// The keys of `dir`, for a command beside the server. It creates missing ones as the server would, except in a
    /// directory of another user, whose server could not read them.
    ///
    /// # Errors
    /// A file does not exist, cannot be read or written, or contains no key.
    pub fn keys_for_command(dir: &Path) -> Result<StoredKeys, StateError> {
        match file_permissions::belongs_to_other_user(dir) {
            true => Self::open_existing(dir)?.load_keys(),
            false => Self::open(dir)?.load_or_create_keys(),
        }
    }

    /// The keys; missing ones are created and written first.
    ///
    /// # Errors
    /// A file cannot be read or written, or contains no key.
    pub fn load_or_create_keys(&self) -> Result<StoredKeys, StateError> {
        self.remove_orphaned_drafts();
        for name in [SECRET_FILE, TAG_KEY_FILE, TOKEN_KEY_FILE] {
            if self.read(name)?.is_none() {
                self.write(name, &format!("{}\n", new_key()?))?;
            }
        }
        // Reads back what was just written: the next start finds exactly that.
        self.load_keys()
    }

    /// The keys; none is created.
    ///
    /// # Errors
    /// A file does not exist, cannot be read, or contains no key.
    pub fn load_keys(&self) -> Result<StoredKeys, StateError> {
        let (text, _) = self.load_key(SECRET_FILE)?;
        let (_, tag_key) = self.load_key(TAG_KEY_FILE)?;
        let (_, token_key) = self.load_key(TOKEN_KEY_FILE)?;
        Ok(StoredKeys { secret: Secret::new(text), tag_key: TagKey::new(tag_key), token_key })
    }

    /// The key in `name`, as text and as bytes.
    fn load_key(&self, name: &str) -> Result<(String, [u8; 32]), StateError> {
        let path = self.path(name);
        let Some(text) = self.read(name)? else { return Err(StateError::Missing { path }) };
        let text = text.trim().to_owned();
        let bytes = URL_SAFE_NO_PAD.decode(&text).ok().and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or(StateError::Damaged { path })?;
        Ok((text, bytes))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of the file `name`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The text of a file, `None` if it does not exist.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, StateError> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) if source.kind() == io::ErrorKind::InvalidData => Err(StateError::Damaged { path }),
            Err(source) => Err(StateError::Unreadable { path, source }),
        }
    }

    /// Removes drafts of processes that were killed while writing. A draft that stays does no harm.
    pub(crate) fn remove_orphaned_drafts(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().and_then(draft_writer).is_some_and(|pid| !is_running(pid)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Writes `text` to a file of mode 0600, completely or not at all.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), StateError> {
        let (path, draft) = (self.path(name), self.path(&draft_name(name, std::process::id())));
        let written = write_private(&draft, text).and_then(|()| fs::rename(&draft, &path));
        written.map_err(|source| {
            // The draft may not exist; the first error is the one to report.
            let _ = fs::remove_file(&draft);
            StateError::Unwritable { path, source }
        })
    }
}

fn draft_name(name: &str, writer: u32) -> String {
    format!(".{name}.{writer}")
}

/// The process that writes or wrote the draft of this name; `None` if it is no draft.
fn draft_writer(name: &str) -> Option<u32> {
    name.strip_prefix('.')?.rsplit_once('.')?.1.parse().ok()
}

fn is_running(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

fn new_key() -> Result<String, StateError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| StateError::KeyGeneration { reason: error.to_string() })?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

impl StoredKeys {
    /// The `configured` secrets, otherwise the stored one.
    pub fn secrets(&self, configured: &[Secret]) -> Secrets {
        match configured.split_first() {
            Some((first, older)) => Secrets::new(first.clone(), older.to_vec()),
            None => Secrets::new(self.secret.clone(), vec![]),
        }
    }
}

impl fmt::Debug for StoredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredKeys(…)")
    }
}

/// The state directory cannot be used. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory cannot be created.
    #[error("state-dir {} cannot be created ({source})", .dir.display())]
    NoDirectory {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file in it cannot be read.
    #[error("state-dir: {} cannot be read ({source})", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file in it cannot be written.
    #[error("state-dir: {} cannot be written ({source})", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file does not exist yet, and only the server may create it.
    #[error("state-dir: {} does not exist yet; the server creates it at its first start", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file does not contain what was written there.
    #[error("state-dir: {} is damaged", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The disk does not respond.
    #[error("state-dir: {} does not respond", .dir.display())]
    Unresponsive {
        /// The directory.
        dir: PathBuf,
    },
    /// No key can be created: there is no randomness, or the crypto library fails.
    #[error("state-dir: no new key could be created: {reason}")]
    KeyGeneration {
        /// The message of the library.
        reason: String,
    },
}

impl Hint for StateError {
    fn hint(&self) -> String {
        let hint = match self {
            Self::NoDirectory { source, .. } | Self::Unwritable { source, .. } => match is_full(source) {
                true => "make room on that disk, or name another --state-dir",
                false => "give --state-dir a folder that this user may write to",
            },
            Self::Unreadable { .. } => "run as the user who owns it, or name another --state-dir",
            Self::Missing { .. } => "start the server, or name its --state-dir",
            Self::Damaged { .. } => "restore it, or delete it to have a new one created",
            Self::Unresponsive { .. } => "repair that disk, or name another --state-dir",
            Self::KeyGeneration { .. } => "try again",
        };
        hint.to_owned()
    }
}

fn is_full(source: &io::Error) -> bool {
    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_second_start_finds_the_keys_of_the_first() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("new/state");
        let first = StateDir::open(&dir).unwrap().load_or_create_keys().unwrap();
        let second = StateDir::open(&dir).unwrap().load_or_create_keys().unwrap();
        assert_eq!(first.secret, second.secret);
        assert_eq!(first.tag_key.tag("x"), second.tag_key.tag("x"));
        assert_eq!(first.token_key, second.token_key);
        assert_ne!(first.token_key, [0; 32]);
    }

    #[test]
    fn reading_the_keys_creates_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("state");
        assert!(matches!(StateDir::open_existing(&dir), Err(StateError::Missing { .. })));
        assert!(!dir.exists());
        let state = StateDir::open(&dir).unwrap();
        let error = state.load_keys().unwrap_err().with_hint();
        assert!(
            error.contains("turn-secret does not exist yet") && error.contains("start the server"),
            "{error}"
        );
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        let keys = state.load_or_create_keys().unwrap();
        assert_eq!(StateDir::open_existing(&dir).unwrap().load_keys().unwrap().secret, keys.secret);
    }

    #[test]
    fn a_command_creates_keys_only_in_a_directory_of_its_own_user() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("own");
        let secret = StateDir::keys_for_command(&own).unwrap().secret;
        assert_eq!(StateDir::open(&own).unwrap().load_or_create_keys().unwrap().secret, secret);
        // Only root can give a directory away; another user does not own `/`.
        let is_given = std::os::unix::fs::chown(root.path(), Some(1), None).is_ok();
        let foreign = if is_given { root.path() } else { Path::new("/") };
        assert!(matches!(StateDir::keys_for_command(foreign), Err(StateError::Missing { .. })));
        assert!(!foreign.join(SECRET_FILE).exists());
    }

    #[test]
    fn files_are_private_and_no_draft_remains() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("state");
        StateDir::open(&dir).unwrap().load_or_create_keys().unwrap();
        assert_eq!(mode(&dir), 0o700);
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [TOKEN_KEY_FILE, TAG_KEY_FILE, SECRET_FILE]);
        assert!(names.iter().all(|name| mode(&dir.join(name)) == 0o600));
    }

    #[test]
    fn only_drafts_of_ended_processes_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let (ours, others) = (draft_name("x", std::process::id()), [".hidden", "a.pem", ".b.pem"]);
        // No process has this number: the kernel's largest is 4,194,304.
        let orphan = draft_name(SECRET_FILE, 4_194_305);
        for name in others.into_iter().chain([ours.as_str(), &orphan]) {
            fs::write(root.path().join(name), "").unwrap();
        }
        StateDir::open(root.path()).unwrap().load_or_create_keys().unwrap();
        assert!(!root.path().join(orphan).exists());
        assert!(others.into_iter().chain([ours.as_str()]).all(|name| root.path().join(name).exists()));
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays_unchanged() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(TAG_KEY_FILE);
        for damage in ["", "short", "!!!!"] {
            fs::write(&file, damage).unwrap();
            let error = StateDir::open(root.path()).unwrap().load_or_create_keys().unwrap_err();
            assert!(matches!(error, StateError::Damaged { .. }), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), damage);
        }
    }

    #[test]
    fn configured_secrets_replace_the_stored_one() {
        let root = tempfile::tempdir().unwrap();
        let keys = StateDir::open(root.path()).unwrap().load_or_create_keys().unwrap();
        let passwords = |secrets: &Secrets| secrets.passwords("5:x").collect::<Vec<_>>();
        let (new, old) = (Secret::new("new"), Secret::new("old"));
        let configured = keys.secrets(&[new.clone(), old.clone()]);
        assert_eq!(passwords(&configured), [new.password("5:x"), old.password("5:x")]);
        assert_eq!(passwords(&keys.secrets(&[])), [keys.secret.password("5:x")]);
    }

    #[test]
    fn a_path_that_is_no_folder_is_named_with_its_setting() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = StateDir::open(&file.join("state")).unwrap_err().with_hint();
        assert!(error.starts_with("state-dir "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
