//! The addresses of this host, its limit of open files and sockets, and a small HTTPS client.

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

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

/// Makes the capability to bind ports below 1024 effective if it is permitted, as for the file in a container image. The file
/// does not make it effective itself, because then it could not be executed where the capability is dropped. Only for
/// threads that start later.
pub fn use_permitted_low_ports() {
    let Ok(mut sets) = capabilities(None) else { return };
    let missing = CapabilitySet::NET_BIND_SERVICE & sets.permitted & !sets.effective;
    if !missing.is_empty() {
        sets.effective |= missing;
        // If this fails, binding fails with an error that names the port.
        let _ = set_capabilities(None, sets);
    }
}
