//! Converts errors of the server. Scripts wrap the error of a command into a text, in forms that differ by version.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::StoreError;

/// The longest text of the server that is repeated.
const MAX_TEXT: usize = 200;
/// What keeps a server from running any script: its disk, its replicas, another script, or its state.
const SERVER_STATES: [&str; 5] = ["MISCONF", "NOREPLICAS", "BUSY", "MASTERDOWN", "CLUSTERDOWN"];

pub(super) fn convert(error: &RedisError, redact: impl FnOnce(String) -> String) -> StoreError {
    if error.is_io_error() || error.is_connection_dropped() {
        return StoreError::Disconnected;
    }
    if error.kind() == ErrorKind::AuthenticationFailed {
        return StoreError::Login;
    }
    let text = error.to_string();
    let says = |code: &str| error.code() == Some(code) || text.contains(code);
    let short = |text: String| {
        redact(text).chars().filter(|character| !character.is_control()).take(MAX_TEXT).collect()
    };
    let kind = error.kind();
    match () {
        () if kind == ErrorKind::Server(ServerErrorKind::BusyLoading) => StoreError::Loading,
        () if says("NOAUTH") || says("WRONGPASS") => StoreError::Login,
        () if says("READONLY") => StoreError::ReadOnly,
        () if says("OOM") => StoreError::Full,
        () if says("NOPERM") || says("can't access at least one") || says("has no permissions") => {
            StoreError::Permission(short(text))
        }
        () if SERVER_STATES.into_iter().any(says) => StoreError::Server(short(text)),
        () if says("WRONGTYPE") || text.contains("user_script") => StoreError::Value(short(text)),
        () if matches!(kind, ErrorKind::Parse | ErrorKind::UnexpectedReturnType) => StoreError::Reply,
        () => StoreError::Server(short(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(line: &str) -> StoreError {
        let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        convert(&answer.extract_error().unwrap_err(), |text| text)
    }

    #[test]
    fn errors_about_one_value_are_told_from_those_of_the_server() {
        // As Redis 6.2 and 7.0 say it.
        for line in [
            "WRONGTYPE Operation against a key holding the wrong kind of value script: 1f2e, on @user_script:7.",
            "ERR Error running script (call to f_1f2e): @user_script:7: WRONGTYPE Operation against a key",
            "ERR user_script:7: attempt to compare nil with number script: 1f2e, on @user_script:7.",
        ] {
            assert!(
                matches!(converted(line), StoreError::Value(_)) && !converted(line).is_outage(),
                "{line}"
            );
        }
        for line in [
            "MISCONF Errors writing to the AOF file: No space left on device script: 1f2e, on @user_script:7.",
            "ERR Error running script (call to f_1f2e): @user_script:7: -NOREPLICAS Not enough good replicas to write.",
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            "ERR unknown command 'EVALSHA'",
        ] {
            assert!(
                matches!(converted(line), StoreError::Server(_)) && converted(line).is_outage(),
                "{line}"
            );
        }
        let full = "OOM command not allowed when used memory > 'maxmemory'. script: 1f2e, on @user_script:7.";
        assert_eq!(converted(full), StoreError::Full);
        assert_eq!(converted("LOADING Redis is loading the dataset in memory"), StoreError::Loading);
        assert_eq!(converted("NOAUTH Authentication required."), StoreError::Login);
    }
}
