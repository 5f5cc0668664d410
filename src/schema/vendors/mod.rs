//! One file per vendor.

mod generic;
mod stripe;

use super::Catalog;

/// All catalogs. A vendor without an entry normalises with its envelope alone.
pub static CATALOGS: &[Catalog] = &[stripe::CATALOG, generic::CATALOG];
