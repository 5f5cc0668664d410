//! `sluice serve`: the gateway as a process. Its log, its signals, what ends it and how.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use sluice_actors::ports::Clock;

use super::{AppOptions, Refused, start};
use crate::{
    clock::SystemClock,
    config::{self, Config},
    error_code::ErrorCode,
    lifecycle::{Asked, DrainPlan, End, Manager, Signals, Told, drain_or_second_signal},
    telemetry::{
        Reports,
        logs::{self, Logs},
        metrics::Metrics,
    },
};

/// `sluice serve`: runs until a signal ends it.
///
/// # Errors
/// A [`Refused`] or [`config::Errors`] for what an operator can mend.
pub async fn serve(path: &Path) -> anyhow::Result<()> {
    let before = config::Before::reading(path);
    let config = config::load(path)?;
    let before = before.starting(&config);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = Metrics::new();
    let dropped = metrics.telemetry_dropped_total.with_label_values(&["sentry"]);
    let errors = Reports::start(config.telemetry.sentry.as_ref(), dropped)
        .map_err(|error| Refused::new(ErrorCode::Configuration, error.to_string()))?;
    let logs = install_logs(&config, clock.clone(), errors.clone())?;
    let mut signals = Signals::register().context("cannot take over signals")?;
    let options = AppOptions {
        clock,
        config_path: Some(path.to_owned()),
        logs: Some(logs),
        metrics,
        errors: errors.clone(),
        ..AppOptions::default()
    };
    for warning in &config.warnings {
        tracing::warn!(%warning, "configuration");
    }
    let running = start(config, options).await?;
    let mut watch = before.watch(running.config.clone());
    let manager = Manager::of_this_process();
    manager.tell(Told::Ready);
    let alive = tokio::spawn(manager.clone().while_alive({
        let gateway = running.gateway.clone();
        move || {
            let gateway = gateway.clone();
            async move { gateway.snapshot().await.is_ok() }
        }
    }));
    let next = async || {
        tokio::select! {
            asked = signals.next() => asked,
            () = watch.changed() => Asked::Reload,
        }
    };
    let broken = async || {
        tokio::select! {
            () = running.gateway.broken() => Ending::Broken,
            () = running.store.disk_failure() => Ending::DiskFailed,
            () = running.store.writer_ended() => Ending::WriterEnded,
        }
    };
    let reload = async || {
        manager.tell(Told::Reloading);
        // Both ends of a reload are logged where it happens.
        let _ = running.reload().await;
        manager.tell(Told::Ready);
    };
    let ending = until_end(broken, next, reload).await;
    alive.abort();
    manager.tell(Told::Stopping);
    match ending {
        Ending::Signal(signal) => tracing::info!(signal, "stopping"),
        Ending::Broken => tracing::error!("stopping, because the tree of actors is beyond repair"),
        Ending::WriterEnded => tracing::error!("stopping, because the writer of the store is gone"),
        Ending::DiskFailed => {
            tracing::error!("ending at once, because the disk did not take what was written");
            errors.flush(DrainPlan::default().telemetry).await;
            // Nothing is drained or closed in order: that would copy out of a log with a hole.
            return ending.into_result();
        }
    }
    let store = running.store.clone();
    match drain_or_second_signal(&mut signals, running.shutdown()).await {
        End::Drained(_) if store.disk_failed() => Ending::DiskFailed.into_result(),
        End::Drained(_) => ending.into_result(),
        End::Forced => std::process::exit(1),
    }
}

/// Why a running gateway ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// By this signal.
    Signal(&'static str),
    /// The tree of actors is beyond repair: only a new process helps.
    Broken,
    /// The thread that writes is gone: only a new process helps.
    WriterEnded,
    /// The disk did not take what was written: only a new process can tell what it has.
    DiskFailed,
}

impl Ending {
    /// What `serve` answers once the drain is over: a service manager starts again what failed.
    fn into_result(self) -> anyhow::Result<()> {
        match self {
            Self::Signal(_) => Ok(()),
            Self::Broken => {
                let message = "the supervisor of the lanes is gone or too many lanes panicked at once; start it again";
                Err(Refused::new(ErrorCode::TreeBroken, message).into())
            }
            Self::WriterEnded => {
                let message = "the writer of the store panicked; start it again";
                Err(Refused::new(ErrorCode::TreeBroken, message).into())
            }
            Self::DiskFailed => {
                let message = "the disk under the database did not take what was written; look at it and start again";
                Err(Refused::new(ErrorCode::DiskFailed, message).into())
            }
        }
    }
}

/// Reloads when asked to, until there is a reason to end.
async fn until_end(
    broken: impl AsyncFn() -> Ending,
    mut next: impl AsyncFnMut() -> Asked,
    mut reload: impl AsyncFnMut(),
) -> Ending {
    loop {
        let asked = tokio::select! {
            asked = next() => asked,
            ending = broken() => return ending,
        };
        match asked {
            Asked::Reload => reload().await,
            Asked::Stop(signal) => return Ending::Signal(signal),
        }
    }
}

/// Sets the process's log up.
fn install_logs(config: &Config, clock: Arc<dyn Clock>, reports: Reports) -> anyhow::Result<Logs> {
    let options =
        logs::Options { format: config.telemetry.format, filter: config.telemetry.filter.clone(), sink: None, reports };
    let (subscriber, logs) = logs::subscriber(options, clock)
        .map_err(|error| Refused::new(ErrorCode::Configuration, format!("telemetry.filter: {error}")))?;
    tracing::subscriber::set_global_default(subscriber).context("a log is already set up")?;
    logs::log_panics_by_place();
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluice_actors::testing::TestTree;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tree_that_is_broken_ends_the_process_with_a_failure() {
        let mut tree = TestTree::start().await;
        tree.forgive_lane_panics();
        let mut asked = [Asked::Reload].into_iter();
        let mut reloads = 0;
        let next = async || match asked.next() {
            Some(asked) => asked,
            None => std::future::pending().await,
        };
        let gateway = tree.gateway().clone();
        let broken = async || {
            gateway.broken().await;
            Ending::Broken
        };
        let ending = async {
            for n in 0..11 {
                tree.panic_lane(&format!("acme/l{n}")).await;
            }
            tokio::time::sleep(Duration::from_secs(3600)).await;
        };
        let ended = tokio::select! {
            ended = until_end(broken, next, async || reloads += 1) => Some(ended),
            () = ending => None,
        };
        assert_eq!((ended, reloads), (Some(Ending::Broken), 1));
        let error = Ending::Broken.into_result().expect_err("a service manager must start it again");
        assert_eq!(error.downcast_ref::<Refused>().map(|it| it.code), Some(ErrorCode::TreeBroken));
        assert_ne!(ErrorCode::TreeBroken.exit_status(), 0);
        assert!(Ending::Signal("SIGTERM").into_result().is_ok());
        tree.finish().await;
    }
}
