//! How work is done beside those who serve: never in their way, and outlived where it goes wrong.

use std::any::Any;
use std::fmt;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt as _;
use tokio::task::spawn_blocking;

/// A panic, as a value. `Display` is one line.
#[derive(Debug)]
pub(crate) struct Bug(String);

/// Does work that may wait for a disk, off the threads that everybody is served by.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(fault) if fault.is_panic() => resume_unwind(fault.into_panic()),
        // Only the end of the process takes work away before it is done.
        Err(_) => pending().await,
    }
}

/// What `work` comes to. Calls do not end for a bug in what keeps a certificate, so a panic is told and
/// `work` may be begun anew; what it left half done must do no harm.
pub(crate) async fn outlived<T>(work: impl Future<Output = T>) -> Result<T, Bug> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| Bug(message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    text.replace(|c: char| c.is_control(), " ")
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a bug in what keeps the certificate ({}); report it, calls go on meanwhile", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_in_one_line_and_outlived_wherever_it_happens() {
        assert_eq!(outlived(aside(|| 7)).await.unwrap(), 7);
        let here = outlived(async { panic!("evil\nhere") }).await.map(|(): ()| ()).unwrap_err();
        assert!(here.to_string().contains("(evil here)"), "{here}");
        let aside = outlived(aside(|| panic!("evil {}", "aside"))).await.map(|(): ()| ()).unwrap_err();
        assert!(aside.to_string().contains("(evil aside)"), "{aside}");
    }
}
