//! What the Rust integration tests share: servers under test, clients, ports and certificates.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod environment;
pub mod mutator;
pub mod participant;
pub mod ports;
pub mod program;
pub mod server_process;
pub mod test_ca;
pub mod turn_client;
pub mod web_server;
