//! The sockets of the load generator: UDP, which sends several datagrams in one call, and TCP with or without TLS. Only
//! [`ClientSocket::receive`] waits.

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

/// The transport between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

pub enum ClientSocket {
    Udp(UdpClient),
    Stream(Box<StreamClient>),
}

pub struct UdpClient {
    socket: UdpSocket,
    state: UdpSocketState,
    remote: SocketAddr,
}

pub struct StreamClient {
    tcp: TcpStream,
    tls: Option<ClientConnection>,
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

/// Buffers for one read; shared by all sockets.
pub struct RecvBuffers {
    buffers: Vec<Box<[u8]>>,
    metas: Vec<RecvMeta>,
}

/// How long a reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Unsent bytes at which a stream accepts no more, like a congested sender.
const MAX_UNSENT_BYTES: usize = 1 << 20;

impl RecvBuffers {
    pub fn new() -> Self {
        let buffers = (0..quinn_udp::BATCH_SIZE).map(|_| vec![0; 1 << 16].into_boxed_slice());
        Self { buffers: buffers.collect(), metas: vec![RecvMeta::default(); quinn_udp::BATCH_SIZE] }
    }
}

impl ClientSocket {
    pub fn open(transport: Transport, from: &str, to: SocketAddr) -> Self {
        match transport {
            Transport::Udp => Self::Udp(UdpClient::open(from, Some(to))),
            Transport::Tcp => Self::Stream(Box::new(StreamClient::open(to, false))),
            Transport::Tls => Self::Stream(Box::new(StreamClient::open(to, true))),
        }
    }

    /// Sends packets of `segment` bytes each; returns whether they were accepted.
    pub fn send(&mut self, bytes: &[u8], segment: usize) -> bool {
        match self {
            Self::Udp(udp) => udp.send(bytes, segment),
            Self::Stream(stream) => stream.send(bytes),
        }
    }

    /// Passes every packet that has arrived to `handle`.
    pub fn drain(&mut self, buffers: &mut RecvBuffers, mut handle: impl FnMut(&[u8])) {
        match self {
            Self::Udp(udp) => udp.drain(buffers, &mut handle),
            Self::Stream(stream) => stream.drain(&mut handle),
        }
    }

    /// Waits for the first packet that `wanted` accepts, and returns it.
    pub fn receive(&mut self, buffers: &mut RecvBuffers, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let (begun, mut found) = (Instant::now(), None);
        while found.is_none() && begun.elapsed() < REPLY_TIMEOUT {
            self.drain(buffers, |packet| {
                if found.is_none() && wanted(packet) {
                    found = Some(packet.to_vec());
                }
            });
        }
        found
    }

    pub fn local(&self) -> SocketAddr {
        match self {
            Self::Udp(udp) => udp.socket.local_addr().unwrap(),
            Self::Stream(stream) => stream.tcp.local_addr().unwrap(),
        }
    }
}

impl AsFd for ClientSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(udp) => udp.socket.as_fd(),
            Self::Stream(stream) => stream.tcp.as_fd(),
        }
    }
}

impl UdpClient {
    pub fn open(from: &str, to: Option<SocketAddr>) -> Self {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        enlarge_buffers(&socket);
        let remote = to.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9)));
        if to.is_some() {
            socket.connect(remote).unwrap();
        }
        let state = UdpSocketState::new((&socket).into()).unwrap();
        Self { socket, state, remote }
    }

    /// Sets the destination of later packets.
    pub fn connect(&mut self, to: SocketAddr) {
        self.socket.connect(to).unwrap();
        self.remote = to;
    }

    fn send(&self, bytes: &[u8], segment: usize) -> bool {
        let segment_size = (bytes.len() > segment).then_some(segment);
        let transmit =
            Transmit { destination: self.remote, ecn: None, contents: bytes, segment_size, src_ip: None };
        self.state.try_send((&self.socket).into(), &transmit).is_ok()
    }

    fn drain(&self, buffers: &mut RecvBuffers, handle: &mut impl FnMut(&[u8])) {
        let RecvBuffers { buffers, metas } = buffers;
        loop {
            let mut slices: [IoSliceMut<'_>; quinn_udp::BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(&mut []));
            for (slice, buffer) in slices.iter_mut().zip(buffers.iter_mut()) {
                *slice = IoSliceMut::new(buffer);
            }
            let Ok(filled) = self.state.recv((&self.socket).into(), &mut slices, metas) else { return };
            for (meta, buffer) in metas[..filled].iter().zip(buffers.iter()) {
                buffer[..meta.len].chunks(meta.stride.max(1)).for_each(&mut *handle);
            }
            if filled < quinn_udp::BATCH_SIZE {
                return;
            }
        }
    }
}

impl StreamClient {
    fn open(to: SocketAddr, tls: bool) -> Self {
        let mut tcp = TcpStream::connect_timeout(&to, REPLY_TIMEOUT).unwrap();
        tcp.set_nodelay(true).unwrap();
        let tls = tls.then(|| {
            let name = ServerName::try_from("localhost").unwrap();
            let mut connection = ClientConnection::new(insecure_tls_config(), name).unwrap();
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
        let accepted = self.unsent.len() < MAX_UNSENT_BYTES;
        if accepted {
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
        self.flush();
        accepted
    }

    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.tcp.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("lost a connection to the server: {error}"),
            }
        }
    }

    fn drain(&mut self, handle: &mut impl FnMut(&[u8])) {
        self.flush();
        while self.read_some() {}
        let mut offset = 0;
        while let MessageBoundary::Complete(length) = find_message(&self.unread[offset..]) {
            handle(&self.unread[offset..offset + length]);
            offset += length;
        }
        self.unread.drain(..offset);
    }

    fn read_some(&mut self) -> bool {
        let mut chunk = [0; 1 << 16];
        let outcome = match &mut self.tls {
            None => self.tcp.read(&mut chunk),
            Some(tls) => tls.read_tls(&mut self.tcp),
        };
        match (outcome, &mut self.tls) {
            (Ok(0), _) => panic!("the server closed a connection"),
            (Err(error), _) if error.kind() == ErrorKind::WouldBlock => return false,
            (Err(error), _) => panic!("lost a connection to the server: {error}"),
            (Ok(read), None) => self.unread.extend_from_slice(&chunk[..read]),
            (Ok(_), Some(tls)) => {
                tls.process_new_packets().unwrap();
                // An error means that no complete record has arrived.
                while let Ok(read @ 1..) = tls.reader().read(&mut chunk) {
                    self.unread.extend_from_slice(&chunk[..read]);
                }
            }
        }
        true
    }
}

/// Accepts any certificate, because the servers use self-signed ones and only their speed matters.
fn insecure_tls_config() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    Arc::new(config)
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
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

/// Requests large socket buffers; the kernel may grant less.
pub fn enlarge_buffers(socket: &UdpSocket) {
    let socket = socket2::SockRef::from(socket);
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
}

/// Raises the limit on open files to the maximum.
pub fn raise_file_limit() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}
