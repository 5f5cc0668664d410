//! No secret comes out. A gateway runs with a canary in the place of every kind of secret there is and logs all it
//! can; everything that can be seen of it is searched, in every form that a secret may take. Then its memory: no
//! core dump is written, and what was retired is gone from it.

mod brokers;
mod echo;
mod memory;
mod planted;
mod repository;
pub(crate) mod search;
mod stage;
mod tls;
mod whole;
