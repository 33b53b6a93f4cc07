//! How many files and sockets may be open. Each visitor takes one, and what a shell gives is 1,024.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Takes as many as the host allows: the soft limit is for programs that `select`, which counts to
/// 1,024 and which this one does not use.
pub fn take_all() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}
