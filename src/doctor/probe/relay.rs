//! Through the relay and back, with a client that is not ours: two allocations of one credential, and
//! a packet from one to the other.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ::turn::client::{Client, ClientConfig};
use futures_util::future::select_all;
use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::time::timeout;
use webrtc_util::Conn;

use super::dial;
use super::roots::Roots;
use super::wire::Wire;
use crate::doctor::judge::Trouble;
use crate::doctor::judge::certificate::Trust;
use crate::doctor::judge::relay::{Carried, Carrier, Fault, Tried, Way};
use webrtc_box_turn::credential::Credential;

/// For one way, connections included.
const PATIENCE: Duration = Duration::from_secs(6);
/// For all that is asked over one way once it is connected.
const EXCHANGE: Duration = Duration::from_secs(5);
/// For one packet to come through.
const PACKET: Duration = Duration::from_millis(700);
/// How often a packet is sent until two have come through.
const TRIES: usize = 5;
/// First wait for an answer, in milliseconds; on a stream nothing is lost.
const DATAGRAM_WAIT: u16 = 300;
const STREAM_WAIT: u16 = 3000;
/// How TURN is told from HTTP on one port (RFC 7443).
const ALPN: &[u8] = b"stun.turn";

/// How a way is tried.
#[derive(Clone, Copy, Debug)]
pub(in crate::doctor) struct Attempt<'a> {
    /// The name in the certificate.
    pub(in crate::doctor) name: &'a str,
    /// Those who begin a stream with a PROXY header.
    pub(in crate::doctor) proxies: &'a [IpNet],
    /// `None`: a question that needs none must do.
    pub(in crate::doctor) credential: Option<&'a Credential>,
    pub(in crate::doctor) roots: &'a Roots,
}

impl Attempt<'_> {
    pub(in crate::doctor) async fn over(self, way: Way) -> Tried {
        let tried = async {
            match self.connect(way).await {
                Err(trouble) => (Err(Fault::Unreached(trouble)), None),
                Ok((wire, trust)) => (self.through(way, wire).await, trust),
            }
        };
        let silence = (Err(Fault::Unreached(Trouble::Silent)), None);
        let (outcome, trust) = timeout(PATIENCE, tried).await.unwrap_or(silence);
        Tried { way, outcome, trust }
    }

    async fn connect(self, way: Way) -> Result<(Arc<Wire>, Option<Trust>), Trouble> {
        let local = |stream: &TcpStream| stream.local_addr().map_err(|error| dial::trouble(&error));
        let (wire, trust) = match way.carrier {
            Carrier::Udp => (Wire::datagrams(way.address).await?, None),
            Carrier::Tcp => {
                let stream = dial::tcp(way.address, self.proxies).await?;
                let local = local(&stream)?;
                (Wire::stream(stream, local, way.address), None)
            }
            Carrier::Tls => {
                let secured = dial::tls(way.address, self.proxies, self.name, &[ALPN]).await?;
                let trust = self.roots.judge(&secured.chain, self.name, SystemTime::now());
                let local = local(secured.stream.get_ref().0)?;
                (Wire::stream(secured.stream, local, way.address), Some(trust))
            }
        };
        Ok((Arc::new(wire), trust))
    }

    async fn through(self, way: Way, first: Arc<Wire>) -> Result<Carried, Fault> {
        let Some(credential) = self.credential else {
            let answer = binding(Arc::clone(&first), way.address);
            return unless_broken(&[&first], answer).await.map(|_| Carried::Answered);
        };
        let (second, _) = self.connect(way).await.map_err(Fault::Unreached)?;
        let carried = carry([Arc::clone(&first), Arc::clone(&second)], way, credential);
        let round_trip = unless_broken(&[&first, &second], carried).await?;
        Ok(Carried::There { round_trip })
    }
}

/// Where `server` sees this end of the wire.
pub(super) async fn binding(wire: Arc<Wire>, server: SocketAddr) -> Result<SocketAddr, Fault> {
    let client = client(wire, server, DATAGRAM_WAIT, None).await?;
    client.send_binding_request().await.map_err(denied)
}

/// The deed's end, or that of a wire it rests on, or of our patience.
async fn unless_broken<T>(
    wires: &[&Arc<Wire>],
    deed: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let breaks = select_all(wires.iter().map(|wire| Box::pin(wire.breaks())));
    tokio::select! {
        biased;
        (trouble, ..) = breaks => Err(Fault::Unreached(trouble)),
        done = timeout(EXCHANGE, deed) => done.unwrap_or(Err(Fault::Unreached(Trouble::Silent))),
    }
}

async fn carry(wires: [Arc<Wire>; 2], way: Way, credential: &Credential) -> Result<Duration, Fault> {
    let wait = if way.carrier == Carrier::Udp { DATAGRAM_WAIT } else { STREAM_WAIT };
    let [one, other] = wires.map(|wire| client(wire, way.address, wait, Some(credential)));
    let (one, other) = tokio::try_join!(one, other)?;
    let (near, far) = tokio::join!(one.allocate(), other.allocate());
    let round_trip = match (&near, &far) {
        (Ok(near), Ok(far)) => exchange(near, far).await,
        (Err(error), _) | (_, Err(error)) => Err(denied(error)),
    };
    for lent in near.iter().chain(&far) {
        // What is not given back runs out by itself.
        let _ = lent.close().await;
    }
    round_trip
}

async fn client(
    wire: Arc<Wire>,
    server: SocketAddr,
    wait: u16,
    credential: Option<&Credential>,
) -> Result<Client, Fault> {
    let (username, password) = credential.map_or_else(Default::default, |credential| {
        (credential.username.clone(), credential.password.clone())
    });
    let config = ClientConfig {
        stun_serv_addr: server.to_string(),
        turn_serv_addr: server.to_string(),
        username,
        password,
        realm: String::new(),
        software: String::new(),
        rto_in_ms: wait,
        conn: wire,
        vnet: None,
    };
    let client = Client::new(config).await.map_err(denied)?;
    client.listen().await.map_err(denied)?;
    Ok(client)
}

/// How long a packet takes from `near` to `far` and back.
async fn exchange(near: &impl Conn, far: &impl Conn) -> Result<Duration, Fault> {
    let (here, there) = (near.local_addr().map_err(denied)?, far.local_addr().map_err(denied)?);
    // Each asks for its permission with the first packet it sends.
    far.send_to(b"permission", here).await.map_err(denied)?;
    let mut last = None;
    for number in 0..TRIES {
        let (ping, pong) = (format!("ping {number}"), format!("pong {number}"));
        let began = Instant::now();
        near.send_to(ping.as_bytes(), there).await.map_err(denied)?;
        if !hears(far, &ping).await {
            continue;
        }
        far.send_to(pong.as_bytes(), here).await.map_err(denied)?;
        // The first one paid for its permission; the one after it is the measure.
        if hears(near, &pong).await && last.replace(began.elapsed()).is_some() {
            break;
        }
    }
    last.ok_or(Fault::Lost)
}

/// Whether `words` come in time.
async fn hears(end: &impl Conn, words: &str) -> bool {
    let mut buffer = [0; 64];
    let heard = async {
        while let Ok((length, _)) = end.recv_from(&mut buffer).await {
            if buffer.get(..length) == Some(words.as_bytes()) {
                return true;
            }
        }
        false
    };
    timeout(PACKET, heard).await.unwrap_or(false)
}

fn denied(error: impl std::fmt::Display) -> Fault {
    Fault::Denied(error.to_string())
}
