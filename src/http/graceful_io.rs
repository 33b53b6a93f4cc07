//! A stream whose other end must read: a write that waits too long is an error.
//!
//! hyper bounds how long a request may take to come but not how long a reply may take to go.

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

/// How long the other end may take to make room.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stream that gives up on who does not read, and its place in the count of its source: both end
/// together, also where the stream has become a WebSocket meanwhile.
pub(super) struct Patient<S> {
    stream: S,
    waiting: Option<Pin<Box<Sleep>>>,
    gate: Arc<WriteGate>,
    _permit: Option<SourcePermit>,
}

/// Shut while a stream's other end makes no room, so that nothing more is made ready for it.
#[derive(Debug, Default)]
pub(super) struct WriteGate {
    shut: AtomicBool,
    opened: Notify,
}

impl WriteGate {
    /// Waits until what was written before has found room.
    pub(super) async fn open(&self) {
        while self.shut.load(Ordering::Relaxed) {
            self.opened.notified().await;
        }
    }

    fn set(&self, shut: bool) {
        if self.shut.swap(shut, Ordering::Relaxed) && !shut {
            self.opened.notify_one();
        }
    }
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, permit: Option<SourcePermit>) -> Self {
        Self { stream, waiting: None, gate: Arc::default(), _permit: permit }
    }

    pub(super) fn gate(&self) -> Arc<WriteGate> {
        Arc::clone(&self.gate)
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.gate.set(poll.is_pending());
        if poll.is_ready() {
            self.waiting = None;
            return poll;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
        waiting.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, poll)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn who_never_reads_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let mut stream = Patient::new(ours, None);
        tokio::time::pause();
        let outcome = stream.write_all(&[0; 64]).await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_follows_waits_until_the_other_end_has_made_room() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut stream = Patient::new(ours, None);
        let gate = stream.gate();
        tokio::time::pause();
        gate.open().await;
        let writing = tokio::spawn(async move { stream.write_all(&[0; 64]).await });
        tokio::task::yield_now().await;
        let early = tokio::time::timeout(PATIENCE / 2, gate.open()).await;
        assert!(early.is_err(), "nothing has been read");
        theirs.read_exact(&mut [0; 64]).await.unwrap();
        tokio::time::timeout(PATIENCE, gate.open()).await.unwrap();
        writing.await.unwrap().unwrap();
    }
}
