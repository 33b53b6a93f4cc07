//! The way to a file and who is to walk it, as the system has them.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User as Account, getgrouplist};
use rustix::fs::getxattr;

use crate::doctor::judge::access::{Step, User};

/// The user of the systemd unit.
const SERVICE: &str = "webrtc-box";
/// Where units lie; what lies in a later place goes before.
const PLACES: [&str; 4] =
    ["/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/system", "/etc/systemd/system"];
/// Where an access list is kept.
const ACCESS_LIST: &str = "system.posix_acl_access";

/// Every folder on the way to `file`, by its name and by where links lead, and the file.
///
/// # Errors
/// What of it this user may not look at.
pub(in crate::doctor) fn steps(file: &Path) -> Result<Vec<Step>, PathBuf> {
    let typed = std::path::absolute(file).map_err(|_| file.to_owned())?;
    let real = fs::canonicalize(file).map_err(|_| file.to_owned())?;
    let mut places: Vec<PathBuf> = [&typed, &real].into_iter().flat_map(|path| folders(path)).collect();
    places.sort_unstable();
    places.dedup();
    places.push(real);
    places.into_iter().map(|place| step(&place).ok_or(place)).collect()
}

fn folders(path: &Path) -> Vec<PathBuf> {
    path.ancestors().skip(1).map(Path::to_owned).collect()
}

fn step(place: &Path) -> Option<Step> {
    let known = fs::metadata(place).ok()?;
    let list = getxattr(place, ACCESS_LIST, &mut [0_u8; 0]).is_ok();
    let (uid, gid, mode, folder) = (known.uid(), known.gid(), known.mode(), known.is_dir());
    Some(Step { path: place.to_owned(), uid, gid, mode, folder, list })
}

/// Who runs the box: as the process `running` is, else the unit's user where there is one.
pub(in crate::doctor) fn service(running: Option<u32>) -> Option<User> {
    let process = |pid| read_user(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?);
    running.and_then(process).or_else(account)
}

fn account() -> Option<User> {
    let account = Account::from_name(SERVICE).ok()??;
    let groups = getgrouplist(&CString::new(SERVICE).ok()?, account.gid).ok()?;
    let further = supplementary(&unit_texts(&format!("{SERVICE}.service")));
    let further = further.iter().filter_map(|name| Group::from_name(name).ok().flatten());
    let gids = groups.into_iter().chain(further.map(|group| group.gid)).map(Gid::as_raw).collect();
    Some(User { name: account.name, uid: account.uid.as_raw(), gids })
}

/// The TCP ports that systemd opens for the box, by however many socket units.
pub(in crate::doctor) fn socket_ports() -> Vec<u16> {
    let units: BTreeSet<String> = PLACES.iter().flat_map(|place| names(Path::new(place))).collect();
    let sockets = units.iter().filter_map(|name| Some((name, name.strip_suffix(".socket")?)));
    let texts = sockets.map(|(name, stem)| (stem, unit_texts(name)));
    texts.filter(|(stem, texts)| is_for_us(stem, texts)).flat_map(|(_, texts)| listened(&texts)).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// A socket unit is for the service of its own name, unless it says otherwise.
fn is_for_us(stem: &str, texts: &[String]) -> bool {
    match values(texts, "Service").pop() {
        Some(service) => service.strip_suffix(".service") == Some(SERVICE),
        None => stem == SERVICE,
    }
}

/// The ports of a socket unit: of `443`, `0.0.0.0:443` and `[::]:443`.
fn listened(texts: &[String]) -> Vec<u16> {
    let streams = values(texts, "ListenStream");
    streams.iter().filter_map(|place| place.rsplit(':').next()?.parse().ok()).collect()
}

/// The unit of this name, the last place counting, and what is laid over it, in order.
fn unit_texts(name: &str) -> Vec<String> {
    let read = |file: PathBuf| fs::read_to_string(file).ok();
    let unit = PLACES.iter().rev().find_map(|place| read(Path::new(place).join(name)));
    let folders = PLACES.iter().map(|place| Path::new(place).join(format!("{name}.d")));
    let mut laid_over: Vec<_> = folders
        .flat_map(|folder| names(&folder).into_iter().map(move |name| (name.clone(), folder.join(name))))
        .collect();
    laid_over.sort();
    unit.into_iter().chain(laid_over.into_iter().filter_map(|(_, file)| read(file))).collect()
}

/// What a unit says of `key`, which may be said repeatedly; an empty value takes back what was said before.
fn values(texts: &[String], key: &str) -> Vec<String> {
    let mut said = Vec::new();
    for (name, value) in texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once('=')) {
        match (name.trim() == key, value.trim()) {
            (false, _) => {}
            (true, "") => said.clear(),
            (true, value) => said.push(value.to_owned()),
        }
    }
    said
}

