//! Replies to requests.

use std::thread;
use std::time::Duration;

use stun::attributes as attr;
use stun::attributes::AttrType;
use stun::fingerprint::FINGERPRINT;
use stun::message::{METHOD_ALLOCATE, METHOD_BINDING, METHOD_REFRESH, Setter as _};

use super::client::{Client, UDP, appended, request};
use super::server::{LISTENERS, Listener, Server, credential, credential_until, unix_now};

const UNKNOWN: u16 = 0x7123;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;

pub(crate) fn retransmitted_allocate_gets_the_same_reply(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    let bytes = client.signed(request(METHOD_ALLOCATE, &[UDP])).raw;
    let (first, second) = (client.exchange(&bytes), client.exchange(&bytes));
    assert_eq!((first.code(), second.code()), (0, 0));
    for kind in [attr::ATTR_XOR_RELAYED_ADDRESS, attr::ATTR_XORMAPPED_ADDRESS] {
        assert_eq!(first.value(kind).unwrap(), second.value(kind).unwrap());
    }
    // Time passes between the two.
    assert!((590..=first.lifetime()).contains(&second.lifetime()), "{second:?}");
    assert_eq!(client.allocate(&[]).code(), 437);
}

pub(crate) fn invented_nonce_gets_438(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    for nonce in [&b"made up"[..], &[b'A'; 22], b""] {
        client.nonce = nonce.to_vec();
        assert_stale_then_accepted(&mut client);
    }
}

pub(crate) fn nonce_of_another_client_port_gets_438(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    client.nonce = Client::new(server, listener, credential("bob")).nonce;
    assert_stale_then_accepted(&mut client);
}

/// A UDP client keeps its port over the restart, so its nonce is stale only because of the new key.
pub(crate) fn nonce_from_before_a_restart_gets_438() {
    let mut server = Server::open(&[]);
    let before = LISTENERS.map(|listener| Client::new(&server, listener, credential("bob")));
    server.restart();
    for (mut client, listener) in before.into_iter().zip(LISTENERS) {
        if listener != Listener::Udp {
            client = Client { nonce: client.nonce, ..Client::new(&server, listener, credential("bob")) };
        }
        assert_stale_then_accepted(&mut client);
    }
}

fn assert_stale_then_accepted(client: &mut Client) {
    let stale = client.allocate(&[]);
    assert_eq!(stale.code(), 438);
    client.use_nonce(&stale);
    assert_eq!(client.allocate(&[]).code(), 0);
    assert_eq!(client.refresh(0).code(), 0);
}

pub(crate) fn wrong_password_and_expired_credential_get_401(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    client.credential.password.push('x');
    assert_eq!(client.allocate(&[]).code(), 401);
    client.credential = credential_until("bob", unix_now() - 1);
    assert_eq!(client.allocate(&[]).code(), 401);
    client.credential = credential("bob");
    assert_eq!(client.allocate(&[]).code(), 0);
}

pub(crate) fn wrong_realm_gets_401(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    client.realm.push('x');
    assert_eq!(client.allocate(&[]).code(), 401);
    // Signed with the correct realm, with another one in REALM.
    client.realm.pop();
    let other_realm = client.signed_with_realm(request(METHOD_ALLOCATE, &[UDP]), "elsewhere").raw;
    assert_eq!(client.exchange(&other_realm).code(), 401);
    assert_eq!(client.allocate(&[]).code(), 0);
}

pub(crate) fn refresh_clamps_the_lifetime(server: &Server, listener: Listener) {
    let (mut client, _) = Client::with_allocation(server, listener, "bob");
    assert_eq!(client.refresh(1).lifetime(), 600);
    assert_eq!(client.refresh(100_000).lifetime(), 3600);
    assert_eq!(client.refresh(0).lifetime(), 0);
    assert_eq!(client.refresh(600).code(), 437, "it was deleted");
}

pub(crate) fn requests_without_an_allocation_get_437(server: &Server, listener: Listener) {
    let (_other, peer) = Client::with_allocation(server, listener, "bob");
    let mut client = Client::new(server, listener, credential("bob"));
    let replies = [client.refresh(600), client.create_permission(&[peer]), client.channel_bind(0x4000, peer)];
    assert_eq!(replies.map(|reply| client.signed_code(&reply)), [437; 3]);
}

pub(crate) fn requests_of_another_user_get_441(server: &Server, listener: Listener) {
    let (mut client, _) = Client::with_allocation(server, listener, "bob");
    let (_other, peer) = Client::with_allocation(server, listener, "bob");
    let owner = std::mem::replace(&mut client.credential, credential("alice"));
    let replies = [
        client.refresh(1200),
        client.create_permission(&[peer]),
        client.channel_bind(0x4000, peer),
        client.refresh(0),
    ];
    assert_eq!(replies.map(|reply| client.signed_code(&reply)), [441; 4]);
    client.credential = owner;
    assert_eq!(client.refresh(600).lifetime(), 600, "the allocation still exists");
}

