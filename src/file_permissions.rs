//! Permissions on the way to a file: what denies access, and the command that grants it.
//!
//! The permissions of another user are computed from owner, group and mode, because root, who usually asks, may
//! read every file.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User as Account};
use rustix::fs::getxattr;

/// The extended attribute of an access control list.
const ACL: &str = "system.posix_acl_access";
/// Permission bits of one class (owner, group, others).
const READ: u32 = 0o4;
const ENTER: u32 = 0o1;
/// Symbolic links that are followed one after the other; certbot's files have one.
const MAX_LINKS: usize = 8;

/// The user of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    /// All groups, primary and supplementary.
    pub(crate) gids: Vec<u32>,
}

/// A folder on the way to a file, or the file at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) path: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    pub(crate) is_folder: bool,
    /// An access control list may allow more than the mode.
    pub(crate) has_acl: bool,
}

impl Step {
    /// `None` if this process cannot observe `path`.
    fn observe(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            path: path.to_owned(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode: metadata.mode(),
            is_folder: metadata.is_dir(),
            has_acl: getxattr(path, ACL, &mut [0_u8; 0]).is_ok(),
        })
    }

    /// Whether `user` may enter the folder or read the file. Only the first class that applies counts: an owner
    /// gets nothing from the bits of others.
    pub(crate) fn permits(&self, user: &User) -> bool {
        let shift = match () {
            () if user.uid == 0 => return true,
            () if user.uid == self.uid => 6,
            () if user.gids.contains(&self.gid) => 3,
            () => 0,
        };
        (self.mode >> shift) & self.needed() != 0
    }

    /// Whether every user may enter the folder or read the file.
    pub(crate) fn permits_others(&self) -> bool {
        self.mode & self.needed() != 0
    }

    fn needed(&self) -> u32 {
        if self.is_folder { ENTER } else { READ }
    }
}

/// Every folder on the way to `file`, by its name and through symbolic links, then the file itself. `None`
/// if this process cannot observe one of them.
pub(crate) fn steps(file: &Path) -> Option<Vec<Step>> {
    let named = std::path::absolute(file).ok()?;
    let real = fs::canonicalize(file).ok()?;
    let folders = |path: &Path| path.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>();
    let mut paths = [folders(&named), folders(&real)].concat();
    paths.sort_unstable();
    paths.dedup();
    paths.push(real);
    paths.iter().map(|path| Step::observe(path)).collect()
}

/// The command that lets `group` enter the folder, or read the file, at `path`.
pub(crate) fn grant_command(group: &str, path: &Path, is_folder: bool) -> String {
    let letter = if is_folder { "x" } else { "r" };
    format!("chgrp {group} {0} && chmod g+{letter} {0}", path.display())
}

/// Whether `path` exists and belongs to another user than the one of this process.
pub(crate) fn belongs_to_other_user(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.uid() != Uid::effective().as_raw())
}

/// Why this process may not read `path`, to follow its name, and the hint.
pub(crate) fn explain_denial(path: &Path) -> (String, String) {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    let user = Account::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let group = Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name);
    let (denied, is_folder) = denied_step(path.to_owned());
    let command = grant_command(&group, &denied, is_folder);
    if is_folder {
        return (
            format!("user {user} may not enter {}", denied.display()),
            format!("let its group in: {command}"),
        );
    }
    (format!("user {user} may not read it"), format!("let its group: {command}"))
}

/// What denies access to `path`, links included: the first folder that this process may not enter, else the
/// file. Whether it is a folder.
fn denied_step(mut path: PathBuf) -> (PathBuf, bool) {
    for _ in 0..MAX_LINKS {
        if let Some(folder) = closed_folder(&path) {
            return (folder, true);
        }
        match fs::read_link(&path) {
            // `join` replaces everything if the link is absolute.
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => break,
        }
    }
    (path, false)
}

