//! What is wrong with the settings as given.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Hint, io_hint, io_reason};

/// Settings that cannot be used. `Display` is one line: the setting and the reason.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value, or values that contradict each other.
    #[error("{reason}")]
    Invalid {
        /// The setting and what is wrong with it.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// A file or folder named by a setting cannot be used.
    #[error("{setting}{}: {}", .path.as_deref().map(shown).unwrap_or_default(), io_reason(.source))]
    Unreadable {
        /// The setting.
        setting: &'static str,
        /// The file; `None` if its name may be the secret itself.
        path: Option<PathBuf>,
        /// Why not.
        source: io::Error,
    },
}

fn shown(path: &Path) -> String {
    format!(" {}", path.display())
}

impl SettingsError {
    /// `reason` names the setting.
    pub(crate) fn invalid(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into(), hint: hint.into() }
    }

    /// A value that its setting does not take: `reason` completes "min-port 7 is …".
    pub(super) fn value(setting: &str, value: &str, reason: &str, hint: &str) -> Self {
        Self::invalid(format!("{setting} {value:?} is {reason}"), hint)
    }
}

impl Hint for SettingsError {
    fn hint(&self) -> String {
        match self {
            Self::Invalid { hint, .. } => hint.clone(),
            Self::Unreadable { source, .. } => io_hint(source),
        }
    }
}
