//! webrtc-box: a video call for two in one process.
#![warn(missing_docs)]

pub mod addresses;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod error;
pub mod greeting;
pub mod ops;
pub mod relay;
pub mod seat;
pub mod state;
pub mod tls;
pub mod turn;

// Stands in until the listeners exist.
mod start;
pub use start::{Running, start};
