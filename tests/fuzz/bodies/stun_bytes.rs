//! One datagram, parsed in every way; our parser and the codec of the `stun` crate must agree.

use stun::attributes as attr;
use stun::message::{CLASS_REQUEST, Message};
use webrtc_box_turn::channel_data::{is_channel_data, parse_channel_data, parse_send_indication};
use webrtc_box_turn::request::Request;

/// Parsing never panics and never reads beyond the datagram.
pub fn stun_bytes(bytes: &[u8]) {
    if let Some((channel, payload)) = parse_channel_data(bytes) {
        assert!(is_channel_data(bytes));
        assert!((0x4000..=0x7fff).contains(&channel.number()));
        assert_eq!(payload, &bytes[4..4 + payload.len()]);
    }
    if bytes.len() >= 20 {
        send_indication(bytes);
    }
    if let Some(request) = Request::parse(bytes) {
        parse_in_every_way(request, bytes);
    }
}

fn send_indication(bytes: &[u8]) {
    let Some(indication) = parse_send_indication(bytes) else { return };
    let mut message = Message::new();
    message.unmarshal_binary(bytes).expect("the codec parses what we parse");
    assert_eq!(message.get(attr::ATTR_DATA).unwrap(), indication.payload);
}

fn parse_in_every_way(mut request: Request, bytes: &[u8]) {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).unwrap();
    assert_eq!(message.typ.class, CLASS_REQUEST);
    assert_eq!(request.transaction, bytes[8..20]);
    if let Ok(claim) = request.claim() {
        assert!(claim.username.len().max(claim.realm.len()).max(claim.nonce.len()) <= 508);
    }
    let _ = (request.check_attributes(), request.allocate(), request.refresh());
    let _ = (request.peers(), request.channel_bind());
    assert!(!request.verify_integrity(b"another key"));
}
