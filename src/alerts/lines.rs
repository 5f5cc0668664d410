//! A line to each receiver: a bounded queue and a task that retries, in order, so that one receiver that is slow
//! or down keeps nothing from the others. At the end of the process each tries once more, at once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Alert, Poster};
use crate::{
    config,
    telemetry::metrics::{Metrics, NONE},
};

/// Alerts that wait for one receiver.
const QUEUE: usize = 64;
/// The wait after the first try; doubled after each, with jitter.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait.
const MAX_WAIT: Duration = Duration::from_mins(5);
/// An alert that was not taken for so long is given up: the next hour has its own.
const GIVE_UP: Duration = Duration::from_hours(1);

/// What every line needs.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) poster: Poster,
    pub(super) config: config::Live,
    pub(super) metrics: Metrics,
    /// Whether the process ends.
    pub(super) ending: watch::Receiver<bool>,
}

/// The lines that are open, by receiver. Dropped, they end.
pub(super) struct Lines {
    around: Around,
    seeds: StdRng,
    open: HashMap<String, mpsc::Sender<Arc<Alert>>>,
    tasks: JoinSet<()>,
}

impl Lines {
    pub(super) fn new(around: Around, seed: u64) -> Self {
        Self { around, seeds: StdRng::seed_from_u64(seed), open: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Hands an alert to everybody who wants it.
    pub(super) fn tell(&mut self, alert: &Arc<Alert>) {
        let config = self.around.config.load_full();
        let receivers = &config.alerts.receivers;
        self.open.retain(|name, _| receivers.iter().any(|receiver| receiver.name == *name));
        while self.tasks.try_join_next().is_some() {}
        for receiver in receivers.iter().filter(|receiver| receiver.wants(alert.cause, &alert.tenants)) {
            // A line whose task panicked is opened anew.
            let alive = self.open.get(&receiver.name).filter(|line| !line.is_closed()).cloned();
            let line = alive.unwrap_or_else(|| self.open(&receiver.name));
            if line.try_send(alert.clone()).is_err() {
                self.around.metrics.alerts_dropped_total.with_label_values(NONE).inc();
                tracing::error!(receiver = receiver.name, alert = alert.id, "alert dropped: too many wait");
            }
        }
    }

    /// Waits until each line has told what waits in it, or tried once more in vain. For the end, once `ending`
    /// says so.
    pub(super) async fn finish(mut self) {
        self.open.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    fn open(&mut self, name: &str) -> mpsc::Sender<Arc<Alert>> {
        let (sender, mut alerts) = mpsc::channel::<Arc<Alert>>(QUEUE);
        let (mut around, name_of_it) = (self.around.clone(), name.to_owned());
        let mut chance = StdRng::seed_from_u64(self.seeds.random());
        self.tasks.spawn(async move {
            while let Some(alert) = alerts.recv().await {
                around.deliver(&name_of_it, &alert, &mut chance).await;
            }
        });
        self.open.insert(name.to_owned(), sender.clone());
        sender
    }
}

/// Waits until the process ends. `false`: whoever could say so is gone.
pub(super) async fn ends(ending: &mut watch::Receiver<bool>) -> bool {
    ending.wait_for(|ends| *ends).await.is_ok()
}

impl Around {
    /// Tries until the receiver took it, cannot take it, nobody waits for it any more, or the process ends.
    async fn deliver(&mut self, name: &str, alert: &Alert, chance: &mut StdRng) {
        let begun = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            let is_last = *self.ending.borrow();
            // Looked up anew: the cure of a failure is often a reload.
            let config = self.config.load_full();
            let Some(receiver) = config.alerts.receivers.iter().find(|receiver| receiver.name == name) else { return };
            let cause = alert.cause.as_str();
            let Err(refused) = self.poster.post(receiver, alert).await else {
                self.metrics.alerts_sent_total.with_label_values(&[name]).inc();
                tracing::info!(receiver = name, cause, alert = alert.id, "alert sent");
                return;
            };
            let reason = &refused.reason;
            if refused.is_final || is_last || begun.elapsed() >= GIVE_UP {
                self.metrics.alerts_failed_total.with_label_values(&[name]).inc();
                tracing::error!(receiver = name, cause, alert = alert.id, reason, "alert not taken, given up");
                return;
            }
            self.metrics.alerts_retries_total.with_label_values(&[name]).inc();
            tracing::warn!(receiver = name, cause, alert = alert.id, reason, "alert not taken, tries again");
            drop(config);
            let jittered = wait.mul_f64(chance.random_range(0.5..=1.0));
            tokio::select! {
                () = sleep(jittered.max(refused.retry_after.unwrap_or_default())) => {}
                // What is not told now is told by nobody.
                true = ends(&mut self.ending) => {}
            }
            wait = (wait * 2).min(MAX_WAIT);
        }
    }
}
