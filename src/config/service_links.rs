//! Recognizes the variables about other services that Kubernetes and `docker run --link` set in a container. For a service
//! named `webrtc-box` or `webrtc-box-ANYTHING` they have the prefix of settings.

use std::ffi::OsStr;

/// Whether a variable (`name` without the prefix) describes a service. If the name may also be a setting, like `TURN_PORT`
/// for a service named `webrtc-box-turn`, the value decides.
pub(super) fn is_service_link(name: &str, value: &OsStr) -> bool {
    let value = value.to_str().unwrap_or_default();
    let words: Vec<&str> = name.split('_').collect();
    // The name of the service comes first and has any number of words.
    (0..words.len()).any(|start| match &words[start..] {
        ["SERVICE", "HOST"] => true,
        ["SERVICE", "PORT", ..] => is_number(value),
        ["PORT"] => ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme)),
        ["PORT", port, rest @ ..] => is_number(port) && describes_a_port(rest),
        // `/consumer/alias`
        ["NAME"] => value.strip_prefix('/').is_some_and(|names| names.contains('/')),
        ["ENV", _, ..] => true,
        _ => false,
    })
}

/// Whether `words` follow `PORT_443` or, for a range of ports, `PORT_8000_8010`.
fn describes_a_port(words: &[&str]) -> bool {
    match words {
        [last, rest @ ..] if is_number(last) => describes_a_port(rest),
        ["TCP" | "UDP" | "SCTP"] => true,
        ["TCP" | "UDP" | "SCTP", "ADDR" | "PORT" | "PROTO" | "START" | "END"] => true,
        ["TCP" | "UDP" | "SCTP", "PORT", "START" | "END"] => true,
        _ => false,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_services_are_recognized() {
        for (name, value) in [
            ("SERVICE_HOST", "10.96.0.12"),
            ("SERVICE_PORT", "443"),
            ("SERVICE_PORT_HTTPS", "443"),
            ("PORT", "tcp://10.96.0.12:443"),
            ("PORT_443_TCP", "tcp://10.96.0.12:443"),
            ("PORT_443_TCP_ADDR", "10.96.0.12"),
            ("PORT_443_TCP_PORT", "443"),
            ("PORT_443_TCP_PROTO", "tcp"),
            ("TURN_PORT", "udp://10.96.0.12:3478"),
            ("TURN_PORT_3478_UDP", "udp://10.96.0.12:3478"),
            ("TURN_PORT_3478_UDP_PROTO", "udp"),
            ("TURN_SERVICE_HOST", "10.96.0.12"),
            ("TURN_SERVICE_PORT_TURN_UDP", "3478"),
            ("MIN_PORT", "tcp://10.96.0.12:1"),
            ("MY_OTHER_TURN_PORT_49152_65535_UDP_START", "udp://172.17.0.2:49152"),
            ("TURN_PORT_49152_65535_UDP_PORT_END", "65535"),
            ("TURN_NAME", "/page/turn"),
            ("NAME", "/page/webrtc-box"),
            ("TURN_ENV_PATH", "/usr/bin:/bin"),
        ] {
            assert!(is_service_link(name, value.as_ref()), "{name}={value}");
        }
    }

    #[test]
    fn settings_and_misspelled_settings_are_no_service_links() {
        for (name, value) in [
            ("TURN_PORT", "3478"),
            ("TURN_PORT", "10.96.0.12:3478"),
            ("TURNPORT", "3478"),
            ("PORT", "443"),
            ("SERVICE", "x"),
            ("SERVICE_PORT", "https"),
            ("PORT_443", "tcp"),
            ("PORT_443_HTTP", "x"),
            ("TURN_PORT_NUMBER", "3478"),
            ("NODE_NAME", "eu-1"),
            ("ENV", "production"),
            ("", ""),
        ] {
            assert!(!is_service_link(name, value.as_ref()), "{name}={value}");
        }
    }
}
