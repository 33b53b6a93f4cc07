//! Scenarios of `webrtc-box setup`: answers, and the file that is written.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::doctor::Subject;
use crate::net::addresses::url_host;

/// A folder for the settings file, with a certificate chain and key that are only opened.
struct Fixture {
    folder: tempfile::TempDir,
}

/// What came of it: the text at the end, what the dialog showed, and the written settings.
struct Outcome {
    result: Result<String, SetupError>,
    shown: String,
    checked: Vec<HostCheck>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("chain.pem"), "").unwrap();
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("etc/box.toml")
    }

    fn chain(&self) -> String {
        self.folder.path().join("chain.pem").display().to_string()
    }

    /// `answers` one a line; `None` asks nothing.
    fn run(&self, settings: RawSettings, answers: Option<&str>, force: bool) -> Outcome {
        let setup = Setup { settings, file: self.file(), force };
        let (mut input, mut output) = (answers.unwrap_or_default().as_bytes(), Vec::new());
        let checked = RefCell::new(Vec::new());
        let check = async |what: HostCheck, settings: &Settings| {
            checked.borrow_mut().push(what);
            vec![Subject::Addresses.warn(format!("{what:?} of {:?}", settings.domain()), "look")]
        };
        let dialog = answers.map(|_| Dialog::new(&mut input, &mut output));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(setup.run(dialog, check));
        Outcome { result, shown: String::from_utf8(output).unwrap(), checked: checked.into_inner() }
    }

    fn written(&self) -> RawSettings {
        gather(Some(self.file()), []).unwrap()
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn five_answers_make_a_valid_file_that_explains_every_setting() {
    let fixture = Fixture::new();
    let outcome = fixture.run(
        RawSettings::default(),
        Some("Call.Example.com\n\nme@example.com\n203.0.113.7\ny\n"),
        false,
    );
    let text = outcome.result.unwrap();
    let written = fixture.written();
    let key = written.host_key.clone().unwrap().remove(0);
    assert!(key.len() >= 16 && text.contains(&key), "{text}");
    let expected = RawSettings {
        domain: some("Call.Example.com"),
        acme_email: some("me@example.com"),
        external_ip: Some(vec!["203.0.113.7".to_owned()]),
        host_key: Some(vec![key]),
        ..RawSettings::default()
    };
    assert!(written == expected);
    assert!(text.contains("Then open https://call.example.com/"), "{text}");
    assert!(text.contains(&format!("webrtc-box check --config {}", fixture.file().display())), "{text}");
    let lines = fs::read_to_string(fixture.file()).unwrap();
    assert_eq!(lines.lines().count(), include_str!("../../config/webrtc-box.toml").lines().count());
    assert!(lines.contains("# PEM chain (leaf first)"));
    assert_eq!(fs::metadata(fixture.file()).unwrap().permissions().mode() & 0o137, 0);
    assert_eq!(outcome.checked, [HostCheck::Addresses, HostCheck::Ports]);
    assert!(outcome.shown.contains("warn") && outcome.shown.contains("; look"), "{}", outcome.shown);
}

#[test]
fn an_invalid_answer_is_asked_again_with_the_reason() {
    let fixture = Fixture::new();
    let answers = "https://a.example\na.example\n99999\n8443\nnobody\n\nme@a.example\nhere\nnone\nmaybe\nn\n";
    let outcome = fixture.run(RawSettings::default(), Some(answers), false);
    for reason in ["a URL", "https-port", "cert nobody", "no address", "Answer y or n"] {
        assert!(outcome.shown.contains(reason), "{reason}: {}", outcome.shown);
    }
    assert!(outcome.result.unwrap().contains("https://a.example:8443/"));
    assert_eq!(fixture.written().https_port, some("8443"));
}

#[test]
fn a_server_behind_a_proxy_trusts_it_and_has_a_certificate_of_its_own() {
    let fixture = Fixture::new();
    let answers = format!("a.example\n0\nme@a.example\n{}\n/no/key\n\n\n", fixture.chain());
    let outcome = fixture.run(RawSettings::default(), Some(&answers), false);
    assert!(outcome.shown.contains("acme-email needs https-port"), "{}", outcome.shown);
    outcome.result.unwrap();
    let written = fixture.written();
    assert_eq!((written.https_port, written.http_port), (some("0"), some("8080")));
    assert_eq!((written.cert, written.key), (Some(fixture.chain()), some("/no/key")));
    assert_eq!(written.trusted_proxy.unwrap().len(), 2);
    assert_eq!(outcome.checked, [HostCheck::Addresses, HostCheck::Ports, HostCheck::Certificate]);
}

#[test]
fn flags_are_not_asked_for_and_may_be_any_setting() {
    let fixture = Fixture::new();
    let given = RawSettings {
        domain: some("[2001:db8::5]"),
        acme_email: some("me@a.example"),
        static_auth_secret: Some(vec!["quote \" backslash \\ tab \t end".to_owned()]),
        listen: Some(vec!["127.0.0.1".to_owned(), "::1".to_owned()]),
        max_bps: some("1000"),
        log_addresses: some("on"),
        ..RawSettings::default()
    };
    let text = fixture.run(given.clone(), None, false).result.unwrap();
    assert!(fixture.written() == given);
    assert!(text.contains(&format!("https://{}/", url_host("2001:db8::5"))), "{text}");
}

#[test]
fn without_a_domain_the_file_is_one_of_try_out_mode() {
    let fixture = Fixture::new();
    fixture.run(RawSettings::default(), Some("\n\n\n"), false).result.unwrap();
    assert!(fixture.written() == RawSettings::default());
    // It sets nothing, as the file of the package: it may be replaced.
    let given = RawSettings { realm: some("r"), ..RawSettings::default() };
    fixture.run(given, None, false).result.unwrap();
    assert_eq!(fixture.written().realm, some("r"));
}

#[test]
fn a_file_with_settings_is_replaced_only_on_request_and_kept() {
    let fixture = Fixture::new();
    let given = |realm| RawSettings { realm: some(realm), ..RawSettings::default() };
    fixture.run(given("first"), None, false).result.unwrap();
    let refused = fixture.run(given("second"), None, false).result.unwrap_err();
    assert!(refused.with_hint().contains("exists; add --force"), "{refused}");
    let declined = fixture.run(given("second"), Some("\n"), false).result.unwrap_err();
    assert!(matches!(declined, SetupError::Declined));
    assert_eq!(fixture.written().realm, some("first"));
    let text = fixture.run(given("second"), Some("y\n\n\n\n"), false).result.unwrap();
    assert!(text.contains("The previous ones are in"), "{text}");
    assert_eq!(fixture.written().realm, some("second"));
    fixture.run(given("third"), None, true).result.unwrap();
    let old = gather(Some(format!("{}.old", fixture.file().display()).into()), []).unwrap();
    assert_eq!((fixture.written().realm, old.realm), (some("third"), some("second")));
}

#[test]
fn an_interrupted_or_failed_setup_changes_nothing() {
    let fixture = Fixture::new();
    let outcome = fixture.run(RawSettings::default(), Some("a.example\n"), false);
    assert!(matches!(outcome.result, Err(SetupError::Ended)));
    assert!(!fixture.file().exists());
    let wrong = RawSettings { domain: some("a.example"), ..RawSettings::default() };
    let error = fixture.run(wrong, None, false).result.unwrap_err();
    assert!(error.with_hint().contains("--acme-email"), "{error}");
    assert!(!fixture.file().exists());
    // A folder in its place cannot be replaced, and no draft is left.
    fs::create_dir_all(fixture.file()).unwrap();
    assert!(fixture.run(RawSettings::default(), None, true).result.is_err());
    assert_eq!(fs::read_dir(fixture.file().parent().unwrap()).unwrap().count(), 1);
}
