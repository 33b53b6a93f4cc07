//! The real program under a service manager: told what it does, asked to read its settings anew, to
//! drain, and to live on sockets it was given.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test crate; clippy knows only functions marked as tests"
)]
#![allow(clippy::print_stdout, unreachable_pub, reason = "figures are printed; modules are shared")]

#[path = "hostile/client.rs"]
mod client;
#[path = "service/drain.rs"]
mod drain;
#[path = "hostile/house.rs"]
mod house;
#[path = "service/life.rs"]
mod life;
#[path = "service/manager.rs"]
mod manager;
#[path = "service/passed.rs"]
mod passed;
#[path = "hostile/place.rs"]
mod place;
#[path = "house/ports.rs"]
mod ports;
#[path = "service/reload.rs"]
mod reload;
#[path = "hostile/seat.rs"]
mod seat;
#[path = "service/units.rs"]
mod units;
