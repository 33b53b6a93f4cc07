//! Free ports for servers whose ports must be known before they start.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// A port that is free for TCP and UDP on loopback, below the kernel's ephemeral range, so that it
/// stays free until the server binds it and over a restart. No two calls in one process return the same.
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
