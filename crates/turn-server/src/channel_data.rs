//! ChannelData, Send and Data indications, read and written in place (RFC 8656 §11–12).
//!
//! Media has these formats. The `stun` crate copies every attribute; this file copies no more than a header. Tests compare
//! the two.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use stun::fingerprint::fingerprint_value;

use crate::addr::{PeerAddr, RelayedAddr};

/// A channel number in the range of RFC 5766.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelNumber(u16);

/// The bytes before the payload in a packet to a client: a ChannelData header, or a Data indication up to its DATA value.
/// At most 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; Self::CAPACITY],
    length: u8,
    /// Whether `payload + padding` must be a multiple of four even in a datagram.
    padded: bool,
}

/// A Send indication. The payload stays where it was received (RFC 8656 §11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendIndication<'p> {
    /// The destination.
    pub peer: PeerAddr,
    /// The value of DATA.
    pub payload: &'p [u8],
    /// The client sent DONT-FRAGMENT.
    pub dont_fragment: bool,
}

const CHANNELS: RangeInclusive<u16> = 0x4000..=0x7FFF;
/// Bytes 4–7 of every STUN message (RFC 8489 §5).
pub const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const STUN_HEADER: usize = 20;
const SEND_INDICATION: u16 = 0x0016;
const DATA_INDICATION: u16 = 0x0017;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const DATA: u16 = 0x0013;
const DONT_FRAGMENT: u16 = 0x001A;
const FINGERPRINT: u16 = 0x8028;

impl ChannelNumber {
    /// `None` outside 0x4000–0x7FFF.
    pub fn new(number: u16) -> Option<Self> {
        CHANNELS.contains(&number).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }
}

/// Whether a datagram is ChannelData rather than STUN, by its first two bits (RFC 8656 §12).
pub fn is_channel_data(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first >> 6 == 0b01)
}

/// Whether a datagram is a Send indication, by its message type.
pub fn is_send_indication(bytes: &[u8]) -> bool {
    bytes.len() >= STUN_HEADER && u16_at(bytes, 0) == Some(SEND_INDICATION)
}

/// Splits ChannelData into channel and payload; `None` if it is truncated. Padding after the payload is allowed and
/// dropped (RFC 8656 §12.5).
pub fn parse_channel_data(bytes: &[u8]) -> Option<(ChannelNumber, &[u8])> {
    let channel = ChannelNumber::new(u16_at(bytes, 0)?)?;
    let length = usize::from(u16_at(bytes, 2)?);
    Some((channel, bytes.get(4..4 + length)?))
}

/// Reads a Send indication in place; `None` if it must be dropped: malformed, without a peer or DATA, or with an unknown
/// comprehension-required attribute.
pub fn parse_send_indication(bytes: &[u8]) -> Option<SendIndication<'_>> {
    let length = usize::from(u16_at(bytes, 2)?);
    if bytes.len() != STUN_HEADER + length || bytes[4..8] != MAGIC_COOKIE {
        return None;
    }
    let (mut peer, mut payload, mut dont_fragment) = (None, None, false);
    let mut rest = &bytes[STUN_HEADER..];
    while !rest.is_empty() {
        let (kind, size) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        let value = rest.get(4..4 + size)?;
        match kind {
            XOR_PEER_ADDRESS if peer.is_none() => peer = Some(unxor_address(value, bytes)?),
            DATA if payload.is_none() => payload = Some(value),
            DONT_FRAGMENT => dont_fragment = true,
            FINGERPRINT if !fingerprint_is_valid(bytes, rest, value) => return None,
            XOR_PEER_ADDRESS | DATA | FINGERPRINT => {}
            unknown if unknown < 0x8000 => return None,
            _ => {}
        }
        rest = rest.get(4 + size.next_multiple_of(4)..)?;
    }
    Some(SendIndication { peer: PeerAddr::new(peer?), payload: payload?, dont_fragment })
}

impl Default for Header {
    /// An empty header: the payload is sent as it is.
    fn default() -> Self {
        Self { bytes: [0; Self::CAPACITY], length: 0, padded: false }
    }
}

impl Header {
    const CAPACITY: usize = 48;

    /// The header of ChannelData with a payload of `payload` bytes (at most 65,535).
    pub fn channel(channel: ChannelNumber, payload: usize) -> Self {
        let mut header = Self { bytes: [0; Self::CAPACITY], length: 0, padded: false };
        header.push(&channel.0.to_be_bytes());
        header.push_u16(payload);
        header
    }

    /// The header of a Data indication with a payload of `payload` bytes from `from`. `transaction` must be unique, but
    /// not secret.
    pub fn data(from: RelayedAddr, payload: usize, transaction: [u8; 12]) -> Self {
        let address = if from.0.is_ipv4() { 12 } else { 24 };
        let mut header = Self { bytes: [0; Self::CAPACITY], length: 0, padded: true };
        header.push(&DATA_INDICATION.to_be_bytes());
        header.push_u16(address + 4 + payload.next_multiple_of(4));
        header.push(&MAGIC_COOKIE);
        header.push(&transaction);
        header.push(&XOR_PEER_ADDRESS.to_be_bytes());
        header.push_u16(address - 4);
        header.push_address(from.0, &transaction);
        header.push(&DATA.to_be_bytes());
        header.push_u16(payload);
        header
    }

