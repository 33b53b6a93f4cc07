//! The command line: which command to run, with validated settings.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::error::{ContextKind, ErrorKind};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use serde::Serialize;
use unicode_normalization::UnicodeNormalization as _;

use crate::app::StartError;
use crate::config::{
    DEFAULT_FILE, RawSettings, Settings, SettingsError, StateDirDefaults, file_with_secrets, gather, seconds,
    set_variables,
};
use crate::doctor::Target;
use crate::error::Hint as _;
use crate::keys::Keys;
use crate::principals::isolation_group;
use crate::setup::Setup;
use crate::state_dir::StateDir;
use webrtc_box_turn::credential::{Credential, Principal};
use webrtc_box_turn::principal::PrincipalId;

/// The command to run.
#[derive(Debug)]
pub enum Command {
    /// Serve.
    Run(Settings),
    /// Print one credential.
    Credentials(Settings, CredentialRequest),
    /// Check the settings, the host and the running server.
    Check(Check),
    /// Ask the running server whether it is healthy.
    Healthcheck(Box<Settings>),
    /// Write a settings file.
    Setup {
        /// What to write, and where.
        setup: Box<Setup>,
        /// Without questions.
        yes: bool,
    },
    /// List the boxes of the cluster.
    Nodes {
        /// The settings of one of them.
        settings: Box<Settings>,
        /// One JSON object instead of a table.
        json: bool,
    },
}

/// What to check and how to print it.
#[derive(Debug)]
pub struct Check {
    /// The server, or why the settings are invalid.
    pub subject: Result<Target, SettingsError>,
    /// A STUN server to ask for the public address of this host, as `HOST:PORT`.
    pub stun: Option<String>,
    /// One JSON object instead of lines.
    pub json: bool,
    /// The settings file, if it holds a secret.
    pub secret_config: Option<PathBuf>,
}

/// Which credential to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRequest {
    /// The name of the room, in NFC.
    pub room: String,
    /// How long it opens allocations.
    pub ttl: Duration,
}

/// Why there is no [`Command`].
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// `--help` or `--version`: the text to print.
    #[error("{0}")]
    Help(String),
    /// Invalid flags; one line.
    #[error("{0}")]
    Usage(String),
    /// Invalid settings.
    #[error("{}", .0.with_hint())]
    Settings(#[from] SettingsError),
}

/// A credential with its URLs and lifetime, as `webrtc-box credentials` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PrintedCredential {
    /// TURN URLs of this server.
    pub urls: Vec<String>,
    /// Username and password.
    #[serde(flatten)]
    pub credential: Credential,
    /// Seconds for which it opens allocations.
    pub ttl: u64,
}

/// `StateDirectory=` of the systemd unit.
const UNIT_STATE_DIR: &str = "/var/lib/webrtc-box";

/// The default port of STUN (RFC 8489 §8).
const STUN_PORT: u16 = 3478;

/// Characters of a word of the command line that an error may repeat.
const LONGEST_REPEATED_WORD: usize = 40;

const AFTER_HELP: &str = "\
Every setting has one name in three spellings: the flag --min-port, the key min-port in the TOML
file, the variable WEBRTC_BOX_MIN_PORT. Flags override variables, variables override the file.
A repeatable setting is a repeated flag, a TOML list, or a variable with commas.";

/// A video call for two in one process: page, signaling and its own STUN/TURN relay.
#[derive(Parser)]
#[command(name = "webrtc-box", version, after_help = AFTER_HELP)]
struct CommandLine {
    #[command(subcommand)]
    subcommand: Option<SubcommandArgs>,
    /// File of the settings (default /etc/webrtc-box/webrtc-box.toml if it exists)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: RawSettings,
}

