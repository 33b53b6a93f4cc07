//! Reads the TOML file and the environment into [`RawSettings`]. Both become a table of keys first, so that a name that
//! works in one works in the other.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args as _;
use serde::Deserialize as _;
use toml::{Table, Value};

use super::service_links::is_service_link;
use super::settings::RawSettings;
use super::{SettingsError, files};

/// The file that is read if no other is given; it may be missing.
pub const DEFAULT_FILE: &str = "/etc/webrtc-box/webrtc-box.toml";

/// Prefix of all variables.
pub const VARIABLE_PREFIX: &str = "WEBRTC_BOX_";

/// The setting that names the file; not valid in the file itself.
const CONFIG: &str = "config";

/// Where a setting was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    File(PathBuf),
    Environment,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Environment => f.write_str("the environment"),
        }
    }
}

/// The name of a setting and whether it takes a list.
struct Key {
    name: String,
    repeatable: bool,
}

impl RawSettings {
    /// The names of all settings, in the order of `--help`.
    pub fn names() -> Vec<String> {
        keys().into_iter().map(|key| key.name).collect()
    }
}

fn keys() -> Vec<Key> {
    let command = RawSettings::augment_args(clap::Command::new(""));
    let key = |arg: &clap::Arg| {
        let repeatable = matches!(arg.get_action(), clap::ArgAction::Append);
        arg.get_long().map(|name| Key { name: name.to_owned(), repeatable })
    };
    command.get_arguments().filter_map(key).collect()
}

/// The settings of the environment, then of the file: `config` (the flag), else the one the environment names, else
/// [`DEFAULT_FILE`] if it exists.
///
/// # Errors
/// A name that is no setting, a value of the wrong kind, an unreadable file.
pub fn gather(
    config: Option<PathBuf>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<RawSettings, SettingsError> {
    let (variables, named) = variables(environment)?;
    let variables = settings(variables, &Origin::Environment)?;
    let file = match config.or(named) {
        Some(path) => file(&path)?,
        None => default_file(Path::new(DEFAULT_FILE))?,
    };
    Ok(variables.or(file))
}

/// The settings file that [`gather`] reads, if it holds a secret itself; `None` if it does not, or cannot be read.
pub fn file_with_secrets(
    config: Option<PathBuf>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Option<PathBuf> {
    let named = config.or_else(|| variables(environment).ok()?.1);
    let path = named.unwrap_or_else(|| DEFAULT_FILE.into());
    let raw = file(&path).ok()?;
    let has_password = raw.cluster.as_deref().is_some_and(|url| url.contains('@'));
    let lists = [raw.static_auth_secret, raw.host_key, raw.cluster_key];
    let has_list = lists.iter().flatten().any(|list| !list.is_empty());
    (has_password || has_list).then_some(path)
}

fn default_file(path: &Path) -> Result<RawSettings, SettingsError> {
    match file(path) {
        Err(SettingsError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(RawSettings::default())
        }
        read => read,
    }
}

fn file(path: &Path) -> Result<RawSettings, SettingsError> {
    files::file(CONFIG, path)?;
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
        setting: CONFIG,
        path: Some(path.to_owned()),
        source,
    })?;
    let text = text.trim_start_matches(files::BYTE_ORDER_MARK);
    let table: Table = text.parse().map_err(|error| syntax(path, text, &error))?;
    settings(table, &Origin::File(path.to_owned()))
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let start = error.span().map_or(0, |span| span.start);
    let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
    SettingsError::invalid(
        format!("config {} is not TOML: {:?}", path.display(), error.message()),
        format!("correct line {line}"),
    )
}

/// The variables with [`VARIABLE_PREFIX`], which is removed. Empty ones count as not set, because compose files and units
/// write them for a missing value.
pub fn set_variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (String, OsString)> {
    environment.into_iter().filter_map(|(name, value)| {
        let name = name.to_str()?.strip_prefix(VARIABLE_PREFIX)?.to_owned();
        let is_set = !value.is_empty() && !is_service_link(&name, &value);
        is_set.then_some((name, value))
    })
}

