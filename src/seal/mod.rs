//! Encryption at rest (ADR 0021): values of the store that hold what vendors sent, or what was made of it, sealed by a
//! key of their tenant.
//!
//! Three steps of keys: the *wrapping key* is the operator's and comes from a provider of secrets; it wraps *data keys*
//! of one tenant, which the database holds only wrapped; from a data key each value gets a key of its own. Erasing the
//! wrapped data keys of a tenant erases all that is sealed by them.
//!
//! Nothing here knows a database. `store` seals on the way in and opens on the way out.

mod key;
mod ring;
mod value;

pub use key::{DataKey, InvalidKey, WrappingKey};
pub use ring::{Encryption, Held, Opened, Ring, StoredKey};
pub use value::{Column, Place, SealError, text_sealed_by, value_sealed_by};
