//! A STUN and TURN server on UDP with one user. Prints the credential, then serves until it is killed.
//!
//! `cargo run -p webrtc-box-turn --example udp_server [address]`, by default 127.0.0.1. UDP port 3478 must be free.

#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use webrtc_box_rate_limit::Rate;
use webrtc_box_turn::addr::{ClientAddr, Families, PeerAddr, RelayedAddr, Transport};
use webrtc_box_turn::auth::{Authenticator, NonceKey};
use webrtc_box_turn::credential::{Principal, Secret, Secrets};
use webrtc_box_turn::peer_policy::{PeerFilter, PeerPolicy};
use webrtc_box_turn::registry::Quota;
use webrtc_box_turn::reply_limit::ReplyLimit;
use webrtc_box_turn::routing_table::RoutingTable;
use webrtc_box_turn::server::{Event, Now, PortError, Server, ServerConfig, Transmit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ip: IpAddr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1".into()).parse()?;
    let local = SocketAddr::new(ip, 3478);
    // The credential expires in the year 2100, so it is always the same.
    let secrets = Secrets::new(Secret::new("example secret"), vec![]);
    let credential = secrets.mint(&Principal::Foreign("alice".into()), 4_102_444_800);
    println!(
        "turn:{local}?transport=udp username={} credential={}",
        credential.username, credential.password
    );
    run(new_server(ip, secrets), local)
}

fn new_server(ip: IpAddr, secrets: Secrets) -> Server {
    let start = Instant::now();
    let relayed = Families { v4: ip.is_ipv4().then_some(ip), v6: ip.is_ipv6().then_some(ip) };
    let filter = PeerFilter { own: vec![ip], listeners: vec![3478], ..PeerFilter::default() };
    let config = ServerConfig {
        worker: 0,
        relayed,
        peer_policy: PeerPolicy::Public(filter),
        quota: Quota { user: 10, total: 100 },
        max_bps: 0,
        credential_ttl: Duration::from_secs(3600),
        group_size: 2,
    };
    let nonce_key = NonceKey::new(std::array::from_fn(|_| random() as u8), start);
    let authenticator = Authenticator::new(secrets, "example.org".into(), nonce_key);
    let routes = RoutingTable::new(&(49_152..=65_535), &[], 0, random(), start);
    let seeds = [[random(), random()], [random(), random()]];
    let limit = ReplyLimit::new(Rate::per_second(20), seeds, start);
    Server::new(config, authenticator, Arc::new(routes), Arc::new(limit), Box::new(random))
}

/// Polls all sockets every millisecond. A real server would wait for them, for example with epoll.
fn run(mut server: Server, local: SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
    let socket = UdpSocket::bind(local)?;
    socket.set_read_timeout(Some(Duration::from_millis(1)))?;
    let mut relay_sockets: HashMap<RelayedAddr, UdpSocket> = HashMap::new();
    let mut buffer = vec![0; 65_535];
    loop {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let now = Now { instant: Instant::now(), unix };
        server.handle_timeout(now.instant);
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let client = ClientAddr::new(Transport::Udp, from, local);
            send(server.handle(client, &buffer[..length], now), &socket, &relay_sockets);
        }
        for (&relayed, relay_socket) in &relay_sockets {
            while let Ok((length, from)) = relay_socket.recv_from(&mut buffer) {
                let peer = PeerAddr::new(from);
                let transmit = server.handle_peer(relayed, peer, &buffer[..length], now.instant);
                send(transmit, &socket, &relay_sockets);
            }
        }
        while let Some(event) = server.poll_event() {
            match event {
                Event::Reply { to, bytes } => drop(socket.send_to(&bytes, to.remote)),
                Event::OpenPort(relayed) => {
                    let opened =
                        bind_nonblocking(relayed).map(|socket| relay_sockets.insert(relayed, socket));
                    let result = opened.map(drop).map_err(|_| PortError::InUse);
                    server.handle_port_opened(relayed, result, now.instant);
                }
                Event::ClosePort(relayed) => drop(relay_sockets.remove(&relayed)),
                Event::Evict { .. } => {} // for servers with several workers
                Event::AllocationOpened { .. } | Event::AllocationClosed { .. } => println!("{event:?}"),
            }
        }
    }
}

/// Sends a payload. Like the network, it may lose packets.
fn send(transmit: Option<Transmit<'_>>, socket: &UdpSocket, relay_sockets: &HashMap<RelayedAddr, UdpSocket>) {
    match transmit {
        Some(Transmit::Client { to, header, payload, .. }) => {
            let padding = vec![0; header.padding(payload.len(), false)];
            drop(socket.send_to(&[header.bytes(), payload, &padding].concat(), to.remote));
        }
        Some(Transmit::Peer { from, to, payload, .. }) => {
            drop(relay_sockets.get(&from).map(|socket| socket.send_to(payload, to.0)));
        }
        None => {}
    }
}

fn bind_nonblocking(relayed: RelayedAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(relayed.0)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The random keys of `HashMap` are the standard library's only source of randomness.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}
