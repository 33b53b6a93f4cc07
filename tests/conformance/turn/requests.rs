//! Rows about what a request is answered.

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

pub(crate) fn allocate_again(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    let bytes = client.signed(request(METHOD_ALLOCATE, &[UDP])).raw;
    let (first, again) = (client.exchange(&bytes), client.exchange(&bytes));
    assert_eq!((first.code(), again.code()), (0, 0));
    for kind in [attr::ATTR_XOR_RELAYED_ADDRESS, attr::ATTR_XORMAPPED_ADDRESS] {
        assert_eq!(first.value(kind).unwrap(), again.value(kind).unwrap());
    }
    // The clock runs between the two.
    assert!((590..=first.lifetime()).contains(&again.lifetime()), "{again:?}");
    assert_eq!(client.allocate(&[]).code(), 437);
}

pub(crate) fn made_up_nonce(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    for nonce in [&b"made up"[..], &[b'A'; 22], b""] {
        client.nonce = nonce.to_vec();
        stale_and_then_well(&mut client);
    }
}

pub(crate) fn nonce_from_another_port(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    client.nonce = Client::new(server, listener, credential("bob")).nonce;
    stale_and_then_well(&mut client);
}

/// A datagram socket keeps its port over the restart, so there the key alone makes the nonce stale.
pub(crate) fn nonce_from_before_a_restart() {
    let mut server = Server::open(&[]);
    let before = LISTENERS.map(|listener| Client::new(&server, listener, credential("bob")));
    server.restart();
    for (mut client, listener) in before.into_iter().zip(LISTENERS) {
        if listener != Listener::Udp {
            client = Client { nonce: client.nonce, ..Client::new(&server, listener, credential("bob")) };
        }
        stale_and_then_well(&mut client);
    }
}

fn stale_and_then_well(client: &mut Client) {
    let stale = client.allocate(&[]);
    assert_eq!(stale.code(), 438);
    client.heed(&stale);
    assert_eq!(client.allocate(&[]).code(), 0);
    assert_eq!(client.refresh(0).code(), 0);
}

pub(crate) fn bad_password_and_expired_credential(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    client.credential.password.push('x');
    assert_eq!(client.allocate(&[]).code(), 401);
    client.credential = credential_until("bob", unix_now() - 1);
    assert_eq!(client.allocate(&[]).code(), 401);
    client.credential = credential("bob");
    assert_eq!(client.allocate(&[]).code(), 0);
}

pub(crate) fn wrong_realm(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    client.realm.push('x');
    assert_eq!(client.allocate(&[]).code(), 401);
    // Signed as if it were right, and only named wrong.
    client.realm.pop();
    let named_wrong = client.signed_naming(request(METHOD_ALLOCATE, &[UDP]), "elsewhere").raw;
    assert_eq!(client.exchange(&named_wrong).code(), 401);
    assert_eq!(client.allocate(&[]).code(), 0);
}

pub(crate) fn refresh_lifetimes(server: &Server, listener: Listener) {
    let (mut client, _) = Client::allocated(server, listener, "bob");
    assert_eq!(client.refresh(1).lifetime(), 600);
    assert_eq!(client.refresh(100_000).lifetime(), 3600);
    assert_eq!(client.refresh(0).lifetime(), 0);
    assert_eq!(client.refresh(600).code(), 437, "it was deleted");
}

pub(crate) fn without_an_allocation(server: &Server, listener: Listener) {
    let (_other, peer) = Client::allocated(server, listener, "bob");
    let mut client = Client::new(server, listener, credential("bob"));
    let answers = [client.refresh(600), client.permit(&[peer]), client.bind(0x4000, peer)];
    assert_eq!(answers.map(|answer| client.signed_code(&answer)), [437; 3]);
}

pub(crate) fn another_valid_user(server: &Server, listener: Listener) {
    let (mut client, _) = Client::allocated(server, listener, "bob");
    let (_other, peer) = Client::allocated(server, listener, "bob");
    let owner = std::mem::replace(&mut client.credential, credential("alice"));
    let answers =
        [client.refresh(1200), client.permit(&[peer]), client.bind(0x4000, peer), client.refresh(0)];
    assert_eq!(answers.map(|answer| client.signed_code(&answer)), [441; 4]);
    client.credential = owner;
    assert_eq!(client.refresh(600).lifetime(), 600, "the first one's lives");
}

pub(crate) fn attributes_behind_the_integrity(server: &Server, listener: Listener) {
    let (mut client, _) = Client::allocated(server, listener, "bob");
    let mut asked = |kind: AttrType, value: &[u8]| {
        let message = client.signed(request(METHOD_REFRESH, &[]));
        let answer = client.exchange(&appended(&message, kind.0, value));
        (answer.code(), answer.lifetime())
    };
    assert_eq!(asked(attr::ATTR_LIFETIME, &[0; 4]), (0, 600));
    assert_eq!(asked(AttrType(UNKNOWN), b"what"), (0, 600));
    assert_eq!(asked(AttrType(MESSAGE_INTEGRITY_SHA256), &[7; 32]), (0, 600));
    assert_eq!(client.refresh(1200).lifetime(), 1200, "it lives");
}

