//! One connection's stream and its pulse: which deadline holds it at any moment.
//!
//! hyper's own header timer also runs while a keep-alive connection idles, so an idle connection
//! would have no longer than a half-sent header. Here the phase of the connection decides: the
//! stream and the service report transitions, the connection's task compares with the clock.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Duration, Instant},
};
use tokio_rustls::server::TlsStream;

use super::accept::ConnectionLimits;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// For the first byte of a request.
    Idle,
    /// For the rest of its header block.
    Head,
    /// For us: the handler has its own deadlines for the body and the answer.
    Busy,
    /// For the peer to read our last answer and close.
    Linger,
}

/// What the server wants of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Command {
    /// Go on.
    None,
    /// Finish the request in flight, then close.
    Finish,
    /// Close now.
    Abort,
}

/// The state that a connection's stream, service and task share.
#[derive(Debug)]
pub(super) struct Pulse {
    born: Instant,
    phase: AtomicU8,
    /// Milliseconds after `born` at which the phase began.
    since: AtomicU64,
    /// A handler's answer is on its way to hyper's buffer.
    answering: AtomicBool,
    /// Milliseconds after `born` since which the peer has not read all that we wrote; `u64::MAX`: it
    /// has.
    unread: AtomicU64,
    command: AtomicU8,
    waker: AtomicWaker,
}

const ALL_READ: u64 = u64::MAX;

/// Bytes a second that a peer reads of a long answer at least, as a sender of an upload must send.
const LEAST_RATE: u64 = 64 * 1024;

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU64::new(0),
            answering: AtomicBool::new(false),
            unread: AtomicU64::new(ALL_READ),
            command: AtomicU8::new(Command::None as u8),
            waker: AtomicWaker::new(),
        }
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Busy,
            _ => Phase::Linger,
        }
    }

    fn enter(&self, phase: Phase) {
        self.since.store(self.age(), Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    fn age(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
    }

    /// A request's header block is complete.
    pub(super) fn request_began(&self) {
        self.phase.store(Phase::Busy as u8, Relaxed);
    }

    /// hyper begins to take an answer.
    pub(super) fn answer_began(&self) {
        self.answering.store(true, Relaxed);
    }

    /// hyper has taken the whole answer.
    pub(super) fn answer_taken(&self) {
        self.answering.store(false, Relaxed);
        if self.phase() == Phase::Busy {
            self.enter(Phase::Idle);
        }
    }

    /// The moment at which the connection is closed if nothing changes; none while the handler works.
    pub(super) fn due(&self, limits: &ConnectionLimits, idle: Duration) -> Option<Instant> {
        let begun = Duration::from_millis(self.since.load(Relaxed));
        let phase = match self.phase() {
            Phase::Idle => Some(begun + idle),
            Phase::Head => Some(begun + limits.header),
            Phase::Linger => Some(begun + limits.linger),
            Phase::Busy => None,
        };
        let write = match self.unread.load(Relaxed) {
            ALL_READ => None,
            since => Some(Duration::from_millis(since) + limits.write),
        };
        let due = match (phase, write) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        Some(self.born + due)
    }

    /// Tells the connection's task what to do.
    pub(super) fn order(&self, command: Command) {
        self.command.store(command as u8, Relaxed);
        self.waker.wake();
    }

    /// What it was told; `cx` is woken by the next order.
    pub(super) fn poll_order(&self, cx: &Context<'_>) -> Command {
        self.waker.register(cx.waker());
        match self.command.load(Relaxed) {
            0 => Command::None,
            1 => Command::Finish,
            _ => Command::Abort,
        }
    }

    fn read(&self, bytes: usize) {
        if bytes > 0 && self.phase() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// A write or a flush that cannot go on starts the deadline of the whole answer. Only an answer
    /// that is out to its last byte stops it: a peer that takes a byte now and then gains nothing.
    fn wrote<T>(&self, outcome: &Poll<io::Result<T>>) {
        if outcome.is_pending() && self.unread.load(Relaxed) == ALL_READ {
            self.unread.store(self.age(), Relaxed);
        }
    }

    /// What the peer took of an answer puts its deadline off by the time that it takes at the least rate. A byte now
    /// and then gains next to nothing; a large object may take as long as it takes.
    fn took(&self, outcome: &Poll<io::Result<usize>>) {
        let since = self.unread.load(Relaxed);
        if let Poll::Ready(Ok(bytes)) = outcome
            && since != ALL_READ
        {
            let gained = *bytes as u64 * 1000 / LEAST_RATE;
            self.unread.store(since.saturating_add(gained).min(self.age()), Relaxed);
        }
    }

    /// hyper flushes the stream when its own buffer is empty.
    fn flushed(&self, outcome: &Poll<io::Result<()>>) {
        self.wrote(outcome);
        if outcome.is_ready() && !self.answering.load(Relaxed) {
            self.unread.store(ALL_READ, Relaxed);
        }
    }
}

/// TCP, or TLS over it.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream that reports to a [`Pulse`] and closes so that the peer can read the last answer.
#[derive(Debug)]
pub(super) struct Watched {
    transport: Transport,
    pulse: Arc<Pulse>,
    /// Our side is shut; what still arrives is thrown away.
    shut: bool,
}

impl Watched {
    pub(super) fn new(transport: Transport, pulse: Arc<Pulse>) -> Self {
        Self { transport, pulse, shut: false }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.transport).poll_read(cx, buf);
        self.pulse.read(buf.filled().len() - before);
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.transport).poll_write(cx, buf);
        self.pulse.took(&outcome);
        self.pulse.wrote(&outcome);
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.transport).poll_flush(cx);
        self.pulse.flushed(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
        self.pulse.took(&outcome);
        self.pulse.wrote(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    /// Shuts our side, then reads and drops until the peer closes or the linger deadline. Closing
    /// with unread bytes would reset the connection, and a peer that still sends its body would
    /// never see the 413 we gave it (RFC 9112 §9.6).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            if self.pulse.phase() != Phase::Linger {
                self.pulse.enter(Phase::Linger);
            }
            ready!(Pin::new(&mut self.transport).poll_shutdown(cx))?;
            self.shut = true;
        }
        let mut scratch = [0; 4096];
        // A bounded number of reads a poll, so that a fast sender cannot hold the thread.
        for _ in 0..64 {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.transport).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
