//! Why the store does not answer, and what an operator does about it.

/// Why the store did not answer a request. No text contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No connection.
    #[error("cannot connect to {address}: {reason}")]
    Unavailable {
        /// Host and port, or the Sentinels.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// No answer within 300 ms.
    #[error("the store does not answer within 300 ms")]
    Timeout,
    /// The connection ended during a request.
    #[error("the connection to the store ended")]
    Disconnected,
    /// The server is a replica.
    #[error("the store is read-only: the server is a replica")]
    ReadOnly,
    /// The server reached its memory limit.
    #[error("the store is full: it reached its limit maxmemory")]
    Full,
    /// User or password are wrong, or missing.
    #[error("the store refuses the user or password")]
    Login,
    /// The user may not run a command or use a key.
    #[error("the user of the store lacks a permission: {0}")]
    Permission(String),
    /// Redis before 6.2.
    #[error("the store is Redis {0}, which is too old; 6.2 or later, or Valkey, is needed")]
    Version(String),
    /// Redis Cluster mode.
    #[error("the store runs in Redis Cluster mode, which is not supported")]
    ClusterMode,
    /// The server reads its data from disk.
    #[error("the store is starting")]
    Loading,
    /// A command or script fails on one value: the store works.
    #[error("the store refuses a value: {0}")]
    Value(String),
    /// Something else that the server said.
    #[error("the store answers with an error: {0}")]
    Server(String),
    /// A reply of a shape that the scripts do not return.
    #[error("the store answers in an unknown form")]
    Reply,
}

impl StoreError {
    /// Whether other requests fail as well. One that a single key caused says nothing about others; if a permission for all is
    /// missing, the next renewal fails, too.
    pub(crate) fn is_outage(&self) -> bool {
        !matches!(self, Self::Value(_) | Self::Permission(_) | Self::Reply)
    }

    /// Whether the server itself said why. Another error may be what is seen first of such a refusal.
    pub(crate) fn is_answer(&self) -> bool {
        !matches!(self, Self::Unavailable { .. } | Self::Timeout | Self::Disconnected | Self::Loading)
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } | Self::Disconnected => {
                "check that the server runs, that the address in the setting cluster is right, and that a firewall lets it pass"
            }
            Self::Timeout => "check the load of the server and the network to it",
            Self::ReadOnly => "give the address of the primary, or use redis+sentinel://",
            Self::Full => "raise maxmemory in redis.conf, or remove what else is stored there",
            Self::Login => {
                "check user and password in the setting cluster, and requirepass or the ACL of the server"
            }
            Self::Permission(_) => {
                "give the user the rules of config/redis.conf: keys ~webrtc-box:*, scripts, INFO"
            }
            Self::Version(_) => "install Redis 6.2 or later, or Valkey",
            Self::ClusterMode => "use a server with cluster-enabled no",
            Self::Loading => "wait until the server has read its data",
            Self::Value(_) => {
                "delete the key webrtc-box:room:… that the text names, or look for who else writes there"
            }
            Self::Server(_) | Self::Reply => "check the log of the server",
        }
    }
}
