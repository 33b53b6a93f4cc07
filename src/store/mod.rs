//! The state directory: what the box makes for itself on its first start and keeps from then on.
//!
//! Three keys in files of one line each, and the try-out certificate of `tls::self_signed`. Nothing is
//! ever overwritten because it looks wrong; that is a complaint.

mod error;

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use self::error::StateError;

use webrtc_box_signaling::TagKey;
use webrtc_box_turn::credential::{Secret, Secrets};

/// The TURN REST secret: its text, not the bytes behind it, so that it can be pasted elsewhere.
const SECRET_FILE: &str = "turn-secret";

/// The key of room tags.
const TAG_KEY_FILE: &str = "room-tag-key";

/// The key of resume tokens.
const TOKEN_KEY_FILE: &str = "resume-token-key";

/// What a box keeps between starts. Does not print.
#[derive(Clone)]
pub struct Kept {
    /// The TURN REST secret used where none is configured.
    pub secret: Secret,
    /// Makes room tags.
    pub tag_key: TagKey,
    /// Authenticates resume tokens.
    pub token_key: [u8; 32],
}

/// A state directory that exists.
#[derive(Clone, Debug)]
pub struct State {
    dir: PathBuf,
}

impl State {
    /// Opens `dir`, made with mode 0700 where it does not exist.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| StateError::NoDirectory { dir: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Opens `dir` without making it.
    ///
    /// # Errors
    /// There is none, or this user may not look into it.
    pub fn existing(dir: &Path) -> Result<Self, StateError> {
        let path = dir.to_owned();
        match fs::read_dir(dir) {
            Ok(_) => Ok(Self { dir: path }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Err(StateError::Missing { path }),
            Err(source) => Err(StateError::Unreadable { path, source }),
        }
    }

    /// The keys of `dir`, for a tool beside the box. In a directory of this user's own, or where there is
    /// none yet, it makes them as the box would; in another user's it would make such as the box cannot read.
    ///
    /// # Errors
    /// A file is not there or cannot be read or written, or does not hold a key.
    pub fn keys_of(dir: &Path) -> Result<Kept, StateError> {
        let user = rustix::process::geteuid().as_raw();
        let anothers = fs::metadata(dir).is_ok_and(|found| found.uid() != user);
        if anothers { Self::existing(dir)?.keys() } else { Self::open(dir)?.kept() }
    }

    /// The kept keys; those that are missing are made and written first.
    ///
    /// # Errors
    /// A file cannot be read or written, or does not hold a key.
    pub fn kept(&self) -> Result<Kept, StateError> {
        self.sweep();
        for name in [SECRET_FILE, TAG_KEY_FILE, TOKEN_KEY_FILE] {
            if self.read(name)?.is_none() {
                self.write(name, &format!("{}\n", fresh_key()?))?;
            }
        }
        // Read back even what was just written: what counts is what the next start will find.
        self.keys()
    }

    /// The kept keys, of which none is made.
    ///
    /// # Errors
    /// A file is not there or cannot be read, or does not hold a key.
    pub fn keys(&self) -> Result<Kept, StateError> {
        let (text, _) = self.key(SECRET_FILE)?;
        let (_, tag_key) = self.key(TAG_KEY_FILE)?;
        let (_, token_key) = self.key(TOKEN_KEY_FILE)?;
        Ok(Kept { secret: Secret::new(text), tag_key: TagKey::new(tag_key), token_key })
    }

    /// The key in `name`, as text and as bytes.
    fn key(&self, name: &str) -> Result<(String, [u8; 32]), StateError> {
        let path = self.dir.join(name);
        let Some(text) = self.read(name)? else { return Err(StateError::Missing { path }) };
        let text = text.trim().to_owned();
        let bytes = URL_SAFE_NO_PAD.decode(&text).ok().and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or(StateError::Damaged { path })?;
        Ok((text, bytes))
    }

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the file `name` is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The text of a file, `None` where there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, StateError> {
        let path = self.dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) if source.kind() == io::ErrorKind::InvalidData => Err(StateError::Damaged { path }),
            Err(source) => Err(StateError::Unreadable { path, source }),
        }
    }

    /// Takes away drafts whose writer was killed before they were whole. One that stays does no harm.
    pub(crate) fn sweep(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().and_then(writer_of).is_some_and(|pid| !is_running(pid)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Puts `text` into a file of mode 0600, whole or not at all.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), StateError> {
        let path = self.dir.join(name);
        let draft = self.dir.join(draft_of(name, std::process::id()));
        let written = write_private(&draft, text).and_then(|()| fs::rename(&draft, &path));
        written.map_err(|source| {
            // The draft may not exist; the fault to tell is the one before.
            let _ = fs::remove_file(&draft);
            StateError::Unwritable { path, source }
        })
    }
}

fn draft_of(name: &str, writer: u32) -> String {
    format!(".{name}.{writer}")
}

