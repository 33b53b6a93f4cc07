//! What abuse may cost, and which faults the server survives; the tests print what they measure.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test binary that prints measurements"
)]

mod abuse;
mod faults;
#[path = "../harness/mod.rs"]
mod harness;