pub(crate) fn attributes_after_message_integrity_are_ignored(server: &Server, listener: Listener) {
    let (mut client, _) = Client::with_allocation(server, listener, "bob");
    let mut refresh = |kind: AttrType, value: &[u8]| {
        let message = client.signed(request(METHOD_REFRESH, &[]));
        let reply = client.exchange(&appended(&message, kind.0, value));
        (reply.code(), reply.lifetime())
    };
    assert_eq!(refresh(attr::ATTR_LIFETIME, &[0; 4]), (0, 600));
    assert_eq!(refresh(AttrType(UNKNOWN), b"what"), (0, 600));
    assert_eq!(refresh(AttrType(MESSAGE_INTEGRITY_SHA256), &[7; 32]), (0, 600));
    assert_eq!(client.refresh(1200).lifetime(), 1200, "the allocation still exists");
}

pub(crate) fn unknown_required_attribute_gets_420(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    let reply = client.allocate(&[(AttrType(UNKNOWN), b"?"), (AttrType(0x8123), b"optional")]);
    assert_eq!(client.signed_code(&reply), 420);
    assert_eq!(reply.value(attr::ATTR_UNKNOWN_ATTRIBUTES).unwrap(), UNKNOWN.to_be_bytes());
    assert_eq!(client.exchange(&request(METHOD_BINDING, &[(AttrType(UNKNOWN), b"?")]).raw).code(), 420);
    assert_eq!(client.allocate(&[(AttrType(0x8123), b"optional")]).code(), 0);
}

pub(crate) fn unsupported_transport_family_and_token_are_refused(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    let tcp = client.request(METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &[6, 0, 0, 0])]);
    let family = client.allocate(&[(attr::ATTR_REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0])]);
    let token = client.allocate(&[(attr::ATTR_RESERVATION_TOKEN, b"unknown!")]);
    assert_eq!([tcp, family, token].map(|reply| client.signed_code(&reply)), [442, 440, 508]);
}

pub(crate) fn wrong_fingerprint_is_not_answered(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    for method in [METHOD_BINDING, METHOD_ALLOCATE] {
        let mut message = client.signed(request(method, &[UDP][..usize::from(method == METHOD_ALLOCATE)]));
        FINGERPRINT.add_to(&mut message).unwrap();
        let mut wrong = message.raw.clone();
        *wrong.last_mut().unwrap() ^= 1;
        client.wire.send(&wrong);
        client.assert_no_message();
        assert_eq!(client.exchange(&message.raw).code(), 0, "the correct one is answered");
    }
}

pub(crate) fn replies_are_signed(server: &Server, listener: Listener) {
    let (_other, peer) = Client::with_allocation(server, listener, "bob");
    let outside = "8.8.8.8:53".parse().unwrap();
    let mut client = Client::new(server, listener, credential("bob"));
    let early = [client.refresh(600), client.allocate(&[(AttrType(UNKNOWN), b"?")])];
    assert_eq!(early.map(|reply| client.signed_code(&reply)), [437, 420]);
    let accepted = [
        client.allocate(&[]),
        client.create_permission(&[peer]),
        client.channel_bind(0x4000, peer),
        client.refresh(600),
    ];
    assert_eq!(accepted.map(|reply| client.signed_code(&reply)), [0; 4]);
    let refused =
        [client.allocate(&[]), client.create_permission(&[outside]), client.channel_bind(0x4001, outside)];
    assert_eq!(refused.map(|reply| client.signed_code(&reply)), [437, 403, 403]);
    let malformed =
        [client.create_permission(&[]), client.channel_bind(0x3fff, peer), client.channel_bind(0x4001, peer)];
    assert_eq!(malformed.map(|reply| client.signed_code(&reply)), [400; 3]);
    let last = client.refresh(0);
    assert_eq!(client.signed_code(&last), 0);
}

pub(crate) fn expired_credential_does_not_end_an_allocation() {
    let server = Server::open(&[]);
    let expiry = unix_now() + 3;
    let credential = credential_until("bob", expiry);
    let clients = LISTENERS.map(|listener| {
        let mut client = Client::new(&server, listener, credential.clone());
        assert_eq!(client.allocate(&[]).code(), 0, "over {listener}");
        (listener, client)
    });
    // The server reads the real wall clock.
    while unix_now() <= expiry {
        thread::sleep(Duration::from_millis(50));
    }
    for (listener, mut client) in clients {
        assert_eq!(client.refresh(600).lifetime(), 600, "over {listener}");
        let mut new_client = Client::new(&server, listener, credential.clone());
        assert_eq!(new_client.allocate(&[]).code(), 401, "over {listener}");
        assert_eq!(client.refresh(0).code(), 0, "over {listener}");
        assert_eq!(client.allocate(&[]).code(), 401, "over {listener}");
    }
}

pub(crate) fn change_request_gets_420(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    let mut request_change = |bits| {
        let value = [0, 0, 0, bits];
        client.exchange(&request(METHOD_BINDING, &[(attr::ATTR_CHANGE_REQUEST, &value)]).raw).code()
    };
    assert_eq!([0, 2, 4, 6].map(&mut request_change), [0, 420, 420, 420]);
}

/// UDP only: a stream with neither TLS nor STUN is closed.
pub(crate) fn dtls_client_hello_gets_an_alert(server: &Server, listener: Listener) {
    if listener != Listener::Udp {
        return;
    }
    let mut client = Client::new(server, listener, credential("bob"));
    let mut hello = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 47, 1];
    hello.resize(60, 0);
    client.wire.send(&hello);
    assert_eq!(client.wire.receive(), [21, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40]);
    client.assert_no_message();
}
