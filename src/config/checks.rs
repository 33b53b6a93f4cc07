//! [`Typed`] into [`Settings`]: each value parsed, the ones that must go together compared, what
//! was left out filled in. The defaults stand here and nowhere else.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::error::{CertificateError, PortsError, SettingsError};
use super::typed::Typed;
use super::values::{self, seconds};
use super::{CertificateSource, ExternalIp, Identity, Listen, Log, RelayScope, Settings, covers};
use webrtc_box_turn::credential::Secret;

/// The longest credential-ttl: a year, so that an expiry stays a sane date.
const LONGEST_TTL: u64 = 365 * 24 * 3600;

/// The longest grace and drain: a day.
const LONGEST_WAIT: u64 = 24 * 3600;

/// Characters of a host key.
const LEAST_HOST_KEY: usize = 8;

/// Ports under 1024 that Chromium lets a TURN URL have (`port_util.cc` in its network stack).
const BROWSER_PORTS: [u16; 3] = [53, 80, 443];

/// The authority where none is named.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// What settings depend on besides what was typed.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `$STATE_DIRECTORY` as systemd sets it.
    pub state_directory: Option<String>,
    /// Where the systemd unit has its state, for the tools beside it, which systemd tells nothing.
    pub service_state: Option<String>,
}

/// Ports that differ between the two modes.
struct Mode {
    https_port: &'static str,
    http_port: &'static str,
    turns_port: &'static str,
}

const TRY_OUT: Mode = Mode { https_port: "8443", http_port: "8080", turns_port: "0" };
const PRODUCTION: Mode = Mode { https_port: "443", http_port: "80", turns_port: "5349" };

impl Typed {
    /// Whether they name a box and nothing of how it is set up: it runs on another machine, or was started
    /// with flags.
    pub fn only_name_a_box(&self) -> bool {
        self.domain.is_some() && self.cert.is_none() && self.key.is_none() && self.acme_email.is_none()
    }

    /// Whether they name a box, and that is not the one that `below` sets up.
    pub fn name_another_box(&self, below: &Self) -> bool {
        let name = |typed: &Self| typed.domain.as_deref().map(|name| values::domain("domain", name).ok());
        self.only_name_a_box() && below.domain.is_some() && name(self) != name(below)
    }

    /// The name of such a box, and the ports where it would be found.
    ///
    /// # Errors
    /// The first complaint.
    pub fn named_box(mut self, surroundings: &Surroundings) -> Result<(String, Settings), SettingsError> {
        let name = values::domain("domain", &self.domain.take().unwrap_or_default())?;
        let usual = |port: Option<String>, usual: &str| Some(port.unwrap_or_else(|| usual.to_owned()));
        self.https_port = usual(self.https_port, PRODUCTION.https_port);
        self.http_port = usual(self.http_port, PRODUCTION.http_port);
        self.turns_port = usual(self.turns_port, PRODUCTION.turns_port);
        Ok((name, self.settings(surroundings)?))
    }