/// The variables as a table of texts by TOML key, and the file that `WEBRTC_BOX_CONFIG` names.
fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Table, Option<PathBuf>), SettingsError> {
    let mut table = Table::new();
    let mut config = None;
    for (name, value) in set_variables(environment) {
        let key = name.to_ascii_lowercase().replace('_', "-");
        if key == CONFIG {
            config = Some(PathBuf::from(value));
            continue;
        }
        let Ok(value) = value.into_string() else {
            return Err(wrong_kind(&Origin::Environment, &key, "UTF-8 text"));
        };
        table.insert(key, Value::String(value));
    }
    Ok((table, config))
}

fn settings(table: Table, origin: &Origin) -> Result<RawSettings, SettingsError> {
    let keys = keys();
    let mut shaped = Table::new();
    for (name, value) in table {
        let key = keys.iter().find(|key| key.name == name).ok_or_else(|| unknown(&name, &keys, origin))?;
        let value = shape(value, key, origin)?;
        // A list of commas only counts as not set.
        let is_empty_list = *origin == Origin::Environment && value.as_array().is_some_and(Vec::is_empty);
        if !is_empty_list {
            shaped.insert(name, value);
        }
    }
    // Cannot fail after `shape`.
    RawSettings::deserialize(shaped).map_err(|_| wrong_kind(origin, "the settings", "text or whole numbers"))
}

fn unknown(name: &str, keys: &[Key], origin: &Origin) -> SettingsError {
    let distance = |key: &Key| strsim::damerau_levenshtein(&key.name, name);
    let nearest =
        keys.iter().min_by_key(|key| distance(key)).filter(|key| distance(key) <= 1 + name.len() / 4);
    // If this is not a settings file, the name may be a secret.
    let is_name = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'_');
    let shown = *origin == Origin::Environment || nearest.is_some() || name.bytes().all(is_name);
    let name = if shown { format!("{:?}", spelled(name, origin)) } else { "a name".to_owned() };
    let hint = match nearest {
        Some(key) => format!("did you mean {:?}?", spelled(&key.name, origin)),
        None if shown => "remove it (--help lists them all)".to_owned(),
        None => "name a file of settings (--help lists them all)".to_owned(),
    };
    SettingsError::invalid(format!("{name} in {origin} is not a setting"), hint)
}

/// Text for a single setting, a list of texts for a repeatable one.
fn shape(value: Value, key: &Key, origin: &Origin) -> Result<Value, SettingsError> {
    let wanted = if key.repeatable { "text, or a list of texts" } else { "one text or whole number" };
    let wrong = || wrong_kind(origin, &key.name, wanted);
    match (value, origin) {
        (Value::String(list), Origin::Environment) if key.repeatable => Ok(entries(&list)),
        (Value::Array(list), _) if key.repeatable => list
            .into_iter()
            .map(|value| text(value).ok_or_else(wrong))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        (value, _) => {
            let value = text(value).ok_or_else(wrong)?;
            Ok(if key.repeatable { Value::Array(vec![value]) } else { value })
        }
    }
}

/// The entries of a comma-separated variable, without empty ones.
fn entries(list: &str) -> Value {
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    Value::Array(entries.map(Value::from).collect())
}

