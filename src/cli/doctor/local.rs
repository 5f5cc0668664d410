//! What this machine shows by itself: files, disk, database, ports.

use std::{net::SocketAddr, path::Path};

use sluice_actors::ports::Clock as _;
use tokio::net::TcpListener;

use super::Finding;
use crate::{
    app::{Refused, database},
    artifacts::Objects,
    cli::{
        check,
        files::{Made, Readers},
        output,
    },
    clock::SystemClock,
    config::{ArtifactPlace, Config, Database, Input},
    error_code::ErrorCode,
};

/// Less room than this fills within hours of ordinary use.
const LITTLE_ROOM: u64 = 1 << 30;
/// Less room than this, and the store refuses soon.
const NO_ROOM: u64 = 100 << 20;

/// The configuration, if it is right, and what is to be said of it and its secrets.
pub(super) fn configuration(path: &Path) -> (Option<Config>, Vec<Finding>) {
    let resolved = Input::read(path).and_then(Input::resolve);
    match resolved {
        Ok(config) => {
            let mut findings = vec![Finding::ok("configuration", check::summary(&config))];
            let warnings = config.warnings.iter();
            findings.extend(warnings.map(|warning| Finding::warn("configuration", warning.to_string(), "")));
            let secrets: usize = config.tenants.values().flat_map(|t| t.sources.values()).map(|s| s.keys.len()).sum();
            findings.push(Finding::ok(
                "secrets",
                format!("all are there; {} for deliveries", output::count(secrets, "key")),
            ));
            (Some(config), findings)
        }
        Err(errors) => {
            let finding = |error: &crate::config::Error| {
                let check = if error.code == ErrorCode::Secret { "secrets" } else { "configuration" };
                Finding::bad(check, format!("{}: {error}", error.code), "")
            };
            (None, errors.0.iter().map(finding).collect())
        }
    }
}

/// Whether the data folder can be written, and how much room there is.
pub(super) fn data_folder(database: &Database) -> Vec<Finding> {
    const CHECK: &str = "data folder";
    let folder = database.data_dir();
    let shown = folder.display();
    if !folder.is_dir() {
        return vec![Finding::bad(
            CHECK,
            format!("{shown} is no folder"),
            "make it (mode 0700), or point `database.url` elsewhere",
        )];
    }
    // Dropped at once, and removed with it.
    let trial =
        Made::default().file(&folder.join(format!(".sluice-doctor.{}", std::process::id())), "", Readers::Owner);
    let written = match trial {
        Ok(()) => Finding::ok(CHECK, format!("{shown} can be written")),
        Err(Refused { message, .. }) => Finding::bad(CHECK, message, "give the folder to the user that runs `sluice`"),
    };
    let room = match rustix::fs::statvfs(folder) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let detail = format!("{} MiB are free", free >> 20);
            let cure = "make room: a store that cannot write answers 503";
            match free {
                ..NO_ROOM => Finding::bad("disk", detail, cure),
                NO_ROOM..LITTLE_ROOM => Finding::warn("disk", detail, cure),
                LITTLE_ROOM.. => Finding::ok("disk", detail),
            }
        }
        Err(error) => Finding::warn("disk", format!("its free room is not known: {error}"), ""),
    };
    vec![written, room]
}

/// The schema of the database, and who holds it.
pub(super) async fn database(database: &Database, gateway_runs: bool) -> Vec<Finding> {
    const CHECK: &str = "database";
    let shown = database::shown(database);
    let mut findings = vec![match database::inspect(database).await {
        Ok(found) if !found.exists => Finding::ok(CHECK, format!("{shown} is not there yet; `sluice serve` makes it")),
        Ok(found) if found.missing.is_empty() || found.found == 0 => {
            Finding::ok(CHECK, format!("{shown} has schema {}", found.newest))
        }
        Ok(found) => Finding::bad(
            CHECK,
            format!(
                "{}: {shown} has schema {}, this release needs {}",
                ErrorCode::StoreOlder,
                found.found,
                found.newest
            ),
            "stop sluice, back the database up and run `sluice migrate`",
        ),
        Err(error) => Finding::bad(CHECK, error.to_string(), ""),
    }];
    if !gateway_runs && database::is_held(database).await {
        let cure = match database {
            Database::Sqlite(_) => format!("`fuser {shown}.lock` names it"),
            Database::Postgres { .. } => {
                "`SELECT * FROM pg_stat_activity WHERE application_name LIKE 'sluice%'` names it".into()
            }
        };
        findings.push(Finding::bad(CHECK, format!("another process holds {shown}"), cure));
    }
    findings
}

/// Whether objects can be written, read, signed for and removed. A folder that is not there is not made.
pub(super) async fn artifacts(config: &Config) -> Finding {
    const CHECK: &str = "artifacts";
    if let ArtifactPlace::Folder(folder) = &config.artifacts.place
        && !folder.exists()
    {
        return Finding::ok(CHECK, format!("{} is made with the first of them", folder.display()));
    }
    let objects = Objects::new(&config.artifacts.place, String::new);
    match objects.probe(SystemClock.now()).await {
        Ok(()) => Finding::ok(CHECK, format!("{} takes, gives back and removes a probe", objects.host())),
        Err(error) => Finding::bad(
            CHECK,
            format!("{}: {error}", objects.host()),
            "look at `artifacts.store` and at docs/artifacts.md",
        ),
    }
}

/// Whether the addresses to listen on are free; for a gateway that does not run.
pub(super) async fn ports(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, address) in [("edge.listen", config.edge.listen), ("admin.listen", config.admin.listen)] {
        findings.push(port(key, address).await);
    }
    findings
}

async fn port(key: &str, address: SocketAddr) -> Finding {
    match TcpListener::bind(address).await {
        Ok(_) => Finding::ok("ports", format!("{key} {address} is free")),
        Err(error) => Finding::bad(
            "ports",
            format!("{key}: cannot listen on {address} ({error})"),
            "end the process that listens there (`ss -ltnp` names it), or choose another address",
        ),
    }
}
