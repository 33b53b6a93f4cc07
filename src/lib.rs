//! webrtc-box: a video call for two in one process.
#![warn(missing_docs)]

pub mod config;
pub mod credential;
pub mod seat;
