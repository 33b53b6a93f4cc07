//! The command line: which deed was asked for, with settings already checked.

mod usage;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use serde::Serialize;
use unicode_normalization::UnicodeNormalization as _;

use crate::config::{
    DEFAULT_FILE, Settings, SettingsError, Surroundings, Typed, gather, seconds, set_variables,
};
use crate::doctor::Subject;
use crate::error::StartError;
use crate::principals::isolation_group;
use crate::store::State;
use webrtc_box_turn::credential::{Credential, Principal};
use webrtc_box_turn::principal::PrincipalId;

/// What the process is to do.
#[derive(Debug)]
pub enum Deed {
    /// Serve.
    Run(Settings),
    /// Print one credential.
    Credentials(Settings, Request),
    /// Look at the settings, the host and the running box.
    Check(Inquiry),
}

/// What to check, and how to say what was found.
#[derive(Debug)]
pub struct Inquiry {
    /// The box, or why the settings make none.
    pub subject: Result<Subject, SettingsError>,
    /// A server to ask where it sees this host, as `HOST:PORT`.
    pub stun: Option<String>,
    /// One JSON object instead of lines.
    pub json: bool,
}

/// Which credential to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The room's name, in NFC.
    pub room: String,
    /// How long it opens allocations.
    pub ttl: Duration,
}

/// Why a command line leads to no deed.
#[derive(Debug)]
pub enum NoDeed {
    /// `--help` or `--version`: the text to print.
    Text(String),
    /// Flags that make no sense; one line.
    Usage(String),
    /// Settings that make no sense.
    Settings(SettingsError),
}

/// One credential and what it is good for, as `webrtc-box credentials` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Minted {
    /// TURN URLs of this box.
    pub urls: Vec<String>,
    /// Username and password.
    #[serde(flatten)]
    pub credential: Credential,
    /// Seconds it opens allocations.
    pub ttl: u64,
}

/// `StateDirectory=` of the systemd unit.
const SERVICE_STATE: &str = "/var/lib/webrtc-box";

/// Where STUN is asked unless something else is said (RFC 8489 §8).
const STUN_PORT: u16 = 3478;

const AFTER_HELP: &str = "\
Every setting has one name in three spellings: the flag --min-port, the key min-port in the TOML
file, the variable WEBRTC_BOX_MIN_PORT. Flags win over variables, variables over the file.
A repeatable setting is a repeated flag, a TOML list, or a variable with commas.";

/// A video call for two in one process: page, signaling and its own STUN/TURN relay.
#[derive(Parser)]
#[command(name = "webrtc-box", version, after_help = AFTER_HELP)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
    /// The settings' file (default /etc/webrtc-box/webrtc-box.toml if it exists)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    typed: Typed,
}

#[derive(Subcommand)]
enum Command {
    /// Print one TURN credential as JSON, for trying other clients
    Credentials(CredentialsLine),
    /// Test the settings, the host and the running box, and say how to mend what is wrong
    ///
    /// Ends with 0 where all is well, 1 where something is to be minded, 2 where something fails (or a
    /// flag makes no sense). With --domain NAME alone it looks at that box as this machine sees it.
    Check(CheckLine),
}

#[derive(Args)]
struct CheckLine {
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// STUN server to ask where it sees this host (default: nobody is asked)
    #[arg(long, value_name = "HOST:PORT")]
    stun: Option<String>,
}

#[derive(Args)]
struct CredentialsLine {
    /// The room whose relayed addresses it reaches
    #[arg(long, default_value = "test")]
    room: String,
    /// How long it opens allocations (default credential-ttl)
    #[arg(long, value_name = "TIME")]
    ttl: Option<String>,
}

