//! What several topics share: a configuration folder, senders that sign, the whole gateway in this
//! process ([`App`]) and the real binary ([`Process`]).
//!
//! A test owns its world: a folder, listeners on free ports, stand-ins. [`App::finish`] demands it
//! back: no attempt in flight, no job left that could still run, no lock held.

mod app;
#[cfg(all(feature = "redis", feature = "rabbitmq", feature = "nats"))]
mod broker;
mod folder;
mod ports;
mod postgres;
mod process;
mod proxy;
mod receiver;
mod sender;
mod world;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

pub(crate) use app::App;
#[cfg(all(feature = "redis", feature = "rabbitmq", feature = "nats"))]
pub(crate) use broker::{Broker, PASSWORD};
pub(crate) use folder::Folder;
pub(crate) use ports::free_port;
pub(crate) use postgres::{Archive, Cluster, root};
pub(crate) use process::{Process, Ran, command, run, sluice};
pub(crate) use proxy::Proxy;
pub(crate) use receiver::Receiver;
pub(crate) use sender::{Answer, Sender};
pub(crate) use world::{Engine, LLM_KEY, SECRET, World, completed, on_both_engines, summarising};

/// The Python that `scripts/test` installs `package` for.
pub(crate) fn python(package: &str) -> String {
    std::env::var("SLUICE_TEST_PYTHON").unwrap_or_else(|_| {
        panic!(
            "SLUICE_TEST_PYTHON is not set: run `scripts/test`, or make a virtual environment, install \
             tests/tools/requirements.txt ({package}) into it and name its python"
        )
    })
}

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until `look` finds something; panics with `what` after [`PATIENCE`]. For
/// what has no event to wait for: another process, a row, a scrape.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, look: impl FnMut() -> F) -> T {
    within(PATIENCE, what, look).await
}

/// How late this machine lets tasks run: what a bound on the time of a whole process is widened by.
pub(crate) struct Stalls {
    late: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Stalls {
    /// Counts from now on.
    pub(crate) fn count() -> Self {
        const TICK: Duration = Duration::from_millis(20);
        let late = Arc::new(AtomicU64::new(0));
        let counted = late.clone();
        let task = tokio::spawn(async move {
            loop {
                let due = Instant::now() + TICK;
                sleep(TICK).await;
                counted.fetch_add(due.elapsed().as_millis() as u64, Ordering::Relaxed);
            }
        });
        Self { late, task }
    }

    /// How late they were in all.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_millis(self.late.load(Ordering::Relaxed))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// As [`eventually`], with a patience of its own.
pub(crate) async fn within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let end = tokio::time::Instant::now() + patience;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "waited {patience:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How long what is left may stay as it is before a test gives up on it: longer than any wait between two
/// attempts of a job, and than a takeover.
const STALLED: Duration = Duration::from_mins(3);

/// Waits until nothing is `left`, for as long as it changes; on a machine that is busy with something else
/// that takes its time. Panics with `what` when the number stays as it is.
pub(crate) async fn drained<F: Future<Output = i64>>(what: &str, mut left: impl FnMut() -> F) {
    let (mut seen, mut since) = (i64::MAX, tokio::time::Instant::now());
    loop {
        let now = left().await;
        if now == 0 {
            return;
        }
        if now != seen {
            (seen, since) = (now, tokio::time::Instant::now());
        }
        assert!(since.elapsed() < STALLED, "{what}: {now} are left and nothing moves");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The sum of the samples of `name` whose line has all of `labels`; 0 without any.
/// Only for counts.
pub(crate) fn series(scrape: &str, name: &str, labels: &[&str]) -> u64 {
    let samples = scrape.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && labels.iter().all(|label| line.contains(label))
    });
    samples.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()).expect("a count")).sum()
}
