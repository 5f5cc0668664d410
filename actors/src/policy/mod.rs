//! What limits and waits are worth: pure rules, without actors and without I/O.

pub mod breaker;
pub mod bucket;
pub mod fairness;
pub mod restart;
pub mod retry;
mod settings;
mod window;

pub use settings::{BreakerPolicy, BreakerState, Rate};
