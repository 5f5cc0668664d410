//! Open connections, one for each endpoint.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout};

use super::{Client, Endpoint, EndpointId, Failure};
use crate::http_client::{CONNECT_TIMEOUT, CallError};

/// A connection that nobody used for so long is closed.
const IDLE: Duration = Duration::from_mins(5);
/// The most endpoints with a connection; past it the one that was not used for longest is given up.
const MOST: usize = 512;

type Slots = Arc<Mutex<HashMap<EndpointId, Arc<Slot>>>>;

/// The connections in use.
#[derive(Default)]
pub(super) struct Pool {
    slots: Slots,
}

/// The place of one endpoint's connection.
pub(super) struct Slot {
    open: Mutex<Option<Arc<dyn Client>>>,
    /// Held while one connects; the last connecting that failed: who waited for it need not try again.
    connecting: tokio::sync::Mutex<Option<(Instant, Failure)>>,
    used: Mutex<Instant>,
    id: EndpointId,
    pool: Weak<Mutex<HashMap<EndpointId, Arc<Slot>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// The place of this endpoint's connection.
    pub(super) fn slot(&self, endpoint: &Endpoint) -> Arc<Slot> {
        let id = endpoint.id();
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(&id) {
            slot.touch();
            return slot.clone();
        }
        if slots.len() >= MOST
            && let Some(oldest) = slots.values().min_by_key(|slot| *lock(&slot.used)).map(|slot| slot.id)
        {
            slots.remove(&oldest);
        }
        let slot = Arc::new(Slot {
            open: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            used: Mutex::new(Instant::now()),
            id,
            pool: Arc::downgrade(&self.slots),
        });
        slots.insert(id, slot.clone());
        slot
    }

    /// How many connections are open.
    pub(super) fn open(&self) -> usize {
        lock(&self.slots).values().filter(|slot| lock(&slot.open).is_some()).count()
    }
}

