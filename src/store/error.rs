//! Why the state directory cannot be used: each a value, each one line with the cure.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// The state directory cannot be used. `Display` is one line.
#[derive(Debug)]
pub enum StateError {
    /// The directory cannot be made.
    NoDirectory {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file in it cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file in it cannot be written.
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file in it is not there yet, and it is not for this program to make it.
    NotYet {
        /// The file.
        path: PathBuf,
    },
    /// A file in it does not hold what was written there.
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The disk does not answer.
    Silent {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no randomness or the crypto library fails: no key can be made.
    NoKey {
        /// What the library says.
        fault: String,
    },
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory { dir, source } => {
                write!(f, "state-dir {} cannot be made ({source}); {}", dir.display(), cure(source))
            }
            Self::Unreadable { path, source } => write!(
                f,
                "state-dir: {} cannot be read ({source}); run as the user who owns it, or name another --state-dir",
                path.display()
            ),
            Self::Unwritable { path, source } => {
                write!(f, "state-dir: {} cannot be written ({source}); {}", path.display(), cure(source))
            }
            Self::NotYet { path } => write!(
                f,
                "state-dir: {} is not there yet, for the box makes it at its first start; \
                 start it, or name its --state-dir",
                path.display()
            ),
            Self::Damaged { path } => write!(
                f,
                "state-dir: {} is damaged; restore it, or delete it to have a new one made",
                path.display()
            ),
            Self::Silent { dir } => write!(
                f,
                "state-dir: {} does not answer; mend that disk, or name another --state-dir",
                dir.display()
            ),
            Self::NoKey { fault } => write!(f, "state-dir: no new key could be made: {fault}; try again"),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system has forty kinds of error")]
fn cure(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on that disk, or name another --state-dir"
        }
        _ => "give --state-dir a folder this user may write to",
    }
}

impl Error for StateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoDirectory { source, .. }
            | Self::Unreadable { source, .. }
            | Self::Unwritable { source, .. } => Some(source),
            Self::NotYet { .. } | Self::Damaged { .. } | Self::Silent { .. } | Self::NoKey { .. } => None,
        }
    }
}
