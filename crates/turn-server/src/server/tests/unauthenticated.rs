//! Replies to unauthenticated clients, and their limits.

use super::*;

fn outsider(harness: &Harness) -> Client {
    harness.client("45.0.9.9:999", &Principal::Foreign("outsider".into()))
}

fn unsigned(harness: &mut Harness, message: &Message) -> Option<Response> {
    let client = outsider(harness);
    harness.send(&client, &message.raw)
}

#[test]
fn a_binding_response_has_the_address_of_the_client() {
    let mut harness = Harness::new();
    let response = unsigned(&mut harness, &message(wire::METHOD_BINDING, [3; 12], &[])).unwrap();
    assert_eq!(response.address(attr::ATTR_XORMAPPED_ADDRESS), Some(addr("45.0.9.9:999")));
    assert_eq!(response.message.transaction_id.0, [3; 12]);
    assert!(response.bytes.len() <= 32, "1.6 times 20 bytes");
}

#[test]
fn a_401_is_at_most_three_times_its_request_and_stores_nothing() {
    let mut harness = Harness::new();
    let request = message(wire::METHOD_ALLOCATE, [3; 12], &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP)]);
    assert_eq!(request.raw.len(), 28);
    let response = unsigned(&mut harness, &request).unwrap();
    assert_eq!(response.code(), 401);
    assert_eq!(response.value(attr::ATTR_REALM), Some(b"webrtc-box".to_vec()));
    assert!(response.bytes.len() <= 3 * 28, "{}", response.bytes.len());
    assert!(harness.server.allocations.table().is_empty());
}

#[test]
fn datagrams_that_are_no_known_request_get_no_reply() {
    let mut harness = Harness::new();
    let client = outsider(&harness);
    let request = message(wire::METHOD_BINDING, [3; 12], &[]);
    let of_class = |class| {
        let mut other = request.clone();
        other.set_type(MessageType::new(wire::METHOD_BINDING, class));
        other.raw
    };
    let mut cookie = request.raw.clone();
    cookie[4] ^= 1;
    let mut trailing = request.raw.clone();
    trailing.push(0);
    let mut method = request.clone();
    method.set_type(MessageType::new(wire::METHOD_CONNECT, wire::CLASS_REQUEST));
    let ignored: [&[u8]; 10] = [
        &of_class(wire::CLASS_SUCCESS_RESPONSE),
        &of_class(wire::CLASS_ERROR_RESPONSE),
        &of_class(wire::CLASS_INDICATION),
        &cookie,
        &trailing,
        &method.raw,
        &request.raw[..19],
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 100],
    ];
    for bytes in ignored {
        assert!(harness.send(&client, bytes).is_none(), "{bytes:?}");
    }
}

#[test]
fn a_request_with_a_wrong_fingerprint_gets_no_reply() {
    let mut harness = Harness::new();
    let mut request = message(wire::METHOD_BINDING, [3; 12], &[]);
    stun::fingerprint::FINGERPRINT.add_to(&mut request).unwrap();
    assert!(unsigned(&mut harness, &request).is_some());
    *request.raw.last_mut().unwrap() ^= 1;
    assert!(unsigned(&mut harness, &request).is_none());
}

#[test]
fn port_0_multicast_and_the_server_itself_get_no_reply() {
    let mut harness = Harness::new();
    let request = message(wire::METHOD_BINDING, [3; 12], &[]);
    for from in ["45.0.9.9:0", SERVER_ADDR, "224.0.0.1:999", "255.255.255.255:999", "[ff02::1]:999"] {
        let client = harness.client(from, &Principal::Foreign("outsider".into()));
        assert!(harness.send(&client, &request.raw).is_none(), "{from}");
    }
}

#[test]
fn an_ipv4_client_on_an_ipv6_socket_has_an_ipv4_address() {
    let mut harness = Harness::new();
    let mapped = harness.client("[::ffff:45.0.9.9]:999", &Principal::Foreign("outsider".into()));
    let response = harness.send(&mapped, &message(wire::METHOD_BINDING, [3; 12], &[]).raw).unwrap();
    assert_eq!(response.address(attr::ATTR_XORMAPPED_ADDRESS), Some(addr("45.0.9.9:999")));
}

