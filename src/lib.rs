//! Sluice: a self-hosted gateway for inbound webhooks. What touches the world.
//!
//! The way of one delivery: [`edge`] reads bytes within limits, [`ingest`] verifies, normalises and
//! records them in one durable transaction, and the actors of `sluice_actors` run the jobs through
//! [`actions`]. See `ARCHITECTURE.md`.

pub mod actions;
pub mod alerts;
pub mod api;
pub mod app;
pub mod artifacts;
pub mod brokers;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod edge;
pub mod error_code;
pub mod http_client;
pub mod ids;
pub mod ingest;
pub mod json;
pub mod lifecycle;
pub mod oidc;
pub mod redact;
pub mod schema;
pub mod seal;
pub mod secrets;
pub mod standins;
pub mod store;
pub mod telemetry;
pub mod trace;
pub mod vendors;
