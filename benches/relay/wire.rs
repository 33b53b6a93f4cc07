//! What carries a client's packets: a UDP socket that sends trains in one call, or a stream, with
//! or without TLS. Nothing here blocks but [`Wire::hear`].

use std::io::{self, ErrorKind, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use webrtc_box_relay::framing::{MessageBoundary, find_message};

/// By what a client comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Udp,
    Tcp,
    Tls,
}

pub enum Wire {
    Udp(Datagrams),
    Stream(Box<Stream>),
}

pub struct Datagrams {
    socket: UdpSocket,
    state: UdpSocketState,
    remote: SocketAddr,
}

pub struct Stream {
    tcp: TcpStream,
    tls: Option<ClientConnection>,
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

/// Room for what one read brings; shared by all wires.
pub struct Basket {
    buffers: Vec<Box<[u8]>>,
    metas: Vec<RecvMeta>,
}

/// No server takes longer for an answer.
pub const PATIENCE: Duration = Duration::from_secs(5);
const BUFFER: usize = 4 << 20;
/// More than this unsent, and a stream takes no more: what a congested sender would do.
const MOST_UNSENT: usize = 1 << 20;

impl Basket {
    pub fn new() -> Self {
        let buffers = (0..quinn_udp::BATCH_SIZE).map(|_| vec![0; 1 << 16].into_boxed_slice());
        Self { buffers: buffers.collect(), metas: vec![RecvMeta::default(); quinn_udp::BATCH_SIZE] }
    }
}

impl Wire {
    pub fn open(way: Way, from: &str, to: SocketAddr) -> Self {
        match way {
            Way::Udp => Self::Udp(Datagrams::open(from, Some(to))),
            Way::Tcp => Self::Stream(Box::new(Stream::open(to, false))),
            Way::Tls => Self::Stream(Box::new(Stream::open(to, true))),
        }
    }

    /// Sends packets of `segment` bytes each; whether they were taken.
    pub fn send(&mut self, bytes: &[u8], segment: usize) -> bool {
        match self {
            Self::Udp(datagrams) => datagrams.send(bytes, segment),
            Self::Stream(stream) => stream.send(bytes),
        }
    }

    /// Hands over every packet that is there, and says how many there were.
    pub fn drain(&mut self, basket: &mut Basket, mut take: impl FnMut(&[u8])) {
        match self {
            Self::Udp(datagrams) => datagrams.drain(basket, &mut take),
            Self::Stream(stream) => stream.drain(&mut take),
        }
    }

    /// Waits for one packet that `wanted` is content with, and returns it.
    pub fn hear(&mut self, basket: &mut Basket, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let (begun, mut heard) = (Instant::now(), None);
        while heard.is_none() && begun.elapsed() < PATIENCE {
            self.drain(basket, |packet| {
                if heard.is_none() && wanted(packet) {
                    heard = Some(packet.to_vec());
                }
            });
        }
        heard
    }

