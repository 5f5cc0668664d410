//! The write-ahead log on its way to the disk: beside the connection, so that the next batch is
//! written meanwhile.

use std::{fs::File, io, path::Path, sync::Arc};

use tokio::sync::watch;

use crate::ingest::writer::{Flush, WriteError};

/// Whether the disk failed to take something. The kernel tells a failed sync once and forgets it; what
/// it could not write may be missing in the middle of the log from then on, so that no later sync
/// proves anything, and a checkpoint could copy what is not there. Only a new process reads the log
/// anew, by its checksums.
#[derive(Clone)]
pub(in crate::store) struct Disk(Arc<watch::Sender<bool>>);

impl Disk {
    /// One that took everything so far.
    pub(in crate::store) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// From now on.
    pub(super) fn fail(&self) {
        self.0.send_replace(true);
    }

    /// Whether it failed.
    pub(in crate::store) fn failed(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it fails.
    pub(in crate::store) async fn failure(&self) {
        // It cannot close: the sender is in `self`.
        self.0.subscribe().wait_for(|failed| *failed).await.ok();
    }
}

/// The log of the database that is open. SQLite holds no lock on it, so that a descriptor of our own
/// may be closed; it is the same file until the last connection is.
pub(super) struct Log {
    file: Arc<File>,
    disk: Disk,
}

impl Log {
    /// Of the database at `database`, which has a connection.
    pub(super) fn open(database: &Path, disk: Disk) -> io::Result<Self> {
        let mut name = database.as_os_str().to_owned();
        name.push("-wal");
        Ok(Self { file: Arc::new(File::open(name)?), disk })
    }

    /// Syncs what was written up to now, and whatever follows until it runs.
    pub(super) fn flush(&self) -> Flush {
        let Self { file, disk } = self;
        let (file, disk) = (file.clone(), disk.clone());
        Box::new(move || {
            if disk.failed() {
                return Err(WriteError::Unknown("the disk did not take an earlier batch".into()));
            }
            file.sync_data().map_err(|error| {
                disk.fail();
                WriteError::Unknown(format!("the disk did not take the batch: {error}"))
            })
        })
    }

    /// Syncs it now.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Bytes.
    pub(super) fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |found| found.len())
    }

    /// Makes its syncs fail.
    #[cfg(test)]
    pub(super) fn fail_syncs(&mut self) {
        // A device that cannot be synced.
        self.file = Arc::new(File::open("/dev/null").expect("a device"));
    }
}
