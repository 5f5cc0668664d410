//! `[edge]`, `[admin]`, `[database]`, `[limits]`, `[outbound]` of `sluice.toml`.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use http::HeaderName;
use ipnet::IpNet;
use url::Url;

use super::{
    finding::Problem,
    oidc::Oidc,
    section::Section,
    tls::{Authorities, Tls},
    units,
};
use crate::{
    brokers::Endpoint,
    http_client::guard,
    secrets::{Environment, Reference, Secret, Secrets},
};

/// The largest body where nobody says otherwise (DESIGN §10).
pub(super) const DEFAULT_MAX_BODY: usize = 512 * 1024;
/// No body may be allowed to be larger: GitHub's cap is 25 MiB, the largest that a vendor has.
pub(super) const LARGEST_BODY: usize = 64 << 20;
const EDGE_LISTEN: &str = "127.0.0.1:8080";
const ADMIN_LISTEN: &str = "127.0.0.1:8081";

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
    /// Who issues the client certificates that sources ask for by name.
    pub client_ca: Option<Authorities>,
    /// Where trusted proxies put the client's certificate, as percent-encoded PEM.
    pub client_certificate_header: Option<HeaderName>,
    /// Whether each connection begins with a header of the PROXY protocol, from a trusted proxy.
    pub proxy_protocol: bool,
}

impl Edge {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let edge = Self {
            listen: listen(&mut section, EDGE_LISTEN),
            public_url: section.opt("public_url"),
            max_body: section.size("max_body", 1..=LARGEST_BODY).unwrap_or(DEFAULT_MAX_BODY),
            trusted_proxies: section.list("trusted_proxies").unwrap_or_default(),
            max_connections: section.number("max_connections", 20_000, 1..=1_000_000),
            max_connections_per_address: section.number("max_connections_per_address", 2_000, 1..=1_000_000),
            tls: Tls::read(&mut section),
            client_ca: Authorities::read(&mut section, "client_ca"),
            client_certificate_header: section.opt("client_certificate_header"),
            proxy_protocol: section.get("proxy_protocol", false),
        };
        edge.check_proxies(&section);
        if !edge.listen.ip().is_loopback()
            && edge.tls.is_none()
            && edge.trusted_proxies.is_empty()
            && !section.has("tls")
        {
            section.error(
                "listen",
                format!("{} is not loopback and the gateway would take deliveries without TLS", edge.listen),
                "set `edge.tls`, or name the proxy that ends TLS in `edge.trusted_proxies`, or listen on 127.0.0.1",
            );
        }
        check_public_url(&section, edge.public_url.as_ref());
        section.finish();
        edge
    }

    /// What only a trusted proxy may say needs one.
    fn check_proxies(&self, section: &Section<'_>) {
        let untrusted = self.trusted_proxies.is_empty();
        if untrusted && self.client_certificate_header.is_some() {
            section.error(
                "client_certificate_header",
                "would be believed of nobody",
                "name the proxy that ends TLS in `edge.trusted_proxies`",
            );
        }
        if untrusted && self.proxy_protocol {
            section.error(
                "proxy_protocol",
                "would be taken from nobody: every connection would be closed",
                "name the proxy that passes connections on in `edge.trusted_proxies`",
            );
        }
        if self.proxy_protocol && self.tls.is_none() && !section.has("tls") && !self.listen.ip().is_loopback() {
            section.error(
                "proxy_protocol",
                "passes connections on as they are, and the gateway would take deliveries without TLS",
                "set `edge.tls`: TLS ends here, behind such a proxy",
            );
        }
    }

    /// What vendors call, without a trailing slash: `public_url`, else where it listens.
    pub fn origin(&self) -> String {
        match &self.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None if self.tls.is_some() => format!("https://{}", self.listen),
            None => format!("http://{}", self.listen),
        }
    }
}

fn listen(section: &mut Section<'_>, default: &str) -> SocketAddr {
    section.opt("listen").unwrap_or_else(|| default.parse().expect("a default address is an address"))
}

fn check_public_url(section: &Section<'_>, url: Option<&Url>) {
    if let Some(url) = url
        && url.scheme() == "http"
        && !units::is_loopback(url)
    {
        section.error("public_url", "is http outside loopback", "write the https URL that others call");
    }
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
    /// Whom people may sign in with.
    pub oidc: Option<Arc<Oidc>>,
}

