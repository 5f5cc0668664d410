//! Codes of the errors that an operator meets; each has a page in `docs/errors/`.

use std::fmt;

/// A code, its exit status and its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A key or value of the configuration does not fit.
    Configuration,
    /// A secret that the configuration refers to cannot be read.
    Secret,
    /// An address to listen on is taken.
    PortInUse,
    /// The data folder or a file in it cannot be written.
    NotWritable,
    /// The database is from an older version.
    StoreOlder,
    /// The database is from a newer version.
    StoreNewer,
    /// Another process holds the database.
    StoreHeld,
    /// The bundled `SQLite` can lose committed writes.
    SqliteVersion,
    /// The command needs a running gateway and finds none.
    NotRunning,
    /// The running gateway ended itself: its tree of actors was beyond repair.
    TreeBroken,
    /// The Postgres server cannot be reached.
    StoreUnreachable,
    /// The Postgres server would lose acknowledged deliveries, or does not fit.
    StoreUnsafe,
    /// A copy of the database was not made, or not finished.
    Copy,
    /// A backup was not made, or not restored.
    Backup,
    /// The disk under SQLite did not take what was written.
    DiskFailed,
    /// What is sealed in the database cannot be opened by the keys that the configuration names.
    Encryption,
    /// A secret cannot be rotated, or not now.
    Rotation,
}

impl ErrorCode {
    /// All codes.
    pub const ALL: [Self; 17] = [
        Self::Configuration,
        Self::Secret,
        Self::PortInUse,
        Self::NotWritable,
        Self::StoreOlder,
        Self::StoreNewer,
        Self::StoreHeld,
        Self::SqliteVersion,
        Self::NotRunning,
        Self::TreeBroken,
        Self::StoreUnreachable,
        Self::StoreUnsafe,
        Self::Copy,
        Self::Backup,
        Self::DiskFailed,
        Self::Encryption,
        Self::Rotation,
    ];

    /// The code as printed: `SLU01`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "SLU01",
            Self::Secret => "SLU02",
            Self::PortInUse => "SLU03",
            Self::NotWritable => "SLU04",
            Self::StoreOlder => "SLU05",
            Self::StoreNewer => "SLU06",
            Self::StoreHeld => "SLU07",
            Self::SqliteVersion => "SLU08",
            Self::NotRunning => "SLU09",
            Self::TreeBroken => "SLU10",
            Self::StoreUnreachable => "SLU11",
            Self::StoreUnsafe => "SLU12",
            Self::Copy => "SLU13",
            Self::Backup => "SLU14",
            Self::DiskFailed => "SLU15",
            Self::Encryption => "SLU16",
            Self::Rotation => "SLU17",
        }
    }

    /// The exit status of a command that ends with it: 78 (`EX_CONFIG` of `sysexits.h`) for a
    /// configuration that must be mended first, 1 otherwise.
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Configuration | Self::Secret | Self::Encryption => 78,
            Self::PortInUse
            | Self::NotWritable
            | Self::StoreOlder
            | Self::StoreNewer
            | Self::StoreHeld
            | Self::SqliteVersion
            | Self::NotRunning
            | Self::TreeBroken
            | Self::StoreUnreachable
            | Self::StoreUnsafe
            | Self::Copy
            | Self::Backup
            | Self::DiskFailed
            | Self::Rotation => 1,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::ErrorCode;

    #[test]
    fn every_code_has_a_page_that_the_index_names() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors");
        let index = std::fs::read_to_string(folder.join("README.md")).expect("the index");
        for code in ErrorCode::ALL {
            assert!(folder.join(format!("{code}.md")).exists(), "{code} has no page");
            assert!(index.contains(&format!("({code}.md)")), "{code} is not in the index");
        }
    }
}
