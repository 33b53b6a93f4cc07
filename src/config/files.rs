//! Files, folders, and the secrets that come from files or directly from a setting.

use std::io;
use std::path::{Path, PathBuf};

use super::SettingsError;
use super::values::{Field, invalid, parse};
use webrtc_box_turn::credential::Secret;

/// Characters of a host key.
const SHORTEST_HOST_KEY: usize = 8;

/// Characters of a cluster key.
const SHORTEST_CLUSTER_KEY: usize = 16;

/// A command that makes a secret.
const RANDOM: &str = "(openssl rand -base64 32)";

/// `PATH_MAX` of Linux.
const LONGEST_PATH: usize = 4096;

/// `NAME_MAX` of Linux.
const LONGEST_PATH_PART: usize = 255;

/// Windows editors write it before the first character of a file.
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The name of a file. Refuses the contents of one: `KEY="$(cat key.pem)"` is easily typed, and the error about the
/// missing file would print the key.
///
/// # Errors
/// The error does not repeat `path`.
pub(super) fn file(setting: &'static str, path: impl AsRef<Path>) -> Result<PathBuf, SettingsError> {
    let path = path.as_ref();
    let text = path.as_os_str().as_encoded_bytes();
    let contains = |words: &[u8]| text.windows(words.len()).any(|window| window == words);
    let is_part_too_long = text.split(|byte| *byte == b'/').any(|part| part.len() > LONGEST_PATH_PART);
    let is_contents = text.len() > LONGEST_PATH
        || is_part_too_long
        || contains(b"\n")
        || contains(b"-----BEGIN")
        || is_encoded(text);
    if is_contents {
        let hint = "write them to a file, and name that file";
        return Err(SettingsError::invalid(format!("{setting} holds the contents of a file"), hint));
    }
    Ok(path.to_owned())
}

/// Whether `text` is the base64 of PEM, or of a key's or certificate's DER.
fn is_encoded(text: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 5] = [b"LS0tLS1", b"MII", b"MIG", b"MHc", b"MC4"];
    text.len() > 40 && BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}

/// The name of a file, if one is given.
pub(super) fn optional_file(field: &Field<'_>) -> Result<Option<PathBuf>, SettingsError> {
    field.texts.first().map(|path| file(field.name, path)).transpose()
}

/// A folder with a page in it, if one is given.
pub(super) fn page_folder(field: &Field<'_>) -> Result<Option<PathBuf>, SettingsError> {
    let Some(folder) = optional_file(field)? else { return Ok(None) };
    let unreadable =
        |source| SettingsError::Unreadable { setting: field.name, path: Some(folder.clone()), source };
    if !std::fs::metadata(&folder).map_err(unreadable)?.is_dir() {
        return Err(unreadable(io::ErrorKind::NotADirectory.into()));
    }
    let has_page = |text: &str| match folder.join("index.html").is_file() {
        true => Ok(Some(PathBuf::from(text))),
        false => invalid("a folder without index.html", "name the folder that holds the page"),
    };
    parse(field.name, &field.texts[0], has_page)
}

/// The given folder, else the one of try-out mode; `checked` replaces it by systemd's.
pub(super) fn state_dir(field: &Field<'_>) -> Result<PathBuf, SettingsError> {
    match field.texts.first() {
        None => Ok("certs".into()),
        Some(text) if text.is_empty() => {
            parse(field.name, text, |_| invalid("empty", "name a folder, or leave state-dir out"))
        }
        Some(text) => file(field.name, text),
    }
}

/// Secrets, or those of the file. A line of the file that begins with `#` may be a secret.
pub(super) fn auth_secrets(field: &Field<'_>) -> Result<Vec<Secret>, SettingsError> {
    secrets(field, "static-auth-secret-file", field.raw.static_auth_secret_file.as_ref(), false)
}

/// Keys, or those of the file; long enough not to be guessed.
pub(super) fn host_keys(field: &Field<'_>) -> Result<Vec<Secret>, SettingsError> {
    let keys = secrets(field, "host-key-file", field.raw.host_key_file.as_ref(), true)?;
    refuse_short("host-key", &keys, SHORTEST_HOST_KEY)?;
    Ok(keys)
}

/// The keys that several servers share, or those of the file; long enough not to be guessed.
pub(super) fn cluster_keys(field: &Field<'_>) -> Result<Vec<Secret>, SettingsError> {
    let keys = secrets(field, "cluster-key-file", field.raw.cluster_key_file.as_ref(), true)?;
    refuse_short("cluster-key", &keys, SHORTEST_CLUSTER_KEY)?;
    Ok(keys)
}

fn refuse_short(setting: &str, keys: &[Secret], shortest: usize) -> Result<(), SettingsError> {
    if keys.iter().any(|key| key.is_shorter_than(shortest)) {
        let reason = format!("a {setting} is shorter than {shortest} characters");
        return Err(SettingsError::invalid(reason, format!("give a longer one {RANDOM}")));
    }
    Ok(())
}

fn secrets(
    field: &Field<'_>,
    file_setting: &'static str,
    path: Option<&String>,
    comments: bool,
) -> Result<Vec<Secret>, SettingsError> {
    let given = field.texts.iter().map(|text| match trim_secret(text) {
        "" => Err(empty_secret(field.name)),
        _ => Ok(Secret::new(text.trim_matches(['\r', '\n', BYTE_ORDER_MARK]))),
    });
    let given = given.collect::<Result<Vec<_>, _>>()?;
    match path {
        Some(_) if !given.is_empty() => {
            let reason = format!("{} and {file_setting} are both set", field.name);
            Err(SettingsError::invalid(reason, "keep one of them"))
        }
        Some(path) => secret_lines(file_setting, &file(file_setting, path)?, comments),
        None => Ok(given),
    }
}

/// One secret a line; blank lines do not count.
fn secret_lines(setting: &'static str, path: &Path, comments: bool) -> Result<Vec<Secret>, SettingsError> {
    // A word without a folder may be the secret itself.
    let is_path = path.as_os_str().as_encoded_bytes().contains(&b'/');
    let shown = is_path.then(|| path.to_owned());
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
        setting,
        path: shown,
        source,
    })?;
    let is_secret = |line: &&str| !(line.is_empty() || comments && line.starts_with('#'));
    let lines = text.split(['\n', '\r']).map(trim_secret).filter(is_secret);
    let secrets: Vec<_> = lines.map(Secret::new).collect();
    if secrets.is_empty() { Err(empty_secret(setting)) } else { Ok(secrets) }
}

fn empty_secret(setting: &str) -> SettingsError {
    SettingsError::invalid(format!("{setting} is empty"), format!("give it a long random text {RANDOM}"))
}

/// Without surrounding white space and byte-order marks.
fn trim_secret(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == BYTE_ORDER_MARK)
}
