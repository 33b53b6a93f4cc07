//! What abuse costs and what faults do, measured on the program. Every figure is printed.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test binary that prints its figures"
)]

mod abuse;
mod faults;
#[path = "../harness/mod.rs"]
mod harness;
