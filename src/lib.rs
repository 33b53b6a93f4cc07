//! webrtc-box: a video call for two in one process.
//!
//! It serves the call page and its signaling over HTTPS and WSS, and is its own STUN/TURN relay.
//!
//! The map: [`config`] turns what was typed into [`config::Settings`]; [`start()`] makes a
//! [`Running`] box of them. Two wings never meet except there: [`web`] with [`signaling`] (who
//! sits in which room), and [`relay`] with [`turn`] (whose packets go where). What both know is in
//! [`seat`] and [`credential`]. [`signaling`], [`turn`], [`seat`] and [`credential`] hold no socket,
//! no clock and no random source. [`metrics`] asks both wings what they have counted.
#![warn(missing_docs)]

pub mod addresses;
mod beside;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod descriptors;
pub mod error;
pub mod greeting;
pub mod heartbeat;
pub mod host;
mod log;
mod mac;
pub mod metrics;
pub mod ops;
pub mod passed;
pub mod queue_budget;
mod random;
pub mod rate_limit;
pub mod relay;
pub mod seat;
pub mod service;
pub mod signaling;
pub mod signals;
pub mod socket;
pub mod source;
mod start;
pub mod state;
pub mod tls;
pub mod turn;
pub mod web;

pub use start::{Running, start, start_on};
