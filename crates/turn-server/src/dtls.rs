//! The answer to a DTLS client, whom silence would leave to guess: a fatal alert (RFC 6347 §4.1,
//! RFC 5246 §7.2). Nothing else of DTLS is here.

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Type, version, epoch and sequence number, length.
const RECORD_HEADER: usize = 13;
/// That and the header of a handshake message.
const MIN_CLIENT_HELLO: usize = RECORD_HEADER + 12;

/// `handshake_failure` for a ClientHello; `None` for anything else. Always shorter than what it answers.
pub(super) fn refusal(bytes: &[u8]) -> Option<[u8; RECORD_HEADER + 2]> {
    let [HANDSHAKE, 0xfe, version @ (0xfd | 0xff), 0, 0, ..] = *bytes else { return None };
    if bytes.len() < MIN_CLIENT_HELLO || bytes[RECORD_HEADER] != CLIENT_HELLO {
        return None;
    }
    Some([21, 0xfe, version, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_hello_is_answered() {
        let mut hello = [0; 60];
        hello[..5].copy_from_slice(&[22, 0xfe, 0xff, 0, 0]);
        hello[13] = 1;
        assert_eq!(refusal(&hello), Some([21, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40]));
        assert!(refusal(&hello[..24]).is_none(), "cut short");
        // An alert, another epoch, TLS, a ServerHello.
        for (at, byte) in [(0, 21), (4, 1), (1, 3), (2, 1), (13, 2)] {
            let mut other = hello;
            other[at] = byte;
            assert!(refusal(&other).is_none(), "{at}: {byte}");
        }
    }
}