/// RFC 5769 §2.4: a request with long-term credentials. Its username has no expiry, so this tests parser and key without
/// the server.
#[test]
fn the_long_term_credential_vector_of_rfc_5769_verifies() {
    let bytes: Vec<u8> = [
        "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382af",
        "e382b900000015001c662f2f3439396b39353464364f4c33346f4c394653547679",
        "363473410014000b6578616d706c652e6f7267000008001",
        "4f67024656dd64a3e02b8e0712e85c9a28ca89666",
    ]
    .concat()
    .as_bytes()
    .chunks(2)
    .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
    .collect();
    let mut request = crate::request::Request::parse(&bytes).unwrap();
    let claim = request.claim().unwrap();
    assert_eq!(claim.username, "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}");
    assert_eq!((claim.realm.as_str(), claim.nonce.as_str()), ("example.org", "f//499k954d6OL34oL9FSTvy64sA"));
    let key = IntegrityKey::new(&claim.username, &claim.realm, "TheMatrIX");
    assert!(request.verify_integrity(&key.signer().0));
    assert!(!request.verify_integrity(&IntegrityKey::new(&claim.username, &claim.realm, "other").signer().0));
}

/// RFC 5769 §2.2: XOR-MAPPED-ADDRESS and FINGERPRINT.
#[test]
fn the_fingerprint_and_address_vectors_of_rfc_5769_verify() {
    let response: Vec<u8> = [
        "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220",
        "002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7",
        "80280004c07d4c96",
    ]
    .concat()
    .as_bytes()
    .chunks(2)
    .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
    .collect();
    let response = Response::read(response);
    assert_eq!(response.address(attr::ATTR_XORMAPPED_ADDRESS), Some(addr("192.0.2.1:32853")));
    assert!(stun::fingerprint::FINGERPRINT.check(&response.message).is_ok());
}

#[test]
fn a_401_to_a_request_of_20_bytes_has_at_most_68() {
    let mut harness = Harness::new();
    let request = message(wire::METHOD_ALLOCATE, [3; 12], &[]);
    assert_eq!(request.raw.len(), 20);
    for from in ["45.0.9.9:999", "[2a00::9]:999"] {
        let client = harness.client(from, &Principal::Foreign("outsider".into()));
        let response = harness.send(&client, &request.raw).unwrap();
        assert_eq!(response.code(), 401);
        assert!(response.bytes.len() <= 68, "{} bytes to {from}", response.bytes.len());
    }
}

#[test]
fn a_binding_with_an_empty_change_request_succeeds() {
    let mut harness = Harness::new();
    let with = |value: &[u8]| message(wire::METHOD_BINDING, [3; 12], &[(attr::ATTR_CHANGE_REQUEST, value)]);
    let response = unsigned(&mut harness, &with(&[0; 4])).unwrap();
    assert_eq!(response.address(attr::ATTR_XORMAPPED_ADDRESS), Some(addr("45.0.9.9:999")));
    for value in [&[0, 0, 0, 2][..], &[0, 0, 0, 4], &[0, 0, 0, 6], &[0; 2], &[]] {
        let response = unsigned(&mut harness, &with(value)).unwrap();
        assert_eq!(response.code(), 420, "{value:?}");
        assert_eq!(response.value(attr::ATTR_UNKNOWN_ATTRIBUTES), Some(vec![0, 3]));
    }
    let allocate = message(wire::METHOD_ALLOCATE, [3; 12], &[(attr::ATTR_CHANGE_REQUEST, &[0; 4])]);
    assert_eq!(unsigned(&mut harness, &allocate).unwrap().code(), 401, "420 once it is authenticated");
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let change: (AttrType, &[u8]) = (attr::ATTR_CHANGE_REQUEST, &[0; 4]);
    let response =
        harness.request(&client, wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP), change]);
    assert_eq!(response.code(), 420);
}

#[test]
fn a_dtls_client_hello_gets_an_alert_within_the_reply_limit() {
    let mut harness = Harness::new();
    harness.server.reply_limit = reply_limit(20, harness.start);
    let mut hello = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 47, 1];
    hello.resize(60, 0);
    let mut client = outsider(&harness);
    let mut alerts = |client: &Client| {
        let now = harness.now();
        assert_eq!(harness.server.handle(client.addr, &hello, now), None);
        harness.collect()
    };
    let responses: Vec<_> = (0..1000).flat_map(|_| alerts(&client)).collect();
    let alert = vec![21, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40];
    assert_eq!(responses[0], (client.addr, alert));
    assert_eq!(responses.len(), 150, "the rest of a burst of 200 is left to retransmissions");
    client.addr = ClientAddr::new(Transport::Tcp, addr("45.0.9.8:999"), addr(SERVER_ADDR));
    assert!(alerts(&client).is_empty(), "DTLS is for UDP");
}

