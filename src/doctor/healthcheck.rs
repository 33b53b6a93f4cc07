//! `webrtc-box healthcheck`: asks the running server of these settings for `/healthz`, for container engines and scripts.
//! The listener of the metrics is asked if there is one, otherwise the page, whose certificate may have any name.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{self, HttpConnection, Unreachable, within};
use super::http::Health;
use super::server::Server;
use crate::config::Settings;
use crate::error::Hint;
use crate::net::interfaces::interfaces;

/// Container engines wait a few seconds.
const LIMIT: Duration = Duration::from_secs(2);

const PATH: &str = "/healthz";

/// Why the server is not healthy. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HealthcheckError {
    /// The settings leave nothing to ask.
    #[error("metrics-listen and https-port are off, so there is no listener to ask")]
    NoListener,
    /// No server answers.
    #[error("no healthy server at {url}: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why there is no answer.
        reason: String,
    },
    /// The server answers that a part of it does not work.
    #[error("the server at {url} reports that it is down: {why}")]
    Down {
        /// What was asked.
        url: String,
        /// Its reason.
        why: String,
    },
}

impl Hint for HealthcheckError {
    fn hint(&self) -> String {
        match self {
            Self::NoListener => "set metrics-listen".to_owned(),
            Self::Unreachable { .. } | Self::Down { .. } => String::new(),
        }
    }
}

/// Ends within two seconds.
///
/// # Errors
/// The server does not run, does not answer or reports that it is down.
pub async fn healthcheck(settings: &Settings) -> Result<(), HealthcheckError> {
    let (url, health) = match (settings.metrics_listen, page_address(settings)) {
        (Some(address), _) => (format!("http://{address}{PATH}"), within(LIMIT, ask_metrics(address)).await),
        (None, Some((server, address))) => {
            (format!("https://{address}{PATH}"), within(LIMIT, ask_page(&server, address)).await)
        }
        (None, None) => return Err(HealthcheckError::NoListener),
    };
    match health {
        Ok(Health::Up) => Ok(()),
        Ok(Health::Down { why }) => Err(HealthcheckError::Down { url, why }),
        Err(error) => Err(HealthcheckError::Unreachable { url, reason: error.to_string() }),
    }
}

/// Where this host reaches its own page; `None` if a proxy has it.
fn page_address(settings: &Settings) -> Option<(Server, SocketAddr)> {
    let port = settings.https_port?;
    let interfaces: Vec<_> = interfaces().into_iter().map(|interface| interface.ip).collect();
    let server = Server::local(settings, settings.domain(), &interfaces, &[]);
    let ip = server.first_address()?;
    Some((server, SocketAddr::new(ip, port)))
}

async fn ask_metrics(address: SocketAddr) -> Result<Health, Unreachable> {
    ask(connection::tcp(address, &[]).await?, &address.to_string()).await
}

async fn ask_page(server: &Server, address: SocketAddr) -> Result<Health, Unreachable> {
    let tls = connection::tls(address, &server.page_proxies, &server.name, &[b"http/1.1"]).await?;
    ask(tls.stream, &server.host()).await
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
) -> Result<Health, Unreachable> {
    let response = HttpConnection::open(stream).await?.get(host, PATH).await?;
    serde_json::from_slice(response.body()).map_err(|_| Unreachable::Broken("not as webrtc-box".to_owned()))
}