    /// Checks everything; reads `static-auth-secret-file` and `host-key-file`, and looks into `public`.
    ///
    /// # Errors
    /// The first complaint, in the order of the fields of [`Settings`].
    pub fn settings(self, surroundings: &Surroundings) -> Result<Settings, SettingsError> {
        let named = self.domain.is_some();
        let mode = if named { PRODUCTION } else { TRY_OUT };
        let acme = acme(self.acme_email, &self.acme_directory)?;
        let identity = identity(self.domain, self.cert, self.key, acme)?;
        let https_port = values::listener("https-port", or(&self.https_port, mode.https_port))?;
        reachable(&identity, https_port)?;
        let http_port = values::listener("http-port", or(&self.http_port, mode.http_port))?;
        let turn_port = values::listener("turn-port", or(&self.turn_port, "3478"))?;
        let turns_port = values::listener("turns-port", or(&self.turns_port, mode.turns_port))?;
        ports_apart(https_port, http_port, turn_port, turns_port)?;
        let relay_scope = values::scope("relay-scope", or(&self.relay_scope, "room"))?;
        let (min_port, max_port) = port_range(&self.min_port, &self.max_port)?;
        let secret_files =
            [AUTH_SECRET.file(&self.static_auth_secret_file)?, HOST_KEY.file(&self.host_key_file)?];
        Ok(Settings {
            identity,
            listen: listen(self.listen)?,
            https_port,
            http_port,
            turn_port,
            turns_port,
            external_ip: external_ips(self.external_ip, relay_scope)?,
            relay_scope,
            min_port,
            max_port,
            allowed_peer_ip: each("allowed-peer-ip", self.allowed_peer_ip, values::network)?,
            denied_peer_ip: each("denied-peer-ip", self.denied_peer_ip, values::network)?,
            static_auth_secret: AUTH_SECRET.read(self.static_auth_secret, &secret_files[0])?,
            realm: values::realm("realm", or(&self.realm, "webrtc-box"))?,
            credential_ttl: seconds("credential-ttl", or(&self.credential_ttl, "3600"), 1..=LONGEST_TTL)?,
            user_quota: values::limit("user-quota", or(&self.user_quota, "48"))?,
            total_quota: values::limit("total-quota", or(&self.total_quota, "0"))?,
            max_bps: values::limit("max-bps", or(&self.max_bps, "0"))?,
            bps_capacity: values::limit("bps-capacity", or(&self.bps_capacity, "0"))?,
            unauth_reply_rate: values::limit("unauth-reply-rate", or(&self.unauth_reply_rate, "20"))?,
            source_connections: values::count("source-connections", or(&self.source_connections, "256"))?,
            room_grace: seconds("room-grace", or(&self.room_grace, "30"), 0..=LONGEST_WAIT)?,
            host_key: host_keys(HOST_KEY.read(self.host_key, &secret_files[1])?)?,
            secret_files: secret_files.into_iter().flatten().collect(),
            allowed_origin: each("allowed-origin", self.allowed_origin, values::origin)?,
            trusted_proxy: each("trusted-proxy", self.trusted_proxy, values::network)?,
            proxy_protocol: each("proxy-protocol", self.proxy_protocol, values::network)?,
            public: self.public.map(page_folder).transpose()?,
            state_dir: state_dir(self.state_dir, surroundings, named)?,
            drain_timeout: seconds("drain-timeout", or(&self.drain_timeout, "60"), 0..=LONGEST_WAIT)?,
            metrics_listen: values::socket("metrics-listen", or(&self.metrics_listen, "127.0.0.1:9641"))?,
            log: log(&self.log, &self.log_format, &self.log_addresses)?,
        })
    }
}

fn or<'a>(typed: &'a Option<String>, default: &'a str) -> &'a str {
    typed.as_deref().unwrap_or(default)
}