fn text(value: Value) -> Option<Value> {
    match value {
        Value::String(text) => Some(Value::String(text)),
        Value::Integer(number) => Some(Value::String(number.to_string())),
        Value::Boolean(on) => Some(Value::String(if on { "on" } else { "off" }.to_owned())),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

fn wrong_kind(origin: &Origin, key: &str, wanted: &'static str) -> SettingsError {
    let reason = format!("{} in {origin} has a value of the wrong kind", spelled(key, origin));
    SettingsError::invalid(reason, format!("give {wanted}"))
}

fn spelled(key: &str, origin: &Origin) -> String {
    match origin {
        Origin::File(_) => key.to_owned(),
        Origin::Environment => format!("{VARIABLE_PREFIX}{}", key.to_ascii_uppercase().replace('-', "_")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Hint as _;

    fn from_environment(pairs: &[(&str, &str)]) -> Result<RawSettings, SettingsError> {
        gather(None, pairs.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn from_toml(text: &str) -> Result<RawSettings, SettingsError> {
        let origin = Origin::File("box.toml".into());
        settings(text.parse().unwrap(), &origin)
    }

    fn message(settings: Result<RawSettings, SettingsError>) -> String {
        settings.err().unwrap().with_hint()
    }

    #[test]
    fn a_repeatable_setting_takes_one_text_or_a_list() {
        let one = from_toml("listen = '::1'").unwrap();
        assert_eq!(one.listen, Some(vec!["::1".to_owned()]));
        let two = from_toml("listen = ['::1', '127.0.0.1']").unwrap();
        assert_eq!(two.listen, Some(vec!["::1".to_owned(), "127.0.0.1".to_owned()]));
    }

    #[test]
    fn only_repeatable_variables_are_split_at_commas() {
        let raw = from_environment(&[("WEBRTC_BOX_LISTEN", "::1, 127.0.0.1,"), ("WEBRTC_BOX_REALM", "a,b")]);
        let raw = raw.unwrap();
        assert_eq!(raw.listen, Some(vec!["::1".to_owned(), "127.0.0.1".to_owned()]));
        assert_eq!(raw.realm.as_deref(), Some("a,b"));
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        for key in keys() {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("box.toml");
            std::fs::write(&file, format!("{} = 'canary'", key.name)).unwrap();
            let variable = spelled(&key.name, &Origin::Environment);
            let values = if key.repeatable { &["", " ", ",", " , "][..] } else { &[""] };
            for value in values {
                let read = gather(Some(file.clone()), [(variable.clone().into(), value.into())]).unwrap();
                let from_file = gather(Some(file.clone()), []).unwrap();
                assert!(read == from_file && read != RawSettings::default(), "{variable}={value:?}");
            }
        }
        let read = from_environment(&[("WEBRTC_BOX_CONFIG", ""), ("WEBRTC_BOX_NO_SETTING", "")]);
        assert!(read.is_ok_and(|raw| raw == RawSettings::default()));
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("box.toml");
        std::fs::write(&path, "\u{feff}realm = 'r'\r\nmin-port = 50000\r\n").unwrap();
        let raw = gather(Some(path), []).unwrap();
        assert_eq!((raw.realm.as_deref(), raw.min_port.as_deref()), (Some("r"), Some("50000")));
    }

    #[test]
    fn a_secret_in_the_file_may_contain_commas() {
        let raw = from_toml("static-auth-secret = 'one,still one'").unwrap();
        assert_eq!(raw.static_auth_secret, Some(vec!["one,still one".to_owned()]));
    }

    #[test]
    fn numbers_and_switches_need_no_quotes() {
        let raw = from_toml("min-port = 50000\nlog-addresses = true").unwrap();
        assert_eq!(raw.min_port.as_deref(), Some("50000"));
        assert_eq!(raw.log_addresses.as_deref(), Some("on"));
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest_setting_as_hint() {
        assert_eq!(
            message(from_toml("min-prot = 1")),
            r#""min-prot" in box.toml is not a setting; did you mean "min-port"?"#
        );
        assert_eq!(
            message(from_environment(&[("WEBRTC_BOX_TURNPORT", "1")])),
            r#""WEBRTC_BOX_TURNPORT" in the environment is not a setting; did you mean "WEBRTC_BOX_TURN_PORT"?"#
        );
        assert!(message(from_toml("bandwidth-of-the-moon = 1")).contains("--help lists them all"));
    }

    #[test]
    fn the_file_cannot_hold_config() {
        assert!(message(from_toml("config = 'x'")).contains("not a setting"));
    }

    #[test]
    fn values_of_the_wrong_kind_name_their_setting() {
        for text in ["realm = ['a', 'b']", "realm = 1.5", "[realm]\na = 1", "listen = [1.5]"] {
            let message = message(from_toml(text));
            assert!(message.contains("of the wrong kind; give"), "{text}: {message}");
        }
    }

    #[test]
    fn variables_of_an_orchestrator_are_ignored() {
        let raw = from_environment(&[
            ("WEBRTC_BOX_SERVICE_HOST", "10.0.0.1"),
            ("WEBRTC_BOX_PORT", "tcp://10.0.0.1:443"),
            ("WEBRTC_BOX_PORT_443_TCP_ADDR", "10.0.0.1"),
            ("WEBRTC_BOX_TURN_PORT", "udp://10.0.0.1:3478"),
            ("PATH", "/bin"),
        ]);
        assert!(raw.is_ok_and(|raw| raw == RawSettings::default()));
        assert!(from_environment(&[("WEBRTC_BOX_PORT", "443")]).is_err());
    }
}