impl Slot {
    fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    /// The connection, opened if there is none that can be used. One connects, the others wait for what
    /// becomes of it.
    pub(super) async fn client<F>(self: &Arc<Self>, connect: impl FnOnce() -> F) -> Result<Arc<dyn Client>, Failure>
    where
        F: Future<Output = Result<Arc<dyn Client>, Failure>>,
    {
        let asked = Instant::now();
        let mut failed = self.connecting.lock().await;
        {
            let mut open = lock(&self.open);
            match &*open {
                Some(client) if client.is_open() => return Ok(client.clone()),
                _ => *open = None,
            }
        }
        if let Some((at, failure)) = &*failed
            && *at >= asked
        {
            return Err(failure.clone());
        }
        let late = |_| Err(CallError::Connect("no answer to the connection attempt").into());
        match timeout(CONNECT_TIMEOUT, connect()).await.unwrap_or_else(late) {
            Ok(client) => {
                *failed = None;
                *lock(&self.open) = Some(client.clone());
                self.touch();
                tokio::spawn(close_when_idle(Arc::downgrade(self), Arc::downgrade(&client)));
                Ok(client)
            }
            Err(failure) => {
                *failed = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// Gives this connection up, unless it was already. Waits for nobody: who publishes has its own end.
    pub(super) fn close(&self, client: &Arc<dyn Client>) {
        lock(&self.open).take_if(|open| Arc::ptr_eq(open, client));
    }
}

/// Ends with its connection.
async fn close_when_idle(slot: Weak<Slot>, client: Weak<dyn Client>) {
    loop {
        let Some(until) = slot.upgrade().map(|slot| *lock(&slot.used) + IDLE) else { return };
        sleep_until(until).await;
        if client.strong_count() == 0 {
            return;
        }
        let Some(slot) = slot.upgrade() else { return };
        if lock(&slot.used).elapsed() < IDLE {
            continue;
        }
        if let Some(slots) = slot.pool.upgrade() {
            let mut slots = lock(&slots);
            if slots.get(&slot.id).is_some_and(|found| Arc::ptr_eq(found, &slot)) {
                slots.remove(&slot.id);
            }
        }
        // With the slot goes its connection, once who just took it is done.
        return;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use async_trait::async_trait;
    use serde_json::Value;

    use super::{
        super::{BrokerKind, Destination, Message},
        *,
    };

    struct Fake(AtomicBool);

    #[async_trait]
    impl Client for Fake {
        async fn publish(&self, _message: &Message) -> Result<Value, Failure> {
            Ok(Value::Null)
        }

        async fn look(&self, _destination: &Destination) -> Result<&'static str, Failure> {
            Ok("")
        }

        fn is_open(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn endpoint(n: usize) -> Arc<Endpoint> {
        Endpoint::parse(BrokerKind::Redis, &format!("redis://r-{n}.example"), None).unwrap()
    }

    fn fake() -> Arc<dyn Client> {
        Arc::new(Fake(AtomicBool::new(true)))
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_find_a_broker_away_make_one_attempt_to_connect() {
        let pool = Pool::default();
        let slot = pool.slot(&endpoint(0));
        let attempts = AtomicUsize::new(0);
        let connect = || async {
            attempts.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(3)).await;
            Err(Failure::Credentials)
        };
        let all = futures_util::future::join_all((0..50).map(|_| slot.client(connect))).await;
        assert!(all.into_iter().all(|one| one.err() == Some(Failure::Credentials)));
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
        // Who comes later tries again.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(slot.client(|| async { Ok(fake()) }).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_never_answers_is_given_up_in_time_for_all_who_wait() {
        let slot = Pool::default().slot(&endpoint(0));
        let begun = Instant::now();
        let all = futures_util::future::join_all((0..50).map(|_| slot.client(std::future::pending))).await;
        assert!(all.into_iter().all(|one| matches!(one, Err(Failure::Call(CallError::Connect(_))))));
        assert_eq!(begun.elapsed().as_secs(), CONNECT_TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_shared_until_it_breaks_or_is_given_up() {
        let pool = Pool::default();
        let slot = pool.slot(&endpoint(0));
        let raw = Arc::new(Fake(AtomicBool::new(true)));
        let first: Arc<dyn Client> = raw.clone();
        let made = slot.client(|| async { Ok(first.clone()) }).await.unwrap();
        let second = pool.slot(&endpoint(0)).client(|| async { panic!("it is open") }).await.unwrap();
        assert!(Arc::ptr_eq(&made, &second));
        raw.0.store(false, Ordering::SeqCst);
        let third = slot.client(|| async { Ok(fake()) }).await.unwrap();
        assert!(!Arc::ptr_eq(&made, &third));
        // Late news of the first does not cost the third.
        slot.close(&made);
        assert_eq!(pool.open(), 1);
        slot.close(&third);
        assert_eq!(pool.open(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_a_connection_up_waits_for_nobody_who_connects() {
        let slot = Pool::default().slot(&endpoint(0));
        let raw = Arc::new(Fake(AtomicBool::new(true)));
        let broken: Arc<dyn Client> = raw.clone();
        slot.client(|| async { Ok(broken.clone()) }).await.unwrap();
        raw.0.store(false, Ordering::SeqCst);
        let mut other = std::pin::pin!(slot.client(std::future::pending));
        assert!(futures_util::poll!(&mut other).is_pending());
        // Blocks this only thread for good if it waits.
        slot.close(&broken);
        assert!(other.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_and_one_in_use_is_not() {
        let pool = Pool::default();
        let weak = {
            let client = pool.slot(&endpoint(0)).client(|| async { Ok(fake()) }).await.unwrap();
            Arc::downgrade(&client)
        };
        for _ in 0..3 {
            tokio::time::sleep(IDLE.saturating_sub(Duration::from_secs(1))).await;
            pool.slot(&endpoint(0));
        }
        assert_eq!(pool.open(), 1);
        tokio::time::sleep(IDLE + Duration::from_secs(1)).await;
        assert_eq!((pool.open(), weak.strong_count(), lock(&pool.slots).len()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_connections_is_bounded_and_the_idlest_goes() {
        let pool = Pool::default();
        for n in 0..=MOST {
            pool.slot(&endpoint(n)).client(|| async { Ok(fake()) }).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(pool.open(), MOST);
        assert!(!lock(&pool.slots).contains_key(&endpoint(0).id()));
    }
}
