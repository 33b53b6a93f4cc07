//! STUN and TURN conformance of the program, and parsers and state machines under mutated input.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test binary that prints measurements"
)]

#[path = "../fuzz/mod.rs"]
mod fuzz;
#[path = "../harness/mod.rs"]
mod harness;
mod turn;
