//! Opens the TCP listeners; `http` accepts on them later.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::start_error::StartError;
use crate::config::Settings;
use crate::net::interfaces::sockets;
use crate::systemd::socket_activation::{ActivatedSockets, ListenerSockets};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// The open listeners by purpose.
pub(super) struct Listeners {
    pub(super) https: Vec<TcpListener>,
    pub(super) http: Vec<TcpListener>,
    pub(super) turn: Vec<TcpListener>,
    pub(super) turns: Vec<TcpListener>,
    pub(super) metrics: Vec<TcpListener>,
}

impl Listeners {
    /// Takes the activated sockets and binds the rest.
    pub(super) fn open(settings: &Settings, activated: ActivatedSockets) -> Result<Self, StartError> {
        let ListenerSockets { https, http } = activated.assign(settings.https_port, settings.http_port)?;
        // Without turn-port there is no relay to serve turns-port.
        let turns_port = settings.turns_port.filter(|_| settings.turn_port.is_some());
        Ok(Self {
            https: activated_or(https, || bind_all(settings, "https-port", settings.https_port))?,
            http: activated_or(http, || bind_all(settings, "http-port", settings.http_port))?,
            turn: bind_all(settings, "turn-port", settings.turn_port)?,
            turns: bind_all(settings, "turns-port", turns_port)?,
            metrics: settings
                .metrics_listen
                .into_iter()
                .map(|address| bind("metrics-listen", address))
                .collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn ports(&self) -> Vec<u16> {
        let all = [&self.https, &self.http, &self.turn, &self.turns, &self.metrics].into_iter().flatten();
        all.filter_map(|listener| Some(listener.local_addr().ok()?.port())).collect()
    }
}

fn activated_or(
    activated: Vec<std::net::TcpListener>,
    bind: impl FnOnce() -> Result<Vec<TcpListener>, StartError>,
) -> Result<Vec<TcpListener>, StartError> {
    if activated.is_empty() {
        return bind();
    }
    let activated = activated.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>();
    activated.map_err(|source| StartError::System { action: "use a socket from systemd", source })
}

fn bind_all(
    settings: &Settings,
    setting: &'static str,
    port: Option<u16>,
) -> Result<Vec<TcpListener>, StartError> {
    let Some(port) = port else { return Ok(Vec::new()) };
    sockets(&settings.listen, port).into_iter().map(|address| bind(setting, address)).collect()
}

fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    listen(address).map_err(|source| StartError::Bind { setting, address, source })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = webrtc_box_relay::socket::tcp(address)?;
    // Otherwise a restart would wait for connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

pub(super) fn local_addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, StartError> {
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>();
    addresses.map_err(|source| StartError::System { action: "read a listener's address", source })
}
