//! The program itself, started with settings good and bad: what it says, how fast, and which of
//! several sources wins.
#![allow(clippy::unwrap_used, reason = "a test crate; clippy knows only functions marked as tests")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use webrtc_box::config::{Settings, Surroundings, Typed, gather};
use webrtc_box::credential::Secret;
use webrtc_box::state::State;

/// A complaint may take a second; a busy machine gets three.
const PATIENCE: Duration = Duration::from_secs(3);

/// An empty folder to start in, and what to start there.
struct Stage {
    place: TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { place: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.place.path().join(name), text).unwrap();
    }

    /// What a first start leaves in the state directory `dir`: the secret.
    fn started(&self, dir: &str) -> Secret {
        State::open(&self.place.path().join(dir)).unwrap().kept().unwrap().secret
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_webrtc-box"));
        command.args(arguments).current_dir(self.place.path()).env_clear().stdin(Stdio::null());
        command
    }

    /// The one line that the program says before it gives up.
    fn complaint(&self, arguments: &[&str]) -> String {
        complaint(self.command(arguments))
    }

    fn credential(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Value {
        let mut command = self.command(&["credentials"]);
        let output = command.args(arguments).envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn complaint(mut command: Command) -> String {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = finish(child);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{command:?} went well");
    assert!(output.stdout.is_empty(), "{command:?} wrote to stdout");
    assert_eq!(said.matches('\n').count(), 1, "{command:?} said {said:?}");
    said.trim_end().to_owned()
}

/// The end of a process that must end by itself and soon.
fn finish(mut child: Child) -> Output {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("still runs: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

fn assert_says(line: &str, words: &[&str]) {
    assert!(words.iter().all(|word| line.contains(word)), "{line:?} lacks one of {words:?}");
}

#[test]
fn every_bad_setting_is_one_line_that_names_it_and_its_cure() {
    let stage = Stage::new();
    let long = "x".repeat(65);
    let bad: &[(&[&str], &[&str])] = &[
        (
            &["--min-port", "60000", "--max-port", "50000"],
            &["min-port 60000 is above max-port 50000; swap them"],
        ),
        (&["--min-port", "0"], &["min-port", "from 1 to 65535"]),
        (&["--https-port", "70000"], &["https-port", "from 1 to 65535"]),
        (
            &["--https-port", "9000", "--http-port", "9000"],
            &["https-port and http-port", "9000", "another port"],
        ),
        (&["--https-port", "3478"], &["https-port and turn-port", "another port"]),
        (&["--turn-port", "1023"], &["turn-port 1023", "Chromium", "take another port"]),
        (&["--turns-port", "5349", "--https-port", "5349"], &["https-port and turns-port", "another port"]),
        (&["--https-port=0", "--http-port=0", "--turn-port=0"], &["turn-port", "give one of them a port"]),
        (&["--denied-peer-ip", "10.0.0.0/33"], &["denied-peer-ip", "10.0.0.0/33", "CIDR"]),
        (&["--allowed-peer-ip", "home"], &["allowed-peer-ip", "CIDR"]),
        (&["--trusted-proxy", "proxy:80"], &["trusted-proxy", "CIDR"]),
        (&["--proxy-protocol", "on"], &["proxy-protocol", "CIDR"]),
        (&["--external-ip", "1.2.3.4/::1"], &["external-ip", "both IPv4 or both IPv6"]),
        (&["--external-ip", "127.0.0.1"], &["external-ip", "loopback", "leave external-ip out"]),
        (&["--listen", "localhost"], &["listen", "bare"]),
        (&["--listen", "0.0.0.0", "--listen", "::"], &["listen 0.0.0.0", "covered", "leave one of them out"]),
        (&["--credential-ttl", "soon"], &["credential-ttl", "whole seconds"]),
        (&["--credential-ttl", "0"], &["credential-ttl", "one second or more"]),
        (&["--room-grace", "2000h"], &["room-grace", "shorter"]),
        (&["--allowed-origin", "a.example"], &["allowed-origin", "scheme://host"]),
        (&["--realm", ""], &["realm", "1 to 64 characters"]),
        (&["--realm", &long], &["realm", "1 to 64 characters"]),
        (&["--relay-scope", "world"], &["relay-scope", "room or public"]),
        (&["--user-quota", "-1"], &["user-quota", "whole number"]),
        (&["--source-connections", "0"], &["source-connections", "from 1 up"]),
        (&["--static-auth-secret", ""], &["static-auth-secret", "openssl rand"]),
        (&["--static-auth-secret-file", "nowhere"], &["static-auth-secret-file nowhere", "correct the path"]),
        (&["--host-key", " "], &["host-key", "openssl rand"]),
        (&["--public", "nowhere"], &["public nowhere", "correct the path"]),
        (&["--public", "."], &["public", "index.html", "name the folder"]),
        (&["--state-dir", "/proc/nowhere"], &["state-dir /proc/nowhere", "may write to"]),
        (&["--state-dir", ""], &["state-dir", "name a folder"]),
        (&["--metrics-listen", "9641"], &["metrics-listen", "127.0.0.1:9641", "nothing for off"]),
        (&["--metrics-listen", "127.0.0.1:0"], &["metrics-listen", "no address with a port"]),
        (&["--log", "inof"], &["log", "info"]),
        (&["--log-format", "xml"], &["log-format", "text or json"]),
        (&["--log-addresses=maybe"], &["log-addresses", "on or off"]),
        (&["--config", "nowhere.toml"], &["config nowhere.toml", "correct the path"]),
        (&["--min-prot", "1"], &["--min-prot", "--min-port"]),
        (&["credentials", "--ttl", "never"], &["ttl", "whole seconds"]),
    ];
    for (arguments, words) in bad {
        assert_says(&stage.complaint(arguments), words);
    }
}

#[test]
fn a_name_without_a_way_to_its_certificate_is_one_line_and_so_is_a_way_too_many() {
    let stage = Stage::new();
    let bad: &[(&[&str], &[&str])] = &[
        (&["--domain", "a.example"], &["domain a.example", "--cert", "--key", "--acme-email"]),
        (&["--acme-email", "a@b.example"], &["acme-email", "without domain", "--domain"]),
        (&["--domain", "a.example", "--acme-email", "me"], &["acme-email", "you@example.com"]),
        (
            &["--domain", "a.example", "--acme-email", "a@b.example", "--cert", "c", "--key", "k"],
            &["acme-email and cert with key", "keep"],
        ),
        (
            &["--domain", "a.example", "--acme-email", "a@b.example", "--https-port", "0"],
            &["acme-email needs https-port", "cert and key"],
        ),
        (&["--acme-directory", "http://a.example"], &["acme-directory", "https URL"]),
        (&["--domain", "a.example", "--cert", "c"], &["cert is set without key", "--key"]),
        (&["--key", "k"], &["key is set without cert", "--cert"]),
        (&["--cert", "c", "--key", "k"], &["without domain", "--domain"]),
        (&["--domain", "https://a.example"], &["domain", "URL", "the name alone"]),
        (&["--domain", "192.0.2.1"], &["domain", "address", "give a name"]),
        (&["--domain", "a.example:443"], &["domain", "https-port"]),
    ];
    for (arguments, words) in bad {
        assert_says(&stage.complaint(arguments), words);
    }
}

#[test]
fn a_bad_file_is_one_line_that_names_the_key_or_the_line() {
    let stage = Stage::new();
    let bad: &[(&str, &[&str])] = &[
        ("min-prot = 1", &["min-prot", "box.toml", "min-port"]),
        ("bell = ''", &["bell", "not a setting"]),
        ("[turn]\nport = 1", &["turn", "not a setting"]),
        ("realm = 'a'\nlog = ", &["box.toml", "line 2"]),
        ("log = 'info'\nlog = 'warn'", &["box.toml", "line 2"]),
        ("realm = 2.5", &["realm", "box.toml", "give one text"]),
        ("min-port = 70000", &["min-port", "from 1 to 65535"]),
        ("denied-peer-ip = ['10.0.0.0/8', 'x']", &["denied-peer-ip", "\"x\"", "CIDR"]),
        ("static-auth-secret-file = 'empty'", &["static-auth-secret-file is empty", "openssl rand"]),
        ("static-auth-secret = 'a'\nstatic-auth-secret-file = 'empty'", &["both set", "keep one"]),
        ("realm = \"a\\nb\"", &["realm", "1 to 64 characters"]),
    ];
    stage.file("empty", "\n \n");
    for (text, words) in bad {
        stage.file("box.toml", text);
        assert_says(&stage.complaint(&["--config", "box.toml"]), words);
    }
    fs::write(stage.place.path().join("box.toml"), [0xff, 0xfe]).unwrap();
    assert_says(&stage.complaint(&["--config", "box.toml"]), &["config box.toml", "UTF-8"]);
}

#[test]
fn a_bad_variable_is_one_line_that_names_it() {
    let stage = Stage::new();
    let said = |name: &str, value: &str| {
        let mut command = stage.command(&[]);
        command.env(name, value);
        complaint(command)
    };
    assert_says(&said("WEBRTC_BOX_MINPORT", "1"), &["WEBRTC_BOX_MINPORT", "WEBRTC_BOX_MIN_PORT"]);
    assert_says(&said("WEBRTC_BOX_MIN_PORT", "x"), &["min-port", "from 1 to 65535"]);
    assert_says(&said("WEBRTC_BOX_DENIED_PEER_IP", "10.0.0.0/8,y"), &["denied-peer-ip", "\"y\"", "CIDR"]);
    assert_says(&said("WEBRTC_BOX_CONFIG", "gone.toml"), &["config gone.toml", "correct the path"]);
}

#[test]
fn a_certificate_that_cannot_be_served_is_one_line_that_names_its_setting() {
    let stage = Stage::new();
    let production = ["--domain", "box.test", "--cert", "cert.pem", "--key", "key.pem"];
    let said = || stage.complaint(&production);
    assert_says(&said(), &["cert cert.pem", "correct the path"]);

    let pair = rcgen::generate_simple_self_signed(["box.test".to_owned()]).unwrap();
    stage.file("cert.pem", &pair.cert.pem());
    assert_says(&said(), &["key key.pem", "correct the path"]);
    stage.file("key.pem", "no key");
    assert_says(&said(), &["key key.pem", "privkey.pem"]);
    stage.file("key.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    assert_says(&said(), &["key key.pem", "does not belong to cert cert.pem"]);
}

#[test]
fn a_damaged_kept_key_is_one_line_that_names_the_state_directory() {
    let stage = Stage::new();
    stage.started("certs");
    stage.file("certs/room-tag-key", "damaged");
    assert_says(&stage.complaint(&[]), &["state-dir", "room-tag-key", "delete it"]);
}

#[test]
fn flags_win_over_variables_over_the_file_over_the_defaults() {
    let stage = Stage::new();
    stage.started("certs");
    let port = |arguments: &[&str], variables: &[(&str, &str)]| {
        stage.credential(arguments, variables)["urls"][0].as_str().unwrap().to_owned()
    };
    stage.file("box.toml", "turn-port = 5001");
    let (file, variable) = (("WEBRTC_BOX_CONFIG", "box.toml"), ("WEBRTC_BOX_TURN_PORT", "5002"));
    assert_eq!(port(&[], &[]), "turn:localhost:3478?transport=udp");
    assert_eq!(port(&[], &[file]), "turn:localhost:5001?transport=udp");
    assert_eq!(port(&[], &[file, variable]), "turn:localhost:5002?transport=udp");
    assert_eq!(port(&["--turn-port", "5003"], &[file, variable]), "turn:localhost:5003?transport=udp");
    assert_eq!(port(&["--config", "box.toml"], &[]), "turn:localhost:5001?transport=udp");
}

#[test]
fn a_printed_credential_is_the_configured_secrets() {
    let stage = Stage::new();
    let kept = stage.started("certs");
    stage.file("secrets", "north\nsouth\n");
    let printed = stage.credential(&["--static-auth-secret-file", "secrets", "--ttl", "5m"], &[]);
    assert_eq!(printed["ttl"], 300);
    let username = printed["username"].as_str().unwrap();
    let password = Secret::new("north").password(username);
    assert_eq!(printed["credential"], password);
    // Without a configured one it is the kept one.
    let printed = stage.credential(&[], &[]);
    assert_eq!(printed["credential"], kept.password(printed["username"].as_str().unwrap()));
}

#[test]
fn a_credential_printed_before_the_first_start_is_good_after_it() {
    let stage = Stage::new();
    let printed = stage.credential(&[], &[]);
    let kept = stage.started("certs");
    assert_eq!(printed["credential"], kept.password(printed["username"].as_str().unwrap()));
}

#[test]
fn systemd_says_where_state_is_kept() {
    let stage = Stage::new();
    let secrets = ["kept/here", "elsewhere"].map(|dir| stage.started(dir));
    let printed = [
        stage.credential(&[], &[("STATE_DIRECTORY", "kept/here:and/there")]),
        stage.credential(&["--state-dir", "elsewhere"], &[("STATE_DIRECTORY", "kept")]),
    ];
    for (secret, printed) in secrets.iter().zip(printed) {
        assert_eq!(printed["credential"], secret.password(printed["username"].as_str().unwrap()));
    }
}

#[test]
fn secrets_are_never_repeated_in_complaints() {
    let stage = Stage::new();
    let line = stage.complaint(&["--static-auth-secret", "hush-hush", "--min-port", "x"]);
    assert!(!line.contains("hush"), "{line}");
    stage.file("box.toml", "static-auth-secret = ['hush', 1.5]");
    let line = stage.complaint(&["--config", "box.toml"]);
    assert!(!line.contains("hush"), "{line}");
}

/// The lines of the example file that begin with `mark`, without it.
fn example(mark: &str) -> String {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/webrtc-box.toml")).unwrap();
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let is_key = |line: &&str| line.split_once(" = ").is_some_and(|(name, _)| is_name(name));
    text.lines()
        .filter_map(|line| line.strip_prefix(mark))
        .filter(is_key)
        .map(|line| format!("{line}\n"))
        .collect()
}

fn settings_of(file: &str, flags: Typed) -> Settings {
    let stage = Stage::new();
    stage.file("box.toml", file);
    let config = Some(stage.place.path().join("box.toml"));
    flags.over(gather(config, []).unwrap()).settings(&Surroundings::default()).unwrap()
}

fn production() -> Typed {
    let some = |text: &str| Some(text.to_owned());
    Typed { domain: some("a.example"), cert: some("cert.pem"), key: some("key.pem"), ..Typed::default() }
}

#[test]
fn the_example_file_says_the_defaults() {
    let defaults = example("#");
    assert_eq!(settings_of(&defaults, production()), settings_of("", production()));
    // In try-out mode two ports differ, and the file says so.
    let mut trying = settings_of(&defaults, Typed::default());
    (trying.https_port, trying.http_port, trying.turns_port) = (Some(8443), Some(8080), None);
    assert_eq!(trying, settings_of("", Typed::default()));
}

#[test]
fn the_example_file_has_every_key_once() {
    let lines = example("#") + &example("#e.g. ");
    let mut keys: Vec<_> = lines.lines().filter_map(|line| line.split(" = ").next()).collect();
    keys.sort_unstable();
    let mut names = Typed::names();
    names.sort_unstable();
    assert_eq!(keys, names);
}

#[test]
fn help_says_the_same_defaults_as_the_example_file() {
    let output = Stage::new().command(&["--help"]).output().unwrap();
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
