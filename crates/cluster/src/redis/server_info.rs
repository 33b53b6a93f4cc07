//! What `INFO` says about the server, and whether boxes can use it.

use crate::StoreError;

/// The oldest version: before it, `SET` and scripts lack what is used, and its security fixes have ended.
const OLDEST: (u32, u32) = (6, 2);

/// The fields of `INFO` that matter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ServerInfo {
    version: String,
    valkey_version: Option<String>,
    mode: String,
    role: String,
    is_loading: bool,
    pub(super) run_id: String,
    pub(super) eviction_policy: String,
    pub(super) memory_limit: u64,
}

impl ServerInfo {
    pub(super) fn parse(text: &str) -> Self {
        let mut info = Self::default();
        for (field, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let value = value.trim_end();
            match field {
                "redis_version" => info.version = value.to_owned(),
                "valkey_version" => info.valkey_version = Some(value.to_owned()),
                "redis_mode" => info.mode = value.to_owned(),
                "role" => info.role = value.to_owned(),
                "loading" => info.is_loading = value == "1",
                "run_id" => info.run_id = value.to_owned(),
                "maxmemory_policy" => info.eviction_policy = value.to_owned(),
                "maxmemory" => info.memory_limit = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        info
    }

    /// `Redis 7.0.15` or `Valkey 8.0.1`.
    pub(super) fn server(&self) -> String {
        match &self.valkey_version {
            Some(version) => format!("Valkey {version}"),
            None => format!("Redis {}", self.version),
        }
    }

    /// # Errors
    /// Boxes cannot use this server, at least not now.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let mut numbers = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        match () {
            () if version < OLDEST => Err(StoreError::Version(self.version.clone())),
            () if self.mode == "cluster" => Err(StoreError::ClusterMode),
            () if self.is_loading => Err(StoreError::Loading),
            () if !self.role.is_empty() && self.role != "master" => Err(StoreError::ReadOnly),
            () => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &str) -> Result<(), StoreError> {
        ServerInfo::parse(&lines.replace(' ', "\r\n")).check()
    }

    #[test]
    fn old_servers_replicas_and_cluster_mode_are_refused() {
        assert_eq!(check("# redis_version:7.0.15 redis_mode:standalone role:master"), Ok(()));
        assert_eq!(check("redis_version:6.2.0"), Ok(()));
        assert_eq!(check("redis_version:10.0"), Ok(()));
        assert_eq!(check("redis_version:6.0.16"), Err(StoreError::Version("6.0.16".to_owned())));
        assert_eq!(check(""), Err(StoreError::Version(String::new())));
        assert_eq!(check("redis_version:7.2.4 redis_mode:cluster"), Err(StoreError::ClusterMode));
        assert_eq!(check("redis_version:7.2.4 role:slave"), Err(StoreError::ReadOnly));
        assert_eq!(check("redis_version:7.2.4 role:master loading:1"), Err(StoreError::Loading));
        let valkey =
            ServerInfo::parse("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n");
        assert_eq!(valkey.server(), "Valkey 8.0.1");
    }
}
