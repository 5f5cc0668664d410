//! Warnings of the server while it commits. One says that the commit is not what it seems: the wait
//! for a standby was cancelled, or there was no transaction. sqlx only logs them, so the commit runs
//! under a subscriber that listens for that log line.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    instrument::WithSubscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};

/// Where sqlx logs what the server notes.
const TARGET: &str = "sqlx::postgres::notice";

/// Listens for warnings of the server.
pub(super) struct Warnings {
    heard: Arc<AtomicBool>,
    /// Made once: making one looks at every place that logs.
    dispatch: Dispatch,
}

impl Warnings {
    pub(super) fn new() -> Self {
        let heard = Arc::new(AtomicBool::new(false));
        Self { dispatch: Dispatch::new(Listener(heard.clone())), heard }
    }

    /// Runs `work`; returns whether the server warned meanwhile. Nothing else is logged meanwhile.
    pub(super) async fn during<F: Future>(&self, work: F) -> (F::Output, bool) {
        self.heard.store(false, Ordering::Relaxed);
        let done = work.with_subscriber(self.dispatch.clone()).await;
        (done, self.heard.load(Ordering::Relaxed))
    }
}

struct Listener(Arc<AtomicBool>);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET && *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        if self.enabled(event.metadata()) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
