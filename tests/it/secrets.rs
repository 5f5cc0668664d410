//! Secrets that others keep: read at the start, refreshed, rotated under load, too old, never told.

pub(crate) mod aws;
pub(crate) mod fake;
mod gateway;
mod revoke;
mod rotate;
mod sending;
mod signing;
mod vault;
