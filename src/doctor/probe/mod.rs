//! Looks at the host and knocks at the box. Every probe ends by itself within a few seconds.

pub(super) mod bind;
pub(super) mod dial;
pub(super) mod files;
pub(super) mod holders;
pub(super) mod host;
pub(super) mod https;
pub(super) mod join;
pub(super) mod names;
pub(super) mod redirect;
pub(super) mod relay;
pub(super) mod roots;
mod wire;

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use super::judge::Trouble;

/// For a connection, and again for its handshake.
const DIAL: Duration = Duration::from_secs(3);
/// For a question and its answer on a connection that stands.
const ANSWER: Duration = Duration::from_secs(3);

/// What `deed` comes to; silence where it takes longer than `limit`.
async fn within<T>(limit: Duration, deed: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    timeout(limit, deed).await.unwrap_or(Err(Trouble::Silent))
}
