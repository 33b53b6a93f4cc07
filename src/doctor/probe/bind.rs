//! Tries to bind what the settings listen on, and lets go again.

use std::io;
use std::net::SocketAddr;

use super::files;
use super::holders::Holders;
use crate::config::Settings;
use crate::doctor::judge::ports::{Bound, Listener, Protocol};
use crate::net::interfaces::sockets;
use webrtc_box_relay::socket;

/// Every listener of the settings.
pub(in crate::doctor) fn all(settings: &Settings, holders: &Holders) -> Vec<Listener> {
    let turns = settings.turns_port.filter(|_| settings.turn_port.is_some());
    let wanted = [
        ("https-port", settings.https_port, Protocol::Tcp),
        ("http-port", settings.http_port, Protocol::Tcp),
        ("turn-port", settings.turn_port, Protocol::Udp),
        ("turn-port", settings.turn_port, Protocol::Tcp),
        ("turns-port", turns, Protocol::Tcp),
    ];
    let wanted = wanted.into_iter().filter_map(|(setting, port, protocol)| Some((setting, port?, protocol)));
    let by_systemd = files::socket_ports();
    let listener = |(setting, port, protocol)| {
        let bound = bound(&sockets(&settings.listen, port), protocol, holders);
        let by_systemd = protocol == Protocol::Tcp && by_systemd.contains(&port);
        Listener { setting, port, protocol, by_systemd, bound }
    };
    wanted.map(listener).chain(settings.metrics_listen.map(|address| metrics(address, holders))).collect()
}

fn metrics(address: SocketAddr, holders: &Holders) -> Listener {
    let bound = bound(&[address], Protocol::Tcp, holders);
    let (setting, port, protocol) = ("metrics-listen", address.port(), Protocol::Tcp);
    Listener { setting, port, protocol, by_systemd: false, bound }
}

/// The first address that cannot be had decides.
fn bound(addresses: &[SocketAddr], protocol: Protocol, holders: &Holders) -> Bound {
    let fault = addresses.iter().find_map(|address| Some((*address, bind(*address, protocol).err()?)));
    let Some((address, fault)) = fault else { return Bound::Free };
    refused(address, protocol, &fault, holders)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system has forty kinds of error")]
fn refused(address: SocketAddr, protocol: Protocol, fault: &io::Error, holders: &Holders) -> Bound {
    let port = address.port();
    match fault.kind() {
        io::ErrorKind::AddrInUse => Bound::Taken(holders.programs(protocol, port)),
        // Who lacks the right is told so before it is looked whether the port is free.
        io::ErrorKind::PermissionDenied if holders.is_taken(protocol, port) => {
            Bound::Taken(holders.programs(protocol, port))
        }
        io::ErrorKind::PermissionDenied => Bound::Forbidden,
        io::ErrorKind::AddrNotAvailable => Bound::NoAddress(address.ip()),
        _ => Bound::Other(fault.to_string()),
    }
}

fn bind(address: SocketAddr, protocol: Protocol) -> io::Result<()> {
    let socket = match protocol {
        Protocol::Tcp => {
            let socket = socket::tcp(address)?;
            // As at a start: old connections do not count.
            socket.set_reuse_address(true)?;
            socket
        }
        Protocol::Udp => socket::udp(address)?,
    };
    socket.bind(&address.into())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn what_is_free_is_told_from_what_somebody_has() {
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let taken = [(tcp.local_addr().unwrap(), Protocol::Tcp), (udp.local_addr().unwrap(), Protocol::Udp)];
        for (address, protocol) in taken {
            let bound = bound(&[address], protocol, &Holders::look());
            assert!(matches!(&bound, Bound::Taken(programs) if programs.len() == 1), "{bound:?}");
        }
        let nobodys = SocketAddr::from(([203, 0, 113, 77], 50_001));
        let bound = bound(&[nobodys], Protocol::Udp, &Holders::default());
        assert_eq!(bound, Bound::NoAddress(nobodys.ip()));
    }
}
