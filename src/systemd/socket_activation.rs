//! Listening sockets that were open before the process began and came with it (sd_listen_fds(3)): taken
//! from the environment once, and told apart by their names or their ports.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use socket2::SockRef;
use tracing::warn;

use crate::error::Hint;

/// Sockets in the order in which they were passed, each with its name.
#[derive(Debug, Default)]
pub struct ActivatedSockets(Vec<Socket>);

#[derive(Debug)]
struct Socket {
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

/// The same by what they are for.
#[derive(Debug, Default)]
pub struct ListenerSockets {
    /// For HTTPS.
    pub https: Vec<TcpListener>,
    /// For plain HTTP.
    pub http: Vec<TcpListener>,
}

/// A socket that this server cannot use. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// It is not a listening TCP socket.
    #[error("socket {position} from systemd is no TCP listener ({reason})")]
    NotAListener {
        /// Which, from 1.
        position: usize,
        /// Why not.
        reason: String,
    },
    /// Neither its name nor its port tells what it is for.
    #[error(
        "https-port is {} and http-port is {}, but systemd passed a socket at {address}",
        .https_port.unwrap_or(0), .http_port.unwrap_or(0)
    )]
    Unassigned {
        /// Where it listens.
        address: SocketAddr,
        /// The settings.
        https_port: Option<u16>,
        /// The settings.
        http_port: Option<u16>,
    },
}

/// The names by which `FileDescriptorName=` says what a socket is for.
const HTTPS: &str = "https";
const HTTP: &str = "http";

impl ActivatedSockets {
    /// Takes what was passed to this process, if anything was. To be called once, and before there is
    /// a second thread: the variables that tell of it are removed.
    ///
    /// # Errors
    /// Something else than listening TCP sockets was passed.
    pub fn take() -> Result<Self, ActivationError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut fds = ListenFd::from_env();
        let sockets = (0..fds.len()).map(|index| {
            let taken = taken(&mut fds, index).map_err(|error| ActivationError::NotAListener {
                position: index + 1,
                reason: error.to_string(),
            });
            taken.map(|(listener, address)| Socket {
                name: names.next().unwrap_or_default().to_owned(),
                address,
                listener,
            })
        });
        sockets.collect::<Result<_, _>>().map(Self)
    }

    /// What each is for: its name says so, or else its port.
    ///
    /// # Errors
    /// Neither does, or it is for something that is switched off.
    pub fn place(
        self,
        https_port: Option<u16>,
        http_port: Option<u16>,
    ) -> Result<ListenerSockets, ActivationError> {
        let mut placed = ListenerSockets::default();
        for Socket { name, address, listener } in self.0 {
            let port = Some(address.port());
            match name.as_str() {
                HTTPS if https_port.is_some() => {
                    compare("https-port", https_port, address);
                    placed.https.push(listener);
                }
                HTTP if http_port.is_some() => {
                    compare("http-port", http_port, address);
                    placed.http.push(listener);
                }
                HTTPS | HTTP => return Err(ActivationError::Unassigned { address, https_port, http_port }),
                _ if port == https_port => placed.https.push(listener),
                _ if port == http_port => placed.http.push(listener),
                _ => return Err(ActivationError::Unassigned { address, https_port, http_port }),
            }
        }
        Ok(placed)
    }
}

fn taken(fds: &mut ListenFd, index: usize) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = fds.take_tcp_listener(index)?.ok_or(io::ErrorKind::NotFound)?;
    if !SockRef::from(&listener).is_listener()? {
        return Err(io::Error::other("it is a connection"));
    }
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// A name counts for more than a setting, but whoever set both should know.
fn compare(setting: &str, port: Option<u16>, address: SocketAddr) {
    if port.is_some_and(|port| port != 0 && port != address.port()) {
        let port = port.unwrap_or_default();
        warn!("{setting} is {port}, but the socket that was passed for it listens at {address}; that counts");
    }
}

impl Hint for ActivationError {
    fn hint(&self) -> String {
        let hint = match self {
            Self::NotAListener { .. } => {
                "in webrtc-box.socket, take ListenStream= with a port and leave Accept= out"
            }
            Self::Unassigned { .. } => "make ListenStream= in webrtc-box.socket and the settings agree",
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
    fn the_port_says_what_a_socket_is_for_and_a_name_says_it_better() {
        let (one, other, named) = (socket("webrtc-box.socket"), socket(""), socket("http"));
        let (https_port, http_port) = (Some(other.address.port()), Some(one.address.port()));
        let placed = ActivatedSockets(vec![one, other, named]).place(https_port, http_port).unwrap();
        assert_eq!((placed.https.len(), placed.http.len()), (1, 2));
    }

    #[test]
    fn a_socket_for_nothing_is_a_complaint() {
        let stray = socket("");
        let address = stray.address.to_string();
        let complaint = ActivatedSockets(vec![stray]).place(Some(443), None).unwrap_err().with_hint();
        assert!(complaint.contains("https-port is 443 and http-port is 0"), "{complaint}");
        assert!(complaint.contains(&address) && complaint.contains("ListenStream="), "{complaint}");
        assert!(ActivatedSockets(vec![socket("https")]).place(None, Some(80)).is_err(), "HTTPS is off");
    }
}
