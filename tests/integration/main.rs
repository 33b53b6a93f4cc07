//! The program and its HTTP server as clients, operators and service managers use them.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test binary that prints measurements"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod acme;
mod certificates;
mod cluster;
mod doctor;
mod http;
mod in_process;
mod logs;
mod metrics;
mod page_build;
mod polling;
mod proxies;
mod relay;
mod service;
mod settings;
mod setup;
mod signaling;
mod streams;