/// A harness with the default reply limit.
fn limited_harness() -> Harness {
    let mut harness = Harness::new();
    harness.server.reply_limit = reply_limit(20, harness.start);
    harness
}

/// Sends 500 forged requests in half a second from changing ports of 45.0.1.1, then 100 more to exhaust the budget of that
/// address; how many get a reply.
fn forged_flood(harness: &mut Harness) -> usize {
    let mut answered = 0;
    for number in 0..600 {
        let from = format!("45.0.1.1:{}", 10_000 + harness.transactions % 50_000);
        let forged = harness.client(&from, &Principal::Foreign("outsider".into()));
        let method = if number % 2 == 0 { wire::METHOD_ALLOCATE } else { wire::METHOD_BINDING };
        let request = message(method, harness.transaction(), &[]);
        answered += usize::from(harness.send(&forged, &request.raw).is_some());
        harness.elapsed += Duration::from_millis(u64::from(number < 500));
    }
    answered
}

#[test]
fn a_client_with_an_allocation_gets_its_438_during_a_forged_flood() {
    let mut harness = limited_harness();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    let hour: (AttrType, &[u8]) = (attr::ATTR_LIFETIME, &[0, 0, 0x0e, 0x10]);
    assert_eq!(harness.request(&client, wire::METHOD_REFRESH, &[hour]).code(), 0);
    harness.advance(minutes(11));
    forged_flood(&mut harness);
    assert!(forged_flood(&mut harness) < 20, "the flood has exhausted the budget of its address");
    let stale = harness.request(&client, wire::METHOD_REFRESH, &[hour]);
    assert_eq!(stale.code(), 438);
    let nonce = String::from_utf8(stale.value(attr::ATTR_NONCE).unwrap()).unwrap();
    let client = Client { nonce, ..client };
    assert_eq!(harness.request(&client, wire::METHOD_REFRESH, &[hour]).code(), 0);
    let binding = message(wire::METHOD_BINDING, harness.transaction(), &[]);
    assert!(harness.send(&client, &binding.raw).is_some(), "keepalives of an allocation get replies too");
}

#[test]
fn a_nonce_or_password_gets_a_reply_during_a_forged_flood() {
    let mut harness = limited_harness();
    let mut wrong = harness.admitted_client("45.0.1.1:1001", 1, 1);
    wrong.credential.password.push('x');
    let mut moved = harness.admitted_client("45.0.1.1:1002", 1, 2);
    moved.nonce = "from before a restart".into();
    forged_flood(&mut harness);
    let transport: (AttrType, &[u8]) = (attr::ATTR_REQUESTED_TRANSPORT, &UDP);
    assert_eq!(harness.request(&wrong, wire::METHOD_ALLOCATE, &[transport]).code(), 401, "has a valid nonce");
    assert_eq!(
        harness.request(&moved, wire::METHOD_ALLOCATE, &[transport]).code(),
        438,
        "has a valid password"
    );
    wrong.nonce.clone_from(&moved.nonce);
    let neither = wrong.signed(message(wire::METHOD_ALLOCATE, [9; 12], &[transport]));
    assert!(harness.send(&wrong, &neither).is_none());
}

#[test]
fn a_new_client_gets_a_nonce_by_retransmission_during_a_flood() {
    let mut harness = limited_harness();
    forged_flood(&mut harness);
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let request = message(wire::METHOD_ALLOCATE, [5; 12], &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP)]);
    assert!(harness.send(&client, &request.raw).is_none(), "it cannot be distinguished from the flood yet");
    forged_flood(&mut harness);
    let challenge = harness.send(&client, &request.raw).expect("half a second later, during the flood");
    let nonce = String::from_utf8(challenge.value(attr::ATTR_NONCE).unwrap()).unwrap();
    assert_eq!(allocate(&mut harness, &Client { nonce, ..client }), 0);
}

fn allocate(harness: &mut Harness, client: &Client) -> u16 {
    harness.request(client, wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP)]).code()
}
