//! The relay's report card: one test for each row, asked of the program itself over UDP, TCP, TLS
//! and TLS on the page's port.
//!
//! Silence is never waited for: a Binding asked afterwards is the next to be answered. The row
//! about a permission's end needs a clock that can be held and is among the tests of `src/turn`.

mod client;
mod media;
mod requests;
mod server;
mod transport;

/// Loopback stands for the internet.
const PUBLIC: &[&str] =
    &["--relay-scope", "public", "--external-ip", "127.0.0.1", "--allowed-peer-ip", "127.0.0.0/8"];

macro_rules! rows {
    ($flags:expr, $part:ident: $($row:ident)*) => {
        $(
            #[test]
            fn $row() {
                self::server::over_each_door(stringify!($row), $flags, $part::$row);
            }
        )*
    };
}

rows! { &[], requests:
    allocate_again
    made_up_nonce
    nonce_from_another_port
    bad_password_and_expired_credential
    wrong_realm
    refresh_lifetimes
    without_an_allocation
    another_valid_user
    attributes_behind_the_integrity
    unknown_required_attribute
    transport_tcp_family_3_bad_token
    wrong_fingerprint
    change_request
    dtls_client_hello
    replies_carry_integrity
}

rows! { &[], media:
    two_peers_one_refused
    channel_numbers
    another_tag_is_not_reached
    channel_data_padded
    datagram_over_1500_bytes
}

rows! { PUBLIC, media:
    in_public_a_closed_port_ends_nothing
    in_public_a_datagram_over_1500_bytes
    in_public_replies_carry_integrity
}

#[test]
fn nonce_from_before_a_restart() {
    self::requests::nonce_from_before_a_restart();
}

#[test]
fn expiry_reached_while_a_call_runs() {
    self::requests::expiry_reached_while_a_call_runs();
}