    pub fn local(&self) -> SocketAddr {
        match self {
            Self::Udp(datagrams) => datagrams.socket.local_addr().unwrap(),
            Self::Stream(stream) => stream.tcp.local_addr().unwrap(),
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(datagrams) => datagrams.socket.as_fd(),
            Self::Stream(stream) => stream.tcp.as_fd(),
        }
    }
}

impl Datagrams {
    pub fn open(from: &str, to: Option<SocketAddr>) -> Self {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        widen(&socket);
        let remote = to.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9)));
        if to.is_some() {
            socket.connect(remote).unwrap();
        }
        let state = UdpSocketState::new((&socket).into()).unwrap();
        Self { socket, state, remote }
    }

    /// From now on packets go here.
    pub fn aim(&mut self, to: SocketAddr) {
        self.socket.connect(to).unwrap();
        self.remote = to;
    }

    fn send(&self, bytes: &[u8], segment: usize) -> bool {
        let segment_size = (bytes.len() > segment).then_some(segment);
        let transmit =
            Transmit { destination: self.remote, ecn: None, contents: bytes, segment_size, src_ip: None };
        self.state.try_send((&self.socket).into(), &transmit).is_ok()
    }

    fn drain(&self, basket: &mut Basket, take: &mut impl FnMut(&[u8])) {
        let Basket { buffers, metas } = basket;
        loop {
            let mut slices: [IoSliceMut<'_>; quinn_udp::BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(&mut []));
            for (slice, buffer) in slices.iter_mut().zip(buffers.iter_mut()) {
                *slice = IoSliceMut::new(buffer);
            }
            let Ok(filled) = self.state.recv((&self.socket).into(), &mut slices, metas) else { return };
            for (meta, buffer) in metas[..filled].iter().zip(buffers.iter()) {
                buffer[..meta.len].chunks(meta.stride.max(1)).for_each(&mut *take);
            }
            if filled < quinn_udp::BATCH_SIZE {
                return;
            }
        }
    }
}

impl Stream {
    fn open(to: SocketAddr, tls: bool) -> Self {
        let mut tcp = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
        tcp.set_nodelay(true).unwrap();
        let tls = tls.then(|| {
            let name = ServerName::try_from("localhost").unwrap();
            let mut connection = ClientConnection::new(trusting_anybody(), name).unwrap();
            connection.set_buffer_limit(None);
            while connection.is_handshaking() {
                connection.complete_io(&mut tcp).unwrap();
            }
            connection
        });
        tcp.set_nonblocking(true).unwrap();
        Self { tcp, tls, unread: Vec::new(), unsent: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        let room = self.unsent.len() < MOST_UNSENT;
        if room {
            match &mut self.tls {
                Some(tls) => {
                    tls.writer().write_all(bytes).unwrap();
                    while tls.wants_write() {
                        tls.write_tls(&mut self.unsent).unwrap();
                    }
                }
                None => self.unsent.extend_from_slice(bytes),
            }
        }
        self.push();
        room
    }

    fn push(&mut self) {
        while !self.unsent.is_empty() {
            match self.tcp.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the server closed a stream: {error}"),
            }
        }
    }

    fn drain(&mut self, take: &mut impl FnMut(&[u8])) {
        self.push();
        while self.read_some() {}
        let mut at = 0;
        while let MessageBoundary::Complete(length) = find_message(&self.unread[at..]) {
            take(&self.unread[at..at + length]);
            at += length;
        }
        self.unread.drain(..at);
    }

    fn read_some(&mut self) -> bool {
        let mut chunk = [0; 1 << 16];
        let outcome = match &mut self.tls {
            None => self.tcp.read(&mut chunk),
            Some(tls) => tls.read_tls(&mut self.tcp),
        };
        match (outcome, &mut self.tls) {
            (Ok(0), _) => panic!("the server closed a stream"),
            (Err(error), _) if error.kind() == ErrorKind::WouldBlock => return false,
            (Err(error), _) => panic!("the server closed a stream: {error}"),
            (Ok(read), None) => self.unread.extend_from_slice(&chunk[..read]),
            (Ok(_), Some(tls)) => {
                tls.process_new_packets().unwrap();
                // Where nothing whole has come yet it says so by this error.
                while let Ok(read @ 1..) = tls.reader().read(&mut chunk) {
                    self.unread.extend_from_slice(&chunk[..read]);
                }
            }
        }
        true
    }
}

/// The servers sign their own certificates, and it is their speed that is asked for.
fn trusting_anybody() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    Arc::new(config)
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Gives a socket as large buffers as the kernel grants.
pub fn widen(socket: &UdpSocket) {
    let plain = socket2::SockRef::from(socket);
    let _ = (plain.set_recv_buffer_size(BUFFER), plain.set_send_buffer_size(BUFFER));
}

/// Allows as many open sockets as the kernel lets us.
pub fn many_descriptors() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}
