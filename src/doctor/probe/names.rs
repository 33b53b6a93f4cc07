//! What the resolver says of a name, and what a STUN server says of us.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::wire::Wire;
use super::{ANSWER, relay};
use crate::doctor::judge::addresses::Outside;
use webrtc_box_turn::addr::Family;

/// For a resolver to answer.
const RESOLVE: Duration = Duration::from_secs(3);

/// The addresses of `name`, each once, IPv4 first; never an empty list.
pub(in crate::doctor) async fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = timeout(RESOLVE, lookup_host((name, 0))).await;
    let found = found.map_err(|_| "no name server answers".to_owned())?;
    let found = found.map_err(|_| "no name server knows it".to_owned())?;
    let mut addresses: Vec<IpAddr> = found.map(|found| found.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
}

/// Asks `server` (`HOST:PORT`) over each family that it has.
pub(in crate::doctor) async fn seen_by(server: &str) -> Outside {
    let found = timeout(RESOLVE, lookup_host(server)).await;
    let found: Vec<SocketAddr> = found.ok().and_then(Result::ok).map_or_else(Vec::new, Iterator::collect);
    let first = |family| found.iter().copied().find(|address| Family::of(address.ip()) == family);
    let asked = Family::BOTH.into_iter().filter_map(first).map(seen);
    Outside { server: server.to_owned(), seen: join_all(asked).await.into_iter().flatten().collect() }
}

async fn seen(server: SocketAddr) -> Option<IpAddr> {
    let wire = Arc::new(Wire::datagrams(server).await.ok()?);
    timeout(ANSWER, relay::binding(wire, server)).await.ok()?.ok().map(|mapped| mapped.ip())
}
