//! The public listener: reads bytes within limits, hands them to ingest, answers.
//!
//! [`accept`] is the accept loop that the admin listener uses too; warp filters run inside it.

pub mod accept;
mod answer;
mod io;
pub mod tls;