fn closed_folder(path: &Path) -> Option<PathBuf> {
    let mut prefixes: Vec<_> = path.ancestors().filter(|prefix| !prefix.as_os_str().is_empty()).collect();
    prefixes.reverse();
    let is_hidden = |prefix: &&&Path| {
        fs::symlink_metadata(prefix).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    prefixes.iter().find(is_hidden)?.parent().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use nix::unistd::setfsuid;

    use super::*;
    use crate::error::Hint as _;

    /// Certbot's folders, seen by a user whom permissions stop: this thread changes its file system user.
    struct Folders {
        dir: tempfile::TempDir,
        own_uid: Uid,
    }

    impl Folders {
        /// `None` if such a user cannot even reach the folders.
        fn new() -> Option<Self> {
            let dir = tempfile::tempdir().unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            for folder in ["live", "archive"] {
                fs::create_dir(dir.path().join(folder)).unwrap();
            }
            fs::write(dir.path().join("archive/privkey1.pem"), "").unwrap();
            symlink("../archive/privkey1.pem", dir.path().join("live/privkey.pem")).unwrap();
            // Has an effect only as root; permissions stop every other user anyway.
            let own_uid = setfsuid(Uid::from_raw(65_534));
            let folders = Self { dir, own_uid };
            fs::metadata(folders.key()).is_ok().then_some(folders)
        }

        fn key(&self) -> PathBuf {
            self.dir.path().join("live/privkey.pem")
        }

        fn set_mode(&self, name: &str, mode: u32) -> PathBuf {
            let path = self.dir.path().join(name);
            setfsuid(self.own_uid);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            setfsuid(Uid::from_raw(65_534));
            path
        }
    }

    impl Drop for Folders {
        fn drop(&mut self) {
            setfsuid(self.own_uid);
        }
    }

    #[test]
    fn a_denied_file_comes_with_the_command_that_grants_access() {
        let Some(folders) = Folders::new() else { return };
        folders.set_mode("archive/privkey1.pem", 0o600);
        let text = crate::tls::load(&folders.key(), &folders.key()).unwrap_err().with_hint();
        let file = folders.dir.path().join("live/../archive/privkey1.pem");
        assert!(text.starts_with("cert "), "{text}");
        assert!(text.contains(" may not read it; let its group: chgrp "), "{text}");
        assert!(text.ends_with(&format!("{0} && chmod g+r {0}", file.display())), "{text}");
    }

    #[test]
    fn a_denied_folder_behind_a_link_is_named() {
        let Some(folders) = Folders::new() else { return };
        folders.set_mode("archive", 0o700);
        let archive = folders.dir.path().join("live/../archive");
        assert_eq!(denied_step(folders.key()), (archive, true));
        let live = folders.set_mode("live", 0o700);
        assert_eq!(denied_step(folders.key()), (live.clone(), true));
        let (text, hint) = explain_denial(&folders.key());
        assert!(text.contains(&format!(" may not enter {}", live.display())), "{text}");
        assert!(hint.starts_with("let its group in"), "{hint}");
    }

    #[test]
    fn every_folder_counts_also_behind_symbolic_links() {
        let dir = tempfile::tempdir().unwrap();
        let (live, archive) = (dir.path().join("live"), dir.path().join("archive"));
        fs::create_dir(&live).unwrap();
        fs::create_dir(&archive).unwrap();
        fs::write(archive.join("key1.pem"), "").unwrap();
        fs::set_permissions(archive.join("key1.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("../archive/key1.pem", live.join("key.pem")).unwrap();
        let steps = steps(&live.join("key.pem")).unwrap();
        let has = |folder: &Path| steps.iter().any(|step| step.path.ends_with(folder.file_name().unwrap()));
        assert!(has(&live) && has(&archive), "{steps:?}");
        let file = steps.last().unwrap();
        assert!(file.path.ends_with("archive/key1.pem") && !file.is_folder && file.mode & 0o777 == 0o600);
        assert!(super::steps(&live.join("missing")).is_none());
    }
}