fn each<T>(
    setting: &'static str,
    typed: Option<Vec<String>>,
    parse: impl Fn(&'static str, &str) -> Result<T, SettingsError>,
) -> Result<Vec<T>, SettingsError> {
    typed.unwrap_or_default().iter().map(|text| parse(setting, text)).collect()
}

fn identity(
    domain: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    acme: Option<CertificateSource>,
) -> Result<Identity, SettingsError> {
    let name = domain.map(|name| values::domain("domain", &name)).transpose()?;
    for (setting, path) in [("cert", &cert), ("key", &key)] {
        values::file(setting, Path::new(path.as_deref().unwrap_or_default()))?;
    }
    let files = match (cert, key) {
        (Some(_), None) => return Err(CertificateError::Alone { present: "cert", missing: "key" }.into()),
        (None, Some(_)) => return Err(CertificateError::Alone { present: "key", missing: "cert" }.into()),
        (Some(cert), Some(key)) => Some(CertificateSource::Files { cert: cert.into(), key: key.into() }),
        (None, None) => None,
    };
    match (name, files, acme) {
        (_, Some(_), Some(_)) => Err(CertificateError::TwoSources.into()),
        (None, Some(_), None) => Err(CertificateError::NoDomain.into()),
        (None, None, Some(_)) => Err(CertificateError::AcmeWithoutDomain.into()),
        (None, None, None) => Ok(Identity::TryOut),
        (Some(domain), None, None) => Err(CertificateError::Missing { domain }.into()),
        (Some(name), Some(source), None) | (Some(name), None, Some(source)) => {
            Ok(Identity::Domain { name, source })
        }
    }
}

/// `acme-directory` alone asks for nothing: the example file has it with its default.
fn acme(
    email: Option<String>,
    directory: &Option<String>,
) -> Result<Option<CertificateSource>, SettingsError> {
    let directory = values::https_url("acme-directory", or(directory, LETS_ENCRYPT))?;
    let email = email.map(|email| values::email("acme-email", &email)).transpose()?;
    Ok(email.map(|email| CertificateSource::Acme { email, directory }))
}

fn reachable(identity: &Identity, https_port: Option<u16>) -> Result<(), CertificateError> {
    let by_acme = matches!(identity, Identity::Domain { source: CertificateSource::Acme { .. }, .. });
    if by_acme && https_port.is_none() { Err(CertificateError::AcmeWithoutHttps) } else { Ok(()) }
}

/// Whether Chromium takes a TURN URL with this port.
pub fn browsers_take(port: u16) -> bool {
    port >= 1024 || BROWSER_PORTS.contains(&port)
}

/// TURN listens on TCP as well, so all take part in the comparison.
fn ports_apart(
    https: Option<u16>,
    http: Option<u16>,
    turn: Option<u16>,
    turns: Option<u16>,
) -> Result<(), PortsError> {
    let refused = |port: &u16| !browsers_take(*port);
    for (setting, port) in [("turn-port", turn), ("turns-port", turns)] {
        if let Some(port) = port.filter(refused) {
            return Err(PortsError::RefusedByBrowsers { setting, port });
        }
    }
    let listeners = [("https-port", https), ("http-port", http), ("turn-port", turn), ("turns-port", turns)];
    let taken: Vec<_> = listeners.into_iter().filter_map(|(name, port)| Some((name, port?))).collect();
    if taken.is_empty() {
        return Err(PortsError::AllOff);
    }
    for (index, &(second, port)) in taken.iter().enumerate() {
        if let Some(&(first, _)) = taken[..index].iter().find(|other| other.1 == port) {
            return Err(PortsError::Same { first, second, port });
        }
    }
    Ok(())
}

fn port_range(min: &Option<String>, max: &Option<String>) -> Result<(u16, u16), SettingsError> {
    let min = values::port("min-port", or(min, "49152"))?;
    let max = values::port("max-port", or(max, "65535"))?;
    if min > max {
        return Err(PortsError::EmptyRange { min, max }.into());
    }
    Ok((min, max))
}

/// No address at all means any. A wildcard beside an address it covers would fail to bind.
fn listen(typed: Option<Vec<String>>) -> Result<Listen, SettingsError> {
    let mut addresses: Vec<IpAddr> = vec![];
    for address in each("listen", typed, values::address)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    for &wide in &addresses {
        if let Some(&narrow) = addresses.iter().find(|narrow| wide != **narrow && covers(wide, **narrow)) {
            return Err(SettingsError::Covered { wide, narrow });
        }
    }
    Ok(if addresses.is_empty() { Listen::Any } else { Listen::These(addresses) })
}

/// In scope `room` the relayed address only names, and Firefox refuses a loopback one.
fn external_ips(typed: Option<Vec<String>>, scope: RelayScope) -> Result<Vec<ExternalIp>, SettingsError> {
    let one = |setting, text: &str| {
        let ip = values::external_ip(setting, text)?;
        if scope == RelayScope::Room && ip.public.is_loopback() {
            let cure = "give another one, or leave external-ip out";
            return Err(values::bad(setting, text, "a loopback address, which browsers refuse", cure));
        }
        Ok(ip)
    };
    each("external-ip", typed, one)
}

/// A setting for secrets, and the one that names a file of them.
struct SecretSetting {
    in_place: &'static str,
    in_file: &'static str,
    /// In the file, a line that begins with `#` is a comment. One of static-auth-secret may be a secret.
    has_comments: bool,
}

const AUTH_SECRET: SecretSetting =
    SecretSetting { in_place: "static-auth-secret", in_file: "static-auth-secret-file", has_comments: false };
const HOST_KEY: SecretSetting =
    SecretSetting { in_place: "host-key", in_file: "host-key-file", has_comments: true };

impl SecretSetting {
    fn file(&self, typed: &Option<String>) -> Result<Option<(&'static str, PathBuf)>, SettingsError> {
        let Some(typed) = typed else { return Ok(None) };
        values::file(self.in_file, Path::new(typed))?;
        Ok(Some((self.in_file, PathBuf::from(typed))))
    }

    fn read(
        &self,
        typed: Option<Vec<String>>,
        file: &Option<(&'static str, PathBuf)>,
    ) -> Result<Vec<Secret>, SettingsError> {
        let one = |setting, text: &str| match bare(text) {
            "" => Err(SettingsError::EmptySecret { setting }),
            _ => Ok(Secret::new(text.trim_matches(['\r', '\n', values::BYTE_ORDER_MARK]))),
        };
        let in_place = each(self.in_place, typed, one)?;
        match file {
            Some(_) if !in_place.is_empty() => {
                Err(SettingsError::TwoSecretSources { in_place: self.in_place, in_file: self.in_file })
            }
            Some((_, path)) => self.lines(path),
            None => Ok(in_place),
        }
    }

    /// One secret a line; blank lines do not count.
    fn lines(&self, path: &Path) -> Result<Vec<Secret>, SettingsError> {
        let setting = self.in_file;
        // A word without a folder may be the secret itself.
        let is_path = path.as_os_str().as_encoded_bytes().contains(&b'/');
        let unreadable = |source| match is_path {
            true => SettingsError::Unreadable { setting, path: path.to_owned(), source },
            false => SettingsError::UnreadableWord { setting, source },
        };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let is_secret = |line: &&str| !(line.is_empty() || self.has_comments && line.starts_with('#'));
        let lines = text.split(['\n', '\r']).map(bare).filter(is_secret);
        let secrets: Vec<_> = lines.map(Secret::new).collect();
        if secrets.is_empty() { Err(SettingsError::EmptySecret { setting }) } else { Ok(secrets) }
    }
}

/// Keys that take more than a moment to guess.
fn host_keys(keys: Vec<Secret>) -> Result<Vec<Secret>, SettingsError> {
    match keys.iter().any(|key| key.is_shorter_than(LEAST_HOST_KEY)) {
        true => Err(SettingsError::ShortSecret { setting: "host-key", least: LEAST_HOST_KEY }),
        false => Ok(keys),
    }
}

/// Without the space around it, and without byte-order marks, which have none of their own.
fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == values::BYTE_ORDER_MARK)
}

