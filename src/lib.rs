//! webrtc-box: video calls for two people from one process.
//!
//! It serves the call page and its signaling over HTTPS and WSS, and is its own STUN and TURN server.
//!
//! [`config`] turns the command line, environment and file into [`config::Settings`], from which [`start()`] starts a
//! [`Running`] server. [`http`] does the IO of `webrtc_box_signaling`, and `webrtc_box_relay` that of the TURN server in
//! `webrtc_box_turn`. Only `app` connects the two; [`principals`] maps seats to principals.
#![cfg_attr(not(target_os = "linux"), allow(unused))]

#[cfg(not(target_os = "linux"))]
compile_error!("webrtc-box runs on Linux only: its relay uses epoll, GRO and GSO");

mod app;
pub mod banner;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod doctor;
pub mod error;
mod file_permissions;
pub mod http;
pub mod keys;
mod log;
mod memory;
pub mod metrics;
pub mod net;
pub mod nodes;
pub mod principals;
pub mod setup;
pub mod signals;
pub mod state_dir;
pub mod systemd;
mod task;
pub mod tls;

pub use app::{Running, StartError, start, start_on};
pub use log::{LogGuard, lost_lines, set_level, start_logging};
