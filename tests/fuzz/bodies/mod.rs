//! The fuzz targets, each a function of bytes that panics if a property does not hold. Shared by `tests/fuzz`
//! on the stable toolchain and the targets in `fuzz/` under libFuzzer.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "test code")]
#![allow(dead_code, unused_imports, reason = "each fuzz binary uses one target")]

mod framing;
mod rooms;
mod session;
mod stun_bytes;

pub use framing::stream_framing;
pub use rooms::signaling_json;
pub use session::{relayed_packets, turn_session};
pub use stun_bytes::stun_bytes;

/// A fuzz target: takes an input and panics if a property does not hold.
pub type Body = fn(&[u8]);

/// Name of each target, which is the name of its corpus folder, and its body.
pub const TARGETS: [(&str, Body); 4] = [
    ("stun_bytes", stun_bytes),
    ("turn_session", turn_session),
    ("stream_framing", stream_framing),
    ("signaling_json", signaling_json),
];
