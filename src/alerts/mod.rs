//! Alerts out: what changed and wants a person, told to a webhook, a chat or by mail.
//!
//! The tree of actors and others say what happened through an [`Alarm`], which never waits: what does not fit
//! its queue is counted and dropped. A desk of one task settles it, asks the store whether it is told (once an
//! hour for each lane and cause, by one node of several; `api::marks`) and hands it to a line for each receiver,
//! which retries by itself. What a receiver gets is redacted once more here, whatever a source leaves alone.
//!
//! To add a cause: a variant of [`crate::config::Cause`], who says so, its words in `alert.rs`.

mod alarm;
mod alert;
mod desk;
mod expiry;
mod lines;
mod mail;
mod post;

pub use alarm::{Alarm, Notice, Notices, Watching};
pub use alert::{Alert, Failure};
pub use desk::{Desk, DeskParts, Working};
pub use post::Poster;
