//! Senders that do not wait for each other, as a vendor's are: when each delivery was sent, when it was answered,
//! and how.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sluice::clock::SystemClock;
use sluice_actors::{domain::Timestamp, ports::Clock as _};
use tokio::task::JoinHandle;

use crate::harness::{PATIENCE, Sender, within};

/// Who send at once with one secret.
const SENDERS: usize = 4;
/// What each waits after an answer: the node's own limit is not what is tested.
const PAUSE: Duration = Duration::from_millis(20);
/// The fewest deliveries that tell anything.
const MANY: usize = 20;
/// No end.
pub(crate) const FOREVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// What came of one delivery. Times are of the wall, as the ends of secrets are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    sent: Timestamp,
    answered: Timestamp,
    status: u16,
}

/// Four senders with one secret, until they are told to stop.
pub(crate) struct Sending {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Delivery>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Sending {
    /// Each delivery is one that was never sent.
    pub(crate) fn begin(sender: &Sender) -> Self {
        static SENT: AtomicUsize = AtomicUsize::new(0);
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let one = |_| {
            let (sender, stop, seen) = (sender.clone(), Arc::clone(&stop), Arc::clone(&seen));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let id = format!("snd_{}", SENT.fetch_add(1, Ordering::Relaxed));
                    let sent = SystemClock.now();
                    let status = sender.sample(&id).await.status;
                    let answered = SystemClock.now();
                    seen.lock().unwrap().push(Delivery { sent, answered, status });
                    tokio::time::sleep(PAUSE).await;
                }
            })
        };
        let tasks = (0..SENDERS).map(one).collect();
        Self { stop, seen, tasks }
    }

    /// Waits until many were answered that were sent at this time or later.
    pub(crate) async fn past(&self, from: Timestamp) {
        within(PATIENCE * 2, "deliveries are answered", || async {
            let sent = self.seen.lock().unwrap().iter().filter(|it| it.sent >= from).count();
            (sent > MANY).then_some(())
        })
        .await;
    }

    /// Ends it; what came of all.
    pub(crate) async fn end(self) -> Vec<Delivery> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no sender panicked");
        }
        self.seen.lock().unwrap().clone()
    }
}

/// Demands this status of each delivery that was sent at `from` or later and answered before `until`, and that
/// there were many.
pub(crate) fn demand(what: &str, seen: &[Delivery], from: Timestamp, until: Timestamp, status: u16) {
    let between: Vec<&Delivery> = seen.iter().filter(|it| it.sent >= from && it.answered < until).collect();
    let others: Vec<&&Delivery> = between.iter().filter(|it| it.status != status).collect();
    assert!(others.is_empty(), "{what}: {} of {} are not {status}: {others:?}", others.len(), between.len());
    assert!(between.len() > MANY, "{what}: only {} from {from} until {until}", between.len());
}
