//! [`Hint`]: what to do about an error; reasons and hints for errors of the operating system.

use std::io;

use rustix::io::Errno;

/// An error with a hint how to fix it. `Display` is one line without the hint.
pub trait Hint: std::error::Error {
    /// What to do, as one line; empty if the error already states it.
    fn hint(&self) -> String;

    /// The error and the hint as one line, for stderr and the log.
    fn with_hint(&self) -> String {
        match self.hint() {
            hint if hint.is_empty() => self.to_string(),
            hint => format!("{self}; {hint}"),
        }
    }
}

/// The reason and the hint if neither another port nor another file helps.
pub(crate) fn system_text(source: &io::Error) -> (String, &'static str) {
    match Errno::from_io_error(source) {
        Some(Errno::MFILE | Errno::NFILE) => (
            "too many files are open".to_owned(),
            "raise the limit (LimitNOFILE= in the unit, `ulimit -n` in a shell)",
        ),
        Some(Errno::AGAIN) => (
            "the limit of threads is reached".to_owned(),
            "raise the limit (TasksMax= in the unit, `ulimit -u` in a shell)",
        ),
        Some(Errno::NOMEM | Errno::NOBUFS) => (
            "the kernel has no memory for it".to_owned(),
            "raise the limit (MemoryMax= in the unit) or free some",
        ),
        Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::NOPROTOOPT | Errno::OPNOTSUPP) => (
            format!("the kernel or a sandbox around the process does not allow it ({source})"),
            "loosen the container's or unit's seccomp, SELinux or AppArmor rules",
        ),
        _ => (source.to_string(), "see the log of the system (`dmesg`)"),
    }
}

/// Why a file operation failed, to follow the name of the file.
pub(crate) fn io_reason(source: &io::Error) -> String {
    io_text(source).0
}

/// What to do about a failed file operation.
pub(crate) fn io_hint(source: &io::Error) -> String {
    io_text(source).1.to_owned()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system has forty kinds of error")]
fn io_text(source: &io::Error) -> (String, &'static str) {
    if matches!(Errno::from_io_error(source), Some(Errno::MFILE | Errno::NFILE)) {
        return system_text(source);
    }
    let (reason, hint) = match source.kind() {
        io::ErrorKind::NotFound => ("there is no such file or folder", "correct the path"),
        io::ErrorKind::PermissionDenied => (
            "the user webrtc-box runs as has no permission",
            "grant it, for example through a group (chgrp, chmod g+r)",
        ),
        io::ErrorKind::IsADirectory => ("that is a folder", "name a file"),
        io::ErrorKind::NotADirectory => ("that is not a folder", "name a folder"),
        io::ErrorKind::ReadOnlyFilesystem => ("the file system is read-only", "name a writable place"),
        io::ErrorKind::InvalidData => ("that is not UTF-8 text", "name a text file"),
        _ => return (source.to_string(), "fix that or name another place"),
    };
    (reason.to_owned(), hint)
}
