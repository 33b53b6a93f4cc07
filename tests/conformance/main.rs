//! STUN and TURN by the RFCs, asked of the program, and the parsers under mutated input.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test binary that prints its figures"
)]

#[path = "../fuzz/mod.rs"]
mod fuzz;
#[path = "../harness/mod.rs"]
mod harness;
mod turn;
