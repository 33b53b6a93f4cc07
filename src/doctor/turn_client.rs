//! A TURN client for one 5-tuple (RFC 8656), over UDP, TCP or TLS: Binding, Allocate, ChannelBind,
//! ChannelData and Refresh to 0. It waits for each response before the next request.
//!
//! It shares the framing of streams with the relay, but neither requests nor responses: a mistake in the
//! server is not repeated here.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use stun::attributes as attr;
use stun::attributes::AttrType;
use stun::error_code::ErrorCodeAttribute;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter as _, METHOD_ALLOCATE,
    METHOD_BINDING, METHOD_CHANNEL_BIND, METHOD_REFRESH, Message, MessageType, Method, Setter as _,
};
use stun::xoraddr::XorMappedAddress;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use webrtc_box_relay::framing::{MessageBoundary, find_message};
use webrtc_box_turn::credential::Credential;

use super::connection::{RESPONSE_LIMIT, Unreachable};

/// How long the first UDP request waits for a response (RFC 8489 §6.2.1); each further one twice as long.
const FIRST_RTO: Duration = Duration::from_millis(300);
/// How often a UDP request is sent.
const TRANSMISSIONS: usize = 5;
/// How often a request is repeated with a new realm or nonce.
const MAX_CHALLENGES: usize = 3;
/// The one channel of an allocation here.
const CHANNEL: [u8; 2] = [0x40, 0];
/// Protocol 17 in REQUESTED-TRANSPORT.
const UDP: [u8; 4] = [17, 0, 0, 0];

pub(super) struct TurnClient {
    socket: Socket,
    /// For the requests that the server challenges.
    pub(super) credential: Option<Credential>,
    /// REALM and NONCE of the server.
    challenge: Option<(String, Vec<u8>)>,
}

enum Socket {
    /// Connected: a closed port is reported.
    Udp(UdpSocket),
    Stream {
        stream: Box<dyn Stream>,
        unread: Vec<u8>,
    },
}

type Attribute<'a> = (AttrType, &'a [u8]);

/// TCP or TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why nothing was relayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TurnError {
    #[error("{0}")]
    Unreachable(Unreachable),
    /// An error response (RFC 8656 §19); `reason` is often empty.
    #[error("no allocation (error {code}{}{reason})", if .reason.is_empty() { "" } else { ": " })]
    Rejected { code: u16, reason: String },
    #[error("two allocations were made, and no packet came through")]
    PacketLost,
}

