//! Which connections are let in: counted by source, behind a PROXY header by the source that it names, and
//! limited in how often they shake hands.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::accept::{Entrance, HEADER_LIMIT};
use super::metrics::Handshake;
use super::per_source::{SourcePermit, Sources};
use super::request_context::is_trusted;
use super::{House, Web, proxy_protocol};
use webrtc_box_relay::socket::SocketBuffers;

/// How long a source that has opened too many TLS connections at once may wait for its next one.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);

/// A connection that may go on, and who is at its other end.
pub(super) struct Admitted {
    pub(super) stream: TcpStream,
    /// As the proxy says, where one stands before us.
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
    /// Its place in the count of its source; nothing for the operator's own proxies.
    pub(super) permit: Option<SourcePermit>,
    /// A proxy made it for itself, and may keep it for requests of other people.
    pub(super) pooled: bool,
}

impl Admitted {
    /// Whose handshakes are counted, if anybody's.
    pub(super) fn counted(&self) -> Option<IpAddr> {
        self.permit.is_some().then(|| self.client.ip())
    }
}

impl Web {
    /// Accepts in a task of its own what may come in.
    pub(super) fn admit(&self, stream: TcpStream, peer: SocketAddr, entrance: &Entrance) {
        let behind = entrance.takes_proxy_header() && is_trusted(peer.ip(), &self.house.proxy_protocol);
        // Who is behind a proxy is counted when the header has named them.
        let permit = if behind { Ok(None) } else { self.house.place_for(peer, entrance) };
        let Ok(permit) = permit else { return };
        let (web, entrance) = (self.clone(), entrance.clone());
        // The end waits for whoever holds one: nobody is dropped half way through a handshake.
        let welcome = self.house.phase.subscribe();
        tokio::spawn(async move {
            if let Some(admitted) = web.introduce(stream, peer, &entrance, permit, behind).await {
                web.greet(admitted, entrance).await;
            }
            drop(welcome);
        });
    }

    /// Takes the PROXY header off, which must be there where `behind` is said.
    async fn introduce(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        entrance: &Entrance,
        permit: Option<SourcePermit>,
        behind: bool,
    ) -> Option<Admitted> {
        // Frames are small and wait for nothing; where it cannot be set they only come later.
        let _ = stream.set_nodelay(true);
        SocketBuffers::SMALL.set(&stream);
        let local = stream.local_addr().ok()?;
        let is_proxy = |address: SocketAddr| is_trusted(address.ip(), &self.house.trusted_proxy);
        let pooled = is_proxy(peer);
        if !behind {
            return Some(Admitted { stream, client: peer, local, permit, pooled });
        }
        let ends = match self.in_time(HEADER_LIMIT, proxy_protocol::read(&mut stream)).await {
            Some(Ok(ends)) => ends,
            Some(Err(error)) => {
                debug!(%error, "a proxy's connection did not begin with a PROXY header");
                return None;
            }
            None => return None,
        };
        let Some(ends) = ends else {
            return Some(Admitted { stream, client: peer, local, permit: None, pooled: true });
        };
        let permit = self.house.place_for(ends.client, entrance).ok()?;
        // A connection that is passed through belongs to one client, who has no reason to keep it idle.
        let pooled = pooled || is_proxy(ends.client);
        Some(Admitted { stream, client: ends.client, local: ends.local, permit, pooled })
    }

    /// Whether one more handshake of `source` may begin now, or within [`HANDSHAKE_WAIT`]. A handshake
    /// costs a signature and a wait costs a timer, so people behind one address come in one after the
    /// other. The operator's own proxies (`None`) always may.
    pub(super) async fn may_shake_hands(&self, source: Option<IpAddr>) -> bool {
        let Some(source) = source else { return true };
        let charge = async {
            while let Err(wait) = self.house.handshakes.charge(source, Instant::now().into()) {
                sleep(wait).await;
            }
        };
        let may = self.in_time(HANDSHAKE_WAIT, charge).await.is_some();
        if !may {
            self.house.tally.shook_hands(Handshake::Refused);
            debug!("a source asked for too many TLS handshakes");
        }
        may
    }
}

/// Its source has all the connections it may have.
struct Crowded;

impl House {
    /// A place in the count of `client`'s source; trusted proxies need none.
    fn place_for(&self, client: SocketAddr, entrance: &Entrance) -> Result<Option<SourcePermit>, Crowded> {
        if is_trusted(client.ip(), &self.trusted_proxy) {
            return Ok(None);
        }
        let permit = self.count_for(entrance).enter(client.ip());
        if permit.is_none() {
            self.tally.crowded_out();
            debug!("a source has all the connections it may have");
        }
        permit.map(Some).ok_or(Crowded)
    }

    /// Who looks after the box is counted apart: a crowd must not keep out whoever wants to see why.
    fn count_for(&self, entrance: &Entrance) -> &Sources {
        if matches!(entrance, Entrance::Watch(_)) { &self.watchers } else { &self.sources }
    }
}
