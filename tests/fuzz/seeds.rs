//! The seeds of the corpus: real messages, and sessions made of them.

use std::fs;
use std::path::Path;

use stun::attributes as attr;
use stun::attributes::AttrType;
use stun::fingerprint::FINGERPRINT;
use stun::message::{self as wire, Message, MessageType, Setter as _};
use stun::xoraddr::XorMappedAddress;

const UDP: &[u8] = &[17, 0, 0, 0];
const ADDITIONAL_FAMILY: AttrType = AttrType(0x8000);

/// Test vectors of RFC 5769 §2.1–2.4.
const RFC_5769: [(&str, &str); 4] = [
    (
        "request",
        "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf",
    ),
    (
        "response-v4",
        "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96",
    ),
    (
        "response-v6",
        "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c",
    ),
    (
        "long-term",
        "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b900000015001c662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b6578616d706c652e6f72670000080014f67024656dd64a3e02b8e0712e85c9a28ca89666",
    ),
];

/// Every frame of docs/protocol.md, and texts that are no valid frame.
const FRAMES: [&str; 23] = [
    r#"{"type":"join","room":"kitchen"}"#,
    r#"{"type":"join","room":"kitchen","resume":"TOKEN","key":"k"}"#,
    r#"{"type":"resp-join","id":"A","room":"kitchen","peer":null,"iceServers":[{"urls":["stun:h:3478"]}],"ttl":3600,"resume":"T","resumed":false}"#,
    r#"{"type":"leave"}"#,
    r#"{"type":"new-peer","id":"PEER"}"#,
    r#"{"type":"peer-leave","id":"PEER"}"#,
    r#"{"type":"offer","target":"PEER","sdp":{"type":"offer","sdp":"v=0\r\n"},"call":"a/1"}"#,
    r#"{"type":"answer","target":"PEER","sdp":{"a":[1,2.5e3,null,true,"\u00e9"]}}"#,
    r#"{"type":"candidate","target":"PEER","candidate":{"candidate":"","sdpMLineIndex":0},"call":"c"}"#,
    r#"{"type":"candidate","target":"PEER","candidate":null}"#,
    r#"{"type":"peer-away","id":"PEER"}"#,
    r#"{"type":"ice-servers"}"#,
    r#"{"type":"ping"}"#,
    r#"{"type":"report","path":"relay-udp","setup":412,"rtt":31,"lost":0.02,"bytes":123456}"#,
    r#"{"type":"pong"}"#,
    r#"{"type":"error","code":"bad-message","message":"no"}"#,
    r#"{"type":"join","room":"kitchen","name":"Ada\u202e ","wait":true}"#,
    r#"{"type":"admit","id":"PEER"}"#,
    r#"{"type":"decline","id":"PEER"}"#,
    r#"{"type":"transfer"}"#,
    r#"{"type":"waiting","position":1}"#,
    r#"{"type":"knock","id":"PEER","gone":true}"#,
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
];

/// Writes the seeds to folders in `corpus`; existing files stay as they are.
pub fn write(corpus: &Path) {
    let messages = messages();
    let write_seed = |target: &str, name: &str, bytes: &[u8]| {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder).unwrap();
        if !folder.join(name).exists() {
            fs::write(folder.join(name), bytes).unwrap();
        }
    };
    for (name, bytes) in &messages {
        write_seed("stun_bytes", name, bytes);
        write_seed(
            "stream_framing",
            name,
            &[&[6][..], bytes, &binding(), b"\x40\x00\x00\x05hello\0\0\0"].concat(),
        );
    }
    for scope in [0, 1] {
        write_seed("turn_session", &format!("call-{scope}"), &session(scope, &messages));
    }
    // Sessions of one authenticated Allocate: they run fast, so that many variants are tried.
    for (name, bytes) in messages.iter().filter(|(name, _)| name.starts_with("allocate")) {
        let length = (bytes.len() as u16).to_be_bytes();
        write_seed("turn_session", name, &[&[0, 1 << 2][..], &length, bytes, &[2 << 2, 0, 0]].concat());
    }
    for (at, frame) in FRAMES.iter().enumerate() {
        write_seed("signaling_json", &format!("frame-{at}"), frame.as_bytes());
    }
    let join = FRAMES[0];
    let call: Vec<String> = FRAMES.iter().map(|frame| format!("1{frame}\n2{frame}")).collect();
    write_seed("signaling_json", "call", format!("1{join}\n2{join}\n{}", call[6..13].join("\n")).as_bytes());
    let [wait, admit, decline, transfer] = [16, 17, 18, 19].map(|at| FRAMES[at]);
    let knocks = [
        format!("1{join}\n2{join}\n3{wait}\n1{decline}\n3{wait}\n2{}\n1{admit}", FRAMES[3]),
        format!("3{transfer}\n2{}", FRAMES[1]),
    ];
    write_seed("signaling_json", "knocks", knocks.join("\n").as_bytes());
    write_seed("signaling_json", "resumed", format!("1{join}\n1{}\n2{}", FRAMES[3], FRAMES[1]).as_bytes());
}