/// The groups that a unit gives its process besides those of its user.
fn supplementary(texts: &[String]) -> Vec<String> {
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
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn links_are_followed_and_every_folder_counts() {
        let place = tempfile::tempdir().unwrap();
        let (live, archive) = (place.path().join("live"), place.path().join("archive"));
        fs::create_dir(&live).unwrap();
        fs::create_dir(&archive).unwrap();
        fs::write(archive.join("key1.pem"), "").unwrap();
        fs::set_permissions(archive.join("key1.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("../archive/key1.pem", live.join("key.pem")).unwrap();
        let steps = steps(&live.join("key.pem")).unwrap();
        let walked =
            |folder: &Path| steps.iter().any(|step| step.path.ends_with(folder.file_name().unwrap()));
        assert!(walked(&live) && walked(&archive), "{steps:?}");
        let file = steps.last().unwrap();
        assert!(file.path.ends_with("archive/key1.pem") && !file.folder && file.mode & 0o777 == 0o600);
        assert!(super::steps(&live.join("nothing")).is_err());
    }

    #[test]
    fn a_unit_names_further_groups() {
        let unit = "[Service]\nUser=box\n#SupplementaryGroups=no\nSupplementaryGroups=ssl-cert adm\n";
        let over = "[Service]\nSupplementaryGroups = \nSupplementaryGroups = keys\n";
        assert_eq!(supplementary(&[unit.to_owned()]), ["ssl-cert", "adm"]);
        assert_eq!(supplementary(&[unit.to_owned(), over.to_owned()]), ["keys"]);
    }

    #[test]
    fn a_socket_unit_names_its_ports() {
        let unit = "[Socket]\nListenStream=443\nListenStream=[::]:80\n#ListenStream=90\nListenStream=/run/x\nListenDatagram=53\n";
        assert_eq!(listened(&[unit.to_owned()]), [443, 80]);
        assert_eq!(
            listened(&[unit.to_owned(), "[Socket]\nListenStream=\nListenStream = 8443\n".to_owned()]),
            [8443]
        );
    }

    #[test]
    fn a_socket_unit_is_for_the_service_it_names_or_that_has_its_name() {
        let names = |service: &str| vec![format!("[Socket]\nListenStream=443\n{service}")];
        assert!(is_for_us("webrtc-box", &names("")));
        assert!(is_for_us("https", &names("Service = webrtc-box.service\n")));
        assert!(!is_for_us("https", &names("")));
        assert!(!is_for_us("webrtc-box", &names("Service=nginx.service\n")));
    }

    #[test]
    fn a_process_says_who_it_is() {
        let user = read_user("Name:\tbox\nUid:\t0\t0\t0\t0\nGid:\t5\t5\t5\t5\nGroups:\t5 105 \n").unwrap();
        assert_eq!(user, User { name: "root".into(), uid: 0, gids: vec![5, 5, 105] });
        assert_eq!(read_user("Name:\tbox\n"), None);
    }
}
