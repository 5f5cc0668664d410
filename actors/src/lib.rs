//! What decides in Sluice: lanes, limits, breakers, retries, supervision.
//!
//! This crate never touches the world: no HTTP, no SQL, no metrics registry. The world is
//! handed in through the small traits of [`ports`]; time and chance come in with them, so a whole
//! tree of actors runs in virtual time inside a test.
//!
//! Arrows: `domain ← policy ← ports ← {contained, world, snapshot} ← callee ← admission ← dead_letter ← lane ←
//! supervisor ← drain ← handle`.

mod admission;
mod callee;
mod contained;
mod dead_letter;
pub mod domain;
mod drain;
pub mod handle;
mod lane;
pub mod policy;
pub mod ports;
mod snapshot;
mod supervisor;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod world;
