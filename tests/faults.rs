//! Faults that a box must outlive, asked of the real program on loopback. Every figure is printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test crate; clippy knows only functions marked as tests"
)]
#![allow(clippy::print_stdout, unreachable_pub, reason = "figures are printed; modules are shared")]

#[path = "faults/addresses.rs"]
mod addresses;
#[path = "faults/call.rs"]
mod call;
#[path = "hostile/client.rs"]
mod client;
#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/crowd.rs"]
mod crowd;
#[path = "faults/disk.rs"]
mod disk;
#[path = "hostile/house.rs"]
mod house;
#[path = "faults/kill.rs"]
mod kill;
#[path = "faults/pause.rs"]
mod pause;
#[path = "hostile/place.rs"]
mod place;
#[path = "house/ports.rs"]
mod ports;
#[path = "faults/sandbox.rs"]
mod sandbox;
#[path = "hostile/seat.rs"]
mod seat;
#[path = "faults/slow.rs"]
mod slow;
#[path = "faults/taken.rs"]
mod taken;
#[path = "faults/unheard.rs"]
mod unheard;
