//! Settings: from defaults, file, environment and flags ([`RawSettings`]) to [`Settings`], validated and typed.
//!
//! `settings` is the table of all settings; `sources` reads file and environment; `values`, `network` and `files` parse
//! single values. This file checks the values that must go together.

mod cluster;
mod files;
mod network;
mod service_links;
mod settings;
mod sources;
mod values;

use std::io;
use std::path::{Path, PathBuf};

use webrtc_box_signaling::IceUrls;

use self::values::parse;
use crate::error::{Hint, io_hint, io_reason};
use crate::net::addresses::url_host;

pub use self::cluster::ClusterSettings;
pub use self::network::{ExternalIp, Listen};
pub use self::settings::{LogFormat, RawSettings, Reload, Settings};
pub use self::sources::{DEFAULT_FILE, VARIABLE_PREFIX, file_with_secrets, gather, set_variables};
pub use self::values::seconds;

/// Ports under 1024 that Chromium accepts in a TURN URL (`port_util.cc` in its network stack).
const BROWSER_PORTS: [u16; 3] = [53, 80, 443];

/// The default certificate authority.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The name of the server, with its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// No domain: `localhost`, with a self-signed certificate in the state directory.
    TryOut,
    /// A public name or address.
    Domain {
        /// The name, lower case, in ASCII; or an address, without brackets.
        name: String,
        /// Where its certificate comes from.
        source: CertificateSource,
    },
}

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// Files that another program renews.
    Files {
        /// PEM chain.
        cert: PathBuf,
        /// PEM private key.
        key: PathBuf,
    },
    /// ACME (RFC 8555), renewed by this process.
    Acme {
        /// For the account with the certificate authority.
        email: String,
        /// URL of the directory of the certificate authority.
        directory: String,
    },
}

/// What the relay reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayScope {
    /// Only relayed addresses of the same room, inside the process.
    Room,
    /// A general TURN server with real relay sockets.
    Public,
}

/// The state directory if `state-dir` is not given.
#[derive(Clone, Debug, Default)]
pub struct StateDirDefaults {
    /// `$STATE_DIRECTORY`, which systemd sets for the service.
    pub systemd: Option<String>,
    /// The directory of the systemd unit, for commands next to the service, which do not get that variable.
    pub unit: Option<String>,
}

impl StateDirDefaults {
    /// The first of systemd's directories, which it separates by colons; else the unit's, which belongs to a server with a
    /// domain (try-out mode has its own).
    fn choose(&self, has_domain: bool) -> Option<&str> {
        let systemd = self.systemd.as_deref().and_then(|dirs| dirs.split(':').next());
        systemd.filter(|dir| !dir.is_empty()).or(self.unit.as_deref().filter(|_| has_domain))
    }
}

impl RawSettings {
    /// Whether they name a server but no certificate: it runs on another machine, or was started with flags.
    pub fn only_name_a_server(&self) -> bool {
        self.domain.is_some() && self.cert.is_none() && self.key.is_none() && self.acme_email.is_none()
    }

    /// Whether they name a server other than that of `local`.
    pub fn name_another_server(&self, local: &Self) -> bool {
        let name = |raw: &Self| raw.domain.as_deref().map(|name| parse("domain", name, network::domain).ok());
        self.only_name_a_server() && local.domain.is_some() && name(self) != name(local)
    }