fn page_folder(typed: String) -> Result<PathBuf, SettingsError> {
    values::file("public", Path::new(&typed))?;
    let unreadable =
        |source| SettingsError::Unreadable { setting: "public", path: typed.clone().into(), source };
    let folder = PathBuf::from(&typed);
    if !std::fs::metadata(&folder).map_err(unreadable)?.is_dir() {
        return Err(unreadable(io::ErrorKind::NotADirectory.into()));
    }
    if !folder.join("index.html").is_file() {
        let cure = "name the folder that holds the page";
        return Err(values::bad("public", &typed, "a folder without index.html", cure));
    }
    Ok(folder)
}

/// systemd lists several directories with colons between them; the first is ours. The service's is that of
/// a box with a name: trying out has its own.
fn state_dir(
    typed: Option<String>,
    surroundings: &Surroundings,
    named: bool,
) -> Result<PathBuf, SettingsError> {
    values::file("state-dir", Path::new(typed.as_deref().unwrap_or_default()))?;
    if typed.as_deref() == Some("") {
        return Err(values::bad("state-dir", "", "empty", "name a folder, or leave state-dir out"));
    }
    let given = surroundings.state_directory.as_deref().and_then(|dirs| dirs.split(':').next());
    let given = given.filter(|dir| !dir.is_empty());
    let given = given.or(surroundings.service_state.as_deref().filter(|_| named));
    Ok(typed.as_deref().or(given).unwrap_or("certs").into())
}

fn log(
    filter: &Option<String>,
    format: &Option<String>,
    addresses: &Option<String>,
) -> Result<Log, SettingsError> {
    Ok(Log {
        filter: values::filter("log", or(filter, "info"))?,
        json: values::json("log-format", or(format, "text"))?,
        addresses: values::switch("log-addresses", or(addresses, "off"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_beside_the_service_looks_where_the_service_keeps_its_state() {
        let told = |given: Option<&str>| Surroundings {
            state_directory: given.map(str::to_owned),
            service_state: Some("/var/lib/box".to_owned()),
        };
        let dir = |typed: Option<&str>, given, named| {
            state_dir(typed.map(str::to_owned), &told(given), named).unwrap()
        };
        assert_eq!(dir(None, None, true), Path::new("/var/lib/box"));
        assert_eq!(dir(None, None, false), Path::new("certs"));
        assert_eq!(dir(None, Some("/run/told:/more"), true), Path::new("/run/told"));
        assert_eq!(dir(Some("typed"), Some("/run/told"), true), Path::new("typed"));
    }
}
