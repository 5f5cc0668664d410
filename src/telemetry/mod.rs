//! What operators see of a running gateway: logs, metrics, traces, reports of errors.
//!
//! - [`logs`]: one flat JSON object a line, or human lines on a terminal.
//! - [`metrics`]: every series with its help text, in one table.
//! - [`lanes`]: the series of single lanes, folded past a limit.
//! - [`calls`]: the series of who is called, folded as well.
//! - [`store`] and [`host`]: the store as its callers see it, and what it stands on.
//! - [`known`]: what begins at 0.
//! - [`traces`]: spans, for a collector.
//! - [`sentry`]: errors and panics, for Sentry.
//! - [`deliveries`] and [`observe`]: what ingest and the tree tell, turned into log lines, series, spans.

pub mod calls;
pub mod deliveries;
pub mod host;
pub mod known;
pub mod lanes;
pub mod logs;
pub mod metrics;
pub mod observe;
pub mod sentry;
pub mod store;
pub mod traces;
pub mod traffic;

pub use self::sentry::Reports;