impl TurnClient {
    pub(super) async fn udp(server: SocketAddr) -> Result<Self, Unreachable> {
        let any = match server {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        Ok(Self { socket: Socket::Udp(socket), credential: None, challenge: None })
    }

    pub(super) fn stream(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let socket = Socket::Stream { stream: Box::new(stream), unread: Vec::new() };
        Self { socket, credential: None, challenge: None }
    }

    /// The address of this client as the server sees it.
    pub(super) async fn binding(&mut self) -> Result<SocketAddr, TurnError> {
        address(&self.request(METHOD_BINDING, &[], None).await?, attr::ATTR_XORMAPPED_ADDRESS)
    }

    /// The relayed address of a new allocation.
    pub(super) async fn allocate(&mut self) -> Result<SocketAddr, TurnError> {
        let transport: Attribute<'_> = (attr::ATTR_REQUESTED_TRANSPORT, &UDP);
        address(&self.request(METHOD_ALLOCATE, &[transport], None).await?, attr::ATTR_XOR_RELAYED_ADDRESS)
    }

    /// Binds the channel to `peer`, which installs the permission as well (RFC 8656 §12).
    pub(super) async fn bind_channel(&mut self, peer: SocketAddr) -> Result<(), TurnError> {
        let channel: Attribute<'_> = (attr::ATTR_CHANNEL_NUMBER, &[CHANNEL[0], CHANNEL[1], 0, 0]);
        self.request(METHOD_CHANNEL_BIND, &[channel], Some(peer)).await.map(drop)
    }

    /// Deletes the allocation.
    pub(super) async fn release(&mut self) -> Result<(), TurnError> {
        self.request(METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0; 4])], None).await.map(drop)
    }

    /// Sends `payload` to the peer of the channel.
    pub(super) async fn send_data(&mut self, payload: &[u8]) -> Result<(), TurnError> {
        let length = (payload.len() as u16).to_be_bytes();
        let mut bytes = [&CHANNEL, &length, payload].concat();
        if let Socket::Stream { .. } = self.socket {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        Ok(self.send(&bytes).await?)
    }

    /// The next payload from the peer of the channel.
    pub(super) async fn receive_data(&mut self) -> Result<Vec<u8>, TurnError> {
        loop {
            let bytes = self.receive().await?;
            let Some((header, padded)) = bytes.split_first_chunk::<4>() else { continue };
            let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
            if let Some(payload) = padded.get(..length).filter(|_| header[..2] == CHANNEL) {
                return Ok(payload.to_vec());
            }
        }
    }

    /// Sends the request, again if the server challenges it, and returns the success response. `peer` goes
    /// into XOR-PEER-ADDRESS.
    async fn request(
        &mut self,
        method: Method,
        attributes: &[Attribute<'_>],
        peer: Option<SocketAddr>,
    ) -> Result<Message, TurnError> {
        let mut challenges = 0;
        loop {
            let is_signed = self.challenge.is_some();
            let response = self.exchange(&self.encode(method, attributes, peer)?).await?;
            if response.typ.class == CLASS_SUCCESS_RESPONSE {
                return Ok(response);
            }
            let mut error = ErrorCodeAttribute::default();
            error.get_from(&response)?;
            let is_challenge = match error.code.0 {
                401 => !is_signed && self.credential.is_some(),
                438 => challenges < MAX_CHALLENGES,
                _ => false,
            };
            if !is_challenge {
                return Err(TurnError::Rejected { code: error.code.0, reason: text(&error.reason) });
            }
            challenges += 1;
            self.challenge = Some((text(&response.get(attr::ATTR_REALM)?), response.get(attr::ATTR_NONCE)?));
        }
    }

    /// A request with a new transaction id, signed with the long-term credential (RFC 8489 §9.2.3) once the
    /// server has sent a challenge.
    fn encode(
        &self,
        method: Method,
        attributes: &[Attribute<'_>],
        peer: Option<SocketAddr>,
    ) -> Result<Message, TurnError> {
        let mut request = Message::new();
        request.typ = MessageType::new(method, CLASS_REQUEST);
        getrandom::fill(&mut request.transaction_id.0).map_err(Unreachable::broken)?;
        request.write_header();
        attributes.iter().for_each(|(kind, value)| request.add(*kind, value));
        if let Some(peer) = peer {
            let peer = XorMappedAddress { ip: peer.ip(), port: peer.port() };
            peer.add_to_as(&mut request, attr::ATTR_XOR_PEER_ADDRESS)?;
        }
        if let (Some(credential), Some((realm, nonce))) = (&self.credential, &self.challenge) {
            let Credential { username, password } = credential.clone();
            request.add(attr::ATTR_USERNAME, username.as_bytes());
            request.add(attr::ATTR_REALM, realm.as_bytes());
            request.add(attr::ATTR_NONCE, nonce);
            MessageIntegrity::new_long_term_integrity(username, realm.clone(), password)
                .add_to(&mut request)?;
        }
        Ok(request)
    }

    /// Sends a request and receives its response; over UDP with retransmissions.
    async fn exchange(&mut self, request: &Message) -> Result<Message, Unreachable> {
        let (mut wait, transmissions) = match self.socket {
            Socket::Udp(_) => (FIRST_RTO, TRANSMISSIONS),
            Socket::Stream { .. } => (RESPONSE_LIMIT, 1),
        };
        for _ in 0..transmissions {
            self.send(&request.raw).await?;
            if let Ok(response) = timeout(wait, self.response(request)).await {
                return response;
            }
            wait *= 2;
        }
        Err(Unreachable::NoAnswer)
    }

    /// Skips everything but the response to `request`.
    async fn response(&mut self, request: &Message) -> Result<Message, Unreachable> {
        let mut message = Message::new();
        loop {
            let is_valid = message.unmarshal_binary(&self.receive().await?).is_ok();
            let is_response = [CLASS_SUCCESS_RESPONSE, CLASS_ERROR_RESPONSE].contains(&message.typ.class);
            if is_valid && is_response && message.transaction_id == request.transaction_id {
                return Ok(message);
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Unreachable> {
        match &mut self.socket {
            Socket::Udp(socket) => socket.send(bytes).await.map(drop)?,
            Socket::Stream { stream, .. } => {
                stream.write_all(bytes).await?;
                stream.flush().await?;
            }
        }
        Ok(())
    }

    /// The next message. If the future is dropped, nothing that was read is lost.
    async fn receive(&mut self) -> Result<Vec<u8>, Unreachable> {
        match &mut self.socket {
            Socket::Udp(socket) => {
                let mut buffer = Vec::with_capacity(2048);
                socket.recv_buf(&mut buffer).await?;
                Ok(buffer)
            }
            Socket::Stream { stream, unread } => loop {
                match find_message(unread) {
                    MessageBoundary::Complete(length) => return Ok(unread.drain(..length).collect()),
                    MessageBoundary::Invalid => return Err(Unreachable::Broken("not with STUN".to_owned())),
                    MessageBoundary::Incomplete if stream.read_buf(unread).await? == 0 => {
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                    }
                    MessageBoundary::Incomplete => {}
                }
            },
        }
    }
}

fn address(response: &Message, kind: AttrType) -> Result<SocketAddr, TurnError> {
    let mut address = XorMappedAddress::default();
    address.get_from_as(response, kind)?;
    Ok(SocketAddr::new(address.ip, address.port))
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

impl TurnError {
    /// The limit of allocations is reached (486, 508): by other clients, or by the other transports that are
    /// tried at the same time.
    pub(super) fn is_quota(&self) -> bool {
        matches!(self, Self::Rejected { code: 486 | 508, .. })
    }
}

impl From<Unreachable> for TurnError {
    fn from(error: Unreachable) -> Self {
        Self::Unreachable(error)
    }
}

impl From<stun::Error> for TurnError {
    fn from(error: stun::Error) -> Self {
        Unreachable::broken(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: [Attribute<'_>; 3] =
        [(attr::ATTR_ERROR_CODE, &[0, 0, 4, 1]), (attr::ATTR_REALM, b"box"), (attr::ATTR_NONCE, b"n1")];

    /// Reads a request from `stream` and sends a response with `attributes`.
    async fn respond(stream: &mut (impl Stream + ?Sized), attributes: &[Attribute<'_>]) -> Message {
        let mut header = [0; 20];
        stream.read_exact(&mut header).await.unwrap();
        let mut rest = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]]))];
        stream.read_exact(&mut rest).await.unwrap();
        let mut request = Message::new();
        request.unmarshal_binary(&[&header[..], &rest].concat()).unwrap();
        let is_error = attributes.iter().any(|(kind, _)| *kind == attr::ATTR_ERROR_CODE);
        let class = if is_error { CLASS_ERROR_RESPONSE } else { CLASS_SUCCESS_RESPONSE };
        let mut response = Message::new();
        response.typ = MessageType::new(request.typ.method, class);
        response.transaction_id = request.transaction_id;
        response.write_header();
        attributes.iter().for_each(|(kind, value)| response.add(*kind, value));
        stream.write_all(&response.raw).await.unwrap();
        request
    }

    #[tokio::test]
    async fn a_challenged_request_is_signed_and_a_rejection_has_its_code() {
        let (stream, mut server) = tokio::io::duplex(7);
        let mut client = TurnClient::stream(stream);
        let (username, password) = ("9:a".to_owned(), "secret".to_owned());
        client.credential = Some(Credential { username: username.clone(), password: password.clone() });
        let requests = tokio::spawn(async move {
            let unsigned = respond(&mut server, &CHALLENGE).await;
            let rejection = [&[0, 0, 4, 86][..], b"Quota"].concat();
            (unsigned, respond(&mut server, &[(attr::ATTR_ERROR_CODE, &rejection)]).await)
        });
        let error = client.allocate().await.unwrap_err();
        assert!(error.is_quota());
        assert_eq!(error.to_string(), "no allocation (error 486: Quota)");
        let (unsigned, mut signed) = requests.await.unwrap();
        assert!(!unsigned.contains(attr::ATTR_MESSAGE_INTEGRITY));
        assert_eq!(signed.get(attr::ATTR_NONCE).unwrap(), b"n1");
        let integrity = MessageIntegrity::new_long_term_integrity(username, "box".to_owned(), password);
        integrity.check(&mut signed).unwrap();
        assert_ne!(signed.transaction_id, unsigned.transaction_id);
    }

    #[tokio::test]
    async fn messages_are_read_from_a_stream_in_any_chunks() {
        let (stream, mut server) = tokio::io::duplex(7);
        let mut client = TurnClient::stream(stream);
        let message = b"\x40\x00\x00\x05hello\0\0\0";
        tokio::spawn(async move { server.write_all(&message.repeat(2)).await });
        for _ in 0..2 {
            assert_eq!(client.receive_data().await.unwrap(), b"hello");
        }
        let closed = TurnError::Unreachable(Unreachable::Broken("closes the connection".into()));
        assert_eq!(client.receive_data().await, Err(closed));
    }
}
