//! The log on stderr: text, JSON, or the format of the systemd journal, written by a thread of its own.
//!
//! Logging never waits for a stalled journal: lines beyond a few thousand are lost and counted.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, Layer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

use crate::config::{LogFormat, Settings, SettingsError};

/// Writes the buffered lines when it is dropped.
#[derive(Debug)]
pub struct LogGuard(Option<WorkerGuard>);

/// Lines that may wait for a slow reader of stderr; more are lost.
const WAITING_LINES: usize = 4096;

/// How long writing the last lines may take at the end.
const LAST_LINES: Duration = Duration::from_millis(1500);

/// The one log of the process.
static RUNNING: OnceLock<RunningLog> = OnceLock::new();

struct RunningLog {
    filter: reload::Handle<EnvFilter, Registry>,
    lost: ErrorCounter,
}

/// Starts logging to stderr, with colors on a terminal. Keeps a log that was started before (in a test).
///
/// # Errors
/// The filter is invalid, which validated [`Settings`] exclude.
pub fn start_logging(settings: &Settings) -> Result<LogGuard, SettingsError> {
    let (filter, handle) = reload::Layer::new(parsed(&settings.log)?);
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(io::stderr());
    let lost = writer.error_counter();
    // Fails if a log was started before.
    if tracing_subscriber::registry().with(filter).with(lines(settings.log_format, writer)).try_init().is_ok()
    {
        let _ = RUNNING.set(RunningLog { filter: handle, lost });
    }
    Ok(LogGuard(Some(guard)))
}

/// Replaces the filter.
///
/// # Errors
/// The filter is invalid; the old one stays.
pub fn set_level(filter: &str) -> Result<(), SettingsError> {
    let parsed = parsed(filter)?;
    if let Some(running) = RUNNING.get() {
        // Fails only if the log is gone.
        let _ = running.filter.reload(parsed);
    }
    Ok(())
}

/// Lines that were lost because stderr was not read in time.
pub fn lost_lines() -> u64 {
    RUNNING.get().map_or(0, |running| running.lost.dropped_lines() as u64)
}

fn parsed(filter: &str) -> Result<EnvFilter, SettingsError> {
    EnvFilter::builder().parse(filter).map_err(|_| {
        let reason = format!("log {filter:?} is no log filter");
        SettingsError::invalid(reason, "give error, warn, info, debug or trace")
    })
}

type Lines<S> = Box<dyn tracing_subscriber::Layer<S> + Send + Sync>;

fn lines<S>(format: LogFormat, writer: NonBlocking) -> Lines<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let plain = Layer::default().with_writer(writer).with_ansi(io::stderr().is_terminal());
    if format == LogFormat::Json {
        plain.json().flatten_event(true).boxed()
    } else if is_journal() {
        plain.with_ansi(false).event_format(JournalFormat::default()).boxed()
    } else {
        plain.boxed()
    }
}

/// Whether stderr goes to the journal. systemd passes the device and inode of its stream, because stderr may have been
/// redirected since (systemd.exec(5), `$JOURNAL_STREAM`).
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stream =
        stream.split_once(':').and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    let stat = rustix::fs::fstat(io::stderr().as_fd());
    stream.zip(stat.ok()).is_some_and(|(stream, stat): ((u64, u64), _)| stream == (stat.st_dev, stat.st_ino))
}

/// Lines that begin with their priority (sd-daemon(3)) and have no time, which the journal adds.
struct JournalFormat(Format<Full, ()>);

impl Default for JournalFormat {
    fn default() -> Self {
        Self(Format::default().without_time().with_level(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for JournalFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        // A second line would have no priority.
        let line = line.trim_end().replace(['\n', '\r'], " ");
        writeln!(writer, "<{}>{line}", priority(*event.metadata().level()))
    }
}

/// The priority of syslog (RFC 5424 §6.2.1).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, waiting) = mpsc::channel();
        let guard = self.0.take();
        // On its own thread: if the last lines cannot be written, the guard reports that to stdout, which may be stalled.
        let writer = std::thread::Builder::new().name("log end".to_owned()).spawn(move || {
            drop(guard);
            let _ = done.send(());
        });
        if writer.is_ok() {
            let _ = waiting.recv_timeout(LAST_LINES);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// Captures what is written.
    #[derive(Clone, Default)]
    struct Capture(Arc<Mutex<Vec<u8>>>);

    impl Write for Capture {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Capture {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_journal_line_has_a_priority_no_time_and_no_line_break() {
        let capture = Capture::default();
        let layer = Layer::default().with_writer(capture.clone()).event_format(JournalFormat::default());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(seats = 2, "a call");
            tracing::warn!(name = "a\nb", other = %"c\n<0>d", "two\nlines");
            tracing::trace!("quiet");
        });
        let written = String::from_utf8(capture.0.lock().unwrap().clone()).unwrap();
        let module = "webrtc_box::log::tests";
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines[0], format!("<6>{module}: a call seats=2"));
        assert_eq!(lines[1], format!(r#"<4>{module}: two lines name="a\nb" other=c <0>d"#));
        assert_eq!(lines[2], format!("<7>{module}: quiet"));
        assert_eq!(lines.len(), 3);
    }
}
