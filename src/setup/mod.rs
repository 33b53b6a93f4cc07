//! `webrtc-box setup`: writes a settings file from flags, and on a terminal from the answers to five questions.
//!
//! An invalid answer is asked again. What does not fit this host, such as a name that leads elsewhere, is a warning: the
//! operator may fix it later. `settings_file` makes and writes the text, `dialog` asks.

mod dialog;
mod settings_file;

use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::config::{DEFAULT_FILE, RawSettings, Settings, SettingsError, StateDirDefaults, gather};
use crate::doctor::{Finding, HostCheck};
use crate::error::{Hint, io_hint, io_reason};

pub use self::dialog::Dialog;

/// Bytes of a generated host key.
const HOST_KEY: usize = 12;

/// Where the units of a package and of `install.sh` are.
const UNITS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// What to write, and where.
pub struct Setup {
    /// The settings given as flags; they are not asked for.
    pub settings: RawSettings,
    /// The settings file.
    pub file: PathBuf,
    /// Whether a file that sets something is replaced without a question.
    pub force: bool,
}

/// No settings were written. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is a settings file, and nobody to ask.
    #[error("{} exists", .0.display())]
    Exists(PathBuf),
    /// The operator does not want to replace the file.
    #[error("nothing is changed")]
    Declined,
    /// The input ended before the last question.
    #[error("the input ended before the last question, so nothing is written")]
    Ended,
    /// The settings are not valid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The terminal cannot be used.
    #[error("the terminal cannot be used ({0})")]
    Terminal(#[source] io::Error),
    /// The file cannot be written.
    #[error("{} cannot be written: {}", .path.display(), io_reason(.source))]
    Unwritable {
        /// The settings file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no randomness for a host key.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

impl Hint for SetupError {
    fn hint(&self) -> String {
        match self {
            Self::Exists(_) => "add --force to replace it, or name another file as --config".to_owned(),
            Self::Ended => {
                "answer the questions on a terminal, or add --yes and give the settings as flags".to_owned()
            }
            Self::Settings(error) => error.hint(),
            Self::Unwritable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run it as root, or name another file as --config".to_owned()
            }
            Self::Unwritable { source, .. } => io_hint(source),
            Self::Declined | Self::Terminal(_) | Self::Random(_) => String::new(),
        }
    }
}

impl Setup {
    /// Asks for what is not given; without a `dialog` that takes its default. `check` compares an answer with this host.
    /// Returns the text to print at the end.
    ///
    /// # Errors
    /// The settings are invalid, the file exists and is not to be replaced, or it cannot be written.
    pub async fn run(
        self,
        dialog: Option<Dialog<'_>>,
        check: impl AsyncFn(HostCheck, &Settings) -> Vec<Finding>,
    ) -> Result<String, SetupError> {
        let Self { mut settings, file, force } = self;
        let replaced = sets_something(&file);
        match dialog {
            None if replaced && !force => return Err(SetupError::Exists(file)),
            None => {}
            Some(mut dialog) => {
                dialog.say(&format!(
                    "Five questions, and {} is written. Enter takes the answer in [brackets]; Ctrl-C changes nothing.\n",
                    file.display()
                ))?;
                if replaced && !force && !dialog.confirm("The file exists. Replace it?", false)? {
                    return Err(SetupError::Declined);
                }
                let mut questions = Questions { dialog, check, settings };
                questions.ask().await?;
                settings = questions.settings;
            }
        }
        complete(&mut settings);
        let valid = settings.clone().validate(&StateDirDefaults::default())?;
        let kept = replaced.then(|| settings_file::keep(&file)).transpose();
        let write = || settings_file::write(&file, &settings_file::render(&settings));
        let kept = kept
            .and_then(|kept| write().map(|()| kept))
            .map_err(|source| SetupError::Unwritable { path: file.clone(), source })?;
        Ok(next_steps(&valid, &settings, &file, kept.as_deref()))
    }
}

/// Whether the file exists and is not the example file as it is.
fn sets_something(file: &Path) -> bool {
    file.exists()
        && !gather(Some(file.to_owned()), []).is_ok_and(|settings| settings == RawSettings::default())
}

/// What follows from the given settings: without an HTTPS port a reverse proxy on this host serves the page.
fn complete(settings: &mut RawSettings) {
    if settings.domain.is_some() && settings.https_port.as_deref() == Some("0") {
        settings.trusted_proxy.get_or_insert_with(|| ["127.0.0.1", "::1"].map(str::to_owned).to_vec());
        settings.http_port.get_or_insert_with(|| "8080".to_owned());
    }
}

/// The five questions.
struct Questions<'a, C> {
    dialog: Dialog<'a>,
    check: C,
    settings: RawSettings,
}

