//! Whether a user may read a file, by owner, group and mode of every folder on the way to it.
//!
//! Judged from what the files say of themselves: root, who runs the check, may read everything.

use std::path::{Path, PathBuf};

use crate::doctor::report::{Finding, Group};

/// A user as the kernel knows one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct User {
    pub(in crate::doctor) name: String,
    pub(in crate::doctor) uid: u32,
    /// All of them, the first as well.
    pub(in crate::doctor) gids: Vec<u32>,
}

/// A folder on the way, or at the end the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Step {
    pub(in crate::doctor) path: PathBuf,
    pub(in crate::doctor) uid: u32,
    pub(in crate::doctor) gid: u32,
    pub(in crate::doctor) mode: u32,
    pub(in crate::doctor) folder: bool,
    /// It has an access list besides, which says more than the mode.
    pub(in crate::doctor) list: bool,
}

const READ: u32 = 0o4;
const ENTER: u32 = 0o1;

/// `None` where the user may read the file at the end of `steps`.
pub(in crate::doctor) fn judge(setting: &str, file: &Path, user: &User, steps: &[Step]) -> Option<Finding> {
    let step = steps.iter().find(|step| !step.lets(user))?;
    let (deed, letter) = if step.folder { ("enter", "x") } else { ("read", "r") };
    let (place, name) = (step.path.display(), user.name.as_str());
    let way = if step.folder { " on the way to " } else { "" };
    let end = if step.folder { file.display().to_string() } else { String::new() };
    let text = format!("{setting}: the user {name} may not {deed} {place}{way}{end}");
    let renewed = matches!(setting, "cert" | "key");
    let group = if renewed { Group::Certificate } else { Group::Settings };
    if step.list {
        let text = format!("{text} by its mode, and it has an access list that says more");
        return Some(Finding::warn(group, text, format!("make sure with getfacl {place}")));
    }
    let later = if renewed { ", and the same from a deploy hook for later renewals" } else { "" };
    Some(Finding::fail(group, text, format!("chgrp {name} {place} && chmod g+{letter} {place}{later}")))
}

/// Where every user of this host may read the file of secrets at the end of `steps`.
pub(in crate::doctor) fn exposed(setting: &str, file: &Path, steps: &[Step]) -> Option<Finding> {
    let anybody = |step: &Step| step.mode & if step.folder { ENTER } else { READ } != 0;
    let open = steps.iter().all(anybody);
    let text = format!("{setting}: every user of this host may read {}", file.display());
    open.then(|| Finding::warn(Group::Settings, text, format!("chmod o-r {}", file.display())))
}

impl Step {
    /// Only the first class that fits counts: an owner is not helped by what others may.
    fn lets(&self, user: &User) -> bool {
        let needed = if self.folder { ENTER } else { READ };
        let shift = match () {
            () if user.uid == 0 => return true,
            () if user.uid == self.uid => 6,
            () if user.gids.contains(&self.gid) => 3,
            () => 0,
        };
        (self.mode >> shift) & needed != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "/etc/ssl/key.pem";

    fn step(path: &str, uid: u32, gid: u32, mode: u32) -> Step {
        let folder = path != KEY;
        Step { path: path.into(), uid, gid, mode, folder, list: false }
    }

    fn judged(steps: &[Step]) -> Option<Finding> {
        let user = User { name: "webrtc-box".into(), uid: 990, gids: vec![990, 105] };
        judge("key", Path::new(KEY), &user, steps)
    }

    #[test]
    fn a_key_of_a_group_that_the_user_is_in_is_readable() {
        assert_eq!(judged(&[step("/etc/ssl", 0, 0, 0o755), step(KEY, 0, 105, 0o640)]), None);
        assert_eq!(judged(&[step("/etc/ssl", 0, 0, 0o711), step(KEY, 990, 0, 0o400)]), None);
    }

    #[test]
    fn a_key_of_root_alone_is_not_and_neither_is_what_lies_in_a_closed_folder() {
        let key = judged(&[step("/etc/ssl", 0, 0, 0o755), step(KEY, 0, 0, 0o600)]).unwrap();
        assert_eq!(key.text, "key: the user webrtc-box may not read /etc/ssl/key.pem");
        assert!(key.cure.unwrap().starts_with("chgrp webrtc-box /etc/ssl/key.pem && chmod g+r"));
        let folder = judged(&[step("/etc/ssl", 0, 0, 0o700), step(KEY, 0, 0, 0o644)]).unwrap();
        let text = "key: the user webrtc-box may not enter /etc/ssl on the way to /etc/ssl/key.pem";
        assert_eq!(folder.text, text);
    }

    #[test]
    fn a_file_of_secrets_that_everybody_may_read_is_a_warning() {
        let told = |steps: &[Step]| exposed("host-key-file", Path::new(KEY), steps);
        let warning = told(&[step("/etc/ssl", 0, 0, 0o755), step(KEY, 0, 0, 0o644)]).unwrap();
        assert_eq!(warning.text, "host-key-file: every user of this host may read /etc/ssl/key.pem");
        assert_eq!(warning.cure.as_deref(), Some("chmod o-r /etc/ssl/key.pem"));
        assert_eq!(told(&[step("/etc/ssl", 0, 0, 0o700), step(KEY, 0, 0, 0o644)]), None);
        assert_eq!(told(&[step("/etc/ssl", 0, 0, 0o755), step(KEY, 0, 0, 0o640)]), None);
    }

    #[test]
    fn only_the_first_class_that_fits_counts() {
        assert!(judged(&[step(KEY, 990, 0, 0o044)]).is_some());
        assert!(judged(&[step(KEY, 0, 105, 0o604)]).is_some());
    }

    #[test]
    fn an_access_list_leaves_a_doubt() {
        let listed = Step { list: true, ..step(KEY, 0, 0, 0o600) };
        assert!(judged(&[listed]).unwrap().cure.unwrap().contains("getfacl"));
    }
}
