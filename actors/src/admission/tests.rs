//! The desk, without actors.
