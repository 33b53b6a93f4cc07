//! The addresses of this host, its limit of open files and sockets, and a small HTTPS client.

use rustix::process::{Resource, getrlimit, setrlimit};

pub mod addresses;
pub(crate) mod https_client;
pub mod interfaces;
pub mod rewound;

/// Raises the limit of open files and sockets to the hard limit: each client needs one. The soft limit of 1,024 is for
/// programs that use `select`, which this one does not.
pub fn raise_fd_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
