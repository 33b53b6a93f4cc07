//! The systemd service on this host: the user that runs the server, the files it may read, and the ports
//! that systemd opens for it.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User as Account, getgrouplist};

use super::report::{Finding, Subject};
use crate::file_permissions::{Step, User, grant_command, steps};

/// The name of the systemd unit and of its user.
const SERVICE: &str = "webrtc-box";
/// Folders of units; a later one overrides an earlier one.
const UNIT_FOLDERS: [&str; 4] =
    ["/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/system", "/etc/systemd/system"];

/// A file that a setting names, with the permissions on the way to it.
#[derive(Clone, Debug)]
pub(super) struct FilePermissions {
    setting: &'static str,
    file: PathBuf,
    /// `None`: this user cannot observe all of them.
    steps: Option<Vec<Step>>,
}

impl FilePermissions {
    pub(super) fn observe(setting: &'static str, file: &Path) -> Self {
        Self { setting, file: file.to_owned(), steps: steps(file) }
    }

    /// Why `user` may not read the file; `None` if it may, or if that is unknown.
    fn unreadable(&self, user: &User) -> Option<Finding> {
        let Self { setting, file, steps } = self;
        let step = steps.as_ref()?.iter().find(|step| !step.permits(user))?;
        let (place, file, name) = (step.path.display(), file.display(), &user.name);
        let text = if step.is_folder {
            format!("{setting}: the user {name} may not enter {place} on the way to {file}")
        } else {
            format!("{setting}: the user {name} may not read {place}")
        };
        let is_renewed = matches!(*setting, "cert" | "key");
        let subject = if is_renewed { Subject::Certificate } else { Subject::Settings };
        if step.has_acl {
            let text = format!("{text} by its mode, but it has an access control list");
            return Some(subject.warn(text, format!("check it with getfacl {place}")));
        }
        let later = if is_renewed { ", and do the same in a deploy hook for later renewals" } else { "" };
        let command = grant_command(name, &step.path, step.is_folder);
        Some(subject.fail(text, format!("{command}{later}")))
    }

    /// A warning if every user of this host may read the file.
    fn world_readable(&self) -> Option<Finding> {
        let is_open = self.steps.as_ref()?.iter().all(Step::permits_others);
        let (setting, file) = (self.setting, self.file.display());
        let text = format!("{setting}: every user of this host may read {file}");
        is_open.then(|| Subject::Settings.warn(text, format!("chmod o-r {file}")))
    }
}

/// Whether the service may read `cert` and `key`.
pub(super) fn evaluate_certificate(files: &[FilePermissions], user: &User) -> Vec<Finding> {
    let unreadable: Vec<_> = files.iter().filter_map(|file| file.unreadable(user)).collect();
    if unreadable.is_empty() && !files.is_empty() && files.iter().all(|file| file.steps.is_some()) {
        return vec![Subject::Certificate.ok(format!("the user {} may read cert and key", user.name))];
    }
    unreadable
}

/// Whether the service may read the files of secrets, and no other user.
pub(super) fn evaluate_secrets(files: &[FilePermissions], user: Option<&User>) -> Vec<Finding> {
    let evaluate = |file: &FilePermissions| {
        user.and_then(|user| file.unreadable(user)).or_else(|| file.world_readable())
    };
    files.iter().filter_map(evaluate).collect()
}

/// The user that runs the server: that of the process `running`, otherwise that of the unit, if it exists.
pub(super) fn observe_user(running: Option<u32>) -> Option<User> {
    let of_process = |pid| read_user(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?);
    running.and_then(of_process).or_else(unit_user)
}

fn unit_user() -> Option<User> {
    let account = Account::from_name(SERVICE).ok()??;
    let groups = getgrouplist(&CString::new(SERVICE).ok()?, account.gid).ok()?;
    let supplementary = supplementary_groups(&unit_texts(&format!("{SERVICE}.service")));
    let supplementary = supplementary.iter().filter_map(|name| Group::from_name(name).ok().flatten());
    let gids = groups.into_iter().chain(supplementary.map(|group| group.gid)).map(Gid::as_raw).collect();
    Some(User { name: account.name, uid: account.uid.as_raw(), gids })
}

