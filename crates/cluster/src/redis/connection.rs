//! One connection to the primary, opened again with a growing pause whenever it breaks.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisResult};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::server_info::ServerInfo;
use super::url::{Address, StoreUrl, Target};
use crate::StoreError;

/// For all steps of one attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For each Sentinel: one that is down must not use up the time of an attempt.
const SENTINEL_TIMEOUT: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Short, so that all boxes are back soon after the store is.
const LAST_PAUSE: Duration = Duration::from_millis(500);
/// Requests that wait for the socket.
const QUEUE: usize = 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, and which server process it leads to.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) commands: MultiplexedConnection,
    pub(super) info: Arc<ServerInfo>,
    /// Differs after a restart or a fail-over.
    pub(super) session: u64,
    number: u64,
}

/// Moves the bytes of a connection; ends with it.
pub(super) type ConnectionDriver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Opens connections. `Debug` shows no password.
#[derive(Debug)]
pub(super) struct Connector {
    url: StoreUrl,
    tls: Result<Arc<rustls::ClientConfig>, rustls::Error>,
    state: watch::Sender<State>,
    attempts: AtomicU64,
}

struct State {
    connection: Option<Connection>,
    /// Why there is none.
    error: StoreError,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("connected", &self.connection.is_some())
            .field("error", &self.error)
            .finish()
    }
}

impl Connector {
    pub(super) fn new(url: StoreUrl, roots: rustls::RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls =
            builder.map(|builder| Arc::new(builder.with_root_certificates(roots).with_no_client_auth()));
        let (state, _) = watch::channel(State { connection: None, error: StoreError::Timeout });
        Self { url, tls, state, attempts: AtomicU64::new(0) }
    }

    /// The connection, as soon as there is one. Fails without delay while attempts fail.
    pub(super) async fn connection(&self) -> Result<Connection, StoreError> {
        let mut states = self.state.subscribe();
        let ready = |state: &State| state.connection.is_some() || state.error != StoreError::Timeout;
        let state = states.wait_for(ready).await.map_err(|_| StoreError::Disconnected)?;
        state.connection.clone().ok_or_else(|| state.error.clone())
    }

    /// Replaces this connection by another one, whose server is looked up again.
    pub(super) fn replace(&self, broken: &Connection, error: &StoreError) {
        self.state.send_if_modified(|state| {
            let is_current = state.connection.as_ref().is_some_and(|current| current.number == broken.number);
            if is_current {
                *state = State { connection: None, error: error.clone() };
            }
            is_current
        });
    }

    /// Keeps a connection open.
    pub(super) async fn run(&self) -> Infallible {
        let mut pause = FIRST_PAUSE;
        loop {
            match timeout(CONNECT_TIMEOUT, self.open()).await.unwrap_or(Err(self.no_answer())) {
                Ok((connection, driver)) => {
                    pause = FIRST_PAUSE;
                    self.state.send_replace(State {
                        connection: Some(connection.clone()),
                        error: StoreError::Timeout,
                    });
                    let mut states = self.state.subscribe();
                    tokio::select! {
                        () = driver => self.replace(&connection, &StoreError::Disconnected),
                        _ = states.wait_for(|state| state.connection.is_none()) => {}
                    }
                }
                Err(error) => {
                    self.state.send_modify(|state| state.error = error);
                    sleep(pause).await;
                    pause = LAST_PAUSE.min(pause * 2);
                }
            }
        }
    }