fn messages() -> Vec<(String, Vec<u8>)> {
    let channel: (AttrType, &[u8]) = (attr::ATTR_CHANNEL_NUMBER, &[0x40, 0, 0, 0]);
    let named = |name: &str, bytes: Vec<u8>| (name.to_owned(), bytes);
    let mut all = vec![
        named("binding", binding()),
        named("binding-fingerprint", fingerprinted(message(wire::METHOD_BINDING, &[]))),
        named("allocate", message(wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, UDP)]).raw),
        named("allocate-even", allocate((attr::ATTR_EVEN_PORT, &[0x80]))),
        named("allocate-both", allocate((ADDITIONAL_FAMILY, &[2, 0, 0, 0]))),
        named("allocate-v6", allocate((attr::ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]))),
        named("allocate-reserved", allocate((attr::ATTR_RESERVATION_TOKEN, &[1; 8]))),
        named("allocate-credentials", with_credentials()),
        named("refresh", message(wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0, 0, 2, 88])]).raw),
        named("delete", message(wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0; 4])]).raw),
        named("permission", with_peer(message(wire::METHOD_CREATE_PERMISSION, &[]))),
        named("channel-bind", with_peer(message(wire::METHOD_CHANNEL_BIND, &[channel]))),
        named("send-indication", send_indication()),
        named("channel-data", b"\x40\x00\x00\x05hello\0\0\0".to_vec()),
        named("http", b"GET / HTTP/1.1\r\nHost: box.test\r\n\r\n".to_vec()),
        named("client-hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
    ];
    all.extend(RFC_5769.map(|(name, hex)| named(&format!("rfc5769-{name}"), bytes_of(hex))));
    all
}

/// Clients allocate, create permissions and channels for each other, send data, refresh, wait and delete.
fn session(scope: u8, messages: &[(String, Vec<u8>)]) -> Vec<u8> {
    let of = |name: &str| messages.iter().find(|(other, _)| other == name).unwrap().1.clone();
    let bare = message(wire::METHOD_CHANNEL_BIND, &[(attr::ATTR_CHANNEL_NUMBER, &[0x40, 0, 0, 0])]).raw;
    let permit = message(wire::METHOD_CREATE_PERMISSION, &[]).raw;
    let mut script = vec![scope];
    let mut step = |kind: u8, client: u8, payload: &[u8]| {
        script.push(kind << 2 | client);
        script.extend((payload.len() as u16).to_be_bytes());
        script.extend_from_slice(payload);
    };
    for name in ["binding", "allocate", "allocate-credentials"] {
        step(0, 0, &of(name));
    }
    for (client, name) in ["allocate", "allocate-even", "allocate-both", "allocate-v6"].iter().enumerate() {
        step(1, client as u8, &of(name));
    }
    for client in 0..4 {
        let other = client ^ 1;
        step(6, client, &[&[other][..], &permit].concat());
        step(6, client, &[&[other][..], &bare].concat());
        step(0, client, &of("channel-data"));
        step(0, client, &of("send-indication"));
    }
    step(4, 0, b"\0from a peer");
    step(1, 0, &of("refresh"));
    step(2, 0, &[1, 0]);
    step(3, 0, &[5]);
    step(3, 0, &[2]);
    step(5, 3, &[]);
    step(1, 1, &of("delete"));
    script
}

fn message(method: wire::Method, attributes: &[(AttrType, &[u8])]) -> Message {
    let mut message = Message::new();
    message.typ = MessageType::new(method, wire::CLASS_REQUEST);
    message.write_header();
    // The id depends on the method, so that requests of a session are not taken for retransmissions.
    message.transaction_id.0 = [message.raw[1]; 12];
    message.write_header();
    attributes.iter().for_each(|(kind, value)| message.add(*kind, value));
    message
}

fn binding() -> Vec<u8> {
    message(wire::METHOD_BINDING, &[]).raw
}

fn allocate(extra: (AttrType, &[u8])) -> Vec<u8> {
    message(wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, UDP), extra]).raw
}

fn with_credentials() -> Vec<u8> {
    let text: [(AttrType, &[u8]); 4] = [
        (attr::ATTR_REQUESTED_TRANSPORT, UDP),
        (attr::ATTR_USERNAME, b"1767229200:bob"),
        (attr::ATTR_REALM, b"webrtc-box"),
        (attr::ATTR_NONCE, b"AAAAAAAAAAAAAAAAAAAAAA"),
    ];
    let mut message = message(wire::METHOD_ALLOCATE, &text);
    stun::integrity::MessageIntegrity(vec![7; 16]).add_to(&mut message).unwrap();
    fingerprinted(message)
}

fn with_peer(mut message: Message) -> Vec<u8> {
    let peer = XorMappedAddress { ip: "192.0.0.8".parse().unwrap(), port: 50_000 };
    peer.add_to_as(&mut message, attr::ATTR_XOR_PEER_ADDRESS).unwrap();
    message.raw
}

fn send_indication() -> Vec<u8> {
    let mut message = message(wire::METHOD_SEND, &[]);
    message.typ = MessageType::new(wire::METHOD_SEND, wire::CLASS_INDICATION);
    message.write_header();
    message.add(attr::ATTR_DATA, b"hello");
    with_peer(message)
}

fn fingerprinted(mut message: Message) -> Vec<u8> {
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
    digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect()
}