    /// The name of such a server, and settings with the ports it probably has.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn remote_server(mut self, defaults: &StateDirDefaults) -> Result<(String, Settings), SettingsError> {
        let name = parse("domain", &self.domain.take().unwrap_or_default(), network::domain)?;
        Ok((name, self.without_cluster().checked(false, defaults)?))
    }

    /// Validates everything; reads `static-auth-secret-file`, `host-key-file` and `cluster-key-file`, and checks the folder `public`.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn validate(self, defaults: &StateDirDefaults) -> Result<Settings, SettingsError> {
        let try_out = self.domain.is_none();
        self.checked(try_out, defaults)
    }

    fn checked(self, try_out: bool, defaults: &StateDirDefaults) -> Result<Settings, SettingsError> {
        let mut settings = self.parse_rows(self.identity()?, try_out)?;
        if self.state_dir.is_none()
            && let Some(dir) = defaults.choose(self.domain.is_some())
        {
            settings.state_dir = dir.into();
        }
        settings.check_ports()?;
        settings.check_external_ip()?;
        settings.check_cluster()?;
        Ok(settings)
    }

    /// `acme-directory` alone has no effect: the example file has it with its default.
    fn identity(&self) -> Result<Identity, SettingsError> {
        let refuse = |reason: &str, hint: &str| Err(SettingsError::invalid(reason, hint));
        let directory = self.acme_directory.as_deref().unwrap_or(LETS_ENCRYPT);
        let directory = parse("acme-directory", directory, network::https_url)?;
        let email = self.acme_email.as_deref().map(|text| parse("acme-email", text, network::email));
        let name = self.domain.as_deref().map(|text| parse("domain", text, network::domain));
        let (email, name) = (email.transpose()?, name.transpose()?);
        let cert = self.cert.as_deref().map(|cert| files::file("cert", cert)).transpose()?;
        let key = self.key.as_deref().map(|key| files::file("key", key)).transpose()?;
        match (name, cert, key, email) {
            (None, None, None, None) => Ok(Identity::TryOut),
            (Some(name), Some(cert), Some(key), None) => {
                Ok(Identity::Domain { name, source: CertificateSource::Files { cert, key } })
            }
            (Some(name), None, None, Some(email)) => {
                Ok(Identity::Domain { name, source: CertificateSource::Acme { email, directory } })
            }
            (_, Some(_), None, _) => refuse("cert is set without key", "add --key FILE (setting key)"),
            (_, None, Some(_), _) => refuse("key is set without cert", "add --cert FILE (setting cert)"),
            (_, Some(_), Some(_), Some(_)) => {
                refuse("acme-email and cert with key are both set", "keep acme-email, or keep cert and key")
            }
            (None, Some(_), Some(_), None) => refuse(
                "cert and key are set without domain",
                "add --domain NAME, a name in the certificate, or leave both out for try-out mode",
            ),
            (None, None, None, Some(_)) => refuse(
                "acme-email is set without domain",
                "add --domain NAME, the name to get a certificate for, or leave acme-email out for try-out mode",
            ),
            (Some(name), None, None, None) => refuse(
                &format!("domain {name} has no certificate"),
                "add --acme-email YOU@EXAMPLE.COM to get one automatically (setting acme-email), \
                 or --cert fullchain.pem --key privkey.pem (settings cert and key)",
            ),
        }
    }
}

impl Settings {
    /// TURN listens on TCP as well, so all ports are compared.
    fn check_ports(&self) -> Result<(), SettingsError> {
        let refuse = |reason: String, hint: &str| Err(SettingsError::invalid(reason, hint));
        let by_acme =
            matches!(self.identity, Identity::Domain { source: CertificateSource::Acme { .. }, .. });
        if by_acme && self.https_port.is_none() {
            return refuse(
                "acme-email needs https-port, where the certificate authority connects".to_owned(),
                "give https-port a port that 443 leads to, or use cert and key instead",
            );
        }
        let (turn, turns) = (("turn-port", self.turn_port), ("turns-port", self.turns_port));
        for (setting, port) in [turn, turns] {
            if let Some(port) = port.filter(|&port| !browsers_accept(port)) {
                let reason = format!("{setting} {port} is refused by Chromium browsers");
                return refuse(reason, "take another port from 1024 up, or 53, 80 or 443");
            }
        }
        let all = [("https-port", self.https_port), ("http-port", self.http_port), turn, turns];
        let on: Vec<_> = all.into_iter().filter_map(|(setting, port)| Some((setting, port?))).collect();
        if on.is_empty() {
            let reason = "https-port, http-port, turn-port and turns-port are all 0: nothing to serve";
            return refuse(reason.to_owned(), "give one of them a port");
        }
        for (index, &(second, port)) in on.iter().enumerate() {
            if let Some((first, _)) = on[..index].iter().find(|other| other.1 == port) {
                let reason = format!("{first} and {second} both want TCP port {port}");
                return refuse(reason, "give one of them another port, or 0 for off");
            }
        }
        if self.min_port > self.max_port {
            let reason = format!("min-port {} is above max-port {}", self.min_port, self.max_port);
            return refuse(reason, "swap them");
        }
        Ok(())
    }

    /// In scope `room` the relayed address only identifies an allocation, and Firefox refuses a loopback one.
    fn check_external_ip(&self) -> Result<(), SettingsError> {
        let loopback = self.external_ip.iter().find(|ip| ip.public.is_loopback());
        match loopback.filter(|_| self.relay_scope == RelayScope::Room) {
            None => Ok(()),
            Some(ip) => Err(SettingsError::invalid(
                format!("external-ip {} is a loopback address, which browsers refuse", ip.public),
                "give another one, or leave external-ip out",
            )),
        }
    }

    /// The public name of the service; `None` in try-out mode.
    pub fn domain(&self) -> Option<&str> {
        match &self.identity {
            Identity::TryOut => None,
            Identity::Domain { name, .. } => Some(name),
        }
    }

