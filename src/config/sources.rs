//! The places settings come from: the TOML file and the environment, read into [`Typed`].
//!
//! Both take the same road, as a table of keys, so a name that works in one works in the other.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::{Table, Value};

use super::error::{Place, SettingsError};
use super::service_links::is_service_link;
use super::typed::{Key, Typed};
use super::values;

/// Read when no other file is named, if it exists.
pub const DEFAULT_FILE: &str = "/etc/webrtc-box/webrtc-box.toml";

/// What every variable of ours begins with.
pub const VARIABLE_PREFIX: &str = "WEBRTC_BOX_";

/// The setting that names the file; it has no place in the file itself.
const CONFIG: &str = "config";

/// Lays the environment over the file, which is `config` (the flag), else the one the environment
/// names, else [`DEFAULT_FILE`] if there is one. Flags come over both.
///
/// # Errors
/// A name that is no setting, a value of the wrong kind, a file that cannot be read.
pub fn gather(
    config: Option<PathBuf>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Typed, SettingsError> {
    let (variables, named) = variables(environment)?;
    let variables = typed(variables, &Place::Environment)?;
    let file = match config.or(named) {
        Some(path) => file(&path)?,
        None => default_file(Path::new(DEFAULT_FILE))?,
    };
    Ok(variables.over(file))
}

fn default_file(path: &Path) -> Result<Typed, SettingsError> {
    match file(path) {
        Err(SettingsError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(Typed::default())
        }
        read => read,
    }
}

fn file(path: &Path) -> Result<Typed, SettingsError> {
    values::file(CONFIG, path)?;
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
        setting: CONFIG,
        path: path.to_owned(),
        source,
    })?;
    let text = text.trim_start_matches(values::BYTE_ORDER_MARK);
    let table: Table = text.parse().map_err(|error| syntax(path, text, &error))?;
    typed(table, &Place::File(path.to_owned()))
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let start = error.span().map_or(0, |span| span.start);
    let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
    SettingsError::Syntax { path: path.to_owned(), line, fault: error.message().to_owned() }
}

/// The variables that say something: an empty one, as a compose file or a unit makes it of what is not
/// there, is as good as none. Names are without our prefix; others are left out.
pub fn set_variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (String, OsString)> {
    environment.into_iter().filter_map(|(name, value)| {
        let name = name.to_str()?.strip_prefix(VARIABLE_PREFIX)?.to_owned();
        let says_something = !value.is_empty() && !is_service_link(&name, &value);
        says_something.then_some((name, value))
    })
}

/// Our variables as a table of texts, by TOML key, and the file that `WEBRTC_BOX_CONFIG` names.
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
            return Err(wrong_kind(&Place::Environment, &key, "UTF-8 text"));
        };
        table.insert(key, Value::String(value));
    }
    Ok((table, config))
}

fn typed(table: Table, place: &Place) -> Result<Typed, SettingsError> {
    let keys = Typed::keys();
    let mut shaped = Table::new();
    for (name, value) in table {
        let key = keys.iter().find(|key| key.name == name).ok_or_else(|| unknown(&name, &keys, place))?;
        let value = shape(value, key, place)?;
        // Commas alone say as little as nothing.
        let is_empty_list = *place == Place::Environment && value.as_array().is_some_and(Vec::is_empty);
        if !is_empty_list {
            shaped.insert(name, value);
        }
    }
    // `shape` has left nothing to complain about here.
    Typed::deserialize(shaped).map_err(|_| wrong_kind(place, "the settings", "text or whole numbers"))
}

fn unknown(name: &str, keys: &[Key], place: &Place) -> SettingsError {
    let distance = |key: &Key| strsim::damerau_levenshtein(&key.name, name);
    let nearest =
        keys.iter().min_by_key(|key| distance(key)).filter(|key| distance(key) <= 1 + name.len() / 4);
    // In a file that is no file of settings a secret may stand where a name belongs.
    let is_name = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'_');
    let shown = *place == Place::Environment || nearest.is_some() || name.bytes().all(is_name);
    SettingsError::UnknownName {
        place: place.clone(),
        name: shown.then(|| spelled(name, place)),
        nearest: nearest.map(|key| spelled(&key.name, place)),
    }
}

