//! Why the process does not start: one sentence for stderr that names the setting and the cure.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use crate::config::{ExternalIp, SettingsError};
use crate::http::PageError;
use crate::net::addresses::NoPublicAddress;
use crate::store::StateError;
use crate::systemd::socket_activation::PassedError;
use crate::tls::TlsError;

/// Ends the process before it serves anybody. `Display` is one line.
#[derive(Debug)]
pub enum StartError {
    /// The settings do not make sense.
    Settings(SettingsError),
    /// The state directory cannot be used.
    State(StateError),
    /// The certificate or its key cannot be used.
    Tls(TlsError),
    /// The folder of the page cannot be served.
    Page(PageError),
    /// Nothing says how the relay is seen from outside.
    Address(NoPublicAddress),
    /// A listener's address cannot be bound.
    Bind {
        /// The setting that names the port.
        setting: &'static str,
        /// What was to be bound.
        address: SocketAddr,
        /// Why it could not be.
        source: io::Error,
    },
    /// No relay socket can be bound on an address, so that every Allocate would be refused.
    RelaySocket {
        /// The address.
        local: IpAddr,
        /// The `external-ip` that leads to it, where one does.
        external: Option<ExternalIp>,
        /// Why not.
        source: io::Error,
    },
    /// The lowest relayed port needs a privilege.
    RelayPort(u16),
    /// A socket that came with the process cannot be used.
    Passed(PassedError),
    /// The operating system refuses something the process cannot do without.
    System {
        /// Completes "cannot …".
        deed: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => error.fmt(f),
            Self::State(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::Page(error) => error.fmt(f),
            Self::Address(error) => error.fmt(f),
            Self::Passed(error) => error.fmt(f),
            Self::Bind { setting, address, source } => bind_sentence(f, setting, *address, source),
            Self::RelaySocket { local, external, source } => relay_sentence(f, *local, *external, source),
            Self::RelayPort(port) => write!(
                f,
                "min-port {port} needs a privilege; use the systemd unit, \
                 or grant CAP_NET_BIND_SERVICE, or choose a min-port from 1024 up"
            ),
            Self::System { deed, source } => write!(f, "cannot {deed}: {}", refused_by_system(source)),
        }
    }
}

const SHORTAGE: &str =
    "too many files are open; raise the limit (LimitNOFILE= in the unit, `ulimit -n` in a shell)";

/// Whether neither this process nor, at worst, anybody on this host may open anything more.
fn is_shortage(source: &io::Error) -> bool {
    matches!(Errno::from_io_error(source), Some(Errno::MFILE | Errno::NFILE))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system has forty kinds of error")]
fn bind_sentence(
    f: &mut fmt::Formatter<'_>,
    setting: &str,
    address: SocketAddr,
    source: &io::Error,
) -> fmt::Result {
    let port = address.port();
    if is_shortage(source) {
        return write!(f, "{setting} {port} cannot be bound at {address}: {SHORTAGE}");
    }
    match source.kind() {
        io::ErrorKind::AddrInUse => write!(
            f,
            "{setting} {port} is in use at {address}; stop the other program or choose another {setting}"
        ),
        io::ErrorKind::PermissionDenied if port < FIRST_UNPRIVILEGED => write!(
            f,
            "{setting} {port} needs a privilege; use the systemd unit, \
             or grant CAP_NET_BIND_SERVICE, or choose a port from 1024 up"
        ),
        io::ErrorKind::AddrNotAvailable if setting == "metrics-listen" => write!(
            f,
            "metrics-listen {} is no address of this host; take one that `ip address` shows, or 127.0.0.1",
            address.ip()
        ),
        io::ErrorKind::AddrNotAvailable => write!(
            f,
            "listen {} is no address of this host; take one that `ip address` shows, or leave listen out",
            address.ip()
        ),
        _ if has_no_family(source) => write!(
            f,
            "{setting} {port} cannot be bound at {address}, since this host has no {}; \
             give listen addresses of the other family",
            family(address.ip())
        ),
        _ => write!(f, "{setting} {port} cannot be bound at {address}: {}", refused_by_system(source)),
    }
}

/// Below it, ports are for who has the privilege.
const FIRST_UNPRIVILEGED: u16 = 1024;

fn relay_sentence(
    f: &mut fmt::Formatter<'_>,
    local: IpAddr,
    external: Option<ExternalIp>,
    source: &io::Error,
) -> fmt::Result {
    match external {
        Some(ExternalIp { public, local: Some(named) }) => write!(f, "external-ip {public}/{named}: ")?,
        Some(ExternalIp { public, local: None }) => write!(f, "external-ip {public}: ")?,
        None => write!(f, "relay-scope public: ")?,
    }
    match external {
        _ if has_no_family(source) => {
            write!(f, "this host has no {}; switch it on, or take that address out", family(local))
        }
        Some(external) if source.kind() == io::ErrorKind::AddrNotAvailable => write!(
            f,
            "{local} is no address of this host; put one behind the slash that `ip address` shows, \
             or give {} alone",
            external.public
        ),
        _ => write!(f, "no relay socket can be bound at {local}: {}", refused_by_system(source)),
    }
}

fn has_no_family(source: &io::Error) -> bool {
    Errno::from_io_error(source) == Some(Errno::AFNOSUPPORT)
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// What the operating system refuses, and what may be behind it. Another port or file is no cure.
fn refused_by_system(source: &io::Error) -> String {
    match Errno::from_io_error(source) {
        Some(Errno::MFILE | Errno::NFILE) => SHORTAGE.to_owned(),
        Some(Errno::AGAIN) => {
            "there may be no more threads; raise the limit (TasksMax= in the unit, `ulimit -u` in a shell)"
                .to_owned()
        }
        Some(Errno::NOMEM | Errno::NOBUFS) => {
            "the kernel has no memory for it; raise the limit (MemoryMax= in the unit) or free some"
                .to_owned()
        }
        Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::NOPROTOOPT | Errno::OPNOTSUPP) => format!(
            "the kernel or a sandbox around the process does not allow it ({source}); \
             loosen the container's or unit's seccomp, SELinux or AppArmor rules"
        ),
        _ => format!("the operating system says: {source}; its log (`dmesg`) may say more"),
    }
}

/// The reason and the cure of a failed file operation, to stand behind the file's name.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system has forty kinds of error")]
pub(crate) fn why(source: &io::Error) -> String {
    if is_shortage(source) {
        return SHORTAGE.to_owned();
    }
    match source.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder; correct the path".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "the user webrtc-box runs as has no permission; grant it, for example through a group (chgrp, chmod g+r)"
                .to_owned()
        }
        io::ErrorKind::IsADirectory => "that is a folder; name a file".to_owned(),
        io::ErrorKind::NotADirectory => "that is not a folder; name a folder".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only; name a writable place".to_owned(),
        io::ErrorKind::InvalidData => "that is not UTF-8 text; name a text file".to_owned(),
        _ => format!("{source}; mend that or name another place"),
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Settings(error) => error.source(),
            Self::State(error) => error.source(),
            Self::Tls(error) => error.source(),
            Self::Page(error) => error.source(),
            Self::Address(_) | Self::Passed(_) | Self::RelayPort(_) => None,
            Self::Bind { source, .. } | Self::RelaySocket { source, .. } | Self::System { source, .. } => {
                Some(source)
            }
        }
    }
}