/// Reads a command line (program name first) and an environment.
///
/// # Errors
/// Help was asked for, or something typed makes no sense.
pub fn parse(
    line: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Deed, NoDeed> {
    let (line, environment): (Vec<_>, Vec<_>) =
        (line.into_iter().collect(), environment.into_iter().collect());
    let has_secrets = usage::has_secrets(&line);
    let line = read(line).map_err(|error| usage::no_deed(&error, has_secrets))?;
    let surroundings = surroundings(&environment, line.command.is_some());
    let below = gather(line.config, environment);
    match line.command {
        None => Ok(Deed::Run(line.typed.over(below?).settings(&surroundings)?)),
        Some(Command::Credentials(request_line)) => {
            let settings = line.typed.over(below?).settings(&surroundings)?;
            let request = request(request_line, &settings)?;
            Ok(Deed::Credentials(settings, request))
        }
        Some(Command::Check(check)) => {
            let below = if line.typed.only_name_a_box() { below.or_else(nothing_of_ours) } else { below };
            let subject = below.and_then(|below| subject(line.typed, below, &surroundings));
            Ok(Deed::Check(Inquiry { subject, stun: check.stun.map(with_port), json: check.json }))
        }
    }
}

/// The settings of a command line and an environment, as they are now: its file may say something
/// else than when it was read before.
///
/// # Errors
/// Something typed makes no sense.
pub fn settings(
    line: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Settings, NoDeed> {
    match parse(line, environment)? {
        Deed::Run(settings) | Deed::Credentials(settings, _) => Ok(settings),
        Deed::Check(inquiry) => match inquiry.subject? {
            Subject::Here(settings) | Subject::Elsewhere { settings, .. } => Ok(*settings),
        },
    }
}

/// Whether any of it is read from files, which may say something else at another time.
pub fn reads_files(
    line: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> bool {
    let by_flag = read(line).is_ok_and(|line| {
        let typed = line.typed;
        line.config.is_some() || typed.static_auth_secret_file.is_some() || typed.host_key_file.is_some()
    });
    let names = ["CONFIG", "STATIC_AUTH_SECRET_FILE", "HOST_KEY_FILE"];
    by_flag
        || set_variables(environment).any(|(name, _)| names.contains(&name.as_str()))
        || Path::new(DEFAULT_FILE).exists()
}

/// Settings that this user may not read are another's, and no matter where a box is named by flags.
fn nothing_of_ours(fault: SettingsError) -> Result<Typed, SettingsError> {
    if let SettingsError::Unreadable { path, source, .. } = &fault
        && path == Path::new(DEFAULT_FILE)
        && source.kind() == io::ErrorKind::PermissionDenied
    {
        return Ok(Typed::default());
    }
    Err(fault)
}

/// `below` is what the environment and the file of this host say, which may be of another box.
fn subject(flags: Typed, below: Typed, surroundings: &Surroundings) -> Result<Subject, SettingsError> {
    let typed = if flags.name_another_box(&below) { flags } else { flags.over(below) };
    if typed.only_name_a_box() {
        let (name, settings) = typed.named_box(surroundings)?;
        return Ok(Subject::Elsewhere { name, settings: Box::new(settings) });
    }
    Ok(Subject::Here(Box::new(typed.settings(surroundings)?)))
}

/// A STUN server without a port has the usual one.
fn with_port(server: String) -> String {
    let has_port =
        server.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
    if has_port { server } else { format!("{server}:{STUN_PORT}") }
}

/// A setting may stand before or after the subcommand. A value may be negative: the complaint about
/// that is better made where the setting is known.
fn read(line: impl IntoIterator<Item = OsString>) -> Result<Line, clap::Error> {
    let command = Line::command().mut_args(|arg| arg.global(true).allow_negative_numbers(true));
    Line::from_arg_matches(&command.try_get_matches_from(line)?)
}

/// `beside`: this is a tool, and the box it is about may run as the service.
fn surroundings(environment: &[(OsString, OsString)], beside: bool) -> Surroundings {
    let state_directory = environment.iter().find(|(name, _)| name == "STATE_DIRECTORY");
    let service_state = beside && Path::new(SERVICE_STATE).is_dir();
    Surroundings {
        state_directory: state_directory.and_then(|(_, value)| value.to_str().map(str::to_owned)),
        service_state: service_state.then(|| SERVICE_STATE.to_owned()),
    }
}

fn request(line: CredentialsLine, settings: &Settings) -> Result<Request, SettingsError> {
    let ttl = match &line.ttl {
        Some(text) => seconds("ttl", text, 1..=365 * 24 * 3600)?,
        None => settings.credential_ttl,
    };
    Ok(Request { room: line.room.nfc().collect(), ttl })
}

/// Mints what `request` asks for, under the kept keys of the state directory.
///
/// # Errors
/// The state directory cannot be used, or there is no randomness.
pub fn mint(settings: &Settings, request: &Request, now: SystemTime) -> Result<Minted, StartError> {
    let kept = State::keys_of(&settings.state_dir)?;
    let mut seat = [0; 16];
    getrandom::fill(&mut seat).map_err(|error| StartError::System {
        deed: "make a random name",
        source: io::Error::other(error),
    })?;
    let holder = Principal::Tool(isolation_group(kept.tag_key.tag(&request.room)), PrincipalId::new(seat));
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let secrets = kept.secrets(&settings.static_auth_secret);
    Ok(Minted {
        urls: settings.ice_urls().turn_urls("localhost"),
        credential: secrets.mint(&holder, (now + request.ttl).as_secs()),
        ttl: request.ttl.as_secs(),
    })
}

impl From<SettingsError> for NoDeed {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl fmt::Display for NoDeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Usage(text) => f.write_str(text),
            Self::Settings(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NoDeed {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Identity;
    use webrtc_box_turn::credential::Username;

    fn line(words: &[&str]) -> Result<Deed, NoDeed> {
        parse(std::iter::once("webrtc-box").chain(words.iter().copied()).map(OsString::from), [])
    }

    fn usage(words: &[&str]) -> String {
        match line(words) {
            Err(NoDeed::Usage(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_words_at_all_is_the_try_out_mode() {
        let Ok(Deed::Run(settings)) = line(&[]) else { panic!("no run") };
        assert_eq!(settings.identity, Identity::TryOut);
        assert_eq!(settings.https_port, Some(8443));
        assert_eq!(settings.state_dir, PathBuf::from("certs"));
    }

    #[test]
    fn settings_may_stand_on_either_side_of_the_subcommand() {
        for words in [["--turn-port", "5000", "credentials"], ["credentials", "--turn-port", "5000"]] {
            let Ok(Deed::Credentials(settings, request)) = line(&words) else { panic!("{words:?}") };
            assert_eq!(settings.turn_port, Some(5000));
            assert_eq!(request, Request { room: "test".to_owned(), ttl: Duration::from_secs(3600) });
        }
    }

    #[test]
    fn what_this_user_may_not_read_here_is_no_matter_where_the_box_is_named_by_flags() {
        let fault = |path: &str, kind: io::ErrorKind| SettingsError::Unreadable {
            setting: "config",
            path: path.into(),
            source: kind.into(),
        };
        assert!(nothing_of_ours(fault(DEFAULT_FILE, io::ErrorKind::PermissionDenied)).is_ok());
        assert!(nothing_of_ours(fault("box.toml", io::ErrorKind::PermissionDenied)).is_err());
        assert!(nothing_of_ours(fault(DEFAULT_FILE, io::ErrorKind::IsADirectory)).is_err());
    }

    #[test]
    fn a_switch_needs_no_value() {
        for (flag, on) in [("--log-addresses", true), ("--log-addresses=off", false)] {
            let Ok(Deed::Run(settings)) = line(&[flag]) else { panic!("{flag}") };
            assert_eq!(settings.log.addresses, on);
        }
    }

    #[test]
    fn a_wrong_flag_is_one_line_with_a_tip() {
        let text = usage(&["--min-prot", "5"]);
        assert!(text.contains("--min-prot") && text.contains("--min-port"), "{text}");
        assert!(!text.contains('\n'), "{text}");
        assert!(usage(&["bake"]).contains("bake"));
        assert!(usage(&["--realm"]).contains("--realm"));
        assert!(usage(&["--realm", "a", "--realm", "b"]).contains("--realm"));
    }

    #[test]
    fn help_lists_every_setting_under_a_heading() {
        let Err(NoDeed::Text(help)) = line(&["--help"]) else { panic!("no help") };
        assert!(Typed::names().iter().all(|name| help.contains(&format!("--{name}"))));
        assert!(["Listening:", "The relay:", "Limits:"].iter().all(|heading| help.contains(heading)));
    }

    #[test]
    fn a_minted_credential_names_the_room_and_its_end() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().to_str().unwrap();
        let words = ["credentials", "--room", "kitchen", "--ttl", "10m", "--state-dir", dir];
        let Ok(Deed::Credentials(settings, request)) = line(&words) else { panic!("no deed") };
        let kept = State::open(place.path()).unwrap().kept().unwrap();
        let minted = mint(&settings, &request, SystemTime::UNIX_EPOCH + Duration::from_secs(1000)).unwrap();
        assert_eq!(minted.urls[0], "turn:localhost:3478?transport=udp");
        assert_eq!(minted.ttl, 600);
        let tag = isolation_group(kept.tag_key.tag("kitchen"));
        let username = Username::parse(&minted.credential.username).unwrap();
        assert_eq!(username.expiry, 1600);
        assert!(matches!(username.holder, Principal::Tool(named, _) if named == tag));
        assert_eq!(kept.secret.password(&minted.credential.username), minted.credential.password);
    }

    fn inquiry(words: &[&str]) -> Inquiry {
        match line(words) {
            Ok(Deed::Check(inquiry)) => inquiry,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_check_takes_bad_settings_as_something_it_found() {
        assert!(matches!(inquiry(&["check"]).subject, Ok(Subject::Here(_))));
        let bad = inquiry(&["check", "--json", "--min-port", "0"]);
        assert!(bad.json && bad.subject.unwrap_err().to_string().contains("min-port"));
    }

    #[test]
    fn a_name_alone_is_a_box_elsewhere_on_the_usual_ports() {
        let inquiry = inquiry(&["check", "--domain", "A.example", "--turns-port", "0"]);
        let Ok(Subject::Elsewhere { name, settings }) = inquiry.subject else { panic!("not elsewhere") };
        assert_eq!((name.as_str(), settings.https_port, settings.turns_port), ("a.example", Some(443), None));
    }

    #[test]
    fn another_name_than_that_of_the_box_here_is_a_box_elsewhere() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("box.toml");
        std::fs::write(&file, "domain = 'here.example'\nacme-email = 'me@here.example'\nturn-port = 5000\n")
            .unwrap();
        let config = file.to_str().unwrap();
        let asked = |name| inquiry(&["check", "--config", config, "--domain", name]).subject.unwrap();
        let Subject::Elsewhere { name, settings } = asked("there.example") else { panic!("not elsewhere") };
        assert_eq!((name.as_str(), settings.turn_port), ("there.example", Some(3478)), "as nobody says else");
        let Subject::Here(settings) = asked("HERE.example") else { panic!("not here") };
        assert_eq!(settings.turn_port, Some(5000));
    }

    #[test]
    fn a_stun_server_has_the_usual_port_unless_one_is_named() {
        let asked = |server| inquiry(&["check", "--stun", server]).stun.unwrap();
        assert_eq!(asked("stun.example"), "stun.example:3478");
        assert_eq!(asked("stun.example:19302"), "stun.example:19302");
        assert_eq!(asked("[2a00::1]:53"), "[2a00::1]:53");
    }

    #[test]
    fn a_room_has_one_name_however_its_accents_are_typed() {
        let room = |typed| match line(&["credentials", "--room", typed]) {
            Ok(Deed::Credentials(_, request)) => request.room,
            other => panic!("{other:?}"),
        };
        assert_eq!(room("cafe\u{301}"), room("caf\u{e9}"));
    }
}