    /// One attempt. The future must be polled for the connection to work.
    pub(super) async fn open(&self) -> Result<(Connection, ConnectionDriver), StoreError> {
        let number = self.attempts.fetch_add(1, Ordering::Relaxed);
        let address = self.primary(number as usize).await?;
        let stream = self.stream(&address).await.map_err(|error| unavailable(&address, &error))?;
        let opened = MultiplexedConnection::new_with_config(&self.login(true), stream, config()).await;
        let (mut commands, driver) = opened.map_err(|error| self.error(error))?;
        let mut driver: ConnectionDriver = Box::pin(driver);
        let info = redis::cmd("INFO");
        let info: RedisResult<String> = tokio::select! {
            () = &mut driver => return Err(StoreError::Disconnected),
            info = info.query_async(&mut commands) => info,
        };
        let info = ServerInfo::parse(&info.map_err(|error| self.error(error))?);
        info.check()?;
        let mut hasher = DefaultHasher::new();
        info.run_id.hash(&mut hasher);
        let session = hasher.finish();
        Ok((Connection { commands, info: Arc::new(info), session, number }, driver))
    }

    /// Converts an error without the password, which a proxy may repeat.
    pub(super) fn error(&self, error: redis::RedisError) -> StoreError {
        let password = self.url.password.as_deref();
        super::error::convert(&error, |text| match password {
            Some(password) => text.replace(password, "…"),
            None => text,
        })
    }

    fn no_answer(&self) -> StoreError {
        StoreError::Unavailable {
            address: self.url.to_string(),
            reason: format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
        }
    }

    fn login(&self, to_server: bool) -> RedisConnectionInfo {
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if to_server {
            login = login.set_db(i64::from(self.url.database));
        }
        if let Some(user) = &self.url.user {
            login = login.set_username(user);
        }
        match &self.url.password {
            Some(password) => login.set_password(password),
            None => login,
        }
    }

    /// The address of the primary: that of the URL, or what a Sentinel says now. Attempts begin with different Sentinels.
    async fn primary(&self, attempt: usize) -> Result<Address, StoreError> {
        let (addresses, master) = match &self.url.target {
            Target::Server(address) => return Ok(address.clone()),
            Target::Sentinels { addresses, master } => (addresses, master),
        };
        let mut error = StoreError::Timeout;
        for index in 0..addresses.len() {
            let sentinel = &addresses[(attempt + index) % addresses.len()];
            match timeout(SENTINEL_TIMEOUT, self.ask_sentinel(sentinel, master)).await {
                Ok(Ok(address)) => return Ok(address),
                Ok(Err(failure)) => error = failure,
                Err(_) => error = unavailable(sentinel, &io::ErrorKind::TimedOut.into()),
            }
        }
        Err(error)
    }

    async fn ask_sentinel(&self, sentinel: &Address, master: &str) -> Result<Address, StoreError> {
        // A Sentinel without a password refuses one.
        let anonymous = RedisConnectionInfo::default().set_skip_set_lib_name();
        let answer = match self.master_address(sentinel, master, &anonymous).await {
            Err(StoreError::Login) => self.master_address(sentinel, master, &self.login(false)).await,
            answer => answer,
        };
        let unknown = || StoreError::Server(format!("Sentinel {sentinel} knows no primary {master}"));
        answer?.map(|(host, port)| Address { host, port }).ok_or_else(unknown)
    }

    async fn master_address(
        &self,
        sentinel: &Address,
        master: &str,
        login: &RedisConnectionInfo,
    ) -> Result<Option<(String, u16)>, StoreError> {
        let stream = self.stream(sentinel).await.map_err(|error| unavailable(sentinel, &error))?;
        let opened = MultiplexedConnection::new_with_config(login, stream, config()).await;
        let (mut commands, driver) = opened.map_err(|error| self.error(error))?;
        let mut query = redis::cmd("SENTINEL");
        query.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        tokio::select! {
            () = driver => Err(StoreError::Disconnected),
            answer = query.query_async(&mut commands) => answer.map_err(|error| self.error(error)),
        }
    }

    async fn stream(&self, address: &Address) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        if !self.url.tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
        let config = self.tls.clone().map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Box::new(stream))
    }
}

fn config() -> AsyncConnectionConfig {
    // Whoever calls limits the time.
    AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(QUEUE)
}

fn unavailable(address: &Address, error: &io::Error) -> StoreError {
    StoreError::Unavailable { address: address.to_string(), reason: error.to_string() }
}
