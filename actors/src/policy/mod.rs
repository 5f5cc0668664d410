//! What limits and waits are worth: pure rules, without actors and without I/O.

pub mod retry;
