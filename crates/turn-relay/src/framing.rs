//! Messages on a byte stream: STUN and ChannelData one after the other, ChannelData padded to four bytes (RFC 8656 §3.5,
//! §12.5; RFC 8489 §6.2.2).

use bytes::Bytes;

use webrtc_box_turn::channel_data::{Header, MAGIC_COOKIE, is_channel_data};

/// What the unread bytes of a stream begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageBoundary {
    /// A complete message of this many bytes, padding included.
    Complete(usize),
    /// Too few bytes for a complete message.
    Incomplete,
    /// Neither STUN nor ChannelData; there is no way to find the next message.
    Invalid,
}

const STUN_HEADER: usize = 20;
const CHANNEL_HEADER: usize = 4;

/// Finds the end of the first message in `bytes`.
pub fn find_message(bytes: &[u8]) -> MessageBoundary {
    let Some(&[first, _, high, low]) = bytes.first_chunk() else {
        return if bytes.first().is_some_and(|first| first >> 7 != 0) {
            MessageBoundary::Invalid
        } else {
            MessageBoundary::Incomplete
        };
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let total = if is_channel_data(bytes) {
        CHANNEL_HEADER + length.next_multiple_of(4)
    } else if is_stun(first, length, bytes) {
        STUN_HEADER + length
    } else {
        return MessageBoundary::Invalid;
    };
    if bytes.len() < total { MessageBoundary::Incomplete } else { MessageBoundary::Complete(total) }
}

/// Whether the bytes so far can be STUN: first two bits 0, a length divisible by 4, the magic cookie.
fn is_stun(first: u8, length: usize, bytes: &[u8]) -> bool {
    let cookie = &bytes[4..bytes.len().min(8)];
    first >> 6 == 0 && length.is_multiple_of(4) && MAGIC_COOKIE.starts_with(cookie)
}

/// Header, payload and padding as one frame of a stream.
pub(crate) fn encode_frame(header: &Header, payload: &[u8]) -> Bytes {
    let padding = header.padding(payload.len(), true);
    let mut frame = Vec::with_capacity(header.bytes().len() + payload.len() + padding);
    frame.extend_from_slice(header.bytes());
    frame.extend_from_slice(payload);
    frame.resize(frame.len() + padding, 0);
    frame.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BINDING: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn messages_are_found_one_after_the_other() {
        let channel = b"\x40\x00\x00\x05hello\0\0\0";
        let stream = [&BINDING[..], channel, &BINDING[..7]].concat();
        assert_eq!(find_message(&stream), MessageBoundary::Complete(20));
        assert_eq!(find_message(&stream[20..]), MessageBoundary::Complete(12));
        assert_eq!(find_message(&stream[32..]), MessageBoundary::Incomplete);
    }

    #[test]
    fn a_message_is_incomplete_until_its_padding_arrived() {
        let channel = b"\x40\x00\x00\x05hello\0\0\0";
        for length in 0..channel.len() {
            assert_eq!(find_message(&channel[..length]), MessageBoundary::Incomplete, "{length}");
        }
    }

    #[test]
    fn other_protocols_are_invalid_from_the_first_wrong_byte() {
        for bytes in [&b"\x80"[..], b"\x16\x03\x01\x02\x00\x01", b"\x00\x01\x00\x03", b"\x00\x01\x00\x00GET "]
        {
            assert_eq!(find_message(bytes), MessageBoundary::Invalid, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn a_complete_message_is_never_longer_than_the_input(bytes: Vec<u8>) {
            if let MessageBoundary::Complete(length) = find_message(&bytes) {
                prop_assert!(length >= 4 && length <= bytes.len());
            }
        }
    }
}
