//! Runs one body of `tests/fuzz/bodies` under libFuzzer.
#![no_main]

#[path = "../../tests/fuzz/bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::stream_framing(bytes));
