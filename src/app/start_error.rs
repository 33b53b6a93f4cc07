//! [`StartError`]: why the server does not start.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use crate::config::{ExternalIp, SettingsError};
use crate::error::{Hint, system_text};
use crate::http::PageError;
use crate::net::addresses::NoPublicAddress;
use crate::state_dir::StateError;
use crate::systemd::socket_activation::ActivationError;
use crate::tls::TlsError;

/// Ends the process before it serves.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The folder of the page cannot be served.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The public address of the relay is unknown.
    #[error(transparent)]
    Address(#[from] NoPublicAddress),
    /// A socket from the service manager cannot be used.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// The address of a listener cannot be bound.
    #[error("{}", bind_text(.setting, *.address, .source).0)]
    Bind {
        /// The setting that names the port.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why it cannot be bound.
        source: io::Error,
    },
    /// No relay socket can be bound on an address: every Allocate would fail.
    #[error("{}", relay_text(*.local, *.external, .source).0)]
    RelaySocket {
        /// The address.
        local: IpAddr,
        /// The `external-ip` that names it, if one does.
        external: Option<ExternalIp>,
        /// Why it cannot be bound.
        source: io::Error,
    },
    /// The lowest relayed port needs a privilege.
    #[error("min-port {0} needs a privilege")]
    RelayPort(u16),
    /// The operating system refuses something the process needs.
    #[error("cannot {action}: {}", system_text(.source).0)]
    System {
        /// Completes "cannot …".
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl Hint for StartError {
    fn hint(&self) -> String {
        match self {
            Self::Settings(error) => error.hint(),
            Self::State(error) => error.hint(),
            Self::Tls(error) => error.hint(),
            Self::Page(error) => error.hint(),
            Self::Address(error) => error.hint(),
            Self::Activation(error) => error.hint(),
            Self::Bind { setting, address, source } => bind_text(setting, *address, source).1,
            Self::RelaySocket { local, external, source } => relay_text(*local, *external, source).1,
            Self::RelayPort(_) => privilege("a min-port"),
            Self::System { source, .. } => system_text(source).1.to_owned(),
        }
    }
}

/// Ports below it need a privilege.
const FIRST_UNPRIVILEGED: u16 = 1024;

fn privilege(port: &str) -> String {
    format!("use the systemd unit, or grant CAP_NET_BIND_SERVICE, or choose {port} from 1024 up")
}

/// The reason and the hint.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system has forty kinds of error")]
fn bind_text(setting: &str, address: SocketAddr, source: &io::Error) -> (String, String) {
    let (ip, port) = (address.ip(), address.port());
    let foreign = |setting: &str, hint: &str| {
        (
            format!("{setting} {ip} is not an address of this host"),
            format!("take one that `ip address` shows, or {hint}"),
        )
    };
    match source.kind() {
        io::ErrorKind::AddrInUse => (
            format!("{setting} {port} is in use at {address}"),
            format!("stop the other program or choose another {setting}"),
        ),
        io::ErrorKind::PermissionDenied if port < FIRST_UNPRIVILEGED => {
            (format!("{setting} {port} needs a privilege"), privilege("a port"))
        }
        io::ErrorKind::AddrNotAvailable if setting == "metrics-listen" => foreign(setting, "127.0.0.1"),
        io::ErrorKind::AddrNotAvailable => foreign("listen", "leave listen out"),
        _ if lacks_family(source) => (
            format!("{setting} {port} cannot be bound at {address}, because this host has no {}", family(ip)),
            "give listen addresses of the other family".to_owned(),
        ),
        _ => {
            let (reason, hint) = system_text(source);
            (format!("{setting} {port} cannot be bound at {address}: {reason}"), hint.to_owned())
        }
    }
}

/// The reason and the hint.
fn relay_text(local: IpAddr, external: Option<ExternalIp>, source: &io::Error) -> (String, String) {
    let setting = match external {
        Some(ExternalIp { public, local: Some(named) }) => format!("external-ip {public}/{named}"),
        Some(ExternalIp { public, local: None }) => format!("external-ip {public}"),
        None => "relay-scope public".to_owned(),
    };
    match external {
        _ if lacks_family(source) => (
            format!("{setting}: this host has no {}", family(local)),
            "enable it, or remove that address".to_owned(),
        ),
        Some(external) if source.kind() == io::ErrorKind::AddrNotAvailable => (
            format!("{setting}: {local} is not an address of this host"),
            format!("put one that `ip address` shows behind the slash, or give {} alone", external.public),
        ),
        _ => {
            let (reason, hint) = system_text(source);
            (format!("{setting}: no relay socket can be bound at {local}: {reason}"), hint.to_owned())
        }
    }
}

fn lacks_family(source: &io::Error) -> bool {
    Errno::from_io_error(source) == Some(Errno::AFNOSUPPORT)
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind_error(kind: io::ErrorKind) -> String {
        let address = "192.0.2.1:443".parse().unwrap();
        StartError::Bind { setting: "https-port", address, source: kind.into() }.with_hint()
    }

    #[test]
    fn a_bind_error_names_the_setting_and_what_to_do() {
        assert_eq!(
            bind_error(io::ErrorKind::AddrInUse),
            "https-port 443 is in use at 192.0.2.1:443; stop the other program or choose another https-port"
        );
        assert!(bind_error(io::ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
        assert!(
            bind_error(io::ErrorKind::AddrNotAvailable).starts_with("listen 192.0.2.1 is not an address")
        );
        assert!(bind_error(io::ErrorKind::OutOfMemory).starts_with("https-port 443 cannot be bound"));
    }

    #[test]
    fn another_port_is_no_hint_if_it_does_not_help() {
        for (errno, hint) in [
            (Errno::NOPROTOOPT, "sandbox"),
            (Errno::NOSYS, "sandbox"),
            (Errno::PERM, "seccomp"),
            (Errno::ACCESS, "seccomp"),
            (Errno::NOMEM, "MemoryMax="),
            (Errno::MFILE, "LimitNOFILE="),
            (Errno::AFNOSUPPORT, "has no IPv6; give listen addresses of the other family"),
            (Errno::IO, "dmesg"),
        ] {
            let address = "[::]:3478".parse().unwrap();
            let text = StartError::Bind { setting: "turn-port", address, source: errno.into() }.with_hint();
            assert!(text.starts_with("turn-port 3478 cannot be bound at [::]:3478"), "{text}");
            assert!(text.contains(hint) && !text.contains("another turn-port"), "{text}");
        }
    }

    #[test]
    fn a_system_error_has_no_hint_about_files() {
        for (errno, hint) in
            [(Errno::AGAIN, "TasksMax="), (Errno::PERM, "seccomp"), (Errno::MFILE, "LimitNOFILE=")]
        {
            let text = StartError::System { action: "start threads", source: errno.into() }.with_hint();
            assert!(text.starts_with("cannot start threads: ") && text.contains(hint), "{text}");
            assert!(!text.contains("chmod"), "{text}");
        }
    }
}
