//! Secrets that others keep: read at the start, refreshed, rotated under load, too old, never told.

mod aws;
mod fake;
mod gateway;
mod vault;
