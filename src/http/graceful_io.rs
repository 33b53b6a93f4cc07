//! A stream with a write timeout: a write that blocks for too long is an error.
//!
//! hyper limits how long a request may take to arrive, but not how long a reply may take to send.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Sleep;

use super::per_source::SourcePermit;

/// How long a write may block.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A stream with a write timeout, and its count in the connections of its source. Both end together, also after the
/// stream became a WebSocket.
pub(super) struct GracefulIo<S> {
    stream: S,
    timeout: Option<Pin<Box<Sleep>>>,
    gate: Arc<WriteGate>,
    _permit: Option<SourcePermit>,
}

/// Closed while a write blocks, so that no further replies are prepared.
#[derive(Debug, Default)]
pub(super) struct WriteGate {
    closed: AtomicBool,
    opened: Notify,
}

impl WriteGate {
    /// Waits until no write blocks.
    pub(super) async fn wait(&self) {
        while self.closed.load(Ordering::Relaxed) {
            self.opened.notified().await;
        }
    }

    fn set(&self, closed: bool) {
        if self.closed.swap(closed, Ordering::Relaxed) && !closed {
            self.opened.notify_one();
        }
    }
}

impl<S> GracefulIo<S> {
    pub(super) fn new(stream: S, permit: Option<SourcePermit>) -> Self {
        Self { stream, timeout: None, gate: Arc::default(), _permit: permit }
    }

    pub(super) fn gate(&self) -> Arc<WriteGate> {
        Arc::clone(&self.gate)
    }

    fn check<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.gate.set(poll.is_pending());
        if poll.is_ready() {
            self.timeout = None;
            return poll;
        }
        let timeout = self.timeout.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
        timeout.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GracefulIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GracefulIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.check(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.check(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        self.check(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.check(cx, poll)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_write_to_a_client_that_never_reads_times_out() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let mut stream = GracefulIo::new(ours, None);
        tokio::time::pause();
        let outcome = stream.write_all(&[0; 64]).await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn the_gate_waits_until_the_client_has_read() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut stream = GracefulIo::new(ours, None);
        let gate = stream.gate();
        tokio::time::pause();
        gate.wait().await;
        let writing = tokio::spawn(async move { stream.write_all(&[0; 64]).await });
        tokio::task::yield_now().await;
        let early = tokio::time::timeout(WRITE_TIMEOUT / 2, gate.wait()).await;
        assert!(early.is_err(), "the client has read nothing");
        theirs.read_exact(&mut [0; 64]).await.unwrap();
        tokio::time::timeout(WRITE_TIMEOUT, gate.wait()).await.unwrap();
        writing.await.unwrap().unwrap();
    }
}
