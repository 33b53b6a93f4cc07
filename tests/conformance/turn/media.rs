//! Rows about permissions, channels, and what passes through them.

use std::net::SocketAddr;
use std::time::Duration;

use super::client::Client;
use super::server::{LISTENERS, Listener, PATIENCE, Server};
use super::transport::{datagram, peer};
use crate::harness::ports::free_port;

const CHANNEL: u16 = 0x4000;

/// Two allocations of one holder with permissions and channels for each other.
fn pair(server: &Server, listeners: [Listener; 2]) -> [(Client, SocketAddr); 2] {
    let [mut one, mut other] = listeners.map(|listener| Client::allocated(server, listener, "bob"));
    for (client, target) in [(&mut one.0, other.1), (&mut other.0, one.1)] {
        assert_eq!(client.permit(&[target]).code(), 0);
        assert_eq!(client.bind(CHANNEL, target).code(), 0);
    }
    [one, other]
}

pub(crate) fn two_peers_one_refused(server: &Server, listener: Listener) {
    let [(mut client, relayed), (mut other, target)] =
        [listener; 2].map(|listener| Client::allocated(server, listener, "bob"));
    assert_eq!(other.permit(&[relayed]).code(), 0);
    let refused = client.permit(&[target, "8.8.8.8:53".parse().unwrap()]);
    assert_eq!(client.signed_code(&refused), 403);
    client.indicate(target, b"not permitted");
    client.heard_nothing();
    other.heard_nothing();
    assert_eq!(client.permit(&[target]).code(), 0);
    client.indicate(target, b"permitted");
    assert_eq!(other.receive_data(), (relayed, b"permitted".to_vec()));
}

pub(crate) fn channel_numbers(server: &Server, listener: Listener) {
    let [(mut client, _), (_other, target)] = pair(server, [listener; 2]);
    let (_third, another) = Client::allocated(server, listener, "bob");
    assert_eq!(client.bind(0x3fff, another).code(), 400);
    assert_eq!(client.bind(0x8000, another).code(), 400);
    assert_eq!(client.bind(CHANNEL, another).code(), 400, "the number names another peer");
    assert_eq!(client.bind(0x4001, target).code(), 400, "the peer has another number");
    assert_eq!(client.bind(CHANNEL, target).code(), 0, "the same again renews");
    assert_eq!(client.bind(0x7fff, another).code(), 0);
}

pub(crate) fn another_tag_is_not_reached(server: &Server, listener: Listener) {
    let (mut bob, of_bob) = Client::allocated(server, listener, "bob");
    let (mut alice, of_alice) = Client::allocated(server, listener, "alice");
    assert_eq!((bob.permit(&[of_alice]).code(), alice.permit(&[of_bob]).code()), (0, 0));
    let refused = bob.bind(CHANNEL, of_alice);
    assert_eq!(bob.signed_code(&refused), 403);
    bob.indicate(of_alice, b"hello");
    bob.heard_nothing();
    alice.heard_nothing();
}

/// Odd lengths to and from the listener; behind the last one the framing still holds.
pub(crate) fn channel_data_padded(server: &Server, listener: Listener) {
    for opposite in LISTENERS {
        let [(mut one, _), (mut other, _)] = pair(server, [listener, opposite]);
        for length in [1, 2, 3, 4, 5, 0, 7, 159, 1201] {
            let payload = vec![length as u8; length];
            one.send_channel(CHANNEL, &payload);
            assert_eq!(other.receive_channel(CHANNEL), payload, "{length} to {opposite}");
            other.send_channel(CHANNEL, &payload);
            assert_eq!(one.receive_channel(CHANNEL), payload, "{length} from {opposite}");
        }
        one.heard_nothing();
        other.heard_nothing();
    }
}

pub(crate) fn datagram_over_1500_bytes(server: &Server, listener: Listener) {
    for opposite in LISTENERS {
        let [(mut one, of_one), (mut other, _)] = pair(server, [listener, opposite]);
        for length in [1501, 9000, 9001] {
            let payload: Vec<u8> = (0..length).map(|at: u32| at as u8).collect();
            one.send_channel(CHANNEL, &payload);
            assert!(other.receive_channel(CHANNEL) == payload, "{length} to {opposite}");
            other.indicate(of_one, &payload);
            assert!(one.receive_channel(CHANNEL) == payload, "{length} from {opposite}");
        }
        indicated_whole(server, (&mut one, of_one), opposite);
    }
}

/// Without a channel at the far side: out comes a Data indication.
fn indicated_whole(server: &Server, (one, of_one): (&mut Client, SocketAddr), opposite: Listener) {
    let (mut bare, of_bare) = Client::allocated(server, opposite, "bob");
    assert_eq!(bare.permit(&[of_one]).code(), 0);
    let payload = vec![9; 8999];
    one.indicate(of_bare, &payload);
    assert!(bare.receive_data() == (of_one, payload), "to {opposite}");
}

pub(crate) fn in_public_a_datagram_over_1500_bytes(server: &Server, listener: Listener) {
    let (mut client, relayed) = Client::allocated(server, listener, "bob");
    let peer = peer(0, PATIENCE);
    let address = peer.local_addr().unwrap();
    assert_eq!(client.bind(CHANNEL, address).code(), 0);
    for length in [1, 1501, 9000, 9001] {
        let payload = vec![length as u8; length];
        client.send_channel(CHANNEL, &payload);
        assert!(datagram(&peer).unwrap() == payload, "{length} out");
        peer.send_to(&payload, relayed).unwrap();
        assert!(client.receive_channel(CHANNEL) == payload, "{length} in");
    }
}

pub(crate) fn in_public_a_closed_port_ends_nothing(server: &Server, listener: Listener) {
    let (mut client, relayed) = Client::allocated(server, listener, "bob");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    assert_eq!(client.bind(CHANNEL, address).code(), 0);
    for _ in 0..20 {
        client.send_channel(CHANNEL, b"anybody?");
        client.heard_nothing();
    }
    assert_eq!(client.refresh(600).lifetime(), 600);
    let peer = peer(address.port(), Duration::from_millis(200));
    // The error of a packet before may cost one after it.
    let heard = (0..75).any(|_| {
        client.send_channel(CHANNEL, b"again");
        datagram(&peer).is_some_and(|bytes| bytes == b"again")
    });
    assert!(heard, "nothing flows any more");
    peer.send_to(b"here I am", relayed).unwrap();
    assert_eq!(client.receive_channel(CHANNEL), b"here I am");
}

/// There the answer to an Allocate waits for a socket.
pub(crate) fn in_public_replies_carry_integrity(server: &Server, listener: Listener) {
    let (mut client, _) = Client::allocated(server, listener, "bob");
    let private = "10.0.0.1:53".parse().unwrap();
    let refused = [client.allocate(&[]), client.permit(&[private]), client.bind(CHANNEL, private)];
    assert_eq!(refused.map(|answer| client.signed_code(&answer)), [437, 403, 403]);
    let last = client.refresh(0);
    assert_eq!(client.signed_code(&last), 0);
    let again = client.allocate(&[]);
    assert_eq!(client.signed_code(&again), 0);
}
