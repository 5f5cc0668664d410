//! The admin listener: API, metrics, health.

pub mod records;