impl<C: AsyncFn(HostCheck, &Settings) -> Vec<Finding>> Questions<'_, C> {
    async fn ask(&mut self) -> Result<(), SetupError> {
        self.ask_domain().await?;
        self.ask_port().await?;
        if self.settings.domain.is_some() {
            self.ask_certificate().await?;
            self.ask_external_ip()?;
        }
        self.ask_host_key()
    }

    async fn ask_domain(&mut self) -> Result<(), SetupError> {
        if self.settings.domain.is_none() {
            let question = "1. Public name of this server, like call.example.com, or its IP address.\n   Without one browsers show a warning";
            let domain = self.dialog.ask_valid(question, "none", |text| match text {
                "none" => Ok(None),
                text => with_domain(text).map(|_| Some(text.to_owned())),
            })?;
            self.settings.domain = domain;
        }
        let Some(domain) = self.settings.domain.clone() else { return Ok(()) };
        self.report(HostCheck::Addresses, with_domain(&domain)?).await
    }

    async fn ask_port(&mut self) -> Result<(), SetupError> {
        if self.settings.https_port.is_none() {
            let (question, default) = match self.settings.domain {
                Some(_) => ("2. HTTPS port; 0 if a reverse proxy on this host serves the page", "443"),
                None => ("2. HTTPS port", "8443"),
            };
            let port = self.dialog.ask_valid(question, default, |text| {
                let settings = RawSettings { https_port: Some(text.to_owned()), ..RawSettings::default() };
                settings.validate(&StateDirDefaults::default()).map(|_| text.to_owned())
            })?;
            self.settings.https_port = (port != default).then_some(port);
        }
        let mut settings = self.settings.clone();
        complete(&mut settings);
        if settings.domain.is_some() {
            settings = with_placeholder(settings);
        }
        let settings = settings.validate(&StateDirDefaults::default())?;
        self.report(HostCheck::Ports, settings).await
    }

    async fn ask_certificate(&mut self) -> Result<(), SetupError> {
        if self.settings.acme_email.is_none() && self.settings.cert.is_none() {
            let behind_proxy = self.settings.https_port.as_deref() == Some("0");
            let question = match behind_proxy {
                true => "3. File of the certificate chain (PEM), for the relay over TLS",
                false => {
                    "3. E-mail address for Let's Encrypt, which gives you a certificate and may write to you;\n   or the file of a certificate chain (PEM) that you have"
                }
            };
            let base = self.settings.clone();
            let answer = self.dialog.ask_valid(question, "", |text| {
                let file = !text.contains('@') || text.starts_with('/');
                certificate(&base, text, file).map(|()| (text.to_owned(), file))
            })?;
            match answer {
                (text, true) => self.settings.cert = Some(text),
                (text, false) => self.settings.acme_email = Some(text),
            }
        }
        if self.settings.cert.is_none() {
            return Ok(());
        }
        if self.settings.key.is_none() {
            let base = self.settings.clone();
            let key = self.dialog.ask_valid("   File of its private key (PEM)", "", |text| {
                let settings = RawSettings { key: Some(text.to_owned()), ..base.clone() };
                settings.validate(&StateDirDefaults::default()).map(|_| text.to_owned())
            })?;
            self.settings.key = Some(key);
        }
        let settings = self.settings.clone().validate(&StateDirDefaults::default())?;
        self.report(HostCheck::Certificate, settings).await
    }

    fn ask_external_ip(&mut self) -> Result<(), SetupError> {
        if self.settings.external_ip.is_none() {
            let question = "4. Public IP address, if a router or a cloud forwards it to this host";
            self.settings.external_ip = self.dialog.ask_valid(question, "none", |text| {
                let list = (text != "none").then(|| vec![text.to_owned()]);
                let settings = RawSettings { external_ip: list.clone(), ..RawSettings::default() };
                settings.validate(&StateDirDefaults::default()).map(|_| list)
            })?;
        }
        Ok(())
    }

    fn ask_host_key(&mut self) -> Result<(), SetupError> {
        let is_set = self.settings.host_key.is_some() || self.settings.host_key_file.is_some();
        let question = "5. Should only people with a key be able to open rooms? (All others may join them)";
        if !is_set && self.dialog.confirm(question, false)? {
            let mut key = [0; HOST_KEY];
            getrandom::fill(&mut key).map_err(SetupError::Random)?;
            self.settings.host_key = Some(vec![BASE64_URL_SAFE_NO_PAD.encode(key)]);
        }
        Ok(())
    }

    /// Says what does not fit this host, and goes on.
    async fn report(&mut self, what: HostCheck, settings: Settings) -> Result<(), SetupError> {
        let findings = (self.check)(what, &settings).await;
        let lines: String = findings.iter().map(Finding::line).collect();
        self.dialog.say(&lines)
    }
}

