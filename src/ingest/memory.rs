//! The memory that bodies may take: one budget of the node, a share of it for each source.
//!
//! Bytes are counted when they arrive, not when they are announced, and are given back when the last
//! owner of the body drops it: a body that a slow store still holds keeps its place.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;

/// The node's budget.
#[derive(Debug)]
pub struct BodyMemory {
    limit: usize,
    used: AtomicUsize,
}

impl BodyMemory {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// A source's share: a quarter of the budget, or one body of the largest size where that is
    /// more, so that a source can always receive what its cap promises.
    pub fn share(self: &Arc<Self>, max_body: usize) -> Arc<Share> {
        let limit = (self.limit / 4).max(max_body).min(self.limit);
        Arc::new(Share { node: self.clone(), limit, used: AtomicUsize::new(0) })
    }
}

/// What one source may take of the budget.
#[derive(Debug)]
pub struct Share {
    node: Arc<BodyMemory>,
    limit: usize,
    used: AtomicUsize,
}

impl Share {
    /// An empty lease on this share.
    pub fn lease(self: &Arc<Self>) -> Lease {
        Lease { share: self.clone(), bytes: 0 }
    }
}

/// The budget, or the source's share of it, is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted;

/// Bytes that are taken; given back when it is dropped.
#[derive(Debug)]
pub struct Lease {
    share: Arc<Share>,
    bytes: usize,
}

impl Lease {
    /// Takes `more` bytes, or none of them.
    pub fn grow(&mut self, more: usize) -> Result<(), Exhausted> {
        take(&self.share.used, self.share.limit, more)?;
        if let Err(exhausted) = take(&self.share.node.used, self.share.node.limit, more) {
            self.share.used.fetch_sub(more, Relaxed);
            return Err(exhausted);
        }
        self.bytes += more;
        Ok(())
    }

    /// Ties the lease to the body: it ends when the last clone or slice of it is dropped.
    pub fn bind(self, body: Bytes) -> Bytes {
        struct Held {
            body: Bytes,
            _lease: Lease,
        }

        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.body
            }
        }

        Bytes::from_owner(Held { body, _lease: self })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.share.used.fetch_sub(self.bytes, Relaxed);
        self.share.node.used.fetch_sub(self.bytes, Relaxed);
    }
}

fn take(used: &AtomicUsize, limit: usize, more: usize) -> Result<(), Exhausted> {
    let fits = |used: usize| used.checked_add(more).filter(|sum| *sum <= limit);
    used.fetch_update(Relaxed, Relaxed, fits).map(drop).map_err(|_| Exhausted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_takes_a_quarter_at_most_and_all_sources_the_whole() {
        let memory = BodyMemory::new(400);
        let leases: Vec<Lease> = (0..5)
            .map(|n| {
                let mut lease = memory.share(10).lease();
                assert_eq!(lease.grow(101), Err(Exhausted));
                assert_eq!(lease.grow(100).is_ok(), n < 4, "source {n}");
                lease
            })
            .collect();
        assert_eq!(memory.used(), 400);
        drop(leases);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn a_source_may_always_receive_one_body_of_its_own_cap() {
        let memory = BodyMemory::new(400);
        let share = memory.share(300);
        assert_eq!(share.lease().grow(300), Ok(()));
        assert_eq!(memory.share(1000).lease().grow(401), Err(Exhausted), "but never more than the node has");
    }

    #[test]
    fn a_body_keeps_its_lease_until_its_last_slice_is_gone() {
        let memory = BodyMemory::new(400);
        let mut lease = memory.share(100).lease();
        lease.grow(4).unwrap();
        let slice = lease.bind(Bytes::from_static(b"body")).slice(1..2);
        assert_eq!((slice.as_ref(), memory.used()), (&b"o"[..], 4));
        drop(slice);
        assert_eq!(memory.used(), 0);
    }
}
