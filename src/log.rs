//! The log: lines for people, JSON for machines, or what the systemd journal wants, written to stderr
//! by a thread of its own.
//!
//! Nobody who logs waits for a journal that has stalled: lines beyond a few thousand are lost and
//! counted.

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

/// Writes out what is still on its way to the log when it is dropped.
#[derive(Debug)]
pub struct LogGuard(Option<WorkerGuard>);

/// Lines that may wait for a slow reader of stderr; more are lost.
const WAITING_LINES: usize = 4096;

/// How long the last lines may take to be written at the end.
const LAST_LINES: Duration = Duration::from_millis(1500);

/// The process has one log, so what belongs to it is the process's.
static RUNNING: OnceLock<RunningLog> = OnceLock::new();

struct RunningLog {
    filter: reload::Handle<EnvFilter, Registry>,
    lost: ErrorCounter,
}

/// Starts logging to stderr; coloured only on a terminal. A log that runs already (in a test) stays.
///
/// # Errors
/// The filter is invalid, which checked [`Settings`] rule out.
pub fn start_logging(settings: &Settings) -> Result<LogGuard, SettingsError> {
    let (filter, handle) = reload::Layer::new(parsed(&settings.log)?);
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(io::stderr());
    let lost = writer.error_counter();
    // Otherwise a log runs already.
    if tracing_subscriber::registry().with(filter).with(lines(settings.log_format, writer)).try_init().is_ok()
    {
        let _ = RUNNING.set(RunningLog { filter: handle, lost });
    }
    Ok(LogGuard(Some(guard)))
}

/// Logs by another filter from now on.
///
/// # Errors
/// The filter makes no sense; the old one stays.
pub fn set_level(filter: &str) -> Result<(), SettingsError> {
    let parsed = parsed(filter)?;
    if let Some(running) = RUNNING.get() {
        // Fails only where the log is gone.
        let _ = running.filter.reload(parsed);
    }
    Ok(())
}

/// Lines that were lost because nobody took them in time.
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
    } else if goes_to_the_journal() {
        plain.with_ansi(false).event_format(ForTheJournal::default()).boxed()
    } else {
        plain.boxed()
    }
}

/// Whether stderr is the journal's. systemd names what it connected by device and inode, so that
/// whoever was given another stderr since then can tell (systemd.exec(5), `$JOURNAL_STREAM`).
fn goes_to_the_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let named =
        named.split_once(':').and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    let stat = rustix::fs::fstat(io::stderr().as_fd());
    named.zip(stat.ok()).is_some_and(|(named, stat): ((u64, u64), _)| named == (stat.st_dev, stat.st_ino))
}

/// Lines whose beginning the journal understands: the priority as in sd-daemon(3), and no time,
/// which the journal has.
struct ForTheJournal(Format<Full, ()>);

impl Default for ForTheJournal {
    fn default() -> Self {
        Self(Format::default().without_time().with_level(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for ForTheJournal
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
        // A second line would begin without its priority.
        let line = line.trim_end().replace(['\n', '\r'], " ");
        writeln!(writer, "<{}>{line}", priority(*event.metadata().level()))
    }
}

/// As syslog numbers them.
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
        // It complains to stdout where the last lines cannot be written, and stdout may be what has
        // stalled.
        let writing = std::thread::Builder::new().name("log end".to_owned()).spawn(move || {
            drop(guard);
            let _ = done.send(());
        });
        if writing.is_ok() {
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

    /// What was written.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Page {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn the_journal_gets_a_priority_and_no_time_and_one_line_for_each_event() {
        let page = Page::default();
        let layer = Layer::default().with_writer(page.clone()).event_format(ForTheJournal::default());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(seats = 2, "a call");
            tracing::warn!(name = "a\nb", other = %"c\n<0>d", "two\nlines");
            tracing::trace!("quiet");
        });
        let written = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let module = "webrtc_box::log::tests";
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines[0], format!("<6>{module}: a call seats=2"));
        assert_eq!(lines[1], format!(r#"<4>{module}: two lines name="a\nb" other=c <0>d"#));
        assert_eq!(lines[2], format!("<7>{module}: quiet"));
        assert_eq!(lines.len(), 3);
    }
}
