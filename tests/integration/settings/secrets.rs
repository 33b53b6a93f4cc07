//! Secrets: errors never repeat them, and files and variables with secrets are read as expected.

use std::fs;

use webrtc_box::config::{RawSettings, StateDirDefaults, gather};
use webrtc_box_turn::credential::Secret;

use super::{Fixture, assert_contains, startup_error};

/// Stands for a secret, of which no error may contain any part in any case.
const CANARY: &str = "Zq7wXk2v";

/// A private key as PEM that contains the canary.
fn canary_key() -> String {
    format!("-----BEGIN PRIVATE KEY-----\nMIG{CANARY}{}\n-----END PRIVATE KEY-----\n", "A".repeat(40))
}

fn assert_no_canary(text: &str, input: &str) {
    assert!(!text.to_ascii_lowercase().contains(&CANARY.to_ascii_lowercase()), "{input}: {text}");
    // Parser errors may print bytes as a list of numbers.
    let bytes = format!("{:?}", CANARY.as_bytes());
    assert!(!text.contains(bytes.trim_matches(['[', ']'])), "{input}: {text}");
}

#[test]
fn errors_never_repeat_a_secret_of_the_command_line() {
    let fixture = Fixture::new();
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
        &["--cluster-key", CANARY],
        &["--cluster-key-file", CANARY],
        &["--cluster", CANARY],
        &["--cluster", &format!("redis://user:{CANARY}@127.0.0.1"), "--node-name", "x"],
        &["--cluster", &format!("redis://user:{CANARY}")],
        &["--cluster", &format!("http://user:{CANARY}@127.0.0.1")],
        &["--cluster", "redis://127.0.0.1", CANARY],
    ] {
        assert_no_canary(&fixture.startup_error(words), &words.join(" "));
    }
}

#[test]
fn errors_never_repeat_a_secret_of_a_variable() {
    let fixture = Fixture::new();
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
        let mut command = fixture.command(&["--domain", "box.test"]);
        command.env("WEBRTC_BOX_CERT", "c.pem").env("WEBRTC_BOX_KEY", "k.pem");
        command.env(format!("WEBRTC_BOX_{name}"), value);
        let line = startup_error(command);
        assert_no_canary(&line, name);
        let setting = name.to_ascii_lowercase().replace('_', "-");
        assert_contains(&line, &[&setting, "holds the contents of a file", "name that file"]);
    }
}

#[test]
fn errors_never_repeat_a_secret_of_the_settings_file() {
    let fixture = Fixture::new();
    for text in [
        format!("static-auth-secret = ['{CANARY}', 1.5]"),
        format!("static-auth-secret = {CANARY}"),
        format!("host-key = \"{CANARY}"),
        format!("host-key = '{CANARY}' {CANARY}"),
        format!("host-key = '{CANARY}'\nhost-key = '{CANARY}'"),
        format!("host-key = \"\\{CANARY}\""),
        format!("host-key.{CANARY} = 1"),
        format!("[host-key]\n{CANARY} = 1"),
        // A file of secrets in the place of the settings file.
        CANARY.to_owned(),
        format!("{CANARY}=="),
        format!("{CANARY} = 1"),
        format!("[{CANARY}]"),
        canary_key(),
    ] {
        fixture.write_file("box.toml", &text);
        assert_no_canary(&fixture.startup_error(&["--config", "box.toml"]), &text);
        let output = fixture.command(&["check", "--json", "--config", "box.toml"]).output().unwrap();
        assert_no_canary(&format!("{output:?}"), &text);
    }
}

#[test]
fn errors_never_repeat_any_part_of_a_private_key() {
    let fixture = Fixture::new();
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
            fixture.write_file("cert.pem", &cert);
            fixture.write_file("key.pem", &key);
            let files = ["--domain", "box.test", "--cert", "cert.pem", "--key", "key.pem"];
            let line = fixture.startup_error(&files);
            assert_no_canary(&line, words);
            if cert != key {
                assert_contains(&line, &["key key.pem", words]);
            }
            let output = fixture.command(&["check"]).args(files).output().unwrap();
            assert_no_canary(&format!("{output:?}"), words);
        }
    }
}

#[test]
fn errors_never_repeat_state_file_contents() {
    let fixture = Fixture::new();
    for file in ["turn-secret", "room-tag-key", "resume-token-key"] {
        fixture.create_state("certs");
        fixture.write_file(&format!("certs/{file}"), CANARY);
        let line = fixture.startup_error(&[]);
        assert_no_canary(&line, file);
        assert_contains(&line, &[file, "is damaged"]);
        fs::remove_dir_all(fixture.folder.path().join("certs")).unwrap();
    }
}

#[test]
fn secret_files_of_any_editor_are_read() {
    let fixture = Fixture::new();
    let path = |name: &str| Some(fixture.folder.path().join(name).to_str().unwrap().to_owned());
    for text in [
        "north-key\nsouth-key\n",
        "\u{feff}north-key\r\nsouth-key",
        " north-key\r\r south-key \n\n",
        "north-key\n\u{feff}south-key\n",
    ] {
        fixture.write_file("keys", text);
        let raw = RawSettings {
            host_key_file: path("keys"),
            static_auth_secret_file: path("keys"),
            ..RawSettings::default()
        };
        let settings = raw.validate(&StateDirDefaults::default()).unwrap();
        let expected = [Secret::new("north-key"), Secret::new("south-key")];
        assert_eq!(settings.host_key, expected, "{text:?}");
        assert_eq!(settings.static_auth_secret, expected, "{text:?}");
    }
    fixture.write_file("keys", "# comment\nnorth-key\n");
    let raw = RawSettings { host_key_file: path("keys"), ..RawSettings::default() };
    assert_eq!(raw.validate(&StateDirDefaults::default()).unwrap().host_key, [Secret::new("north-key")]);
    fixture.write_file("keys", "# comment\n");
    assert_contains(&fixture.startup_error(&["--host-key-file", "keys"]), &["host-key-file", "openssl rand"]);
    let both = ["--host-key-file", "keys", "--host-key", "north-key"];
    assert_contains(&fixture.startup_error(&both), &["host-key and host-key-file are both set"]);
    let raw = RawSettings { host_key: Some(vec!["\u{feff}north-key\r".into()]), ..RawSettings::default() };
    assert_eq!(raw.validate(&StateDirDefaults::default()).unwrap().host_key, [Secret::new("north-key")]);
}

#[test]
fn empty_variable_does_not_disable_protection() {
    let fixture = Fixture::new();
    fixture.write_file(
        "box.toml",
        "host-key = 'north-north'\ndenied-peer-ip = '10.0.0.0/8'\nstatic-auth-secret = 'south'\n",
    );
    let read = |variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let raw = gather(Some(fixture.folder.path().join("box.toml")), variables).unwrap();
        raw.validate(&StateDirDefaults::default()).unwrap()
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
    let output = Fixture::new().command(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for flag in ["static-auth-secret", "host-key", "cluster-key"] {
        let about = words.split(&format!("--{flag} <")).nth(1).unwrap();
        let about = &about[..about.find("(default").unwrap()];
        assert!(about.contains("list of processes") && about.contains(&format!("{flag}-file")), "{about}");
    }
}
