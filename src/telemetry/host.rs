//! What the process stands on: its disk, the files and connections of its store, its certificates.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sluice_actors::domain::Timestamp;

use super::metrics::{Metrics, NONE};

/// Connections that read from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Connections in use.
    pub in_use: usize,
    /// Connections that wait for use.
    pub idle: usize,
    /// Connections there may be.
    pub max: usize,
}

/// What is looked at.
pub struct Host {
    /// The data folder.
    pub folder: PathBuf,
    /// The file of the database, where it is one.
    pub database: Option<PathBuf>,
    /// Asks the store for its connections.
    pub connections: Box<dyn Fn() -> Connections + Send + Sync>,
}

impl Host {
    /// Looks again. Blocks on the disk.
    pub fn refresh(&self, metrics: &Metrics) {
        if let Ok(disk) = rustix::fs::statvfs(&self.folder) {
            let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(disk.f_frsize)).unwrap_or(i64::MAX);
            metrics.data_disk_free_bytes.with_label_values(NONE).set(bytes(disk.f_bavail));
            metrics.data_disk_size_bytes.with_label_values(NONE).set(bytes(disk.f_blocks));
        }
        if let Some(database) = &self.database {
            let mut log = database.clone().into_os_string();
            log.push("-wal");
            for (name, path) in [("database", &**database), ("wal", Path::new(&log))] {
                metrics.db_file_bytes.with_label_values(&[name]).set(size(path));
            }
        }
        let Connections { in_use, idle, max } = (self.connections)();
        metrics.db_pool_connections.with_label_values(&["in_use"]).set(in_use as i64);
        metrics.db_pool_connections.with_label_values(&["idle"]).set(idle as i64);
        metrics.db_pool_max_connections.with_label_values(NONE).set(max as i64);
    }
}

/// A file that is not there has no bytes.
fn size(path: &Path) -> i64 {
    fs::metadata(path).map_or(0, |file| file.len() as i64)
}

/// A listener ends TLS with a certificate that is good until `not_after`.
pub fn certificate(metrics: &Metrics, listener: &str, not_after: Timestamp) {
    let seconds = not_after.as_millis() as f64 / 1000.0;
    metrics.tls_cert_not_after_timestamp_seconds.with_label_values(&[listener]).set(seconds);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_files_and_connections_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("sluice.db");
        fs::write(&database, [0; 4096]).unwrap();
        fs::write(folder.path().join("sluice.db-wal"), [0; 77]).unwrap();
        let connections = Box::new(|| Connections { in_use: 3, idle: 1, max: 8 });
        let host = Host { folder: folder.path().into(), database: Some(database), connections };
        let metrics = Metrics::new();
        host.refresh(&metrics);
        let text = metrics.render();
        for line in [
            r#"sluice_db_file_bytes{file="database"} 4096"#,
            r#"sluice_db_file_bytes{file="wal"} 77"#,
            r#"sluice_db_pool_connections{state="in_use"} 3"#,
            r#"sluice_db_pool_connections{state="idle"} 1"#,
            "sluice_db_pool_max_connections 8",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let bytes = |gauge: &prometheus::IntGaugeVec| gauge.with_label_values(NONE).get();
        let (free, all) = (bytes(&metrics.data_disk_free_bytes), bytes(&metrics.data_disk_size_bytes));
        assert!(0 < free && free <= all, "{free} of {all}");
    }
}