/// The TCP ports that systemd opens for the server, from all its socket units.
pub(super) fn socket_unit_ports() -> Vec<u16> {
    let units: BTreeSet<_> = UNIT_FOLDERS.iter().flat_map(|folder| file_names(Path::new(folder))).collect();
    let sockets = units.iter().filter_map(|name| Some((name.strip_suffix(".socket")?, unit_texts(name))));
    sockets.filter(|(stem, texts)| is_ours(stem, texts)).flat_map(|(_, texts)| listen_ports(&texts)).collect()
}

fn file_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// A socket unit is for the service of the same name, unless it names another one.
fn is_ours(stem: &str, texts: &[String]) -> bool {
    match values(texts, "Service").pop() {
        Some(service) => service.strip_suffix(".service") == Some(SERVICE),
        None => stem == SERVICE,
    }
}

/// The ports of a socket unit: of `443`, `0.0.0.0:443` and `[::]:443`.
fn listen_ports(texts: &[String]) -> Vec<u16> {
    let streams = values(texts, "ListenStream");
    streams.iter().filter_map(|address| address.rsplit(':').next()?.parse().ok()).collect()
}

/// The unit `name` from the last folder that has it, then its drop-in files in order.
fn unit_texts(name: &str) -> Vec<String> {
    let read = |file: PathBuf| fs::read_to_string(file).ok();
    let unit = UNIT_FOLDERS.iter().rev().find_map(|folder| read(Path::new(folder).join(name)));
    let folders = UNIT_FOLDERS.iter().map(|folder| Path::new(folder).join(format!("{name}.d")));
    let mut drop_ins: Vec<_> = folders
        .flat_map(|folder| file_names(&folder).into_iter().map(move |name| (name.clone(), folder.join(name))))
        .collect();
    drop_ins.sort();
    unit.into_iter().chain(drop_ins.into_iter().filter_map(|(_, file)| read(file))).collect()
}

/// The values of `key` in a unit, which may repeat it; an empty value clears the earlier ones.
fn values(texts: &[String], key: &str) -> Vec<String> {
    let mut values = Vec::new();
    for (name, value) in texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once('=')) {
        match (name.trim() == key, value.trim()) {
            (false, _) => {}
            (true, "") => values.clear(),
            (true, value) => values.push(value.to_owned()),
        }
    }
    values
}

/// The groups that a unit adds to those of its user.
fn supplementary_groups(texts: &[String]) -> Vec<String> {
    let lists = values(texts, "SupplementaryGroups");
    lists.iter().flat_map(|list| list.split_ascii_whitespace()).map(str::to_owned).collect()
}

