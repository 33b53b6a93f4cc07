//! Ports for boxes that must be told theirs.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// A port nobody has, below those that the system gives to clients: it still is free when the box
/// asks for it, and after a restart. No two of one process are the same.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + (std::process::id() % 200) as u16 * 100;
    loop {
        let here = (Ipv4Addr::LOCALHOST, first + NEXT.fetch_add(1, Ordering::Relaxed));
        if TcpListener::bind(here).is_ok() && UdpSocket::bind(here).is_ok() {
            return here.1;
        }
    }
}