impl From<PassedError> for StartError {
    fn from(error: PassedError) -> Self {
        Self::Passed(error)
    }
}

impl From<SettingsError> for StartError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl From<StateError> for StartError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl From<PageError> for StartError {
    fn from(error: PageError) -> Self {
        Self::Page(error)
    }
}

impl From<NoPublicAddress> for StartError {
    fn from(error: NoPublicAddress) -> Self {
        Self::Address(error)
    }
}

impl From<TlsError> for StartError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: io::ErrorKind) -> String {
        let address = "192.0.2.1:443".parse().unwrap();
        StartError::Bind { setting: "https-port", address, source: kind.into() }.to_string()
    }

    #[test]
    fn a_port_that_cannot_be_bound_names_its_setting_and_the_cure() {
        assert_eq!(
            refused(io::ErrorKind::AddrInUse),
            "https-port 443 is in use at 192.0.2.1:443; stop the other program or choose another https-port"
        );
        assert!(refused(io::ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
        assert!(refused(io::ErrorKind::AddrNotAvailable).starts_with("listen 192.0.2.1 is no address"));
        assert!(refused(io::ErrorKind::OutOfMemory).starts_with("https-port 443 cannot be bound"));
    }

    fn turn_refused(errno: Errno) -> String {
        let address = "[::]:3478".parse().unwrap();
        StartError::Bind { setting: "turn-port", address, source: errno.into() }.to_string()
    }

    #[test]
    fn what_another_port_does_not_cure_is_not_blamed_on_the_port() {
        for (errno, cure) in [
            (Errno::NOPROTOOPT, "sandbox"),
            (Errno::NOSYS, "sandbox"),
            (Errno::PERM, "seccomp"),
            (Errno::ACCESS, "seccomp"),
            (Errno::NOMEM, "MemoryMax="),
            (Errno::MFILE, "LimitNOFILE="),
            (Errno::AFNOSUPPORT, "has no IPv6; give listen addresses of the other family"),
            (Errno::IO, "dmesg"),
        ] {
            let said = turn_refused(errno);
            assert!(said.starts_with("turn-port 3478 cannot be bound at [::]:3478"), "{said}");
            assert!(said.contains(cure) && !said.contains("another turn-port"), "{said}");
        }
    }

    #[test]
    fn what_the_system_refuses_is_no_question_of_files() {
        for (errno, cure) in
            [(Errno::AGAIN, "TasksMax="), (Errno::PERM, "seccomp"), (Errno::MFILE, "LimitNOFILE=")]
        {
            let said = StartError::System { deed: "start threads", source: errno.into() }.to_string();
            assert!(said.starts_with("cannot start threads: ") && said.contains(cure), "{said}");
            assert!(!said.contains("chmod"), "{said}");
        }
    }
}
