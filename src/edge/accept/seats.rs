//! Seats of connections: how many there are at once, of one client and in all; who is told to end.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{ConnectionLimits, Refused};
use crate::edge::io::{Command, Pulse};

/// The open connections of a listener.
#[derive(Debug, Default)]
pub(super) struct Connections {
    inner: Mutex<Open>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    live: HashMap<u64, Arc<Pulse>>,
    by_address: HashMap<IpAddr, usize>,
}

impl Connections {
    /// A place for one more connection, counted for no client yet.
    pub(super) fn seat(self: &Arc<Self>, limits: &ConnectionLimits) -> Result<Seat, Refused> {
        let mut inner = self.lock();
        if inner.live.len() >= limits.connections {
            return Err(Refused::Full);
        }
        let id = inner.next;
        inner.next += 1;
        let pulse = Arc::new(Pulse::new());
        inner.live.insert(id, pulse.clone());
        drop(inner);
        Ok(Seat { connections: self.clone(), id, counted: None, pulse })
    }

    /// Open ones.
    pub(super) fn count(&self) -> usize {
        self.lock().live.len()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all what to do; how many there are.
    pub(super) fn order(&self, command: Command) -> usize {
        let inner = self.lock();
        inner.live.values().for_each(|pulse| pulse.order(command));
        inner.live.len()
    }

    /// Returns once there are none.
    pub(super) async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            if self.lock().live.is_empty() {
                return;
            }
            left.await;
        }
    }
}

/// A counted connection; given back when it ends, however it ends.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Arc<Connections>,
    id: u64,
    counted: Option<IpAddr>,
    /// What holds its deadlines.
    pub(super) pulse: Arc<Pulse>,
}

impl Seat {
    /// Counts the connection for its client, once that is known.
    pub(super) fn count_for(&mut self, client: IpAddr, limits: &ConnectionLimits) -> Result<(), Refused> {
        let network = network_of(client);
        let mut inner = self.connections.lock();
        let held = inner.by_address.entry(network).or_default();
        if *held >= limits.per_address {
            return Err(Refused::Address);
        }
        *held += 1;
        drop(inner);
        self.counted = Some(network);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.connections.lock();
        inner.live.remove(&self.id);
        if let Some(network) = self.counted
            && let Some(held) = inner.by_address.get_mut(&network)
        {
            *held -= 1;
            if *held == 0 {
                inner.by_address.remove(&network);
            }
        }
        drop(inner);
        self.connections.left.notify_waiters();
    }
}

/// IPv6 hosts own at least a /64, so that is what one "address" means.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}
