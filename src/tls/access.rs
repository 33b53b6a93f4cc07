//! Why this process may not read a file, as the command that lets it: the usual end of a certificate
//! whose key belongs to root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};

/// Links followed one after the other; certbot's files have one.
const LINKS: usize = 8;

/// What stands in the way.
#[derive(Debug, PartialEq, Eq)]
enum Barrier {
    /// A folder that may not be entered.
    Folder(PathBuf),
    /// The file itself.
    File(PathBuf),
}

/// The reason and the cure, to stand behind the name of `path`, which may not be read.
pub(super) fn denied(path: &Path) -> String {
    let (user, group) = whoever();
    match barrier(path.to_owned()) {
        Barrier::Folder(folder) => format!(
            "user {user} may not enter {0}; let its group in: chgrp {group} {0} && chmod g+x {0}",
            folder.display()
        ),
        Barrier::File(file) => format!(
            "user {user} may not read it; let its group: chgrp {group} {0} && chmod g+r {0}",
            file.display()
        ),
    }
}

/// The first thing on the way to `path`, links followed, that lets nobody through.
fn barrier(mut path: PathBuf) -> Barrier {
    for _ in 0..LINKS {
        if let Some(folder) = closed_folder(&path) {
            return Barrier::Folder(folder);
        }
        match fs::read_link(&path) {
            // A relative link begins where it stands; an absolute one replaces all.
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

fn whoever() -> (String, String) {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let group = Group::from_gid(gid).ok().flatten().map(|group| group.name);
    (user.unwrap_or_else(|| uid.to_string()), group.unwrap_or_else(|| gid.to_string()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// Whether this user is one whom permissions stop.
    fn is_stopped() -> bool {
        !Uid::effective().is_root()
    }

    #[test]
    fn a_file_of_somebody_else_is_named_with_the_command_that_opens_it() {
        let place = tempfile::tempdir().unwrap();
        let key = place.path().join("privkey.pem");
        fs::write(&key, "").unwrap();
        let said = denied(&key);
        let opened = format!("{0} && chmod g+r {0}", key.display());
        assert!(said.contains("chgrp ") && said.ends_with(&opened), "{said}");
    }

    #[test]
    fn a_closed_folder_behind_a_link_is_what_is_named() {
        let place = tempfile::tempdir().unwrap();
        let (live, archive) = (place.path().join("live"), place.path().join("archive"));
        fs::create_dir(&live).unwrap();
        fs::create_dir(&archive).unwrap();
        fs::write(archive.join("privkey1.pem"), "").unwrap();
        symlink("../archive/privkey1.pem", live.join("privkey.pem")).unwrap();
        let behind = live.join("../archive/privkey1.pem");
        assert_eq!(barrier(live.join("privkey.pem")), Barrier::File(behind.clone()));
        fs::set_permissions(&archive, fs::Permissions::from_mode(0o000)).unwrap();
        if is_stopped() {
            let folder = behind.parent().unwrap().to_owned();
            assert_eq!(barrier(live.join("privkey.pem")), Barrier::Folder(folder));
        }
    }
}
