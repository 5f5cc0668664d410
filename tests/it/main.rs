//! The one integration binary: one module per topic. What several share is in `harness`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod access;
mod actions;
mod alerts;
mod api;
mod architecture;
mod artifacts;
mod backup;
#[cfg(all(feature = "redis", feature = "rabbitmq", feature = "nats"))]
mod brokers;
mod canaries;
mod chaos;
mod cli;
mod config;
mod copy;
mod durability;
mod edge;
mod encryption;
mod harness;
mod large;
mod llama;
mod load;
mod memory;
mod nodes;
mod oidc;
mod pull;
mod recovery;
mod redaction;
mod schema;
mod secrets;
mod service;
mod sites;
mod start;
mod store;
mod subjects;
mod telemetry;
mod vendors;
mod whole;
