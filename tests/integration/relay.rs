//! The relay over real sockets on loopback, with the client of the `turn` crate, an independent implementation.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::harness::TEST_TIMEOUT;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use turn::client::{Client, ClientConfig};
use webrtc_box_relay::health::HealthMonitor;
use webrtc_box_relay::{Relay, RelayConfig};
use webrtc_box_turn::addr::Families;
use webrtc_box_turn::credential::{Credential, Principal, Secret, Secrets};
use webrtc_box_turn::peer_policy::{PeerFilter, PeerPolicy};
use webrtc_box_turn::principal::{IsolationGroup, PrincipalEvent, PrincipalId};
use webrtc_box_turn::registry::Quota;
use webrtc_util::Conn;

fn secrets() -> Secrets {
    Secrets::new(Secret::new("north"), vec![])
}

fn seat(room: u8, id: u8) -> (IsolationGroup, PrincipalId) {
    (IsolationGroup::new([room; 16]), PrincipalId::new([id; 16]))
}

fn credential(room: u8, id: u8) -> Credential {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (group, id) = seat(room, id);
    secrets().mint(&Principal::Participant(group, id), now + 3600)
}

fn config(peer_policy: PeerPolicy, relayed: &str, listen: &str) -> RelayConfig {
    let relayed: IpAddr = relayed.parse().unwrap();
    let families = Families { v4: Some(relayed), v6: None };
    RelayConfig {
        listen: vec![listen.parse().unwrap()],
        workers: 2,
        peer_policy,
        relayed: families,
        bind: families,
        ports: 49_152..=65_535,
        listeners: vec![],
        secrets: secrets(),
        realm: "webrtc-box".into(),
        quota: Quota { user: 48, total: 0 },
        max_bps: 0,
        credential_ttl: Duration::from_secs(3600),
        group_size: 2,
        bps_capacity: 0,
        unauth_reply_rate: 0,
        log_addresses: false,
        health: HealthMonitor::new(Instant::now()),
    }
}

fn room_relay(listen: &str) -> Relay {
    let relay = Relay::start(config(PeerPolicy::SameGroup, "192.0.0.8", listen)).unwrap();
    for id in 0..8 {
        let (group, id) = seat(1, id);
        relay.principal_feed().send(PrincipalEvent::Admitted(group, id));
    }
    relay
}

/// A client of the `turn` crate with an allocation.
async fn client_with_allocation(server: SocketAddr, credential: Credential) -> (Client, impl Conn) {
    let local = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let config = ClientConfig {
        stun_serv_addr: server.to_string(),
        turn_serv_addr: server.to_string(),
        username: credential.username,
        password: credential.password,
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(UdpSocket::bind(local).await.unwrap()),
        vnet: None,
    };
    let client = Client::new(config).await.unwrap();
    client.listen().await.unwrap();
    let relayed = timeout(TEST_TIMEOUT, client.allocate()).await.unwrap().unwrap();
    (client, relayed)
}

async fn receive(conn: &impl Conn) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (length, from) = timeout(TEST_TIMEOUT, conn.recv_from(&mut buffer)).await.unwrap().unwrap();
    buffer.truncate(length);
    (buffer, from)
}

