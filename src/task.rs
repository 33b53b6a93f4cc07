//! How work is done beside those who serve: never in their way, and catch_panic where it goes wrong.

use std::any::Any;
use std::fmt;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt as _;
use tokio::task::spawn_blocking;

/// A panic, as a value. `Display` is one line.
#[derive(Debug)]
pub(crate) struct Panic(String);

/// Does work that may wait for a disk, off the threads that everybody is served by.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(fault) if fault.is_panic() => resume_unwind(fault.into_panic()),
        // Only the end of the process takes work away before it is done.
        Err(_) => pending().await,
    }
}

/// What `work` comes to. Calls do not end for a bug in what keeps a certificate, so a panic is told and
/// `work` may be begun anew; what it left half done must do no harm.
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
        write!(f, "a bug in what keeps the certificate ({}); report it, calls go on meanwhile", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_in_one_line_and_outlived_wherever_it_happens() {
        assert_eq!(catch_panic(run_blocking(|| 7)).await.unwrap(), 7);
        let here = catch_panic(async { panic!("evil\nhere") }).await.map(|(): ()| ()).unwrap_err();
        assert!(here.to_string().contains("(evil here)"), "{here}");
        let run_blocking = catch_panic(run_blocking(|| panic!("evil {}", "run_blocking")))
            .await
            .map(|(): ()| ())
            .unwrap_err();
        assert!(run_blocking.to_string().contains("(evil run_blocking)"), "{run_blocking}");
    }
}