impl Admin {
    pub(super) fn read(mut section: Section<'_>, outbound: &Outbound) -> Self {
        let public_url: Option<Url> = section.opt("public_url");
        let admin = Self {
            listen: listen(&mut section, ADMIN_LISTEN),
            oidc: Oidc::read(&mut section, public_url.as_ref(), outbound),
            public_url,
            tls: Tls::read(&mut section),
            trusted_proxies: section.list("trusted_proxies").unwrap_or_default(),
            scrape_token: section.secret("scrape_token"),
        };
        if !admin.listen.ip().is_loopback() {
            if admin.tls.is_none() && admin.trusted_proxies.is_empty() && !section.has("tls") {
                section.error(
                    "listen",
                    format!("{} is not loopback and tokens would travel without TLS", admin.listen),
                    "set `admin.tls`, or name the proxy that ends TLS in `admin.trusted_proxies`, or listen on 127.0.0.1",
                );
            }
            if !section.has("scrape_token") {
                section.error(
                    "scrape_token",
                    "is missing while the admin listener is not on loopback",
                    "write a reference such as \"file:scrape.token\": `/metrics` asks for it",
                );
            }
        }
        check_public_url(&section, admin.public_url.as_ref());
        section.finish();
        admin
    }
}

/// `[database]`.
#[derive(Debug)]
pub enum Database {
    /// The embedded store in this file.
    Sqlite(PathBuf),
    /// A database of a Postgres server.
    Postgres {
        /// Its URL, which may hold a password.
        url: Secret,
        /// For what the running gateway keeps beside its store: `data_dir`, else the configuration's folder.
        dir: PathBuf,
    },
}

/// The file of the embedded store where nobody says otherwise.
const DEFAULT_FILE: &str = "sluice.db";

impl Database {
    pub(super) fn read(mut section: Section<'_>, dir: &Path) -> Self {
        let url = section.text_or_secret("url");
        let data_dir = section.opt::<String>("data_dir").map(|path| dir.join(path));
        let mut database = url.and_then(|(url, referred)| {
            let read = Self::parse(url, referred, dir);
            read.map_err(|problem| section.problem("url", problem)).ok()
        });
        match (&mut database, data_dir) {
            (_, None) => {}
            (Some(Self::Postgres { dir, .. }), Some(data_dir)) => *dir = data_dir,
            (Some(Self::Sqlite(_)) | None, Some(_)) => section.error(
                "data_dir",
                "is for Postgres only",
                "leave it out: with SQLite it is the folder of the database file",
            ),
        }
        if let Some(Self::Postgres { url, .. }) = &database
            && travels_unguarded(url)
        {
            section.warn(
                "url",
                "leads to another machine without `sslmode=verify-full`: what is stored may travel in the clear, or to somebody else",
                "add `?sslmode=verify-full&sslrootcert=PATH` to the URL",
            );
        }
        section.finish();
        database.unwrap_or_else(|| Self::Sqlite(dir.join(DEFAULT_FILE)))
    }

    /// The database that a person names on the command line: by a URL, or by a reference to one. Relative
    /// paths start at `dir`.
    ///
    /// # Errors
    /// Why it names none, in one line that does not repeat it.
    pub fn named(text: &str, dir: &Path) -> Result<Self, String> {
        let (url, referred) = match text.parse::<Reference>() {
            Ok(reference) => {
                let secrets = Secrets::local(dir.to_owned(), Environment::Process);
                let url = secrets.resolve(&reference);
                (url.map_err(|error| format!("`{reference}`: {error}; {}", error.cure()))?, true)
            }
            Err(_) => (Secret::new(text.as_bytes().to_vec()), false),
        };
        Self::parse(url, referred, dir).map_err(|problem| format!("{}; {}", problem.reason, problem.cure))
    }

    /// `referred`: the URL is what a reference leads to, so that it may hold a password.
    fn parse(url: Secret, referred: bool, dir: &Path) -> Result<Self, Problem> {
        let text = url.expose_str().unwrap_or_default();
        if let Some(path) = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")) {
            if path.is_empty() || path.contains(['?', '#']) || path == ":memory:" {
                return Err(Problem::new("is not the URL of a file", "write \"sqlite://sluice.db\""));
            }
            return Ok(Self::Sqlite(dir.join(path)));
        }
        let form = "write \"sqlite://sluice.db\", or \"postgres://USER@HOST/DATABASE\"";
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(Problem::new("is the URL of no database that the gateway knows", form));
        }
        let parsed = Url::parse(text).map_err(|_| Problem::new("is not a URL", form))?;
        let has_password =
            parsed.password().is_some() || parsed.query_pairs().any(|(key, _)| key.to_lowercase().contains("password"));
        if has_password && !referred {
            return Err(Problem::new(
                "carries a password, which only a reference may",
                "put the whole URL into a file that only the gateway may read and write \"file:PATH\", or into the environment and write \"env:NAME\"",
            ));
        }
        Ok(Self::Postgres { url, dir: dir.to_owned() })
    }

    /// The folder for what the running gateway keeps beside its store.
    pub fn data_dir(&self) -> &Path {
        match self {
            Self::Sqlite(path) => path.parent().unwrap_or(Path::new("")),
            Self::Postgres { dir, .. } => dir,
        }
    }

    /// Whether it is the same store.
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite(one), Self::Sqlite(other)) => one == other,
            (Self::Postgres { url: one, .. }, Self::Postgres { url: other, .. }) => one.expose() == other.expose(),
            _ => false,
        }
    }
}

