//! Background work: blocking calls off the runtime's threads, and panics as values.

use std::any::Any;
use std::fmt;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt as _;
use tokio::task::spawn_blocking;

/// A panic, as a value. `Display` is one line.
#[derive(Debug)]
pub(crate) struct Panic(String);

/// Runs `work`, which may wait for a disk, on a thread for blocking work. A panic continues in the caller.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        // The runtime is shutting down, and the process ends.
        Err(_) => pending().await,
    }
}

/// Runs `work` and returns a panic as an error: a bug in certificate renewal must not end calls. The caller may run `work`
/// again, so its unfinished state must be harmless.
pub(crate) async fn catch_panic<T>(work: impl Future<Output = T>) -> Result<T, Panic> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| Panic(message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    text.replace(|c: char| c.is_control(), " ")
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a bug in the certificate renewal ({}); please report it, calls continue", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_of_one_line() {
        assert_eq!(catch_panic(run_blocking(|| 7)).await.unwrap(), 7);
        let direct = catch_panic(async { panic!("two\nlines") }).await.map(|(): ()| ()).unwrap_err();
        assert!(direct.to_string().contains("(two lines)"), "{direct}");
        let blocking = run_blocking(|| panic!("formatted {}", 7));
        let blocking = catch_panic(blocking).await.map(|(): ()| ()).unwrap_err();
        assert!(blocking.to_string().contains("(formatted 7)"), "{blocking}");
    }
}