    /// The STUN and TURN listeners that browsers receive. Without a domain no browser trusts the certificate, so there is
    /// no TURN over TLS. It uses https-port if browsers accept it, else turns-port. One of several servers gives its own name:
    /// both participants must use one relay.
    pub fn ice_urls(&self) -> IceUrls {
        let host = self.own_name().map(url_host);
        let on_https = self.https_port.filter(|&port| browsers_accept(port));
        let turns = host.as_ref().and(on_https.or(self.turns_port));
        let turn = self.turn_port;
        let turns = turns.filter(|_| turn.is_some()).into_iter().collect();
        IceUrls { host, stun: turn, turn_udp: turn, turn_tcp: turn, turns }
    }

    /// The files that secrets and keys were read from, by their settings.
    pub fn secret_files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [
            ("static-auth-secret-file", &self.static_auth_secret_file),
            ("host-key-file", &self.host_key_file),
            ("cluster-key-file", &self.cluster_key_file),
        ];
        files.into_iter().filter_map(|(setting, file)| Some((setting, file.as_deref()?)))
    }
}

/// Settings that cannot be used. `Display` is one line: the setting and the reason.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value, or values that contradict each other.
    #[error("{reason}")]
    Invalid {
        /// The setting and what is wrong with it.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// A file or folder named by a setting cannot be used.
    #[error("{setting}{}: {}", .path.as_deref().map(shown).unwrap_or_default(), io_reason(.source))]
    Unreadable {
        /// The setting.
        setting: &'static str,
        /// The file; `None` if its name may be the secret itself.
        path: Option<PathBuf>,
        /// Why not.
        source: io::Error,
    },
}

fn shown(path: &Path) -> String {
    format!(" {}", path.display())
}

impl SettingsError {
    /// `reason` names the setting.
    pub(crate) fn invalid(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into(), hint: hint.into() }
    }
}

impl Hint for SettingsError {
    fn hint(&self) -> String {
        match self {
            Self::Invalid { hint, .. } => hint.clone(),
            Self::Unreadable { source, .. } => io_hint(source),
        }
    }
}

/// Whether Chromium accepts a TURN URL with this port.
pub fn browsers_accept(port: u16) -> bool {
    port >= 1024 || BROWSER_PORTS.contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(change: impl FnOnce(&mut RawSettings)) -> Settings {
        let mut raw = RawSettings::default();
        change(&mut raw);
        raw.validate(&StateDirDefaults::default()).unwrap()
    }

    #[test]
    fn a_command_next_to_the_service_uses_its_state_directory() {
        let dir = |given: Option<&str>, systemd: Option<&str>, domain: bool| {
            let defaults = StateDirDefaults {
                systemd: systemd.map(str::to_owned),
                unit: Some("/var/lib/box".to_owned()),
            };
            let some = |text: &str| domain.then(|| text.to_owned());
            let raw = RawSettings {
                state_dir: given.map(str::to_owned),
                domain: some("a.example"),
                acme_email: some("a@b.example"),
                ..RawSettings::default()
            };
            raw.validate(&defaults).unwrap().state_dir
        };
        assert_eq!(dir(None, None, true), Path::new("/var/lib/box"));
        assert_eq!(dir(None, None, false), Path::new("certs"));
        assert_eq!(dir(None, Some("/run/systemd:/more"), true), Path::new("/run/systemd"));
        assert_eq!(dir(Some("given"), Some("/run/systemd"), true), Path::new("given"));
    }

    #[test]
    fn a_changed_setting_has_the_name_from_the_file() {
        let old = settings(|_| {});
        assert_eq!(old.changed(&settings(|_| {})), []);
        let mut new = settings(|raw| {
            raw.https_port = Some("9443".into());
            raw.host_key = Some(vec!["a long key".into()]);
            raw.proxy_protocol = Some(vec!["10.0.0.1".into()]);
            raw.log = Some("debug".into());
            raw.log_format = Some("json".into());
        });
        new.host_key_file = Some("keys".into());
        let (now, later) = (Reload::Applied, Reload::Restart);
        let changed = [
            ("proxy-protocol", later),
            ("https-port", later),
            ("host-key", now),
            ("log", now),
            ("log-format", later),
        ];
        assert_eq!(old.changed(&new), changed);
        let mut running = old;
        running.reload(new.clone());
        assert_eq!(
            running.changed(&new),
            changed
                .map(|(name, rule)| (name, rule))
                .into_iter()
                .filter(|(_, rule)| *rule == later)
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn domain_and_certificate_change_together() {
        let new = settings(|raw| {
            raw.domain = Some("a.example".into());
            raw.cert = Some("c".into());
            raw.key = Some("k".into());
        });
        let names = settings(|_| {}).changed(&new).into_iter().map(|(name, _)| name);
        assert_eq!(
            names.collect::<Vec<_>>(),
            ["domain and its certificate", "https-port", "http-port", "turns-port"]
        );
    }
}
