//! Ports for what must know its own before it listens.

use std::{
    net::TcpListener,
    ops::Range,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the ports that the system hands out, and beside those of tests/tools/ports.py: no connection
/// and no server of another test takes one between the look and the start, however long that is.
const PORTS: Range<u16> = 12_000..20_000;

/// A port of the loopback that nobody listens on; never the same twice.
pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let many = PORTS.end - PORTS.start;
    // Another run beside this one begins elsewhere.
    let first = u16::try_from(std::process::id() * 61 % u32::from(many)).expect("less than the ports");
    for _ in 0..many {
        let port = PORTS.start + (first + TAKEN.fetch_add(1, Ordering::Relaxed)) % many;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