/// Text for a single setting, a list of texts for a repeatable one.
fn shape(value: Value, key: &Key, place: &Place) -> Result<Value, SettingsError> {
    let wanted = if key.repeatable { "text, or a list of texts" } else { "one text or whole number" };
    let wrong = || wrong_kind(place, &key.name, wanted);
    match (value, place) {
        (Value::String(list), Place::Environment) if key.repeatable => Ok(entries(&list)),
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

/// The entries of a comma-separated variable; none where it is empty.
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

fn wrong_kind(place: &Place, key: &str, wanted: &'static str) -> SettingsError {
    SettingsError::WrongKind { place: place.clone(), name: spelled(key, place), wanted }
}

fn spelled(key: &str, place: &Place) -> String {
    match place {
        Place::File(_) => key.to_owned(),
        Place::Environment => format!("{VARIABLE_PREFIX}{}", key.to_ascii_uppercase().replace('-', "_")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_environment(pairs: &[(&str, &str)]) -> Result<Typed, SettingsError> {
        gather(None, pairs.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn from_toml(text: &str) -> Result<Typed, SettingsError> {
        let place = Place::File("box.toml".into());
        typed(text.parse().unwrap(), &place)
    }

    fn complaint(typed: Result<Typed, SettingsError>) -> String {
        typed.err().unwrap().to_string()
    }

    #[test]
    fn a_repeatable_setting_takes_one_text_or_a_list() {
        let one = from_toml("listen = '::1'").unwrap();
        assert_eq!(one.listen, Some(vec!["::1".to_owned()]));
        let two = from_toml("listen = ['::1', '127.0.0.1']").unwrap();
        assert_eq!(two.listen, Some(vec!["::1".to_owned(), "127.0.0.1".to_owned()]));
    }

    #[test]
    fn a_variable_is_split_at_commas_only_where_the_setting_is_repeatable() {
        let typed =
            from_environment(&[("WEBRTC_BOX_LISTEN", "::1, 127.0.0.1,"), ("WEBRTC_BOX_REALM", "a,b")]);
        let typed = typed.unwrap();
        assert_eq!(typed.listen, Some(vec!["::1".to_owned(), "127.0.0.1".to_owned()]));
        assert_eq!(typed.realm.as_deref(), Some("a,b"));
    }

    #[test]
    fn an_empty_variable_is_not_set_whatever_the_setting() {
        for key in Typed::keys() {
            let place = tempfile::tempdir().unwrap();
            let file = place.path().join("box.toml");
            std::fs::write(&file, format!("{} = 'canary'", key.name)).unwrap();
            let variable = spelled(&key.name, &Place::Environment);
            let values = if key.repeatable { &["", " ", ",", " , "][..] } else { &[""] };
            for value in values {
                let read = gather(Some(file.clone()), [(variable.clone().into(), value.into())]).unwrap();
                let from_file = gather(Some(file.clone()), []).unwrap();
                assert!(read == from_file && read != Typed::default(), "{variable}={value:?}");
            }
        }
        let read = from_environment(&[("WEBRTC_BOX_CONFIG", ""), ("WEBRTC_BOX_NO_SETTING", "")]);
        assert!(read.is_ok_and(|typed| typed == Typed::default()));
    }

    #[test]
    fn a_byte_order_mark_before_the_settings_is_no_part_of_them() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("box.toml");
        std::fs::write(&path, "\u{feff}realm = 'r'\r\nmin-port = 50000\r\n").unwrap();
        let typed = gather(Some(path), []).unwrap();
        assert_eq!((typed.realm.as_deref(), typed.min_port.as_deref()), (Some("r"), Some("50000")));
    }

    #[test]
    fn a_secret_with_commas_is_taken_as_it_stands_in_the_file() {
        let typed = from_toml("static-auth-secret = 'one,still one'").unwrap();
        assert_eq!(typed.static_auth_secret, Some(vec!["one,still one".to_owned()]));
    }

    #[test]
    fn numbers_and_switches_need_no_quotes() {
        let typed = from_toml("min-port = 50000\nlog-addresses = true").unwrap();
        assert_eq!(typed.min_port.as_deref(), Some("50000"));
        assert_eq!(typed.log_addresses.as_deref(), Some("on"));
    }

    #[test]
    fn a_misspelt_name_is_told_its_nearest_neighbour() {
        assert_eq!(
            complaint(from_toml("min-prot = 1")),
            r#""min-prot" in box.toml is not a setting; did you mean "min-port"?"#
        );
        assert_eq!(
            complaint(from_environment(&[("WEBRTC_BOX_TURNPORT", "1")])),
            r#""WEBRTC_BOX_TURNPORT" in the environment is not a setting; did you mean "WEBRTC_BOX_TURN_PORT"?"#
        );
        assert!(complaint(from_toml("bandwidth-of-the-moon = 1")).contains("--help lists them all"));
    }

    #[test]
    fn the_file_cannot_name_itself() {
        assert!(complaint(from_toml("config = 'x'")).contains("not a setting"));
    }

    #[test]
    fn values_of_the_wrong_kind_name_their_setting() {
        for text in ["realm = ['a', 'b']", "realm = 1.5", "[realm]\na = 1", "listen = [1.5]"] {
            let complaint = complaint(from_toml(text));
            assert!(complaint.contains("of the wrong kind; give"), "{text}: {complaint}");
        }
    }

    #[test]
    fn variables_an_orchestrator_sets_are_none_of_ours() {
        let typed = from_environment(&[
            ("WEBRTC_BOX_SERVICE_HOST", "10.0.0.1"),
            ("WEBRTC_BOX_PORT", "tcp://10.0.0.1:443"),
            ("WEBRTC_BOX_PORT_443_TCP_ADDR", "10.0.0.1"),
            ("WEBRTC_BOX_TURN_PORT", "udp://10.0.0.1:3478"),
            ("PATH", "/bin"),
        ]);
        assert!(typed.is_ok_and(|typed| typed == Typed::default()));
        assert!(from_environment(&[("WEBRTC_BOX_PORT", "443")]).is_err());
    }
}