pub(crate) fn unknown_required_attribute(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    let answer = client.allocate(&[(AttrType(UNKNOWN), b"?"), (AttrType(0x8123), b"optional")]);
    assert_eq!(client.signed_code(&answer), 420);
    assert_eq!(answer.value(attr::ATTR_UNKNOWN_ATTRIBUTES).unwrap(), UNKNOWN.to_be_bytes());
    assert_eq!(client.exchange(&request(METHOD_BINDING, &[(AttrType(UNKNOWN), b"?")]).raw).code(), 420);
    assert_eq!(client.allocate(&[(AttrType(0x8123), b"optional")]).code(), 0);
}

pub(crate) fn transport_tcp_family_3_bad_token(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    let tcp = client.ask(METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &[6, 0, 0, 0])]);
    let family = client.allocate(&[(attr::ATTR_REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0])]);
    let token = client.allocate(&[(attr::ATTR_RESERVATION_TOKEN, b"nobody's")]);
    assert_eq!([tcp, family, token].map(|answer| client.signed_code(&answer)), [442, 440, 508]);
}

pub(crate) fn wrong_fingerprint(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    for method in [METHOD_BINDING, METHOD_ALLOCATE] {
        let mut message = client.signed(request(method, &[UDP][..usize::from(method == METHOD_ALLOCATE)]));
        FINGERPRINT.add_to(&mut message).unwrap();
        let mut wrong = message.raw.clone();
        *wrong.last_mut().unwrap() ^= 1;
        client.wire.send(&wrong);
        client.heard_nothing();
        assert_eq!(client.exchange(&message.raw).code(), 0, "the right one is answered");
    }
}

pub(crate) fn replies_carry_integrity(server: &Server, listener: Listener) {
    let (_other, peer) = Client::allocated(server, listener, "bob");
    let stranger = "8.8.8.8:53".parse().unwrap();
    let mut client = Client::new(server, listener, credential("bob"));
    let early = [client.refresh(600), client.allocate(&[(AttrType(UNKNOWN), b"?")])];
    assert_eq!(early.map(|answer| client.signed_code(&answer)), [437, 420]);
    let well = [client.allocate(&[]), client.permit(&[peer]), client.bind(0x4000, peer), client.refresh(600)];
    assert_eq!(well.map(|answer| client.signed_code(&answer)), [0; 4]);
    let refused = [client.allocate(&[]), client.permit(&[stranger]), client.bind(0x4001, stranger)];
    assert_eq!(refused.map(|answer| client.signed_code(&answer)), [437, 403, 403]);
    let bad = [client.permit(&[]), client.bind(0x3fff, peer), client.bind(0x4001, peer)];
    assert_eq!(bad.map(|answer| client.signed_code(&answer)), [400; 3]);
    let last = client.refresh(0);
    assert_eq!(client.signed_code(&last), 0);
}

pub(crate) fn expiry_reached_while_a_call_runs() {
    let server = Server::open(&[]);
    let expiry = unix_now() + 3;
    let brief = credential_until("bob", expiry);
    let calls = LISTENERS.map(|listener| {
        let mut client = Client::new(&server, listener, brief.clone());
        assert_eq!(client.allocate(&[]).code(), 0, "over {listener}");
        (listener, client)
    });
    // The wall clock itself is what this row is about.
    while unix_now() <= expiry {
        thread::sleep(Duration::from_millis(50));
    }
    for (listener, mut client) in calls {
        assert_eq!(client.refresh(600).lifetime(), 600, "over {listener}");
        let mut newcomer = Client::new(&server, listener, brief.clone());
        assert_eq!(newcomer.allocate(&[]).code(), 401, "over {listener}");
        assert_eq!(client.refresh(0).code(), 0, "over {listener}");
        assert_eq!(client.allocate(&[]).code(), 401, "over {listener}");
    }
}

pub(crate) fn change_request(server: &Server, listener: Listener) {
    let mut client = Client::new(server, listener, credential("bob"));
    let mut ask = |bits| {
        let value = [0, 0, 0, bits];
        client.exchange(&request(METHOD_BINDING, &[(attr::ATTR_CHANGE_REQUEST, &value)]).raw).code()
    };
    assert_eq!([0, 2, 4, 6].map(&mut ask), [0, 420, 420, 420]);
}

/// Over UDP alone: a stream that speaks neither TLS nor STUN is closed.
pub(crate) fn dtls_client_hello(server: &Server, listener: Listener) {
    if listener != Listener::Udp {
        return;
    }
    let mut client = Client::new(server, listener, credential("bob"));
    let mut hello = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 47, 1];
    hello.resize(60, 0);
    client.wire.send(&hello);
    assert_eq!(client.wire.receive(), [21, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40]);
    client.heard_nothing();
}
