//! Signals and the end of the process. The first SIGTERM or SIGINT drains; a second one exits at
//! once: what was acknowledged is in the store, another life runs it. [`Manager`] tells systemd.
//! [`keep_memory_private`] comes before anything is read.

mod manager;
mod memory;

use std::{future::Future, io, time::Duration};

use sluice_actors::handle::DrainReport;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use self::{
    manager::{Manager, Told},
    memory::keep_memory_private,
};

/// How long each step of a drain may take (DESIGN §10).
#[derive(Debug, Clone)]
pub struct DrainPlan {
    /// How long deliveries are still accepted after readiness turned false: a load balancer takes
    /// its time to look.
    pub announce: Duration,
    /// How long requests in flight may take.
    pub requests: Duration,
    /// How long attempts in flight may take.
    pub jobs: Duration,
    /// How long alerts, then spans and reports that wait, may take to their receivers.
    pub telemetry: Duration,
}

impl Default for DrainPlan {
    fn default() -> Self {
        Self {
            announce: Duration::from_secs(2),
            requests: Duration::from_secs(10),
            jobs: Duration::from_secs(25),
            telemetry: Duration::from_secs(3),
        }
    }
}

/// What a drain left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Connections of the public listener that were cut off.
    pub cut_connections: usize,
    /// Attempts.
    pub jobs: DrainReport,
}

/// The signals that end or change the process; registered before anything is announced.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// End (SIGTERM, SIGINT).
    Stop(&'static str),
    /// Read the configuration again (SIGHUP).
    Reload,
}

impl Signals {
    /// Takes the signals over from the default handlers.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn register() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End<T> {
    /// The drain came to its end.
    Drained(T),
    /// A second signal cut the drain off.
    Forced,
}

/// Runs `drain` to its end, or until a second signal to stop.
pub async fn drain_or_second_signal<T>(signals: &mut Signals, drain: impl Future<Output = T>) -> End<T> {
    tokio::pin!(drain);
    loop {
        tokio::select! {
            done = &mut drain => return End::Drained(done),
            asked = signals.next() => match asked {
                Asked::Stop(name) => {
                    tracing::warn!(signal = name, "second signal, exiting at once");
                    return End::Forced;
                }
                Asked::Reload => tracing::warn!("draining, configuration not read again"),
            },
        }
    }
}