/// Whether a Postgres URL leads off this machine without proof of who answers.
fn travels_unguarded(url: &Secret) -> bool {
    let Some(url) = url.expose_str().and_then(|text| Url::parse(text).ok()) else { return false };
    let parameter = |names: [&str; 2]| {
        let found = url.query_pairs().find(|(key, _)| names.contains(&&**key));
        found.map(|(_, value)| value.into_owned())
    };
    let host = parameter(["host", "hostaddr"]).or_else(|| url.host_str().map(str::to_owned)).unwrap_or_default();
    // Their brackets are not part of IPv6 addresses.
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_here = host.is_empty()
        || host.starts_with('/')
        || host == "localhost"
        || address.is_ok_and(|address| address.is_loopback());
    !is_here && parameter(["sslmode", "ssl-mode"]).as_deref() != Some("verify-full")
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

impl Limits {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let limits = Self {
            concurrency: section.number("concurrency", 256, 1..=10_000),
            ingest_per_second: section.number("ingest_per_second", 2_000, 1..=1_000_000),
            body_memory: section.size("body_memory", 1 << 20..=64 << 30).unwrap_or(64 << 20),
            metric_lanes: section.number("metric_lanes", 1_000, 0..=100_000),
        };
        section.finish();
        limits
    }
}

/// `[outbound]`.
#[derive(Debug)]
pub struct Outbound {
    /// Private addresses that may be called.
    pub allow_private: Vec<IpNet>,
}

impl Outbound {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let outbound = Self { allow_private: section.list("allow_private").unwrap_or_default() };
        section.finish();
        outbound
    }

    /// Whether `url` may be called: https outside loopback, and no private address that is not
    /// allowed. A name is looked at again when it is dialled.
    pub(super) fn check(&self, url: &Url) -> Result<(), Problem> {
        let loopback = units::is_loopback(url);
        if url.scheme() == "http" && !loopback {
            return Err(Problem::new(
                format!("`{}` would be called over http outside loopback", url.host_str().unwrap_or_default()),
                "write its https URL",
            ));
        }
        let address = match url.host() {
            Some(url::Host::Ipv4(address)) => Some(IpAddr::from(address)),
            Some(url::Host::Ipv6(address)) => Some(IpAddr::from(address)),
            Some(url::Host::Domain(_)) if loopback => Some(IpAddr::from([127, 0, 0, 1])),
            Some(url::Host::Domain(_)) | None => None,
        };
        address.map_or(Ok(()), |address| self.check_address(address))
    }

    /// Whether a broker may be dialled: no private address that is not allowed, and a public one only with TLS.
    /// A name is looked at when it is dialled.
    pub(super) fn check_broker(&self, endpoint: &Endpoint) -> Result<(), Problem> {
        let address = match endpoint.host.parse() {
            Ok(address) => Some(address),
            Err(_) => (endpoint.host == "localhost").then_some(IpAddr::from([127, 0, 0, 1])),
        };
        let Some(address) = address else { return Ok(()) };
        if !endpoint.tls && guard::is_public(address) {
            return Err(Problem::new(
                "would be called without TLS at a public address",
                "write its URL with TLS (rediss://, amqps://, tls://)",
            ));
        }
        self.check_address(address)
    }

    fn check_address(&self, address: IpAddr) -> Result<(), Problem> {
        if !is_private(address) || self.allow_private.iter().any(|net| net.contains(&address)) {
            return Ok(());
        }
        Err(Problem::new(
            format!("{address} is a private address"),
            format!("add \"{}\" to `outbound.allow_private` in sluice.toml if it is meant", IpNet::from(address)),
        ))
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified(),
    }
}
