//! The text of a settings file, and the file. The text is that of the example file, so that each setting keeps its
//! explanation.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use nix::unistd::Group;

use crate::config::RawSettings;

/// Every setting, with its default in a comment.
const EXAMPLE_FILE: &str = include_str!("../../config/webrtc-box.toml");

/// The group of the service, which must be able to read the file.
const SERVICE_GROUP: &str = "webrtc-box";

/// The example file with the given settings.
pub(super) fn render(settings: &RawSettings) -> String {
    let given = settings.given();
    let mut text = String::new();
    for line in EXAMPLE_FILE.lines() {
        let setting = line.strip_prefix('#').map(|line| line.strip_prefix("e.g. ").unwrap_or(line));
        let name = setting.and_then(|setting| setting.split_once(" = ")).map(|(name, _)| name);
        let value = given.iter().find(|(given, ..)| Some(*given) == name);
        let line = value.map_or(line.to_owned(), |(name, texts, is_list)| assignment(name, texts, *is_list));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

fn assignment(name: &str, texts: &[String], is_list: bool) -> String {
    let values: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
    match (is_list, values.as_slice()) {
        (false, [value]) => format!("{name} = {value}"),
        _ => format!("{name} = [{}]", values.join(", ")),
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // Writing to a string cannot fail.
            c if c.is_control() => _ = write!(quoted, "\\u{:04X}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Writes `text` to `path`, completely or not at all. Only its owner may read it, and the service if there is one.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    fs::create_dir_all(folder)?;
    let draft = folder.join(format!(".{name}.{}", std::process::id()));
    let replaced = write_draft(&draft, text).and_then(|()| fs::rename(&draft, path));
    if replaced.is_err() {
        // It may not exist; the first error is the one to report.
        let _ = fs::remove_file(&draft);
    }
    replaced.and_then(|()| fs::File::open(folder)?.sync_all())
}

fn write_draft(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    // Only root may give a file to another group; else the file is the user's own.
    if let Ok(Some(group)) = Group::from_name(SERVICE_GROUP)
        && fchown(&file, None, Some(group.gid.as_raw())).is_ok()
    {
        file.set_permissions(Permissions::from_mode(0o640))?;
    }
    file.sync_all()
}

/// Gives the file a second name, which it keeps when it is replaced, and returns that.
pub(super) fn keep(path: &Path) -> io::Result<PathBuf> {
    let mut old = path.as_os_str().to_owned();
    old.push(".old");
    let old = PathBuf::from(old);
    match fs::remove_file(&old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(path, &old)?;
    Ok(old)
}