/// Exchanges data in both directions, until both have permissions and channels.
async fn assert_exchange(one: &impl Conn, other: &impl Conn) {
    let (first, second) = (one.local_addr().unwrap(), other.local_addr().unwrap());
    // Installs the permission of the other side; the payload may be lost.
    other.send_to(b"opening", first).await.unwrap();
    for round in 0..50_u8 {
        one.send_to(&[round; 1200], second).await.unwrap();
        let (bytes, from) = receive(other).await;
        assert_eq!((bytes, from), (vec![round; 1200], first));
        other.send_to(&[round; 160], first).await.unwrap();
        let (mut bytes, from) = receive(one).await;
        if bytes == b"opening" {
            bytes = receive(one).await.0;
        }
        assert_eq!((bytes, from), (vec![round; 160], second));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_participants_of_a_room_exchange_data_over_the_relay() {
    let relay = room_relay("127.0.0.1:0");
    let server = relay.addresses()[0];
    let (_one, first) = client_with_allocation(server, credential(1, 1)).await;
    let (_other, second) = client_with_allocation(server, credential(1, 2)).await;
    assert_eq!(first.local_addr().unwrap().ip().to_string(), "192.0.0.8");
    assert_exchange(&first, &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_socket_serves_ipv4_and_ipv6_clients() {
    let relay = room_relay("[::]:0");
    let port = relay.addresses()[0].port();
    let (_one, first) =
        client_with_allocation(SocketAddr::from(([127, 0, 0, 1], port)), credential(1, 1)).await;
    let v6: IpAddr = "::1".parse().unwrap();
    let (_other, second) = client_with_allocation(SocketAddr::from((v6, port)), credential(1, 2)).await;
    assert_exchange(&first, &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_leave_from_the_address_that_was_asked() {
    let relay = room_relay("0.0.0.0:0");
    let port = relay.addresses()[0].port();
    for host in [1, 2, 77] {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(SocketAddr::from(([127, 0, 0, host], port))).await.unwrap();
        let mut binding = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        binding.extend_from_slice(&[host; 12]);
        socket.send(&binding).await.unwrap();
        let mut reply = [0; 100];
        // A connected socket receives only from the address that it is connected to.
        let length = timeout(TEST_TIMEOUT, socket.recv(&mut reply)).await.unwrap().unwrap();
        assert_eq!((length, reply[8]), (32, host));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn participants_reach_each_other_across_workers() {
    let relay = room_relay("127.0.0.1:0");
    let server = relay.addresses()[0];
    let mut clients = Vec::new();
    for id in 0..8 {
        clients.push(client_with_allocation(server, credential(1, id)).await);
    }
    for pair in clients.chunks(2) {
        assert_exchange(&pair[0].1, &pair[1].1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn port_in_use_cannot_be_shared() {
    let relay = room_relay("127.0.0.1:0");
    let taken = relay.addresses()[0].to_string();
    let error = Relay::start(config(PeerPolicy::SameGroup, "192.0.0.8", &taken)).unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test(flavor = "multi_thread")]
async fn public_policy_reaches_network_peers_with_whole_datagrams() {
    // Loopback stands for the internet, so the filter must allow it.
    let filter = PeerFilter { allowed: vec!["127.0.0.0/8".parse().unwrap()], ..PeerFilter::default() };
    let relay = Relay::start(config(PeerPolicy::Public(filter), "127.0.0.1", "127.0.0.1:0")).unwrap();
    let (group, id) = seat(1, 1);
    relay.principal_feed().send(PrincipalEvent::Admitted(group, id));
    let (_client, conn) = client_with_allocation(relay.addresses()[0], credential(1, 1)).await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = vec![0; 65_536];
    for length in [1, 1200, 1500, 9000] {
        conn.send_to(&vec![7; length], peer.local_addr().unwrap()).await.unwrap();
        let (received, from) = timeout(TEST_TIMEOUT, peer.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert_eq!((received, from), (length, conn.local_addr().unwrap()));
        peer.send_to(&buffer[..received], from).await.unwrap();
        let (bytes, from) = receive(&conn).await;
        assert_eq!((bytes.len(), from), (length, peer.local_addr().unwrap()));
    }
    // A closed peer port (ICMP port unreachable) costs the packet, not the allocation.
    let closed = peer.local_addr().unwrap();
    drop(peer);
    for _ in 0..5 {
        conn.send_to(b"lost", closed).await.unwrap();
    }
    let reopened = UdpSocket::bind(closed).await.unwrap();
    let again = async {
        loop {
            conn.send_to(b"again", closed).await.unwrap();
            let received = timeout(Duration::from_millis(200), reopened.recv_from(&mut buffer)).await;
            if received.is_ok_and(|received| received.unwrap().0 == b"again".len()) {
                break;
            }
        }
    };
    timeout(TEST_TIMEOUT, again).await.unwrap();
}
