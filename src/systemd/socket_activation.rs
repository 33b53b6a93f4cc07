//! Listening sockets that systemd opened and passed to this process (sd_listen_fds(3)): takes them, and assigns them to
//! listeners by name or port.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use socket2::SockRef;
use tracing::warn;

use crate::error::Hint;

/// The passed sockets, in order.
#[derive(Debug, Default)]
pub struct ActivatedSockets(Vec<Socket>);

#[derive(Debug)]
struct Socket {
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

/// The passed sockets by listener.
#[derive(Debug, Default)]
pub struct ListenerSockets {
    /// Sockets of HTTPS.
    pub https: Vec<TcpListener>,
    /// Sockets of plain HTTP.
    pub http: Vec<TcpListener>,
}

/// A socket that this server cannot use. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// It is not a listening TCP socket.
    #[error("socket {position} from systemd is no TCP listener ({reason})")]
    NotAListener {
        /// Its position, from 1.
        position: usize,
        /// Why not.
        reason: String,
    },
    /// Neither its name nor its port matches a listener.
    #[error(
        "https-port is {} and http-port is {}, but systemd passed a socket at {address}",
        .https_port.unwrap_or(0), .http_port.unwrap_or(0)
    )]
    Unassigned {
        /// Its address.
        address: SocketAddr,
        /// The setting.
        https_port: Option<u16>,
        /// The setting.
        http_port: Option<u16>,
    },
}

/// The values of `FileDescriptorName=` that assign a socket.
const HTTPS: &str = "https";
const HTTP: &str = "http";

impl ActivatedSockets {
    /// Takes the passed sockets, if any. Call it once, and before any other thread starts: it removes the environment
    /// variables that describe them.
    ///
    /// # Errors
    /// A passed descriptor is no listening TCP socket.
    pub fn take() -> Result<Self, ActivationError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut fds = ListenFd::from_env();
        let sockets = (0..fds.len()).map(|index| {
            let socket = take_socket(&mut fds, index).map_err(|error| ActivationError::NotAListener {
                position: index + 1,
                reason: error.to_string(),
            });
            socket.map(|(listener, address)| Socket {
                name: names.next().unwrap_or_default().to_owned(),
                address,
                listener,
            })
        });
        sockets.collect::<Result<_, _>>().map(Self)
    }

    /// Assigns each socket to a listener, by its name or else by its port.
    ///
    /// # Errors
    /// A socket matches no listener, or one that is off.
    pub fn assign(
        self,
        https_port: Option<u16>,
        http_port: Option<u16>,
    ) -> Result<ListenerSockets, ActivationError> {
        let mut assigned = ListenerSockets::default();
        for Socket { name, address, listener } in self.0 {
            let port = Some(address.port());
            match name.as_str() {
                HTTPS if https_port.is_some() => {
                    warn_if_different("https-port", https_port, address);
                    assigned.https.push(listener);
                }
                HTTP if http_port.is_some() => {
                    warn_if_different("http-port", http_port, address);
                    assigned.http.push(listener);
                }
                HTTPS | HTTP => return Err(ActivationError::Unassigned { address, https_port, http_port }),
                _ if port == https_port => assigned.https.push(listener),
                _ if port == http_port => assigned.http.push(listener),
                _ => return Err(ActivationError::Unassigned { address, https_port, http_port }),
            }
        }
        Ok(assigned)
    }
}

fn take_socket(fds: &mut ListenFd, index: usize) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = fds.take_tcp_listener(index)?.ok_or(io::ErrorKind::NotFound)?;
    if !SockRef::from(&listener).is_listener()? {
        return Err(io::Error::other("it is a connection"));
    }
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// A name takes precedence over the port setting. Warns if they differ.
fn warn_if_different(setting: &str, port: Option<u16>, address: SocketAddr) {
    if port.is_some_and(|port| port != 0 && port != address.port()) {
        let port = port.unwrap_or_default();
        warn!("{setting} is {port}, but systemd passed a socket for it at {address}, which is used");
    }
}

impl Hint for ActivationError {
    fn hint(&self) -> String {
        let hint = match self {
            Self::NotAListener { .. } => {
                "in webrtc-box.socket, use ListenStream= with a port, without Accept="
            }
            Self::Unassigned { .. } => "make ListenStream= in webrtc-box.socket match the settings",
        };
        hint.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn socket(name: &str) -> Socket {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        Socket { name: name.to_owned(), address, listener }
    }

    #[test]
    fn a_socket_is_assigned_by_its_name_or_else_by_its_port() {
        let (http, https, named) = (socket("webrtc-box.socket"), socket(""), socket("http"));
        let (https_port, http_port) = (Some(https.address.port()), Some(http.address.port()));
        let assigned = ActivatedSockets(vec![http, https, named]).assign(https_port, http_port).unwrap();
        assert_eq!((assigned.https.len(), assigned.http.len()), (1, 2));
    }

    #[test]
    fn a_socket_without_a_listener_is_an_error() {
        let unassigned = socket("");
        let address = unassigned.address.to_string();
        let error = ActivatedSockets(vec![unassigned]).assign(Some(443), None).unwrap_err().with_hint();
        assert!(error.contains("https-port is 443 and http-port is 0"), "{error}");
        assert!(error.contains(&address) && error.contains("ListenStream="), "{error}");
        assert!(ActivatedSockets(vec![socket("https")]).assign(None, Some(80)).is_err(), "HTTPS is off");
    }
}
