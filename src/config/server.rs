//! `[edge]`, `[admin]`, `[database]`, `[limits]`, `[outbound]`, `[telemetry]` of `sluice.toml`.

use std::{net::SocketAddr, path::PathBuf};

use ipnet::IpNet;
use url::Url;

use crate::secrets::Secret;

/// `[edge]`: the public listener.
#[derive(Debug)]
pub struct Edge {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What vendors call, for schemes that sign the URL and for printed URLs. No trailing slash.
    pub public_url: Option<Url>,
    /// The largest body where neither source nor vendor says otherwise, in bytes.
    pub max_body: usize,
    /// Proxies whose forwarded headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections per address.
    pub max_connections_per_address: usize,
    /// TLS, if the gateway ends it itself.
    pub tls: Option<Tls>,
}

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The chain.
    pub cert: Secret,
    /// The key.
    pub key: Secret,
}

/// `[admin]`: the private listener.
#[derive(Debug)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What operators open.
    pub public_url: Option<Url>,
    /// TLS.
    pub tls: Option<Tls>,
    /// Proxies whose forwarded headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What a scraper presents off loopback.
    pub scrape_token: Option<Secret>,
}

/// `[database]`.
#[derive(Debug)]
pub enum Database {
    /// The embedded store in this file.
    Sqlite(PathBuf),
}

/// `[limits]`: of the node.
#[derive(Debug)]
pub struct Limits {
    /// Attempts at once.
    pub concurrency: usize,
    /// Deliveries a second over all sources.
    pub ingest_per_second: u32,
    /// Bytes of bodies in memory.
    pub body_memory: usize,
    /// Lanes with metric series of their own.
    pub metric_lanes: usize,
}

/// `[outbound]`.
#[derive(Debug)]
pub struct Outbound {
    /// Private addresses that may be called.
    pub allow_private: Vec<IpNet>,
}

/// `[telemetry]`.
#[derive(Debug)]
pub struct Telemetry {
    /// How logs look.
    pub format: LogFormat,
    /// The filter, in the form of `RUST_LOG`.
    pub filter: String,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human lines on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// Human lines.
    Human,
}
