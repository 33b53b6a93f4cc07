//! What is fuzzed, each as a function of bytes that panics where a promise is broken. Shared by
//! `tests/fuzz.rs` on stable and by the targets in `fuzz/` under libFuzzer.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "all of this is test")]
#![allow(dead_code, unused_imports, reason = "each fuzz target uses one")]

mod framing;
mod rooms;
mod session;
mod stun_bytes;

pub use framing::stream_framing;
pub use rooms::signaling_json;
pub use session::{deliveries, turn_session};
pub use stun_bytes::stun_bytes;

/// Panics where a promise is broken.
pub type Body = fn(&[u8]);

/// A target's name, as its corpus folder has it, and its body.
pub const TARGETS: [(&str, Body); 4] = [
    ("stun_bytes", stun_bytes),
    ("turn_session", turn_session),
    ("stream_framing", stream_framing),
    ("signaling_json", signaling_json),
];
