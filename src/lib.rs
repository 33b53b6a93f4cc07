//! webrtc-box: a video call for two in one process.
#![warn(missing_docs)]

pub mod addresses;
pub mod clock;
pub mod config;
pub mod credential;
pub mod relay;
pub mod seat;
pub mod turn;