#[derive(Subcommand)]
enum SubcommandArgs {
    /// Print one TURN credential as JSON, to try other clients
    Credentials(CredentialsArgs),
    /// Test the settings, the host and the running server, and print how to fix what is wrong
    ///
    /// Exits with 0 if all is well, 1 with warnings, 2 with failures (or for an invalid flag). With --domain NAME alone
    /// it tests that server as this machine sees it.
    Check(CheckArgs),
    /// Exit with 0 if the running server of the same settings is healthy, else with 1 and the reason
    ///
    /// Ends within two seconds. For container engines and scripts; `check` finds causes.
    Healthcheck,
    /// Write a settings file from the answers to five questions, and from flags
    ///
    /// Each setting given as a flag is written to the file that --config names, and not asked for. Without a terminal,
    /// add --yes.
    Setup(SetupArgs),
    /// List the boxes of a cluster with version, rooms, load and state, as the store knows them
    Nodes(NodesArgs),
}

#[derive(Args)]
struct SetupArgs {
    /// Ask nothing: settings that are not given as flags keep their defaults
    #[arg(long)]
    yes: bool,
    /// Replace a settings file; the previous one stays beside it, with .old at its end
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
struct NodesArgs {
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct CheckArgs {
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// STUN server to ask for the public address of this host (default: none)
    #[arg(long, value_name = "HOST:PORT")]
    stun: Option<String>,
}

#[derive(Args)]
struct CredentialsArgs {
    /// The room whose relayed addresses it reaches
    #[arg(long, default_value = "test")]
    room: String,
    /// How long it opens allocations (default credential-ttl)
    #[arg(long, value_name = "TIME")]
    ttl: Option<String>,
}

/// Parses a command line (program name first) and an environment.
///
/// # Errors
/// Help was requested, or a flag or setting is invalid.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Command, CliError> {
    let (args, environment): (Vec<_>, Vec<_>) =
        (args.into_iter().collect(), environment.into_iter().collect());
    let has_secrets = has_secrets(&args);
    let line = command_line(args).map_err(|error| usage_error(&error, has_secrets))?;
    let defaults = state_dir_defaults(&environment, line.subcommand.is_some());
    let config = line.config.clone();
    let fallback = gather(line.config, environment.clone());
    match line.subcommand {
        None => Ok(Command::Run(line.settings.or(fallback?).validate(&defaults)?)),
        Some(SubcommandArgs::Credentials(args)) => {
            let settings = line.settings.or(fallback?).validate(&defaults)?;
            let request = credential_request(args, &settings)?;
            Ok(Command::Credentials(settings, request))
        }
        Some(SubcommandArgs::Healthcheck) => {
            Ok(Command::Healthcheck(Box::new(line.settings.or(fallback?).validate(&defaults)?)))
        }
        Some(SubcommandArgs::Nodes(args)) => {
            let settings = line.settings.or(fallback?).validate(&defaults)?;
            Ok(Command::Nodes { settings: Box::new(settings), json: args.json })
        }
        Some(SubcommandArgs::Setup(args)) => {
            let file = config.unwrap_or_else(|| DEFAULT_FILE.into());
            let setup = Setup { settings: line.settings, file, force: args.force };
            Ok(Command::Setup { setup: Box::new(setup), yes: args.yes })
        }
        Some(SubcommandArgs::Check(args)) => {
            let remote = line.settings.only_name_a_server();
            let secret_config = file_with_secrets(config, environment);
            let fallback = if remote { fallback.or_else(ignore_denied) } else { fallback };
            let subject = fallback.and_then(|fallback| subject(line.settings, fallback, &defaults));
            Ok(Command::Check(Check {
                subject,
                stun: args.stun.map(with_port),
                json: args.json,
                secret_config,
            }))
        }
    }
}

/// The settings of a command line and an environment as they are now: the file may have changed since [`parse`].
///
/// # Errors
/// A setting is invalid.
pub fn settings(
    args: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Settings, CliError> {
    match parse(args, environment)? {
        Command::Run(settings) | Command::Credentials(settings, _) => Ok(settings),
        Command::Healthcheck(settings) | Command::Nodes { settings, .. } => Ok(*settings),
        Command::Setup { setup, .. } => Ok(setup.settings.validate(&StateDirDefaults::default())?),
        Command::Check(check) => match check.subject? {
            Target::Local(settings) | Target::Remote { settings, .. } => Ok(*settings),
        },
    }
}

/// Whether a reload could find other settings, because some come from files.
pub fn reads_files(
    args: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> bool {
    let by_flag = command_line(args).is_ok_and(|line| {
        let raw = line.settings;
        line.config.is_some()
            || raw.static_auth_secret_file.is_some()
            || raw.host_key_file.is_some()
            || raw.cluster_key_file.is_some()
    });
    let names = ["CONFIG", "STATIC_AUTH_SECRET_FILE", "HOST_KEY_FILE", "CLUSTER_KEY_FILE"];
    by_flag
        || set_variables(environment).any(|(name, _)| names.contains(&name.as_str()))
        || Path::new(DEFAULT_FILE).exists()
}

/// A default file that this user may not read does not matter if the flags name a server.
fn ignore_denied(error: SettingsError) -> Result<RawSettings, SettingsError> {
    if let SettingsError::Unreadable { path: Some(path), source, .. } = &error
        && path == Path::new(DEFAULT_FILE)
        && source.kind() == io::ErrorKind::PermissionDenied
    {
        return Ok(RawSettings::default());
    }
    Err(error)
}

/// `fallback` comes from the environment and the file of this host, which may describe another server.
fn subject(
    flags: RawSettings,
    fallback: RawSettings,
    defaults: &StateDirDefaults,
) -> Result<Target, SettingsError> {
    let raw = if flags.name_another_server(&fallback) { flags } else { flags.or(fallback) };
    if raw.only_name_a_server() {
        let (name, settings) = raw.remote_server(defaults)?;
        return Ok(Target::Remote { name, settings: Box::new(settings) });
    }
    Ok(Target::Local(Box::new(raw.validate(defaults)?)))
}

/// `server` with the default port if it has none.
fn with_port(server: String) -> String {
    let has_port =
        server.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
    if has_port { server } else { format!("{server}:{STUN_PORT}") }
}

/// A setting may come before or after the subcommand. Negative numbers are accepted here, because the parser of the setting
/// reports them better.
fn command_line(args: impl IntoIterator<Item = OsString>) -> Result<CommandLine, clap::Error> {
    let command = command().mut_args(|arg| arg.global(true).allow_negative_numbers(true));
    CommandLine::from_arg_matches(&command.try_get_matches_from(args)?)
}

/// All commands and flags with their help, from which the package's manual and completions are made.
pub fn command() -> clap::Command {
    CommandLine::command()
}

/// Reduces clap's error to its first line and its tip. Both may repeat a word of the command line, which may be a secret:
/// `--host-key my secret`, `--key "$(cat key.pem)"`.
fn usage_error(error: &clap::Error, has_secrets: bool) -> CliError {
    let text = error.to_string();
    if !error.use_stderr() {
        return CliError::Help(text);
    }
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let tip = text.lines().find_map(|line| line.trim_start().strip_prefix("tip: "));
    let similar = tip.filter(|tip| tip.contains("similar"));
    let words = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand];
    let repeats = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand);
    let harmless = words.into_iter().filter_map(|kind| error.get(kind)).all(|word| {
        let word = word.to_string();
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
        word.len() <= LONGEST_REPEATED_WORD
            && word.bytes().all(letters)
            && (similar.is_some() || !has_secrets)
    });
    if repeats && !harmless {
        return CliError::Usage(
            "a word on the command line is neither a flag nor a command; put quotes around a value with \
             spaces, and write --FLAG=VALUE if it begins with a dash"
                .to_owned(),
        );
    }
    CliError::Usage(format!("{first}; {}", similar.unwrap_or("--help lists all flags")))
}

/// Whether a command line may contain a secret.
fn has_secrets(args: &[OsString]) -> bool {
    let secret = ["--static-auth-secret", "--host-key", "--cluster", "--key", "--cert"];
    args.iter().any(|word| secret.iter().any(|flag| word.as_encoded_bytes().starts_with(flag.as_bytes())))
}

/// With a `subcommand`, the server itself may run as the systemd service.
fn state_dir_defaults(environment: &[(OsString, OsString)], subcommand: bool) -> StateDirDefaults {
    let systemd = environment.iter().find(|(name, _)| name == "STATE_DIRECTORY");
    let unit = subcommand && Path::new(UNIT_STATE_DIR).is_dir();
    StateDirDefaults {
        systemd: systemd.and_then(|(_, value)| value.to_str().map(str::to_owned)),
        unit: unit.then(|| UNIT_STATE_DIR.to_owned()),
    }
}

fn credential_request(
    args: CredentialsArgs,
    settings: &Settings,
) -> Result<CredentialRequest, SettingsError> {
    let ttl = match &args.ttl {
        Some(text) => seconds("ttl", text, 1..=365 * 24 * 3600)?,
        None => settings.credential_ttl,
    };
    Ok(CredentialRequest { room: args.room.nfc().collect(), ttl })
}

/// Mints the credential of `request` with the keys of the state directory.
///
/// # Errors
/// The state directory cannot be used, or there is no randomness.
pub fn mint(
    settings: &Settings,
    request: &CredentialRequest,
    now: SystemTime,
) -> Result<PrintedCredential, StartError> {
    let keys = Keys::new(settings, &StateDir::keys_for_command(&settings.state_dir)?);
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| StartError::System {
        action: "draw random bytes",
        source: io::Error::other(error),
    })?;
    let principal = Principal::Tool(isolation_group(keys.tag_key.tag(&request.room)), PrincipalId::new(id));
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(PrintedCredential {
        urls: settings.ice_urls().turn_urls("localhost"),
        credential: keys.secrets.mint(&principal, (now + request.ttl).as_secs()),
        ttl: request.ttl.as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Identity;
    use webrtc_box_turn::credential::Username;

    fn parsed(words: &[&str]) -> Result<Command, CliError> {
        parse(std::iter::once("webrtc-box").chain(words.iter().copied()).map(OsString::from), [])
    }

    fn usage(words: &[&str]) -> String {
        match parsed(words) {
            Err(CliError::Usage(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_empty_command_line_is_try_out_mode() {
        let Ok(Command::Run(settings)) = parsed(&[]) else { panic!("no run") };
        assert_eq!(settings.identity, Identity::TryOut);
        assert_eq!(settings.https_port, Some(8443));
        assert_eq!(settings.state_dir, PathBuf::from("certs"));
    }

    #[test]
    fn settings_may_come_before_or_after_the_subcommand() {
        for words in [["--turn-port", "5000", "credentials"], ["credentials", "--turn-port", "5000"]] {
            let Ok(Command::Credentials(settings, request)) = parsed(&words) else { panic!("{words:?}") };
            assert_eq!(settings.turn_port, Some(5000));
            assert_eq!(
                request,
                CredentialRequest { room: "test".to_owned(), ttl: Duration::from_secs(3600) }
            );
        }
    }

    #[test]
    fn an_unreadable_default_file_does_not_stop_a_remote_check() {
        let error = |path: &str, kind: io::ErrorKind| SettingsError::Unreadable {
            setting: "config",
            path: Some(path.into()),
            source: kind.into(),
        };
        assert!(ignore_denied(error(DEFAULT_FILE, io::ErrorKind::PermissionDenied)).is_ok());
        assert!(ignore_denied(error("box.toml", io::ErrorKind::PermissionDenied)).is_err());
        assert!(ignore_denied(error(DEFAULT_FILE, io::ErrorKind::IsADirectory)).is_err());
    }

    #[test]
    fn a_switch_needs_no_value() {
        for (flag, on) in [("--log-addresses", true), ("--log-addresses=off", false)] {
            let Ok(Command::Run(settings)) = parsed(&[flag]) else { panic!("{flag}") };
            assert_eq!(settings.log_addresses, on);
        }
    }

    #[test]
    fn an_invalid_flag_is_one_line_with_a_tip() {
        let text = usage(&["--min-prot", "5"]);
        assert!(text.contains("--min-prot") && text.contains("--min-port"), "{text}");
        assert!(!text.contains('\n'), "{text}");
        assert!(usage(&["bake"]).contains("bake"));
        assert!(usage(&["--realm"]).contains("--realm"));
        assert!(usage(&["--realm", "a", "--realm", "b"]).contains("--realm"));
    }

    #[test]
    fn help_lists_every_setting_under_a_heading() {
        let Err(CliError::Help(help)) = parsed(&["--help"]) else { panic!("no help") };
        assert!(RawSettings::names().iter().all(|name| help.contains(&format!("--{name}"))));
        assert!(["Listening:", "The relay:", "Limits:"].iter().all(|heading| help.contains(heading)));
    }

    #[test]
    fn a_minted_credential_names_the_room_and_the_expiry() {
        let state_dir = tempfile::tempdir().unwrap();
        let dir = state_dir.path().to_str().unwrap();
        let words = ["credentials", "--room", "kitchen", "--ttl", "10m", "--state-dir", dir];
        let Ok(Command::Credentials(settings, request)) = parsed(&words) else { panic!("no command") };
        let stored = StateDir::open(state_dir.path()).unwrap().load_or_create_keys().unwrap();
        let minted = mint(&settings, &request, SystemTime::UNIX_EPOCH + Duration::from_secs(1000)).unwrap();
        assert_eq!(minted.urls[0], "turn:localhost:3478?transport=udp");
        assert_eq!(minted.ttl, 600);
        let tag = isolation_group(stored.tag_key.tag("kitchen"));
        let username = Username::parse(&minted.credential.username).unwrap();
        assert_eq!(username.expiry, 1600);
        assert!(matches!(username.principal, Principal::Tool(named, _) if named == tag));
        assert_eq!(stored.secret.password(&minted.credential.username), minted.credential.password);
    }

    fn check(words: &[&str]) -> Check {
        match parsed(words) {
            Ok(Command::Check(check)) => check,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_check_reports_invalid_settings_as_a_finding() {
        assert!(matches!(check(&["check"]).subject, Ok(Target::Local(_))));
        let bad = check(&["check", "--json", "--min-port", "0"]);
        assert!(bad.json && bad.subject.unwrap_err().to_string().contains("min-port"));
    }

    #[test]
    fn a_domain_alone_is_a_remote_server_on_default_ports() {
        let check = check(&["check", "--domain", "A.example", "--turns-port", "0"]);
        let Ok(Target::Remote { name, settings }) = check.subject else { panic!("not remote") };
        assert_eq!((name.as_str(), settings.https_port, settings.turns_port), ("a.example", Some(443), None));
    }

    #[test]
    fn a_domain_other_than_the_local_one_is_a_remote_server() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("box.toml");
        std::fs::write(&file, "domain = 'here.example'\nacme-email = 'me@here.example'\nturn-port = 5000\n")
            .unwrap();
        let config = file.to_str().unwrap();
        let asked = |name| check(&["check", "--config", config, "--domain", name]).subject.unwrap();
        let Target::Remote { name, settings } = asked("there.example") else { panic!("not remote") };
        assert_eq!((name.as_str(), settings.turn_port), ("there.example", Some(3478)));
        let Target::Local(settings) = asked("HERE.example") else { panic!("not local") };
        assert_eq!(settings.turn_port, Some(5000));
    }

    #[test]
    fn a_stun_server_has_the_default_port_unless_one_is_given() {
        let asked = |server| check(&["check", "--stun", server]).stun.unwrap();
        assert_eq!(asked("stun.example"), "stun.example:3478");
        assert_eq!(asked("stun.example:19302"), "stun.example:19302");
        assert_eq!(asked("[2a00::1]:53"), "[2a00::1]:53");
    }

    #[test]
    fn a_room_name_is_normalized_to_nfc() {
        let room = |typed| match parsed(&["credentials", "--room", typed]) {
            Ok(Command::Credentials(_, request)) => request.room,
            other => panic!("{other:?}"),
        };
        assert_eq!(room("cafe\u{301}"), room("caf\u{e9}"));
    }
}
