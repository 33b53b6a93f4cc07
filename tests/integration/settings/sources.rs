//! Precedence of flags, variables, settings file and defaults; the example file and the help.

use std::fs;
use std::path::Path;

use webrtc_box::config::{RawSettings, Settings, StateDirDefaults, gather};
use webrtc_box_turn::credential::Secret;

use super::{Fixture, assert_contains, startup_error};

#[test]
fn flags_override_variables_override_file_override_defaults() {
    let fixture = Fixture::new();
    fixture.create_state("certs");
    let port = |arguments: &[&str], variables: &[(&str, &str)]| {
        fixture.credential(arguments, variables)["urls"][0].as_str().unwrap().to_owned()
    };
    fixture.write_file("box.toml", "turn-port = 5001");
    let (file, variable) = (("WEBRTC_BOX_CONFIG", "box.toml"), ("WEBRTC_BOX_TURN_PORT", "5002"));
    assert_eq!(port(&[], &[]), "turn:localhost:3478?transport=udp");
    assert_eq!(port(&[], &[file]), "turn:localhost:5001?transport=udp");
    assert_eq!(port(&[], &[file, variable]), "turn:localhost:5002?transport=udp");
    assert_eq!(port(&["--turn-port", "5003"], &[file, variable]), "turn:localhost:5003?transport=udp");
    assert_eq!(port(&["--config", "box.toml"], &[]), "turn:localhost:5001?transport=udp");
}

#[test]
fn printed_credential_uses_the_configured_secret() {
    let fixture = Fixture::new();
    let stored = fixture.create_state("certs");
    fixture.write_file("secrets", "north\nsouth\n");
    let printed = fixture.credential(&["--static-auth-secret-file", "secrets", "--ttl", "5m"], &[]);
    assert_eq!(printed["ttl"], 300);
    let username = printed["username"].as_str().unwrap();
    let password = Secret::new("north").password(username);
    assert_eq!(printed["credential"], password);
    // Without a configured secret, the one in the state directory is used.
    let printed = fixture.credential(&[], &[]);
    assert_eq!(printed["credential"], stored.password(printed["username"].as_str().unwrap()));
}

#[test]
fn credential_printed_before_the_first_start_stays_valid() {
    let fixture = Fixture::new();
    let printed = fixture.credential(&[], &[]);
    let stored = fixture.create_state("certs");
    assert_eq!(printed["credential"], stored.password(printed["username"].as_str().unwrap()));
}

#[test]
fn systemd_sets_the_state_directory() {
    let fixture = Fixture::new();
    let secrets = ["state/first", "other"].map(|dir| fixture.create_state(dir));
    let printed = [
        fixture.credential(&[], &[("STATE_DIRECTORY", "state/first:state/second")]),
        fixture.credential(&["--state-dir", "other"], &[("STATE_DIRECTORY", "state")]),
    ];
    for (secret, printed) in secrets.iter().zip(printed) {
        assert_eq!(printed["credential"], secret.password(printed["username"].as_str().unwrap()));
    }
}

#[test]
fn server_starts_next_to_service_links_of_its_name() {
    let fixture = Fixture::new();
    let settings = fixture.credential(
        &[],
        &[
            ("WEBRTC_BOX_TURN_PORT", "udp://10.96.0.12:3478"),
            ("WEBRTC_BOX_TURN_PORT_3478_UDP", "udp://10.96.0.12:3478"),
            ("WEBRTC_BOX_TURN_SERVICE_HOST", "10.96.0.12"),
            ("WEBRTC_BOX_TURN_SERVICE_PORT", "3478"),
            ("WEBRTC_BOX_REALM_NAME", "/page/realm"),
        ],
    );
    assert_eq!(settings["urls"][0], "turn:localhost:3478?transport=udp");
    let mut command = fixture.command(&[]);
    command.env("WEBRTC_BOX_TURN_PRT", "3478");
    assert_contains(&startup_error(command), &["WEBRTC_BOX_TURN_PRT", "WEBRTC_BOX_TURN_PORT"]);
}

/// The settings in lines of the example file that begin with `prefix`, without it.
fn example(prefix: &str) -> String {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/webrtc-box.toml")).unwrap();
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let is_key = |line: &&str| line.split_once(" = ").is_some_and(|(name, _)| is_name(name));
    text.lines()
        .filter_map(|line| line.strip_prefix(prefix))
        .filter(is_key)
        .map(|line| format!("{line}\n"))
        .collect()
}

fn settings_of(file: &str, flags: RawSettings) -> Settings {
    let fixture = Fixture::new();
    fixture.write_file("box.toml", file);
    let config = Some(fixture.folder.path().join("box.toml"));
    flags.or(gather(config, []).unwrap()).validate(&StateDirDefaults::default()).unwrap()
}

fn production() -> RawSettings {
    let some = |text: &str| Some(text.to_owned());
    RawSettings {
        domain: some("a.example"),
        cert: some("cert.pem"),
        key: some("key.pem"),
        ..RawSettings::default()
    }
}

#[test]
fn example_file_states_the_defaults() {
    let defaults = example("#");
    assert_eq!(settings_of(&defaults, production()), settings_of("", production()));
    // In try-out mode two ports differ, as the file explains.
    let mut try_out = settings_of(&defaults, RawSettings::default());
    (try_out.https_port, try_out.http_port, try_out.turns_port) = (Some(8443), Some(8080), None);
    assert_eq!(try_out, settings_of("", RawSettings::default()));
}

#[test]
fn example_file_has_every_key_once() {
    let lines = example("#") + &example("#e.g. ");
    let mut keys: Vec<_> = lines.lines().filter_map(|line| line.split(" = ").next()).collect();
    keys.sort_unstable();
    let mut names = RawSettings::names();
    names.sort_unstable();
    assert_eq!(keys, names);
}

#[test]
fn help_states_the_same_defaults_as_the_example_file() {
    let output = Fixture::new().command(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in example("#").lines() {
        let (name, value) = line.split_once(" = ").unwrap();
        let value = match value.trim_matches('"') {
            "[]" => continue,
            "false" => "off",
            value => value,
        };
        let about = words.split(&format!("--{name} ")).nth(1).or(words.split(&format!("--{name}[")).nth(1));
        let about = about.unwrap_or_else(|| panic!("--{name} is not in the help"));
        let (_, bracket) = about.split_once(" (default ").unwrap();
        let default = &bracket[..bracket.find(')').unwrap()];
        assert!(default.split([' ', ';']).any(|word| word == value), "--{name}: {default} or {value}?");
    }
}
