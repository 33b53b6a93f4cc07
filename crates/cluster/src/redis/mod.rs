//! The store on a Redis or Valkey server: each request is one script or one command.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use redis::{RedisResult, cmd};
use tokio::time::timeout;

mod connection;
mod error;
mod scripts;
mod server_info;
mod url;

use self::connection::{Connection, Connector};
use self::scripts::Scripts;
use crate::registry::{CALL_TIMEOUT, Identity, Registry, Reply, Request};
use crate::{BoxId, ClusterConfig, NodeName, StoreError, StoreFacts, StoreStatus};

pub use self::url::{StoreUrl, StoreUrlError};

/// The store of one box.
#[derive(Debug)]
pub struct RedisRegistry {
    connector: Connector,
    scripts: Scripts,
}

impl RedisRegistry {
    /// The store of `config`. Nothing is connected before [`run`](Registry::run) is polled.
    pub fn new(config: &ClusterConfig) -> Self {
        Self::with(&Identity::of(config), config.store.clone(), config.roots.clone())
    }

    fn with(identity: &Identity, url: StoreUrl, roots: rustls::RootCertStore) -> Self {
        Self { connector: Connector::new(url, roots), scripts: Scripts::new(identity) }
    }

    async fn carry_out(&self, connection: &mut Connection, request: Request) -> RedisResult<Reply> {
        let commands = &mut connection.commands;
        match request {
            Request::PutChallenge { domain, value, ttl } => {
                let mut set = cmd("SET");
                set.arg(challenge_key(&domain)).arg(value).arg("EX").arg(ttl.as_secs().max(1));
                set.query_async::<()>(commands).await.map(|()| Reply::Done(true))
            }
            Request::Challenge { domain } => {
                let answer = cmd("GET").arg(challenge_key(&domain)).query_async(commands).await;
                readable(answer).map(Reply::Challenge)
            }
            Request::Renew { .. }
            | Request::Claim { .. }
            | Request::Look { .. }
            | Request::Reassert { .. }
            | Request::Release { .. }
            | Request::Move { .. }
            | Request::Leave
            | Request::Nodes
            | Request::LockOrder
            | Request::UnlockOrder => self.scripts.run(commands, connection.session, request).await,
        }
    }
}

impl Registry for RedisRegistry {
    async fn call(&self, request: Request) -> Result<Reply, StoreError> {
        let start = Instant::now();
        let mut connection =
            timeout(CALL_TIMEOUT, self.connector.connection()).await.unwrap_or(Err(StoreError::Timeout))?;
        let left = CALL_TIMEOUT.saturating_sub(start.elapsed());
        let error = match timeout(left, self.carry_out(&mut connection, request)).await {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(error)) => self.connector.error(error),
            Err(_) => StoreError::Timeout,
        };
        if matches!(error, StoreError::Timeout | StoreError::Disconnected | StoreError::ReadOnly) {
            self.connector.replace(&connection, &error);
        }
        Err(error)
    }

    async fn run(&self) -> Infallible {
        self.connector.run().await
    }
}

/// The boxes that the store knows, and facts about it; for a command that is no box itself. Takes two seconds at most.
///
/// `domain` and `key_id` are those of [`ClusterConfig`], to recognise foreign boxes.
///
/// # Errors
/// The store does not answer; see [`StoreError::hint`].
pub async fn read_nodes(
    store: &StoreUrl,
    domain: &NodeName,
    key_id: [u8; 8],
    roots: rustls::RootCertStore,
) -> Result<StoreStatus, StoreError> {
    let name = NodeName::parse("reader").map_err(|_| StoreError::Reply)?;
    let identity = Identity { id: BoxId { name, boot: 0 }, domain: domain.clone(), key_id };
    let registry = RedisRegistry::with(&identity, store.clone(), roots);
    timeout(READ_TIMEOUT, registry.status(&identity)).await.unwrap_or(Err(StoreError::Timeout))
}

const READ_TIMEOUT: Duration = Duration::from_secs(2);

impl RedisRegistry {
    async fn status(&self, identity: &Identity) -> Result<StoreStatus, StoreError> {
        let (mut connection, driver) = self.connector.open().await?;
        let facts = |latency| StoreFacts {
            server: connection.info.server(),
            eviction_policy: connection.info.eviction_policy.clone(),
            memory_limit: connection.info.memory_limit,
            latency,
        };
        let mut facts = facts(Duration::ZERO);
        let reply = tokio::select! {
            () = driver => return Err(StoreError::Disconnected),
            reply = async {
                let _loads_script = self.carry_out(&mut connection, Request::Nodes).await?;
                let start = Instant::now();
                let reply = self.carry_out(&mut connection, Request::Nodes).await?;
                facts.latency = start.elapsed();
                Ok(reply)
            } => reply.map_err(|error| self.connector.error(error))?,
        };
        let Reply::Nodes(nodes) = reply else { return Err(StoreError::Reply) };
        let (key, domain) = (identity.key(), &identity.domain);
        let own = nodes.iter().filter(|node| node.id.name.is_below(domain));
        Ok(StoreStatus { facts, nodes: own.map(|node| node.info(&key)).collect() })
    }
}

/// A value of another type or encoding is none. It must not count as a failure of the store: anybody can begin a validation
/// handshake.
fn readable(answer: RedisResult<Option<Vec<u8>>>) -> RedisResult<Option<String>> {
    match answer {
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
        answer => Ok(answer?.and_then(|bytes| String::from_utf8(bytes).ok())),
    }
}

fn challenge_key(domain: &str) -> String {
    format!("webrtc-box:challenge:{domain}")
}
