//! Faults that the server must survive, injected into the real program on loopback.

mod addresses;
mod call;
mod clock;
mod full_disk;
mod kill;
mod mass_reconnect;
mod pause;
mod port_in_use;
mod sandbox;
mod slow_clients;
mod unread_log;
