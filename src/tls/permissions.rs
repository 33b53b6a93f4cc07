//! Why this process may not read a file, and the command that grants it: usually the key belongs to root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};

/// Links to follow in a row; certbot's files have one.
const LINKS: usize = 8;

/// What denies access.
#[derive(Debug, PartialEq, Eq)]
enum Barrier {
    /// A folder that may not be entered.
    Folder(PathBuf),
    /// The file itself.
    File(PathBuf),
}

/// The reason, to follow the name of `path`, and the hint.
pub(super) fn denied(path: &Path) -> (String, String) {
    let (user, group) = current_user();
    match barrier(path.to_owned()) {
        Barrier::Folder(folder) => (
            format!("user {user} may not enter {}", folder.display()),
            format!("let its group in: chgrp {group} {0} && chmod g+x {0}", folder.display()),
        ),
        Barrier::File(file) => (
            format!("user {user} may not read it"),
            format!("let its group: chgrp {group} {0} && chmod g+r {0}", file.display()),
        ),
    }
}

/// The first part of `path`, following links, that denies access.
fn barrier(mut path: PathBuf) -> Barrier {
    for _ in 0..LINKS {
        if let Some(folder) = closed_folder(&path) {
            return Barrier::Folder(folder);
        }
        match fs::read_link(&path) {
            // `join` replaces everything if the link is absolute.
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => break,
        }
    }
    Barrier::File(path)
}

fn closed_folder(path: &Path) -> Option<PathBuf> {
    let mut ways: Vec<_> = path.ancestors().filter(|way| !way.as_os_str().is_empty()).collect();
    ways.reverse();
    let closed = |way: &&&Path| {
        fs::symlink_metadata(way).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    let beyond = ways.iter().find(closed)?;
    beyond.parent().map(Path::to_owned)
}

fn current_user() -> (String, String) {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let group = Group::from_gid(gid).ok().flatten().map(|group| group.name);
    (user.unwrap_or_else(|| uid.to_string()), group.unwrap_or_else(|| gid.to_string()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use nix::unistd::setfsuid;

    use super::*;
    use crate::error::Hint as _;
    use crate::tls::load;

    /// Certbot's folders, which this thread policy into as somebody whom permissions stop.
    struct Stage {
        place: tempfile::TempDir,
        before: Uid,
    }

    impl Stage {
        /// Nothing where such a user does not even get to the folders.
        fn new() -> Option<Self> {
            let place = tempfile::tempdir().unwrap();
            fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
            for folder in ["live", "archive"] {
                fs::create_dir(place.path().join(folder)).unwrap();
            }
            fs::write(place.path().join("archive/privkey1.pem"), "").unwrap();
            symlink("../archive/privkey1.pem", place.path().join("live/privkey.pem")).unwrap();
            // For this thread alone; without root's own it is whom permissions stop anyway.
            let before = setfsuid(Uid::from_raw(65_534));
            let stage = Self { place, before };
            fs::metadata(stage.key()).is_ok().then_some(stage)
        }

        fn key(&self) -> PathBuf {
            self.place.path().join("live/privkey.pem")
        }

        fn close(&self, name: &str, mode: u32) -> PathBuf {
            let path = self.place.path().join(name);
            setfsuid(self.before);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            setfsuid(Uid::from_raw(65_534));
            path
        }
    }

    impl Drop for Stage {
        fn drop(&mut self) {
            setfsuid(self.before);
        }
    }

    #[test]
    fn a_denied_file_comes_with_the_command_that_grants_access() {
        let Some(stage) = Stage::new() else { return };
        stage.close("archive/privkey1.pem", 0o600);
        let said = load(&stage.key(), &stage.key()).unwrap_err().with_hint();
        let file = stage.place.path().join("live/../archive/privkey1.pem");
        assert!(
            said.starts_with("cert ") && said.contains(" may not read it; let its group: chgrp "),
            "{said}"
        );
        assert!(said.ends_with(&format!("{0} && chmod g+r {0}", file.display())), "{said}");
    }

    #[test]
    fn a_denied_folder_behind_a_link_is_named() {
        let Some(stage) = Stage::new() else { return };
        stage.close("archive", 0o700);
        let folder = stage.place.path().join("live/../archive");
        assert_eq!(barrier(stage.key()), Barrier::Folder(folder));
        let live = stage.close("live", 0o700);
        assert_eq!(barrier(stage.key()), Barrier::Folder(live.clone()));
        let (said, hint) = denied(&stage.key());
        assert!(said.contains(&format!(" may not enter {}", live.display())), "{said}");
        assert!(hint.starts_with("let its group in"), "{hint}");
    }
}
