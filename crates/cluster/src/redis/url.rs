//! Parses the URL of the store: `redis://`, `rediss://` (TLS), `redis+sentinel://` and `rediss+sentinel://`.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// Where the store is, and how to log in. `Debug` and `Display` do not print the password.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl {
    pub(crate) tls: bool,
    pub(crate) target: Target,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: u32,
}

/// The server itself, or the Sentinels that know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Server(Address),
    Sentinels { addresses: Vec<Address>, master: String },
}

/// A host name or an IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The URL is wrong. Its text does not repeat the URL, which may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// Another scheme, or none.
    #[error("the URL of the store has no scheme that is known")]
    Scheme,
    /// No host.
    #[error("the URL of the store names no host")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the URL of the store has a port that is no number from 1 to 65535")]
    Port,
    /// Several hosts without Sentinel.
    #[error("the URL of the store names several hosts without Sentinel; Redis Cluster mode is not supported")]
    SeveralHosts,
    /// Sentinels without the name of the primary.
    #[error("the URL of the store names Sentinels, but not which primary")]
    Master,
    /// The number of the database is none.
    #[error("the URL of the store has a database that is no number")]
    Database,
    /// A user without a password.
    #[error("the URL of the store has a user without a password")]
    Password,
    /// A character of the user or password is encoded in a wrong way.
    #[error("the user or password in the URL of the store is not percent-encoded UTF-8")]
    Encoding,
    /// Parameters after `?` or `#`.
    #[error("the URL of the store has parameters, which are not supported")]
    Parameters,
}

impl StoreUrlError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Scheme | Self::Host => {
                "give redis://HOST, rediss://HOST for TLS, or redis+sentinel://HOST,HOST/MASTER"
            }
            Self::Port => "give the port after the host, like redis://10.0.0.5:6379",
            Self::SeveralHosts => {
                "give one host, or redis+sentinel://HOST,HOST/MASTER with the hosts of the Sentinels"
            }
            Self::Master => {
                "add the name from `sentinel monitor` in sentinel.conf, like redis+sentinel://HOST,HOST/mymaster"
            }
            Self::Database => "give a number after the host, like redis://10.0.0.5/0, or nothing",
            Self::Password => {
                "give redis://USER:PASSWORD@HOST, or redis://:PASSWORD@HOST for the default user"
            }
            Self::Encoding => "write @ as %40, / as %2F, : as %3A and % as %25",
            Self::Parameters => "remove ? and #, and what follows; write # in a password as %23 and ? as %3F",
        }
    }
}

impl StoreUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// It is wrong; see [`StoreUrlError::hint`].
    pub fn parse(text: &str) -> Result<Self, StoreUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(StoreUrlError::Scheme)?;
        let (tls, sentinel) = match scheme.to_ascii_lowercase().as_str() {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            _ => return Err(StoreUrlError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(StoreUrlError::Parameters);
        }
        let (login, location) =
            rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let (user, password) = login.map_or(Ok((None, None)), parse_login)?;
        let (hosts, path) = location.split_once('/').unwrap_or((location, ""));
        let (target, database) = if sentinel { sentinels(hosts, path)? } else { (server(hosts)?, path) };
        Ok(Self { tls, target, user, password, database: parse_database(database)? })
    }

    /// Whether it contains a password.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// The URL without user and password.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls { "s" } else { "" };
        match &self.target {
            Target::Server(address) => write!(f, "redis{tls}://{address}"),
            Target::Sentinels { addresses, master } => {
                let hosts: Vec<String> = addresses.iter().map(Address::to_string).collect();
                write!(f, "redis{tls}+sentinel://{}/{master}", hosts.join(","))
            }
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

fn server(hosts: &str) -> Result<Target, StoreUrlError> {
    if hosts.contains(',') {
        return Err(StoreUrlError::SeveralHosts);
    }
    parse_address(hosts, 6379).map(Target::Server)
}

/// The Sentinels, and what follows the name of the primary.
fn sentinels<'a>(hosts: &str, path: &'a str) -> Result<(Target, &'a str), StoreUrlError> {
    let addresses = hosts.split(',').map(|host| parse_address(host, 26379)).collect::<Result<Vec<_>, _>>()?;
    let (master, database) = path.split_once('/').unwrap_or((path, ""));
    if master.is_empty() {
        return Err(StoreUrlError::Master);
    }
    Ok((Target::Sentinels { addresses, master: decode(master)? }, database))
}