    /// The bytes to put before the payload.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Number of zero bytes after a payload of `length` bytes: the padding of the DATA attribute; for ChannelData only on
    /// a stream (RFC 8656 §12.5).
    pub fn padding(&self, length: usize, stream: bool) -> usize {
        if self.padded || stream { length.next_multiple_of(4) - length } else { 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        let at = usize::from(self.length);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len() as u8;
    }

    /// The lengths are those of datagrams, which are shorter than 64 KiB.
    fn push_u16(&mut self, value: usize) {
        self.push(&(value as u16).to_be_bytes());
    }

    fn push_address(&mut self, addr: SocketAddr, transaction: &[u8; 12]) {
        let port = addr.port() ^ u16::from_be_bytes([MAGIC_COOKIE[0], MAGIC_COOKIE[1]]);
        let family = if addr.is_ipv4() { 1 } else { 2 };
        self.push(&[0, family]);
        self.push(&port.to_be_bytes());
        match addr.ip() {
            IpAddr::V4(ip) => self.push(&xor(ip.octets(), MAGIC_COOKIE)),
            IpAddr::V6(ip) => self.push(&xor(ip.octets(), xor_mask(transaction))),
        }
    }
}

/// Decodes an XOR address value (RFC 8489 §14.2) of the message that begins with `header`.
pub(crate) fn unxor_address(value: &[u8], header: &[u8]) -> Option<SocketAddr> {
    let port = u16_at(value, 2)? ^ u16_at(header, 4)?;
    let ip = match (value.get(1)?, value.len()) {
        (1, 8) => Ipv4Addr::from(xor(value[4..8].try_into().ok()?, MAGIC_COOKIE)).into(),
        (2, 20) => {
            let mask = xor_mask(header.get(8..20)?.try_into().ok()?);
            Ipv6Addr::from(xor(value[4..20].try_into().ok()?, mask)).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Whether FINGERPRINT, at the start of `attribute`, is the last attribute of `message` and has its CRC (RFC 8489 §14.7).
fn fingerprint_is_valid(message: &[u8], attribute: &[u8], value: &[u8]) -> bool {
    let covered = &message[..message.len() - attribute.len()];
    attribute.len() == 8 && value == fingerprint_value(covered).to_be_bytes()
}

fn xor_mask(transaction: &[u8; 12]) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE);
    mask[4..].copy_from_slice(transaction);
    mask
}

fn xor<const N: usize>(mut bytes: [u8; N], mask: [u8; N]) -> [u8; N] {
    bytes.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    bytes
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stun::message::{Message, Setter as _};
    use turn::proto::data::Data;
    use turn::proto::peeraddr::PeerAddress;

    use super::*;

    fn encoded(peer: SocketAddr, payload: &[u8]) -> Vec<u8> {
        let mut message = Message::new();
        message.set_type(turn::proto::send_indication());
        message.write_header();
        PeerAddress { ip: peer.ip(), port: peer.port() }.add_to(&mut message).unwrap();
        Data(payload.to_vec()).add_to(&mut message).unwrap();
        message.raw
    }

    proptest! {
        #[test]
        fn a_send_indication_of_the_stun_crate_is_parsed(
            peer: SocketAddr, payload in proptest::collection::vec(any::<u8>(), 0..1500)
        ) {
            let bytes = encoded(peer, &payload);
            let read = parse_send_indication(&bytes).unwrap();
            prop_assert_eq!(read.peer, PeerAddr::new(peer));
            prop_assert_eq!(read.payload, &payload[..]);
        }

        #[test]
        fn the_stun_crate_parses_our_data_indications(
            from: SocketAddr, payload in proptest::collection::vec(any::<u8>(), 0..1500), transaction: [u8; 12]
        ) {
            let header = Header::data(RelayedAddr(from), payload.len(), transaction);
            let mut bytes = header.bytes().to_vec();
            bytes.extend_from_slice(&payload);
            bytes.resize(bytes.len() + header.padding(payload.len(), false), 0);
            let mut message = Message::new();
            message.unmarshal_binary(&bytes).unwrap();
            prop_assert_eq!(message.raw.len(), 20 + message.length as usize);
            let value = message.get(stun::attributes::ATTR_XOR_PEER_ADDRESS).unwrap();
            let read = unxor_address(&value, &bytes).unwrap();
            prop_assert_eq!((read.ip(), read.port()), (from.ip(), from.port()));
            prop_assert_eq!(message.get(stun::attributes::ATTR_DATA).unwrap(), payload);
        }

        #[test]
        fn the_stun_crate_accepts_what_we_accept(mut bytes in proptest::collection::vec(any::<u8>(), 20..200)) {
            bytes[..2].copy_from_slice(&SEND_INDICATION.to_be_bytes());
            let length = (bytes.len() - 20) as u16;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..8].copy_from_slice(&MAGIC_COOKIE);
            if let Some(read) = parse_send_indication(&bytes) {
                let mut message = Message::new();
                message.unmarshal_binary(&bytes).unwrap();
                prop_assert_eq!(message.get(stun::attributes::ATTR_DATA).unwrap(), read.payload);
            }
        }
    }

    #[test]
    fn channel_data_may_be_padded_but_not_truncated() {
        let read = parse_channel_data(b"\x40\x01\x00\x03abc\0").unwrap();
        assert_eq!((read.0.number(), read.1), (0x4001, &b"abc"[..]));
        assert_eq!(parse_channel_data(b"\x40\x01\x00\x04abc"), None);
        assert_eq!(parse_channel_data(b"\x80\x01\x00\x01a"), None);
        assert_eq!(parse_channel_data(b"\x40\x01\x00"), None);
    }

    #[test]
    fn a_send_indication_with_a_wrong_fingerprint_is_dropped() {
        let mut bytes = encoded("45.0.0.1:5".parse().unwrap(), b"hello");
        let length = (bytes.len() - 20 + 8) as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        let crc = fingerprint_value(&bytes);
        bytes.extend_from_slice(&[0x80, 0x28, 0, 4]);
        bytes.extend_from_slice(&crc.to_be_bytes());
        assert!(parse_send_indication(&bytes).is_some());
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(parse_send_indication(&bytes), None);
    }
}
