//! Stand-ins for the services that the gateway calls, on loopback: an LLM, a WordPress site with
//! the plugin, an API. For the demo and for tests: each keeps a ledger of what it was sent and what
//! took effect, and fails on demand ([`Fault`]).

mod api;
mod fault;
mod llm;
mod server;
mod wordpress;

pub use api::StandInApi;
pub use fault::Fault;
pub use llm::{Chat, StandInLlm};
pub use server::Seen;
pub use wordpress::{Post, StandInWordPress};
