//! Permissions, channels, and the data that they relay.

use std::net::SocketAddr;
use std::time::Duration;

use super::client::Client;
use super::server::{LISTENERS, Listener, Server};
use super::transport::{datagram, peer};
use crate::harness::TEST_TIMEOUT;
use crate::harness::ports::free_port;

const CHANNEL: u16 = 0x4000;

/// Two allocations of one user with permissions and channels for each other.
fn pair(server: &Server, listeners: [Listener; 2]) -> [(Client, SocketAddr); 2] {
    let [mut one, mut other] = listeners.map(|listener| Client::with_allocation(server, listener, "bob"));
    for (client, target) in [(&mut one.0, other.1), (&mut other.0, one.1)] {
        assert_eq!(client.create_permission(&[target]).code(), 0);
        assert_eq!(client.channel_bind(CHANNEL, target).code(), 0);
    }
    [one, other]
}

pub(crate) fn one_refused_peer_refuses_the_whole_permission_request(server: &Server, listener: Listener) {
    let [(mut client, relayed), (mut other, target)] =
        [listener; 2].map(|listener| Client::with_allocation(server, listener, "bob"));
    assert_eq!(other.create_permission(&[relayed]).code(), 0);
    let refused = client.create_permission(&[target, "8.8.8.8:53".parse().unwrap()]);
    assert_eq!(client.signed_code(&refused), 403);
    client.send_indication(target, b"not permitted");
    client.assert_no_message();
    other.assert_no_message();
    assert_eq!(client.create_permission(&[target]).code(), 0);
    client.send_indication(target, b"permitted");
    assert_eq!(other.receive_data(), (relayed, b"permitted".to_vec()));
}

pub(crate) fn channel_bind_checks_number_and_peer(server: &Server, listener: Listener) {
    let [(mut client, _), (_other, target)] = pair(server, [listener; 2]);
    let (_third, another) = Client::with_allocation(server, listener, "bob");
    assert_eq!(client.channel_bind(0x3fff, another).code(), 400);
    assert_eq!(client.channel_bind(0x8000, another).code(), 400);
    assert_eq!(client.channel_bind(CHANNEL, another).code(), 400, "the channel has another peer");
    assert_eq!(client.channel_bind(0x4001, target).code(), 400, "the peer has another channel");
    assert_eq!(client.channel_bind(CHANNEL, target).code(), 0, "the same binding is refreshed");
    assert_eq!(client.channel_bind(0x7fff, another).code(), 0);
}

pub(crate) fn another_isolation_group_is_not_reached(server: &Server, listener: Listener) {
    let (mut bob, bob_at) = Client::with_allocation(server, listener, "bob");
    let (mut alice, alice_at) = Client::with_allocation(server, listener, "alice");
    assert_eq!(
        (bob.create_permission(&[alice_at]).code(), alice.create_permission(&[bob_at]).code()),
        (0, 0)
    );
    let refused = bob.channel_bind(CHANNEL, alice_at);
    assert_eq!(bob.signed_code(&refused), 403);
    bob.send_indication(alice_at, b"hello");
    bob.assert_no_message();
    alice.assert_no_message();
}

/// Odd lengths to and from the listener; the framing must work after the last one, too.
pub(crate) fn channel_data_is_padded_on_streams_only(server: &Server, listener: Listener) {
    for opposite in LISTENERS {
        let [(mut one, _), (mut other, _)] = pair(server, [listener, opposite]);
        for length in [1, 2, 3, 4, 5, 0, 7, 159, 1201] {
            let payload = vec![length as u8; length];
            one.send_channel(CHANNEL, &payload);
            assert_eq!(other.receive_channel(CHANNEL), payload, "{length} to {opposite}");
            other.send_channel(CHANNEL, &payload);
            assert_eq!(one.receive_channel(CHANNEL), payload, "{length} from {opposite}");
        }
        one.assert_no_message();
        other.assert_no_message();
    }
}

pub(crate) fn datagram_over_1500_bytes_is_relayed(server: &Server, listener: Listener) {
    for opposite in LISTENERS {
        let [(mut one, one_at), (mut other, _)] = pair(server, [listener, opposite]);
        for length in [1501, 9000, 9001] {
            let payload: Vec<u8> = (0..length).map(|at: u32| at as u8).collect();
            one.send_channel(CHANNEL, &payload);
            assert!(other.receive_channel(CHANNEL) == payload, "{length} to {opposite}");
            other.send_indication(one_at, &payload);
            assert!(one.receive_channel(CHANNEL) == payload, "{length} from {opposite}");
        }
        assert_data_indication(server, (&mut one, one_at), opposite);
    }
}

/// Without a channel, the receiver gets a Data indication.
fn assert_data_indication(server: &Server, (one, one_at): (&mut Client, SocketAddr), opposite: Listener) {
    let (mut receiver, receiver_at) = Client::with_allocation(server, opposite, "bob");
    assert_eq!(receiver.create_permission(&[one_at]).code(), 0);
    let payload = vec![9; 8999];
    one.send_indication(receiver_at, &payload);
    assert!(receiver.receive_data() == (one_at, payload), "to {opposite}");
}

pub(crate) fn datagram_over_1500_bytes_is_relayed_in_public_scope(server: &Server, listener: Listener) {
    let (mut client, relayed) = Client::with_allocation(server, listener, "bob");
    let peer = peer(0, TEST_TIMEOUT);
    let address = peer.local_addr().unwrap();
    assert_eq!(client.channel_bind(CHANNEL, address).code(), 0);
    for length in [1, 1501, 9000, 9001] {
        let payload = vec![length as u8; length];
        client.send_channel(CHANNEL, &payload);
        assert!(datagram(&peer).unwrap() == payload, "{length} out");
        peer.send_to(&payload, relayed).unwrap();
        assert!(client.receive_channel(CHANNEL) == payload, "{length} in");
    }
}

pub(crate) fn closed_peer_port_ends_nothing_in_public_scope(server: &Server, listener: Listener) {
    let (mut client, relayed) = Client::with_allocation(server, listener, "bob");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    assert_eq!(client.channel_bind(CHANNEL, address).code(), 0);
    for _ in 0..20 {
        client.send_channel(CHANNEL, b"lost");
        client.assert_no_message();
    }
    assert_eq!(client.refresh(600).lifetime(), 600);
    let peer = peer(address.port(), Duration::from_millis(200));
    // The ICMP error of one packet may be reported on the next and cost it.
    let received = (0..75).any(|_| {
        client.send_channel(CHANNEL, b"again");
        datagram(&peer).is_some_and(|bytes| bytes == b"again")
    });
    assert!(received, "no packet reaches the peer");
    peer.send_to(b"here I am", relayed).unwrap();
    assert_eq!(client.receive_channel(CHANNEL), b"here I am");
}

/// In this scope the reply to an Allocate waits for a socket.
pub(crate) fn replies_are_signed_in_public_scope(server: &Server, listener: Listener) {
    let (mut client, _) = Client::with_allocation(server, listener, "bob");
    let private = "10.0.0.1:53".parse().unwrap();
    let refused =
        [client.allocate(&[]), client.create_permission(&[private]), client.channel_bind(CHANNEL, private)];
    assert_eq!(refused.map(|reply| client.signed_code(&reply)), [437, 403, 403]);
    let last = client.refresh(0);
    assert_eq!(client.signed_code(&last), 0);
    let new = client.allocate(&[]);
    assert_eq!(client.signed_code(&new), 0);
}
