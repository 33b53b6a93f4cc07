//! Addresses of this host and what the kernel allows.

pub mod addresses;
pub mod fd_limit;
pub mod interfaces;
