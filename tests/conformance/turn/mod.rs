//! TURN conformance of the program over UDP, TCP, TLS, and TLS on the HTTPS port.
//!
//! No test waits for silence: the reply to a later Binding request must be the next message. Expiry of
//! permissions needs a clock that the test holds; `crates/turn-server/src/tests` covers it.

mod client;
mod media;
mod requests;
mod server;
mod transport;

/// `public` scope, with loopback in the place of the internet.
const PUBLIC: &[&str] =
    &["--relay-scope", "public", "--external-ip", "127.0.0.1", "--allowed-peer-ip", "127.0.0.0/8"];

/// Defines a test per function of a module, which runs over every listener.
macro_rules! over_every_listener {
    ($flags:expr, $part:ident: $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                self::server::run_over_every_listener(stringify!($case), $flags, $part::$case);
            }
        )*
    };
}

over_every_listener! { &[], requests:
    retransmitted_allocate_gets_the_same_reply
    invented_nonce_gets_438
    nonce_of_another_client_port_gets_438
    wrong_password_and_expired_credential_get_401
    wrong_realm_gets_401
    refresh_clamps_the_lifetime
    requests_without_an_allocation_get_437
    requests_of_another_user_get_441
    attributes_after_message_integrity_are_ignored
    unknown_required_attribute_gets_420
    unsupported_transport_family_and_token_are_refused
    wrong_fingerprint_is_not_answered
    change_request_gets_420
    dtls_client_hello_gets_an_alert
    replies_are_signed
}

over_every_listener! { &[], media:
    one_refused_peer_refuses_the_whole_permission_request
    channel_bind_checks_number_and_peer
    another_isolation_group_is_not_reached
    channel_data_is_padded_on_streams_only
    datagram_over_1500_bytes_is_relayed
}

over_every_listener! { PUBLIC, media:
    closed_peer_port_ends_nothing_in_public_scope
    datagram_over_1500_bytes_is_relayed_in_public_scope
    replies_are_signed_in_public_scope
}

#[test]
fn nonce_from_before_a_restart_gets_438() {
    self::requests::nonce_from_before_a_restart_gets_438();
}

#[test]
fn expired_credential_does_not_end_an_allocation() {
    self::requests::expired_credential_does_not_end_an_allocation();
}
