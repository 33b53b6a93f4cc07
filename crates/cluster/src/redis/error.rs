//! Converts errors of the server. Scripts wrap the error of a command into a text, in forms that differ by version.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::StoreError;

/// The longest text of the server that is repeated.
const MAX_TEXT: usize = 200;

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
        () if matches!(kind, ErrorKind::Parse | ErrorKind::UnexpectedReturnType) => StoreError::Reply,
        () => StoreError::Server(short(text)),
    }
}
