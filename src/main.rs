//! What was typed → settings → log → a running box, until it is stopped.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::SystemTime;

use webrtc_box::cli::{self, Check, CliError, Command};
use webrtc_box::config::{Identity, Settings};
use webrtc_box::error::{Hint as _, StartError};
use webrtc_box::net::fd_limit;
use webrtc_box::systemd::socket_activation::ActivatedSockets;
use webrtc_box::{banner, signals, start_logging};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(Command::Run(settings)) => finish(run(settings)),
        Ok(Command::Credentials(settings, request)) => finish(credentials(&settings, &request)),
        Ok(Command::Check(args)) => check(&args),
        Err(CliError::Help(text)) => finish(print(&text)),
        Err(error @ CliError::Usage(_)) => fail(2, &error),
        Err(error @ CliError::Settings(_)) => fail(1, &error),
    }
}

fn run(settings: Settings) -> Result<(), StartError> {
    // Before there is a second thread.
    let passed = ActivatedSockets::take()?;
    let _log = start_logging(&settings)?;
    fd_limit::take_all();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(web_threads()).enable_all().build();
    let runtime = runtime.map_err(|source| StartError::System { action: "start threads", source })?;
    let outcome = runtime.block_on(serve(settings, passed));
    // A resolver or a file system that does not answer holds up no end.
    runtime.shutdown_background();
    outcome
}

/// Half the cores. Signaling is little work in many small pieces, and handing pieces from thread to
/// thread costs more than the work.
fn web_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

async fn serve(settings: Settings, passed: ActivatedSockets) -> Result<(), StartError> {
    let tried_out = tried_out(&settings);
    let mut running = webrtc_box::start_on(settings.clone(), passed).await?;
    if tried_out {
        running.end_on_hangup();
    }
    greet(settings);
    running.stopped(|| cli::settings(std::env::args_os(), std::env::vars_os())).await;
    Ok(())
}

/// Started by hand, for as long as the terminal is open: no name, no file to read anew, no service
/// manager, no nohup.
fn tried_out(settings: &Settings) -> bool {
    settings.identity == Identity::TryOut
        && std::env::var_os("NOTIFY_SOCKET").is_none_or(|path| path.is_empty())
        && !signals::hangup_is_ignored()
        && !cli::reads_files(std::env::args_os(), std::env::vars_os())
}

/// From a thread of its own, which may wait for ever: a journal that has stalled, or a full disk, is
/// no reason not to serve.
fn greet(settings: Settings) {
    let thread = std::thread::Builder::new().name("greeting".to_owned());
    let greeting = thread.spawn(move || {
        if let Err(error) = print(&banner::for_this_host(&settings)) {
            tracing::warn!("{}", error.with_hint());
        }
    });
    if let Err(error) = greeting {
        tracing::warn!(%error, "no thread to greet from");
    }
}

fn credentials(settings: &Settings, request: &cli::CredentialRequest) -> Result<(), StartError> {
    let minted = cli::mint(settings, request, SystemTime::now())?;
    let text = serde_json::to_string(&minted).map_err(io::Error::from);
    print(&text.map_err(|source| StartError::System { action: "write JSON", source })?)
}

/// Its exit code is its verdict. It leaves without waiting for a resolver that does not answer.
fn check(args: &Check) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(source) => return fail(2, &StartError::System { action: "start threads", source }.with_hint()),
    };
    let report = runtime.block_on(webrtc_box::doctor::check(&args.subject, args.stun.as_deref()));
    runtime.shutdown_background();
    let text = if args.json { report.json().unwrap_or_default() } else { report.to_string() };
    print(&text).map_or_else(|error| fail(2, &error.with_hint()), |()| ExitCode::from(report.exit_code()))
}

/// The one place that writes to stdout. A reader who has gone away is no fault of ours.
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

fn fail(code: u8, sentence: &impl std::fmt::Display) -> ExitCode {
    // Where stderr is gone too, the exit code is all that is left to say.
    let _ = writeln!(io::stderr(), "webrtc-box: {sentence}");
    ExitCode::from(code)
}
