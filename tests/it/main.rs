//! The one integration binary: one module per topic. What several share is in `harness`.

mod actions;
mod architecture;
mod config;
mod edge;
mod llama;
mod redaction;
mod schema;
mod vendors;