/// The effective user and all groups in a `/proc/PID/status`.
fn read_user(status: &str) -> Option<User> {
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
    };
    let uid = *numbers("Uid:")?.get(1)?;
    let gids = numbers("Gid:")?.get(1).copied().into_iter().chain(numbers("Groups:")?).collect();
    let account = Account::from_uid(Uid::from_raw(uid)).ok().flatten();
    Some(User { name: account.map_or_else(|| uid.to_string(), |account| account.name), uid, gids })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "/etc/ssl/key.pem";

    fn step(path: &str, uid: u32, gid: u32, mode: u32) -> Step {
        Step { path: path.into(), uid, gid, mode, is_folder: path != KEY, has_acl: false }
    }

    fn permissions(setting: &'static str, steps: &[Step]) -> FilePermissions {
        FilePermissions { setting, file: KEY.into(), steps: Some(steps.to_vec()) }
    }

    fn unreadable(steps: &[Step]) -> Option<Finding> {
        let user = User { name: "webrtc-box".into(), uid: 990, gids: vec![990, 105] };
        permissions("key", steps).unreadable(&user)
    }

    #[test]
    fn a_key_of_one_of_the_users_groups_is_readable() {
        assert_eq!(unreadable(&[step("/etc/ssl", 0, 0, 0o755), step(KEY, 0, 105, 0o640)]), None);
        assert_eq!(unreadable(&[step("/etc/ssl", 0, 0, 0o711), step(KEY, 990, 0, 0o400)]), None);
    }

    #[test]
    fn a_key_of_root_or_in_a_closed_folder_is_not_readable() {
        let key = unreadable(&[step("/etc/ssl", 0, 0, 0o755), step(KEY, 0, 0, 0o600)]).unwrap();
        assert_eq!(key.text, "key: the user webrtc-box may not read /etc/ssl/key.pem");
        assert!(key.hint.unwrap().starts_with("chgrp webrtc-box /etc/ssl/key.pem && chmod g+r"));
        let folder = unreadable(&[step("/etc/ssl", 0, 0, 0o700), step(KEY, 0, 0, 0o644)]).unwrap();
        let text = "key: the user webrtc-box may not enter /etc/ssl on the way to /etc/ssl/key.pem";
        assert_eq!(folder.text, text);
    }

    #[test]
    fn a_secret_that_every_user_may_read_is_a_warning() {
        let world_readable = |steps: &[Step]| permissions("host-key-file", steps).world_readable();
        let warning = world_readable(&[step("/etc/ssl", 0, 0, 0o755), step(KEY, 0, 0, 0o644)]).unwrap();
        assert_eq!(warning.text, "host-key-file: every user of this host may read /etc/ssl/key.pem");
        assert_eq!(warning.hint.as_deref(), Some("chmod o-r /etc/ssl/key.pem"));
        assert_eq!(world_readable(&[step("/etc/ssl", 0, 0, 0o700), step(KEY, 0, 0, 0o644)]), None);
        assert_eq!(world_readable(&[step("/etc/ssl", 0, 0, 0o755), step(KEY, 0, 0, 0o640)]), None);
    }

    #[test]
    fn only_the_first_class_that_applies_counts() {
        assert!(unreadable(&[step(KEY, 990, 0, 0o044)]).is_some());
        assert!(unreadable(&[step(KEY, 0, 105, 0o604)]).is_some());
    }

    #[test]
    fn an_access_control_list_makes_it_a_warning() {
        let listed = Step { has_acl: true, ..step(KEY, 0, 0, 0o600) };
        assert!(unreadable(&[listed]).unwrap().hint.unwrap().contains("getfacl"));
    }

    #[test]
    fn a_unit_adds_groups() {
        let unit = "[Service]\nUser=box\n#SupplementaryGroups=no\nSupplementaryGroups=ssl-cert adm\n";
        let drop_in = "[Service]\nSupplementaryGroups = \nSupplementaryGroups = keys\n";
        assert_eq!(supplementary_groups(&[unit.to_owned()]), ["ssl-cert", "adm"]);
        assert_eq!(supplementary_groups(&[unit.to_owned(), drop_in.to_owned()]), ["keys"]);
    }

    #[test]
    fn a_socket_unit_names_its_ports() {
        let unit = "[Socket]\nListenStream=443\nListenStream=[::]:80\n#ListenStream=90\nListenStream=/run/x\nListenDatagram=53\n";
        assert_eq!(listen_ports(&[unit.to_owned()]), [443, 80]);
        let drop_in = "[Socket]\nListenStream=\nListenStream = 8443\n";
        assert_eq!(listen_ports(&[unit.to_owned(), drop_in.to_owned()]), [8443]);
    }

    #[test]
    fn a_socket_unit_is_for_the_service_it_names_or_is_named_after() {
        let unit = |service: &str| vec![format!("[Socket]\nListenStream=443\n{service}")];
        assert!(is_ours("webrtc-box", &unit("")));
        assert!(is_ours("https", &unit("Service = webrtc-box.service\n")));
        assert!(!is_ours("https", &unit("")));
        assert!(!is_ours("webrtc-box", &unit("Service=nginx.service\n")));
    }

    #[test]
    fn the_user_and_groups_of_a_process_are_read() {
        let user = read_user("Name:\tbox\nUid:\t0\t0\t0\t0\nGid:\t5\t5\t5\t5\nGroups:\t5 105 \n").unwrap();
        assert_eq!(user, User { name: "root".into(), uid: 0, gids: vec![5, 5, 105] });
        assert_eq!(read_user("Name:\tbox\n"), None);
    }
}
