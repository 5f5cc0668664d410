//! Reads a body within its cap, its memory and its deadlines.

use std::{future::poll_fn, pin::pin, task::Poll};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use tokio::time::{Duration, Instant, sleep_until};

use crate::ingest::Lease;

/// The deadlines of one request; the defaults are DESIGN §10's and §6's.
#[derive(Debug, Clone)]
pub struct RequestLimits {
    /// The whole body.
    pub body: Duration,
    /// Bytes a second that a body must keep up with, after `grace`.
    pub body_rate: u32,
    /// How long a body may be slower than that.
    pub grace: Duration,
    /// From the last byte to the answer; past it the answer is 503, and the work may still commit.
    pub answer: Duration,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            body: Duration::from_secs(10),
            body_rate: 1024,
            grace: Duration::from_secs(2),
            answer: Duration::from_secs(2),
        }
    }
}

impl RequestLimits {
    /// When a body that began at `begun` and has `received` bytes is too slow.
    fn due(&self, begun: Instant, received: usize) -> Instant {
        let earned = Duration::from_secs_f64(received as f64 / f64::from(self.body_rate.max(1)));
        begun + self.body.min(self.grace + earned)
    }
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    TooSlow,
    Broken,
    NoMemory,
}

/// Larger announced bodies grow their buffer as they arrive: an announcement is only a claim, and what
/// is reserved for it is not charged to the budget.
const MAX_RESERVED: usize = 32 * 1024;

/// Reads `stream` to its end: at most `cap` bytes, each charged to `lease` before it is kept.
/// `announced` is the `Content-Length`. A body that arrives in one piece is not copied.
pub(super) async fn read<S, B, E>(
    stream: S,
    announced: Option<usize>,
    cap: usize,
    mut lease: Lease,
    limits: &RequestLimits,
) -> Result<Bytes, Unread>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    if announced.is_some_and(|bytes| bytes > cap) {
        return Err(Unread::TooLarge);
    }
    let begun = Instant::now();
    let mut stream = pin!(stream);
    // Registered with the timer only if the body does not arrive with its headers.
    let mut alarm = pin!(sleep_until(limits.due(begun, 0)));
    let mut whole = Bytes::new();
    let mut pieces = BytesMut::new();
    let mut received = 0;
    loop {
        let next = poll_fn(|cx| {
            if let Poll::Ready(next) = stream.as_mut().poll_next(cx) {
                return Poll::Ready(Some(next));
            }
            while alarm.as_mut().poll(cx).is_ready() {
                let due = limits.due(begun, received);
                if due <= Instant::now() {
                    return Poll::Ready(None);
                }
                alarm.as_mut().reset(due);
            }
            Poll::Pending
        });
        let mut piece = match next.await {
            None => return Err(Unread::TooSlow),
            Some(None) => break,
            Some(Some(Err(_))) => return Err(Unread::Broken),
            Some(Some(Ok(piece))) => piece,
        };
        let bytes = piece.remaining();
        received += bytes;
        if received > cap {
            return Err(Unread::TooLarge);
        }
        lease.grow(bytes).map_err(|_| Unread::NoMemory)?;
        if received == bytes && announced == Some(bytes) {
            whole = piece.copy_to_bytes(bytes);
        } else {
            if pieces.capacity() == 0 {
                pieces.reserve(announced.unwrap_or(bytes).min(MAX_RESERVED));
            }
            while piece.has_remaining() {
                let chunk = piece.chunk();
                pieces.extend_from_slice(chunk);
                let advanced = chunk.len();
                piece.advance(advanced);
            }
        }
    }
    let body = if whole.is_empty() { pieces.freeze() } else { whole };
    Ok(lease.bind(body))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use futures_util::{StreamExt, stream};
    use tokio::time::sleep;

    use super::*;
    use crate::ingest::BodyMemory;

    type Piece = Result<Bytes, Infallible>;

    fn pieces(sizes: &[usize]) -> impl Stream<Item = Piece> {
        let pieces: Vec<Piece> = sizes.iter().map(|size| Ok(Bytes::from(vec![b'x'; *size]))).collect();
        stream::iter(pieces)
    }

    /// `bytes` at a time, `every` so often, for ever.
    fn drip(bytes: usize, every: Duration) -> impl Stream<Item = Piece> {
        stream::repeat(bytes).then(move |bytes| async move {
            sleep(every).await;
            Ok(Bytes::from(vec![b'x'; bytes]))
        })
    }

    fn memory() -> Arc<BodyMemory> {
        BodyMemory::new(1 << 20)
    }

    async fn read_all(
        stream: impl Stream<Item = Piece>,
        announced: Option<usize>,
        cap: usize,
    ) -> Result<Bytes, Unread> {
        read(stream, announced, cap, memory().share(cap).lease(), &RequestLimits::default()).await
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_cap() {
        for (announced, sizes, outcome) in [
            (Some(10), &[10][..], Ok(10)),
            (Some(10), &[4, 6], Ok(10)),
            (None, &[4, 6], Ok(10)),
            (None, &[], Ok(0)),
            (Some(0), &[], Ok(0)),
            (Some(11), &[], Err(Unread::TooLarge)),
            (None, &[4, 6, 1], Err(Unread::TooLarge)),
            (None, &[11], Err(Unread::TooLarge)),
        ] {
            let read = read_all(pieces(sizes), announced, 10).await.map(|body| body.len());
            assert_eq!(read, outcome, "{announced:?} {sizes:?}");
        }
    }

    #[tokio::test]
    async fn an_endless_body_ends_at_the_cap() {
        let endless = stream::repeat_with(|| Piece::Ok(Bytes::from_static(b"xxxx")));
        assert_eq!(read_all(endless, None, 1000).await, Err(Unread::TooLarge));
    }

    #[tokio::test]
    async fn a_body_in_one_piece_is_not_copied() {
        let sent = Bytes::from(vec![b'x'; 1000]);
        let stream = stream::iter([Piece::Ok(sent.clone())]);
        let read = read_all(stream, Some(1000), 1000).await.expect("read");
        assert_eq!(read.as_ptr(), sent.as_ptr());
    }

    #[tokio::test]
    async fn bytes_that_find_no_memory_end_the_body_at_once_and_are_given_back() {
        let memory = memory();
        let share = memory.share(0);
        let mut others = share.lease();
        others.grow((1 << 18) - 5).expect("room");
        let read = read(pieces(&[4, 4]), None, 100, share.lease(), &RequestLimits::default()).await;
        assert_eq!(read, Err(Unread::NoMemory));
        drop(others);
        assert_eq!(memory.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_must_keep_up_with_the_least_rate_and_the_whole_deadline() {
        let second = Duration::from_secs(1);
        for (stream, ends) in [
            // Nothing at all: the grace. 512 bytes a second: 2 s + t/2 = t at 4 s. 10 KiB/s: 10 s in all.
            (drip(0, second * 60).boxed(), 2),
            (drip(512, second).boxed(), 3),
            (drip(10 * 1024, second).boxed(), 10),
        ] {
            let begun = Instant::now();
            assert_eq!(read_all(stream, None, 1 << 20).await, Err(Unread::TooSlow));
            assert_eq!(begun.elapsed().as_secs(), ends);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_but_steady_body_is_read() {
        let stream = drip(2048, Duration::from_secs(1)).take(5);
        assert_eq!(read_all(stream, Some(5 * 2048), 1 << 20).await.map(|body| body.len()), Ok(5 * 2048));
    }
}
