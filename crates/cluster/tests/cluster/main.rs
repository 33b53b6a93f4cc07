//! Tests of the decisions with a clock that the test holds, and of boxes on a real `redis-server`.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "test code"
)]

mod corrupt_values;
mod decisions;
mod faults;
mod harness;
mod interleavings;
mod redis;
mod scripts;
