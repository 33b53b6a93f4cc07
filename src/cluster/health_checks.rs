//! Asks the other servers for `/healthz` by their public names, as clients reach them. A server that most others cannot reach
//! gives up its lease. The participants learn the others from here, too.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Bytes;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::lookup_host;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::debug;

use webrtc_box_cluster::{BoxId, NodeName};

use super::Cluster;
use crate::http::HttpServer;
use crate::net::https_client::{HttpConnection, connect, tls_config};

const INTERVAL: Duration = Duration::from_secs(2);

/// How long one check may take, with the handshake.
const LIMIT: Duration = Duration::from_millis(1500);

/// Bytes of a reply at most.
const MAX_BODY_BYTES: usize = 4096;

/// Runs as long as the process.
pub(super) async fn run(
    cluster: Arc<Cluster>,
    http_server: HttpServer,
    (domain, own_name): (String, NodeName),
    roots: RootCertStore,
) {
    let Ok(config) = tls_config() else { return };
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Vec::new();
    loop {
        ticks.tick().await;
        let hosts = cluster.node_hosts(&domain);
        if hosts != known {
            http_server.set_nodes(hosts.clone());
            known = hosts;
        }
        let others = cluster.handle.nodes().into_iter().map(|node| node.id).filter(|id| id.name != own_name);
        let checks = others.map(|id| check(&cluster, id, &config));
        futures_util::future::join_all(checks).await;
    }
}

/// What is found belongs to the boot that was listed before: a later one of the same name was not asked.
async fn check(cluster: &Cluster, id: BoxId, config: &Arc<ClientConfig>) {
    let node = &id.name;
    if !has_address(node).await {
        // Says something about the resolver here, not about the box: an outage of DNS must not end every lease.
        debug!(%node, "the name of a box does not resolve");
        return;
    }
    let outcome = timeout(LIMIT, is_healthy(&cluster.health_url(node), config)).await;
    let outcome = outcome.unwrap_or_else(|_| Err("timed out".to_owned()));
    if let Err(error) = &outcome {
        debug!(%node, error, "the health check of a box failed");
    }
    cluster.handle.set_reachable(&id, outcome.unwrap_or(false));
}

async fn has_address(node: &NodeName) -> bool {
    let found = timeout(LIMIT, lookup_host((node.as_str(), 443))).await;
    found.is_ok_and(|found| found.is_ok_and(|mut addresses| addresses.next().is_some()))
}

async fn is_healthy(url: &str, config: &Arc<ClientConfig>) -> Result<bool, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
    let stream = connect(&uri, config).await.map_err(|error| error.to_string())?;
    let mut connection = HttpConnection::open(stream).await.map_err(|error| error.to_string())?;
    let request = Request::get(uri).body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let reply = connection.send(request, MAX_BODY_BYTES).await.map_err(|error| error.to_string())?;
    Ok(reply.status() == StatusCode::OK)
}
