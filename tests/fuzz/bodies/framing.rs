//! A byte stream contains the same messages however it is split.

use webrtc_box_relay::framing::{MessageBoundary, find_message};

/// The first byte is the size of the pieces in which the rest arrives.
pub fn stream_framing(bytes: &[u8]) {
    let Some((&piece, stream)) = bytes.split_first() else { return };
    let (expected, end) = messages(stream);
    let mut arrived = Vec::new();
    let (mut found, mut invalid) = (Vec::new(), false);
    for piece in stream.chunks(usize::from(piece) % 97 + 1) {
        arrived.extend_from_slice(piece);
        let (more, end) = messages(&arrived);
        arrived.drain(..more.iter().sum::<usize>());
        found.extend(more);
        if end == MessageBoundary::Invalid {
            invalid = true;
            break;
        }
    }
    assert_eq!(found, expected, "splitting changed the messages");
    assert_eq!(invalid, end == MessageBoundary::Invalid, "splitting changed the end");
}

/// Lengths of the complete messages, and the boundary after them.
fn messages(bytes: &[u8]) -> (Vec<usize>, MessageBoundary) {
    let (mut at, mut found) = (0, Vec::new());
    loop {
        match find_message(&bytes[at..]) {
            MessageBoundary::Complete(length) => {
                assert!(length >= 4 && length <= bytes.len() - at && length.is_multiple_of(4));
                assert_eq!(
                    find_message(&bytes[at..at + length - 1]),
                    MessageBoundary::Incomplete,
                    "complete too early"
                );
                assert_eq!(
                    find_message(&bytes[at..at + length]),
                    MessageBoundary::Complete(length),
                    "depends on following bytes"
                );
                found.push(length);
                at += length;
            }
            end @ (MessageBoundary::Incomplete | MessageBoundary::Invalid) => return (found, end),
        }
    }
}
