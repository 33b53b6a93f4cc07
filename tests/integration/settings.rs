//! The program itself, started with settings good and bad: what it says, how fast, and which of
//! several sources wins.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use webrtc_box::config::{RawSettings, Settings, StateDirDefaults, gather};
use webrtc_box::store::State;
use webrtc_box_turn::credential::Secret;

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
fn bad_setting_is_one_line_with_its_name_and_a_hint() {
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
        (&["--static-auth-secret-file", "nowhere"], &["static-auth-secret-file: ", "correct the path"]),
        (&["--host-key", " "], &["host-key", "openssl rand"]),
        (&["--host-key", "1234567"], &["host-key", "8 characters"]),
        (&["--host-key", "long enough", "--host-key", "кухня"], &["host-key", "8 characters"]),
        (&["--public", "nowhere"], &["public nowhere", "correct the path"]),
        (&["--public", "."], &["public", "index.html", "name the folder"]),
        (&["--state-dir", "/proc/nowhere"], &["state-dir /proc/nowhere", "may write to"]),
        (&["--state-dir", ""], &["state-dir", "name a folder"]),
        (&["--metrics-listen", "9641"], &["metrics-listen", "127.0.0.1:9641", "or off"]),
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
fn domain_needs_exactly_one_certificate_source() {
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
fn bad_settings_file_is_one_line_with_key_or_line_number() {
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
fn bad_variable_is_one_line_with_its_name() {
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
fn unusable_certificate_is_one_line_with_its_setting() {
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
fn damaged_key_file_is_one_line_with_the_state_directory() {
    let stage = Stage::new();
    stage.started("certs");
    stage.file("certs/room-tag-key", "damaged");
    assert_says(&stage.complaint(&[]), &["state-dir", "room-tag-key", "delete it"]);
}

#[test]
fn flags_override_variables_override_file_override_defaults() {
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
fn printed_credential_uses_the_configured_secret() {
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
fn credential_printed_before_the_first_start_stays_valid() {
    let stage = Stage::new();
    let printed = stage.credential(&[], &[]);
    let kept = stage.started("certs");
    assert_eq!(printed["credential"], kept.password(printed["username"].as_str().unwrap()));
}

#[test]
fn systemd_sets_the_state_directory() {
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

/// Stands for a secret; no part of it is to be repeated, whatever the case.
const CANARY: &str = "Zq7wXk2v";

/// A private key with the canary in it, as PEM.
fn canary_key() -> String {
    format!("-----BEGIN PRIVATE KEY-----\nMIG{CANARY}{}\n-----END PRIVATE KEY-----\n", "A".repeat(40))
}

fn assert_silent(said: &str, about: &str) {
    assert!(!said.to_ascii_lowercase().contains(&CANARY.to_ascii_lowercase()), "{about}: {said}");
    // Errors of parsers show bytes as a list of numbers.
    let bytes = format!("{:?}", CANARY.as_bytes());
    assert!(!said.contains(bytes.trim_matches(['[', ']'])), "{about}: {said}");
}

#[test]
fn errors_never_repeat_a_secret_of_the_command_line() {
    let stage = Stage::new();
    let (dashed, long, pem) = (format!("-{CANARY}"), format!("--{CANARY}"), canary_key());
    let lower = format!("--{}", CANARY.to_ascii_lowercase());
    let assigned = format!("--host-ky={CANARY}");
    for words in [
        &["--static-auth-secret", CANARY, "--min-port", "x"][..],
        &["--host-key", "my", CANARY],
        &["--host-key", &dashed],
        &["--host-key", &long],
        &["--static-auth-secret", &lower],
        &["check", "--host-key", "my", CANARY],
        &["--key", &pem],
        &["--key", &pem.replace('\n', " ")],
        &[&assigned],
        &[CANARY],
        &["--config", &pem],
        &["--static-auth-secret-file", &pem],
        &["--host-key-file", &format!("{CANARY}\nsecond")],
        &["--host-key-file", CANARY],
        &["--static-auth-secret-file", CANARY],
    ] {
        assert_silent(&stage.complaint(words), &words.join(" "));
    }
}

#[test]
fn errors_never_repeat_a_secret_of_a_variable() {
    let stage = Stage::new();
    for (name, value) in [
        ("KEY", canary_key()),
        ("CERT", canary_key().replace('\n', "\\n")),
        ("CONFIG", canary_key()),
        ("HOST_KEY_FILE", format!("{CANARY}\n")),
        ("STATE_DIR", canary_key()),
        ("PUBLIC", canary_key()),
        ("KEY", format!("LS0tLS1CRUdJTi{CANARY}{}", "A".repeat(40))),
        ("CERT", format!("MIIC{CANARY}{}", "A".repeat(40))),
        ("KEY", format!("MHcC{CANARY}/{}", "A".repeat(40))),
        ("KEY", format!("./{CANARY}{}", "A".repeat(256))),
        ("STATIC_AUTH_SECRET_FILE", format!("{CANARY}{}", "A".repeat(256))),
    ] {
        let mut command = stage.command(&["--domain", "box.test"]);
        command.env("WEBRTC_BOX_CERT", "c.pem").env("WEBRTC_BOX_KEY", "k.pem");
        command.env(format!("WEBRTC_BOX_{name}"), value);
        let line = complaint(command);
        assert_silent(&line, name);
        let setting = name.to_ascii_lowercase().replace('_', "-");
        assert_says(&line, &[&setting, "holds the contents of a file", "name that file"]);
    }
}

#[test]
fn errors_never_repeat_a_secret_of_the_settings_file() {
    let stage = Stage::new();
    for text in [
        format!("static-auth-secret = ['{CANARY}', 1.5]"),
        format!("static-auth-secret = {CANARY}"),
        format!("host-key = \"{CANARY}"),
        format!("host-key = '{CANARY}' {CANARY}"),
        format!("host-key = '{CANARY}'\nhost-key = '{CANARY}'"),
        format!("host-key = \"\\{CANARY}\""),
        format!("host-key.{CANARY} = 1"),
        format!("[host-key]\n{CANARY} = 1"),
        // Another file of secrets in its place.
        CANARY.to_owned(),
        format!("{CANARY}=="),
        format!("{CANARY} = 1"),
        format!("[{CANARY}]"),
        canary_key(),
    ] {
        stage.file("box.toml", &text);
        assert_silent(&stage.complaint(&["--config", "box.toml"]), &text);
        let output = stage.command(&["check", "--json", "--config", "box.toml"]).output().unwrap();
        assert_silent(&format!("{output:?}"), &text);
    }
}

#[test]
fn errors_never_repeat_any_part_of_a_private_key() {
    let stage = Stage::new();
    let pair = rcgen::generate_simple_self_signed(["box.test".to_owned()]).unwrap();
    let key = canary_key();
    for (text, words) in [
        (key.replace('\n', ""), "its line breaks are lost"),
        (key.replace('\n', "\\n"), "its line breaks are lost"),
        (key.replace("\n-----END", "-----END"), "its line breaks are lost"),
        (format!("KEY={key}"), "its line breaks are lost"),
        (key.split("-----END").next().unwrap().to_owned(), "its END line is missing"),
        (key.replace("MIG", "M*G"), "not base64"),
        (key.clone(), "is damaged"),
        (key.replace("PRIVATE KEY", CANARY), "holds no PEM private key"),
    ] {
        for (cert, key) in [(pair.cert.pem(), text.clone()), (text.clone(), text)] {
            stage.file("cert.pem", &cert);
            stage.file("key.pem", &key);
            let files = ["--domain", "box.test", "--cert", "cert.pem", "--key", "key.pem"];
            let line = stage.complaint(&files);
            assert_silent(&line, words);
            if cert != key {
                assert_says(&line, &["key key.pem", words]);
            }
            let output = stage.command(&["check"]).args(files).output().unwrap();
            assert_silent(&format!("{output:?}"), words);
        }
    }
}

#[test]
fn errors_never_repeat_state_file_contents() {
    let stage = Stage::new();
    for file in ["turn-secret", "room-tag-key", "resume-token-key"] {
        stage.started("certs");
        stage.file(&format!("certs/{file}"), CANARY);
        let line = stage.complaint(&[]);
        assert_silent(&line, file);
        assert_says(&line, &[file, "is damaged"]);
        fs::remove_dir_all(stage.place.path().join("certs")).unwrap();
    }
}

#[test]
fn secret_files_of_any_editor_are_read() {
    let stage = Stage::new();
    let path = |name: &str| Some(stage.place.path().join(name).to_str().unwrap().to_owned());
    for text in [
        "north-key\nsouth-key\n",
        "\u{feff}north-key\r\nsouth-key",
        " north-key\r\r south-key \n\n",
        "north-key\n\u{feff}south-key\n",
    ] {
        stage.file("keys", text);
        let typed = RawSettings {
            host_key_file: path("keys"),
            static_auth_secret_file: path("keys"),
            ..RawSettings::default()
        };
        let settings = typed.validate(&StateDirDefaults::default()).unwrap();
        let wanted = [Secret::new("north-key"), Secret::new("south-key")];
        assert_eq!(settings.host_key, wanted, "{text:?}");
        assert_eq!(settings.static_auth_secret, wanted, "{text:?}");
    }
    stage.file("keys", "# of the front desk\nnorth-key\n");
    let typed = RawSettings { host_key_file: path("keys"), ..RawSettings::default() };
    assert_eq!(typed.validate(&StateDirDefaults::default()).unwrap().host_key, [Secret::new("north-key")]);
    stage.file("keys", "# nobody\n");
    assert_says(&stage.complaint(&["--host-key-file", "keys"]), &["host-key-file", "openssl rand"]);
    let both = ["--host-key-file", "keys", "--host-key", "north-key"];
    assert_says(&stage.complaint(&both), &["host-key and host-key-file are both set"]);
    let typed = RawSettings { host_key: Some(vec!["\u{feff}north-key\r".into()]), ..RawSettings::default() };
    assert_eq!(typed.validate(&StateDirDefaults::default()).unwrap().host_key, [Secret::new("north-key")]);
}

#[test]
fn empty_variable_does_not_disable_protection() {
    let stage = Stage::new();
    stage.file(
        "box.toml",
        "host-key = 'north-north'\ndenied-peer-ip = '10.0.0.0/8'\nstatic-auth-secret = 'south'\n",
    );
    let read = |variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let typed = gather(Some(stage.place.path().join("box.toml")), variables).unwrap();
        typed.validate(&StateDirDefaults::default()).unwrap()
    };
    let settings = read(&[
        ("WEBRTC_BOX_HOST_KEY", ""),
        ("WEBRTC_BOX_HOST_KEY_FILE", ""),
        ("WEBRTC_BOX_DENIED_PEER_IP", " "),
        ("WEBRTC_BOX_STATIC_AUTH_SECRET", ","),
        ("WEBRTC_BOX_METRICS_LISTEN", ""),
    ]);
    assert_eq!(settings, read(&[]));
    assert_eq!((settings.host_key.len(), settings.denied_peer_ip.len()), (1, 1));
    assert_eq!(read(&[("WEBRTC_BOX_METRICS_LISTEN", "off")]).metrics_listen, None);
}

#[test]
fn flags_with_secrets_warn_and_name_the_file_setting() {
    let output = Stage::new().command(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for flag in ["static-auth-secret", "host-key"] {
        let about = words.split(&format!("--{flag} <")).nth(1).unwrap();
        let about = &about[..about.find("(default").unwrap()];
        assert!(about.contains("list of processes") && about.contains(&format!("{flag}-file")), "{about}");
    }
}

#[test]
fn server_starts_next_to_service_links_of_its_name() {
    let stage = Stage::new();
    let settings = stage.credential(
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
    let mut mistyped = stage.command(&[]);
    mistyped.env("WEBRTC_BOX_TURN_PRT", "3478");
    assert_says(&complaint(mistyped), &["WEBRTC_BOX_TURN_PRT", "WEBRTC_BOX_TURN_PORT"]);
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

fn settings_of(file: &str, flags: RawSettings) -> Settings {
    let stage = Stage::new();
    stage.file("box.toml", file);
    let config = Some(stage.place.path().join("box.toml"));
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
    // In try-out mode two ports differ, and the file says so.
    let mut trying = settings_of(&defaults, RawSettings::default());
    (trying.https_port, trying.http_port, trying.turns_port) = (Some(8443), Some(8080), None);
    assert_eq!(trying, settings_of("", RawSettings::default()));
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