fn parse_login(login: &str) -> Result<(Option<String>, Option<String>), StoreUrlError> {
    let (user, password) = login.split_once(':').ok_or(StoreUrlError::Password)?;
    if password.is_empty() {
        return Err(StoreUrlError::Password);
    }
    let user = if user.is_empty() { None } else { Some(decode(user)?) };
    Ok((user, Some(decode(password)?)))
}

fn decode(text: &str) -> Result<String, StoreUrlError> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| StoreUrlError::Encoding)
}

fn parse_address(text: &str, default_port: u16) -> Result<Address, StoreUrlError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(StoreUrlError::Host)?;
            (
                host,
                if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(StoreUrlError::Port)?) },
            )
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(StoreUrlError::Host);
    }
    let port = match port {
        None => default_port,
        Some(text) => text.parse().ok().filter(|port| *port != 0).ok_or(StoreUrlError::Port)?,
    };
    Ok(Address { host: host.to_owned(), port })
}

fn parse_database(text: &str) -> Result<u32, StoreUrlError> {
    if text.is_empty() { Ok(0) } else { text.parse().map_err(|_| StoreUrlError::Database) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_servers_and_sentinels_are_parsed() {
        let url = StoreUrl::parse("rediss://box:p%40ss:word@[2001:db8::1]:6380/3").unwrap();
        let server = Target::Server(Address { host: "2001:db8::1".to_owned(), port: 6380 });
        assert_eq!((url.tls, &url.target, url.database), (true, &server, 3));
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("box"), Some("p@ss:word")));

        let url = StoreUrl::parse("redis+sentinel://:secret@s1,10.0.0.2:5000/main/1").unwrap();
        let addresses = [("s1", 26379), ("10.0.0.2", 5000)];
        let addresses = addresses.map(|(host, port)| Address { host: host.to_owned(), port }).to_vec();
        assert_eq!(url.target, Target::Sentinels { addresses, master: "main".to_owned() });
        assert_eq!((url.user.as_deref(), url.password.as_deref(), url.database), (None, Some("secret"), 1));
        for text in ["redis://h", "redis://h/", "REDIS://h:6379", "rediss+sentinel://h/m"] {
            assert!(StoreUrl::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn wrong_urls_have_a_remedy_and_no_text_shows_the_password() {
        use StoreUrlError::*;
        let cases = [
            ("", Scheme),
            ("10.0.0.5:6379", Scheme),
            ("http://h", Scheme),
            ("redis://", Host),
            ("redis://:6379", Host),
            ("redis://[::1", Host),
            ("redis://h h", Host),
            ("redis://h:0", Port),
            ("redis://h:70000", Port),
            ("redis://[::1]6379", Port),
            ("redis://a,b", SeveralHosts),
            ("redis+sentinel://a,b", Master),
            ("redis+sentinel://a,b/", Master),
            ("redis+sentinel://a,/m", Host),
            ("redis://h/x", Database),
            ("redis://user@h", Password),
            ("redis://user:@h", Password),
            ("redis://user:%ff@h", Encoding),
            ("redis://h?timeout=1", Parameters),
            ("redis://user:pass#3cret@h", Parameters),
        ];
        for (text, error) in cases {
            assert_eq!(StoreUrl::parse(text), Err(error), "{text}");
            assert!(!error.hint().is_empty() && !error.to_string().contains("3cret"));
        }
        let url = StoreUrl::parse("redis://user:s3cret@h").unwrap();
        assert_eq!(format!("{url} {url:?}"), "redis://h:6379 StoreUrl(redis://h:6379)");
    }
}
