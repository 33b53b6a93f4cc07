//! Set-up that the Rust integration tests share: servers under test, clients, ports and certificates.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::time::Duration;

pub mod environment;
pub mod http2_client;
pub mod http_client;
pub mod mutator;
pub mod participant;
pub mod ports;
pub mod program;
pub mod redis_server;
pub mod server_process;
pub mod test_ca;
pub mod turn_client;
pub mod web_server;

/// The longest wait for one event.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(15);