/// The process that writes or wrote the draft of this name; `None` where it is no draft.
fn writer_of(name: &str) -> Option<u32> {
    name.strip_prefix('.')?.rsplit_once('.')?.1.parse().ok()
}

fn is_running(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

fn fresh_key() -> Result<String, StateError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| StateError::KeyGeneration { reason: error.to_string() })?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

impl Kept {
    /// The secrets of the box: the `configured` ones, else the kept one.
    pub fn secrets(&self, configured: &[Secret]) -> Secrets {
        match configured.split_first() {
            Some((first, older)) => Secrets::new(first.clone(), older.to_vec()),
            None => Secrets::new(self.secret.clone(), vec![]),
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::error::Hint as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_the_first_start_makes_the_second_finds() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("new/state");
        let first = State::open(&dir).unwrap().kept().unwrap();
        let second = State::open(&dir).unwrap().kept().unwrap();
        assert_eq!(first.secret, second.secret);
        assert_eq!(first.tag_key.tag("x"), second.tag_key.tag("x"));
        assert_eq!(first.token_key, second.token_key);
        assert_ne!(first.token_key, [0; 32]);
    }

    #[test]
    fn a_tool_finds_what_a_start_has_made_and_makes_nothing_itself() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("state");
        assert!(matches!(State::existing(&dir), Err(StateError::Missing { .. })));
        assert!(!dir.exists());
        let state = State::open(&dir).unwrap();
        let error = state.keys().unwrap_err().with_hint();
        assert!(
            error.contains("turn-secret does not exist yet") && error.contains("start the server"),
            "{error}"
        );
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        let kept = state.kept().unwrap();
        assert_eq!(State::existing(&dir).unwrap().keys().unwrap().secret, kept.secret);
    }

    #[test]
    fn a_tool_makes_keys_for_a_box_of_its_own_user_and_none_in_a_directory_of_another() {
        let place = tempfile::tempdir().unwrap();
        let own = place.path().join("own");
        let secret = State::keys_of(&own).unwrap().secret;
        assert_eq!(State::open(&own).unwrap().kept().unwrap().secret, secret);
        // Who is not root has no directory to give away, but does not own this one.
        let given = std::os::unix::fs::chown(place.path(), Some(1), None).is_ok();
        let anothers = if given { place.path() } else { Path::new("/") };
        assert!(matches!(State::keys_of(anothers), Err(StateError::Missing { .. })));
        assert!(!anothers.join(SECRET_FILE).exists());
    }

    #[test]
    fn nobody_else_may_read_it_and_no_draft_stays_behind() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("state");
        State::open(&dir).unwrap().kept().unwrap();
        assert_eq!(mode(&dir), 0o700);
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [TOKEN_KEY_FILE, TAG_KEY_FILE, SECRET_FILE]);
        assert!(names.iter().all(|name| mode(&dir.join(name)) == 0o600));
    }

    #[test]
    fn drafts_of_who_was_killed_are_taken_away_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let (ours, others) = (draft_of("x", std::process::id()), [".hidden", "a.pem", ".b.pem"]);
        // No process has this number: the kernel's largest is 4,194,304.
        let orphan = draft_of(SECRET_FILE, 4_194_305);
        for name in others.into_iter().chain([ours.as_str(), &orphan]) {
            fs::write(place.path().join(name), "").unwrap();
        }
        State::open(place.path()).unwrap().kept().unwrap();
        assert!(!place.path().join(orphan).exists());
        assert!(others.into_iter().chain([ours.as_str()]).all(|name| place.path().join(name).exists()));
    }

    #[test]
    fn a_damaged_key_is_a_complaint_and_stays_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join(TAG_KEY_FILE);
        for damage in ["", "short", "!!!!"] {
            fs::write(&file, damage).unwrap();
            let error = State::open(place.path()).unwrap().kept().unwrap_err();
            assert!(matches!(error, StateError::Damaged { .. }), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), damage);
        }
    }

    #[test]
    fn configured_secrets_stand_in_for_the_kept_one() {
        let place = tempfile::tempdir().unwrap();
        let kept = State::open(place.path()).unwrap().kept().unwrap();
        let passwords = |secrets: &Secrets| secrets.passwords("5:x").collect::<Vec<_>>();
        let (new, old) = (Secret::new("new"), Secret::new("old"));
        let configured = kept.secrets(&[new.clone(), old.clone()]);
        assert_eq!(passwords(&configured), [new.password("5:x"), old.password("5:x")]);
        assert_eq!(passwords(&kept.secrets(&[])), [kept.secret.password("5:x")]);
    }

    #[test]
    fn a_place_that_is_no_folder_is_named_with_its_setting() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        let error = State::open(&file.join("state")).unwrap_err().with_hint();
        assert!(error.starts_with("state-dir "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
