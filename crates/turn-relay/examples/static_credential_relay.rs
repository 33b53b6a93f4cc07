//! A TURN relay on UDP and TCP with one static credential. Clients with this credential reach each other through it.
//!
//! ```sh
//! cargo run -p webrtc-box-relay --example static_credential_relay -- 127.0.0.1:3478
//! ```
//!
//! Both sides of a call use the printed values in `iceServers`, with `iceTransportPolicy: "relay"` to test the relay.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use webrtc_box_relay::health::HealthMonitor;
use webrtc_box_relay::{Relay, RelayConfig};
use webrtc_box_turn::addr::{Families, Transport};
use webrtc_box_turn::credential::{Principal, Secret, Secrets};
use webrtc_box_turn::peer_policy::PeerPolicy;
use webrtc_box_turn::registry::Quota;

/// The expiry in the username of a TURN REST credential: the year 2106.
const EXPIRY: u64 = u32::MAX as u64;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen: SocketAddr = std::env::args().nth(1).unwrap_or("127.0.0.1:3478".into()).parse()?;
    let secrets = Secrets::new(Secret::new("example secret"), Vec::new());
    let credential = secrets.mint(&Principal::Foreign("alice".into()), EXPIRY);
    // The address in relayed candidates. With `SameGroup` packets pass inside the relay, so no socket is bound to it.
    let relayed = match listen.ip() {
        ip if ip.is_ipv4() => Families { v4: Some(ip), v6: None },
        ip => Families { v4: None, v6: Some(ip) },
    };
    let relay = Relay::start(RelayConfig {
        listen: vec![listen],
        workers: 2,
        peer_policy: PeerPolicy::SameGroup,
        relayed,
        bind: relayed,
        ports: 49_152..=65_535,
        listeners: Vec::new(),
        secrets,
        realm: "example".into(),
        credential_ttl: Duration::from_secs(3600),
        group_size: 2,
        quota: Quota { user: 10, total: 0 },
        max_bps: 0,
        bps_capacity: 0,
        unauth_reply_rate: 20,
        log_addresses: false,
        health: HealthMonitor::new(Instant::now()),
    })?;
    let address = relay.addresses()[0];
    println!("urls: turn:{address}, turn:{address}?transport=tcp");
    println!("username: {}\ncredential: {}", credential.username, credential.password);

    let (listener, streams) = (TcpListener::bind(address).await?, relay.stream_server());
    loop {
        let (stream, client) = listener.accept().await?;
        let (streams, local) = (streams.clone(), stream.local_addr()?);
        tokio::spawn(async move { streams.serve(stream, Transport::Tcp, (client, local), true).await });
    }
}
