//! Why the state directory cannot be used.

use std::io;
use std::path::PathBuf;

use crate::error::Hint;

/// The state directory cannot be used. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory cannot be made.
    #[error("state-dir {} cannot be made ({source})", .dir.display())]
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
    /// A file does not exist yet, and only the server may make it.
    #[error("state-dir: {} does not exist yet; the server makes it at its first start", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file does not hold what was written there.
    #[error("state-dir: {} is damaged", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The disk does not answer.
    #[error("state-dir: {} does not answer", .dir.display())]
    Unresponsive {
        /// The directory.
        dir: PathBuf,
    },
    /// No key can be made: no randomness, or the crypto library fails.
    #[error("state-dir: no new key could be made: {reason}")]
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
                false => "give --state-dir a folder this user may write to",
            },
            Self::Unreadable { .. } => "run as the user who owns it, or name another --state-dir",
            Self::Missing { .. } => "start the server, or name its --state-dir",
            Self::Damaged { .. } => "restore it, or delete it to have a new one made",
            Self::Unresponsive { .. } => "repair that disk, or name another --state-dir",
            Self::KeyGeneration { .. } => "try again",
        };
        hint.to_owned()
    }
}

fn is_full(source: &io::Error) -> bool {
    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