/// Settings of a server with this domain, with a certificate that is not read yet.
fn with_domain(domain: &str) -> Result<Settings, SettingsError> {
    let settings = RawSettings { domain: Some(domain.to_owned()), ..RawSettings::default() };
    with_placeholder(settings).validate(&StateDirDefaults::default())
}

fn with_placeholder(settings: RawSettings) -> RawSettings {
    match settings.acme_email {
        Some(_) => settings,
        None => RawSettings { cert: Some("cert".to_owned()), key: Some("key".to_owned()), ..settings },
    }
}

/// Whether `text` is an e-mail address or names a file.
fn certificate(settings: &RawSettings, text: &str, file: bool) -> Result<(), SettingsError> {
    let some = Some(text.to_owned());
    let settings = match file {
        true => RawSettings { cert: some, key: Some("key".to_owned()), ..settings.clone() },
        false => RawSettings { acme_email: some, cert: None, key: None, ..settings.clone() },
    };
    settings.validate(&StateDirDefaults::default())?;
    match std::fs::File::open(text) {
        Err(source) if file => {
            Err(SettingsError::Unreadable { setting: "cert", path: Some(text.into()), source })
        }
        _ => Ok(()),
    }
}

/// The text at the end: what was written, and which commands come next.
fn next_steps(valid: &Settings, settings: &RawSettings, file: &Path, kept: Option<&Path>) -> String {
    let mut text = format!("The settings are in {}.", file.display());
    let mut add = |line: &str| text.write_fmt(format_args!("\n{line}")).unwrap_or_default();
    if let Some(kept) = kept {
        add(&format!("The previous ones are in {}.", kept.display()));
    }
    if let Some(keys) = &settings.host_key {
        add(&format!("The key that opens rooms: {}", keys.join(", ")));
    }
    add("Next:");
    let is_default = file == Path::new(DEFAULT_FILE);
    let has_unit = UNITS.iter().any(|folder| Path::new(folder).join("webrtc-box.service").exists());
    let flag = if is_default { String::new() } else { format!(" --config {}", file.display()) };
    match is_default && has_unit {
        true => {
            add("  systemctl enable webrtc-box && systemctl restart webrtc-box");
        }
        false => add(&format!("  webrtc-box{flag}")),
    }
    add(&format!("  webrtc-box check{flag}"));
    if let Some(domain) = valid.domain() {
        let host = crate::net::addresses::url_host(domain);
        let port = valid.https_port.filter(|port| *port != 443).map(|port| format!(":{port}"));
        add(&format!("Then open https://{host}{}/", port.unwrap_or_default()));
    }
    text
}

impl fmt::Debug for Setup {
    /// Without the settings, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("file", &self.file).field("force", &self.force).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
