//! The TCP listeners of a box: bound, and not yet accepting.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::Settings;
use crate::error::StartError;
use crate::net::interfaces::sockets;
use crate::systemd::socket_activation::{ActivatedSockets, ListenerSockets};

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// By what stands behind them.
pub(super) struct Listeners {
    pub(super) https: Vec<TcpListener>,
    pub(super) http: Vec<TcpListener>,
    pub(super) turn: Vec<TcpListener>,
    pub(super) turns: Vec<TcpListener>,
    pub(super) metrics: Vec<TcpListener>,
}

impl Listeners {
    /// Those that were passed, and the rest bound.
    pub(super) fn open(settings: &Settings, passed: ActivatedSockets) -> Result<Self, StartError> {
        let ListenerSockets { https, http } = passed.place(settings.https_port, settings.http_port)?;
        // Without the relay's own port there is nothing behind the one for TLS.
        let turns_port = settings.turns_port.filter(|_| settings.turn_port.is_some());
        Ok(Self {
            https: given_or(https, || listeners(settings, "https-port", settings.https_port))?,
            http: given_or(http, || listeners(settings, "http-port", settings.http_port))?,
            turn: listeners(settings, "turn-port", settings.turn_port)?,
            turns: listeners(settings, "turns-port", turns_port)?,
            metrics: settings.metrics_listen.into_iter().map(metrics_listener).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn ports(&self) -> Vec<u16> {
        let all = [&self.https, &self.http, &self.turn, &self.turns, &self.metrics].into_iter().flatten();
        all.filter_map(|listener| Some(listener.local_addr().ok()?.port())).collect()
    }
}

fn given_or(
    given: Vec<std::net::TcpListener>,
    bind: impl FnOnce() -> Result<Vec<TcpListener>, StartError>,
) -> Result<Vec<TcpListener>, StartError> {
    if given.is_empty() {
        return bind();
    }
    let given = given.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>();
    given.map_err(|source| StartError::System { action: "use a socket that was passed", source })
}

fn listeners(
    settings: &Settings,
    setting: &'static str,
    port: Option<u16>,
) -> Result<Vec<TcpListener>, StartError> {
    let Some(port) = port else { return Ok(Vec::new()) };
    let listen = |address| listener(address).map_err(|source| StartError::Bind { setting, address, source });
    sockets(&settings.listen, port).into_iter().map(listen).collect()
}

fn metrics_listener(address: SocketAddr) -> Result<TcpListener, StartError> {
    listener(address).map_err(|source| StartError::Bind { setting: "metrics-listen", address, source })
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = webrtc_box_relay::socket::tcp(address)?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

pub(super) fn bound(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, StartError> {
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>();
    addresses.map_err(|source| StartError::System { action: "read a listener's address", source })
}
