//! Many deliveries: paced by fixed moments (open model) or by the answers (closed loop).

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use anyhow::Context;
use indicatif::ProgressBar;
use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    Scheme,
    report::{Failure, Report, Tally},
    wire::{Connection, Target},
};
use crate::cli::output;

/// When deliveries are sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// At fixed moments, whatever the answers do.
    Open {
        /// Deliveries a second.
        per_second: f64,
        /// For how long.
        span: Duration,
    },
    /// As soon as the former one was answered.
    Closed {
        /// Ends after this long.
        until: Option<Duration>,
        /// Ends after so many.
        count: u64,
    },
}

/// All moments that fall into one tick become due together: a timer for each delivery would halve
/// what one core can send, and a thousand wake-ups a second cost next to nothing.
const TICK: Duration = Duration::from_millis(1);

/// Answers that are still awaited when the sending ends.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// A run.
pub(super) struct Load {
    shared: Rc<Shared>,
    connections: usize,
}

struct Shared {
    scheme: Scheme,
    targets: Vec<Target>,
    pace: Pace,
    /// Deliveries that are due and not yet taken; in a closed loop all of them.
    due: Semaphore,
    next: Cell<u64>,
    total: u64,
    tally: RefCell<Tally>,
    bar: ProgressBar,
}

impl Load {
    pub(super) fn new(scheme: Scheme, targets: Vec<Target>, pace: Pace, connections: usize) -> Self {
        let total = match pace {
            Pace::Open { per_second, span } => (per_second * span.as_secs_f64()).round().max(1.0) as u64,
            Pace::Closed { count, .. } => count,
        };
        let bar = if total == u64::MAX { output::spinner("sending") } else { output::bar(total) };
        let shared = Shared {
            scheme,
            targets,
            pace,
            due: Semaphore::new(0),
            next: Cell::new(0),
            total,
            tally: RefCell::default(),
            bar,
        };
        Self { shared: Rc::new(shared), connections }
    }

    /// Sends everything and waits for the answers. An error only if not even a connection opens or
    /// nothing can be signed.
    pub(super) async fn run(self) -> anyhow::Result<Report> {
        let Self { shared, connections } = self;
        let mut open = Vec::with_capacity(connections);
        for n in 0..connections {
            open.push(Connection::open(&shared.targets[n % shared.targets.len()]).await?);
        }
        shared.scheme.delivery(&shared.targets[0].url)?;

        let started = Instant::now();
        let workers: Vec<_> = open
            .into_iter()
            .enumerate()
            .map(|(n, connection)| tokio::task::spawn_local(work(shared.clone(), n, connection, started)))
            .collect();
        let clock = tokio::task::spawn_local(pace(shared.clone(), started));
        let sent = async {
            for worker in workers {
                worker.await.context("a connection's task ended badly")?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let patience = match shared.pace {
            Pace::Open { span, .. } => Some(span + LAST_ANSWERS),
            Pace::Closed { until, .. } => until.map(|span| span + LAST_ANSWERS),
        };
        match patience {
            None => sent.await?,
            Some(patience) => {
                if let Ok(ended) = tokio::time::timeout_at(started + patience, sent).await {
                    ended?;
                }
            }
        }
        clock.abort();
        shared.bar.finish_and_clear();
        let sent = shared.next.get();
        let offered = if shared.total == u64::MAX { sent } else { shared.total };
        Ok(shared.tally.borrow().report(offered, started.elapsed()))
    }
}

/// Makes deliveries due, and shows how far the run is.
async fn pace(shared: Rc<Shared>, started: Instant) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut released = 0;
    loop {
        ticks.tick().await;
        let elapsed = started.elapsed();
        if let Pace::Open { per_second, .. } = shared.pace {
            // The n-th delivery (from 0) is due at n / rate.
            let due = ((elapsed.as_secs_f64() * per_second) as u64 + 1).min(shared.total);
            shared.due.add_permits(usize::try_from(due - released).unwrap_or(usize::MAX));
            released = due;
        }
        if elapsed.as_millis() % 200 < 2 {
            let tally = shared.tally.borrow();
            shared.bar.set_position(tally.answered());
            shared.bar.set_message(tally.brief());
        }
    }
}

/// One connection: takes the next delivery that is due, sends it, awaits its answer.
async fn work(shared: Rc<Shared>, n: usize, connection: Connection, started: Instant) {
    let target = &shared.targets[n % shared.targets.len()];
    let mut connection = Some(connection);
    let mut request = Vec::with_capacity(4096);
    while let Some(due_at) = shared.take(started).await {
        // Connections are spread over the targets; deliveries of one connection all go to its own.
        let Ok(delivery) = shared.scheme.delivery(&target.url) else {
            shared.tally.borrow_mut().failed(Failure::Unsigned);
            continue;
        };
        target.write_request(&delivery, &mut request);
        let mut live = match connection.take() {
            Some(live) => live,
            None => match Connection::open(target).await {
                Ok(live) => live,
                Err(_) => {
                    shared.tally.borrow_mut().failed(Failure::Connect);
                    continue;
                }
            },
        };
        match live.exchange(&request).await {
            Ok(answer) => {
                shared.tally.borrow_mut().answer(answer.status, due_at.elapsed());
                connection = (!live.closing).then_some(live);
            }
            Err(_) => shared.tally.borrow_mut().failed(Failure::NoAnswer),
        }
    }
}

impl Shared {
    /// The moment at which the next delivery was due; none at the end.
    async fn take(&self, started: Instant) -> Option<Instant> {
        let next = || {
            let number = self.next.get();
            (number < self.total).then(|| {
                self.next.set(number + 1);
                number
            })
        };
        match self.pace {
            Pace::Closed { until, .. } => {
                if until.is_some_and(|until| started.elapsed() >= until) {
                    return None;
                }
                next()?;
                Some(Instant::now())
            }
            Pace::Open { per_second, .. } => {
                if self.next.get() >= self.total {
                    return None;
                }
                self.due.acquire().await.ok()?.forget();
                let number = next()?;
                if self.next.get() >= self.total {
                    // Those who still wait for a delivery would wait for ever.
                    self.due.close();
                }
                Some(started + Duration::from_secs_f64(number as f64 / per_second))
            }
        }
    }
}
