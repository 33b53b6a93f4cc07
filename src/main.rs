//! The program: command line → settings → log → running server, until a signal stops it.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::SystemTime;

use webrtc_box::cli::{self, Check, CliError, Command};
use webrtc_box::config::{Identity, Settings};
use webrtc_box::doctor::check_host;
use webrtc_box::error::Hint as _;
use webrtc_box::net::{raise_fd_limit, use_permitted_low_ports};
use webrtc_box::nodes::Nodes;
use webrtc_box::setup::{Dialog, Setup};
use webrtc_box::systemd::socket_activation::ActivatedSockets;
use webrtc_box::{StartError, banner, signals, start_logging};

fn main() -> ExitCode {
    use_permitted_low_ports();
    match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(Command::Run(settings)) => finish(run(settings)),
        Ok(Command::Credentials(settings, request)) => finish(credentials(&settings, &request)),
        Ok(Command::Check(args)) => check(&args),
        Ok(Command::Healthcheck(settings)) => healthcheck(&settings),
        Ok(Command::Nodes { settings, json }) => nodes(&settings, json),
        Ok(Command::Setup { setup, yes }) => write_settings(setup, yes),
        Err(CliError::Help(text)) => finish(print(&text)),
        Err(error @ CliError::Usage(_)) => fail(2, &error),
        Err(error @ CliError::Settings(_)) => fail(1, &error),
    }
}

fn run(settings: Settings) -> Result<(), StartError> {
    // It changes the environment, so it runs before any other thread starts.
    let activated = ActivatedSockets::take()?;
    let _log = start_logging(&settings)?;
    raise_fd_limit();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(web_threads()).enable_all().build();
    let runtime = runtime.map_err(|source| StartError::System { action: "start threads", source })?;
    let outcome = runtime.block_on(serve(settings, activated));
    // Does not wait for a resolver or a file system that does not respond.
    runtime.shutdown_background();
    outcome
}

/// Half the cores: signaling is many small pieces of work, and passing them between threads costs more than the work.
fn web_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

async fn serve(settings: Settings, activated: ActivatedSockets) -> Result<(), StartError> {
    let ends_with_terminal = ends_with_terminal(&settings);
    let mut running = webrtc_box::start_on(settings.clone(), activated).await?;
    if ends_with_terminal {
        running.stop_on_hangup();
    }
    print_banner(settings);
    running.run_until_stopped(|| cli::settings(std::env::args_os(), std::env::vars_os())).await;
    Ok(())
}

/// Whether the server was started by hand in a terminal: no domain, no file to reload, no service manager, no nohup.
fn ends_with_terminal(settings: &Settings) -> bool {
    settings.identity == Identity::TryOut
        && std::env::var_os("NOTIFY_SOCKET").is_none_or(|path| path.is_empty())
        && !signals::hangup_is_ignored()
        && !cli::reads_files(std::env::args_os(), std::env::vars_os())
}

/// Prints on a thread of its own, because a stalled journal or a full disk may block it forever.
fn print_banner(settings: Settings) {
    let thread = std::thread::Builder::new().name("banner".to_owned());
    let spawned = thread.spawn(move || {
        if let Err(error) = print(&banner::for_this_host(&settings)) {
            tracing::warn!("{}", error.with_hint());
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "cannot start the thread of the banner");
    }
}

fn credentials(settings: &Settings, request: &cli::CredentialRequest) -> Result<(), StartError> {
    let minted = cli::mint(settings, request, SystemTime::now())?;
    let text = serde_json::to_string(&minted).map_err(io::Error::from);
    print(&text.map_err(|source| StartError::System { action: "write JSON", source })?)
}

/// The exit code is that of the report. Does not wait for a resolver that does not respond.
fn check(args: &Check) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(source) => return fail(2, &StartError::System { action: "start threads", source }.with_hint()),
    };
    let report = runtime.block_on(webrtc_box::doctor::check(
        &args.subject,
        args.stun.as_deref(),
        args.secret_config.as_deref(),
    ));
    runtime.shutdown_background();
    let text = if args.json { report.json().unwrap_or_default() } else { report.to_string() };
    print(&text).map_or_else(|error| fail(2, &error.with_hint()), |()| ExitCode::from(report.exit_code()))
}

fn healthcheck(settings: &Settings) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return fail(1, &StartError::System { action: "start threads", source }.with_hint()),
    };
    match runtime.block_on(webrtc_box::doctor::healthcheck(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error.with_hint()),
    }
}

/// Asks on the terminal, unless `yes`.
fn write_settings(setup: Box<Setup>, yes: bool) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(source) => return fail(1, &StartError::System { action: "start threads", source }.with_hint()),
    };
    let (mut input, mut output) = (io::stdin().lock(), io::stdout());
    let dialog = (!yes).then(|| Dialog::new(&mut input, &mut output));
    let outcome =
        runtime.block_on(setup.run(dialog, async |what, settings| check_host(what, settings).await));
    runtime.shutdown_background();
    match outcome {
        Ok(text) => finish(print(&text)),
        Err(error) => fail(1, &error.with_hint()),
    }
}

/// Does not wait for a resolver that does not respond.
fn nodes(settings: &Settings, json: bool) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(source) => return fail(1, &StartError::System { action: "start threads", source }.with_hint()),
    };
    let nodes = runtime.block_on(Nodes::read(settings));
    runtime.shutdown_background();
    match nodes {
        Ok(nodes) => finish(print(&if json { nodes.json().unwrap_or_default() } else { nodes.to_string() })),
        Err(error) => fail(1, &error.with_hint()),
    }
}

/// The one place that writes to stdout. A reader that closed its end is no error.
fn print(text: &str) -> Result<(), StartError> {
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(StartError::System { action: "write to stdout", source })
        }
        _ => Ok(()),
    }
}

fn finish(outcome: Result<(), StartError>) -> ExitCode {
    outcome.map_or_else(|error| fail(1, &error.with_hint()), |()| ExitCode::SUCCESS)
}

fn fail(code: u8, error: &impl std::fmt::Display) -> ExitCode {
    // If stderr is closed, the exit code remains.
    let _ = writeln!(io::stderr(), "webrtc-box: {error}");
    ExitCode::from(code)
}
