//! A backup in the place of the database.
//!
//! The file at the database's path is at every moment the old one or the new one, whole; the old one
//! stays beside it.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};

use sluice_actors::domain::Timestamp;
use sqlx::Connection as _;
use tempfile::TempPath;

use super::{
    backup::{BackupError, Bytes, Contents, contents, folder_of, partial_beside, sync_folder},
    connection::Connection,
    log::{Disk, Log},
    open::{self, beside},
};
use crate::store::{OpenError, recovered::raise_fences, schema::Schema, session::Session};

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// What the database holds now.
    pub contents: Contents,
    /// Jobs that can still run; their fences were raised.
    pub raised: u64,
    /// Where the replaced file is; `None`: there was none.
    pub replaced: Option<PathBuf>,
}

/// Puts the backup `file` in the place of the database at `path`, after it was checked. The replaced
/// file stays beside it, named after the time `now`.
///
/// # Errors
/// A gateway serves the database, the backup is damaged or of another release, or there is no room.
pub async fn restore(file: &Path, path: &Path, now: Timestamp, tell: Bytes<'_>) -> Result<Restored, BackupError> {
    let backup = fs::canonicalize(file).map_err(|_| BackupError::Missing(file.to_owned()))?;
    // Where the path is a link, what it leads to is replaced: the log is beside that.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if backup == target {
        return Err(BackupError::Itself(file.to_owned()));
    }
    if fs::metadata(beside(&backup, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Err(BackupError::NoBackup(file.to_owned()));
    }
    let lock = open::lock(path)?;
    let fresh = copied(file, &target, tell)?;
    let (contents, raised) = checked(&fresh, file).await?;
    let failed = |source| BackupError::Write { path: target.clone(), source };
    if let Ok(old) = fs::metadata(&target) {
        same_owner(&fresh, &old).map_err(failed)?;
    }
    File::open(&fresh).and_then(|file| file.sync_all()).map_err(failed)?;
    let replaced = keep(&target, now).await?;
    fresh.persist(&target).map_err(|error| failed(error.error))?;
    sync_folder(&target).map_err(failed)?;
    drop(lock);
    Ok(Restored { contents, raised, replaced })
}

/// A copy of the backup, in the folder of the database.
fn copied(file: &Path, target: &Path, tell: Bytes<'_>) -> Result<TempPath, BackupError> {
    let failed = |source| BackupError::Write { path: folder_of(target).to_owned(), source };
    let mut from = File::open(file).map_err(|source| OpenError::File { path: file.to_owned(), source })?;
    let total = from.metadata().map_or(0, |found| found.len());
    let fresh = partial_beside(target)?;
    let mut to = fs::OpenOptions::new().write(true).open(&fresh).map_err(failed)?;
    let mut piece = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let read = from.read(&mut piece).map_err(|source| OpenError::File { path: file.to_owned(), source })?;
        if read == 0 {
            return Ok(fresh);
        }
        to.write_all(&piece[..read]).map_err(failed)?;
        done += read as u64;
        tell(done, total);
    }
}

/// Checks the copy of `file` and raises its fences.
async fn checked(fresh: &Path, file: &Path) -> Result<(Contents, u64), BackupError> {
    let named = |error| match error {
        OpenError::Sqlite { source, .. } => BackupError::Damaged { path: file.to_owned(), found: source.to_string() },
        other => other.into(),
    };
    let mut connection = open::connect(fresh).await.map_err(named)?;
    let contents = contents(fresh, file, &mut connection).await;
    let closed = connection.close().await.map_err(open::refused(file)).map_err(named);
    let contents = contents?;
    closed?;
    let raised = raise(fresh).await.map_err(named)?;
    // Only the file itself takes the place of the old one.
    if beside(fresh, "-wal").metadata().is_ok_and(|log| log.len() > 0) {
        let found = "its log could not be moved into it".into();
        return Err(BackupError::Damaged { path: file.to_owned(), found });
    }
    Ok((contents, raised))
}

/// Raises the fences in the database at `path`, which nobody else has open.
async fn raise(path: &Path) -> Result<u64, OpenError> {
    let mut connection = Connection::open(path)?;
    let raised = raise_fences(&mut Session::Sqlite(&mut connection)).await.map_err(open::refused(path))?;
    let unreadable = |source| OpenError::File { path: path.to_owned(), source };
    Log::open(path, Disk::new()).and_then(|log| log.sync()).map_err(unreadable)?;
    connection.close().map_err(open::refused(path))?;
    Ok(raised)
}

/// A gateway that runs as another user than whoever restores must be able to open the file.
fn same_owner(fresh: &Path, old: &fs::Metadata) -> io::Result<()> {
    let new = fs::metadata(fresh)?;
    if (new.uid(), new.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    chown(fresh, Some(old.uid()), Some(old.gid()))
}

/// Gives the file at `path` a second name and takes its log away, so that no log of it is left when
/// another file comes in its place. `None`: there is none.
async fn keep(path: &Path, now: Timestamp) -> Result<Option<PathBuf>, BackupError> {
    let failed = |source| BackupError::Write { path: path.to_owned(), source };
    let log = beside(path, "-wal");
    let name = beside(path, &format!(".replaced-{}", now.as_millis()));
    let exists = path.exists();
    if exists {
        let kept_log = beside(&name, "-wal");
        let has_log = || fs::metadata(&log).is_ok_and(|log| log.len() > 0);
        // First, for SQLite may take the log of a file away that it cannot read.
        let logged = has_log();
        if logged {
            fs::hard_link(&log, &kept_log).map_err(failed)?;
        }
        let folded = folded(path).await;
        if logged && !matches!(folded, Ok(false)) {
            fs::remove_file(&kept_log).map_err(failed)?;
        }
        if folded? && has_log() {
            return Err(BackupError::InUse(path.to_owned()));
        }
        fs::hard_link(path, &name).map_err(failed)?;
        sync_folder(path).map_err(failed)?;
    }
    for stale in [&log, &beside(path, "-shm")] {
        match fs::remove_file(stale) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    sync_folder(path).map_err(failed)?;
    Ok(exists.then_some(name))
}

/// Moves the log of the database at `path` into it. `false`: it is beyond that, and is kept as it is.
async fn folded(path: &Path) -> Result<bool, BackupError> {
    let Ok(mut connection) = open::connect(path).await else { return Ok(false) };
    let schema = open::schema_of(path, &mut connection).await;
    let closed = connection.close().await;
    match schema {
        Err(error @ OpenError::Foreign { .. }) => Err(error.into()),
        _ => Ok(closed.is_ok()),
    }
}

/// Tells the database at `path`, which was brought back by other means, that it was: raises its
/// fences. Returns how many jobs can still run.
///
/// # Errors
/// A gateway serves it, or it does not open.
pub async fn recovered(path: &Path) -> Result<u64, OpenError> {
    if !path.exists() {
        return Err(OpenError::File { path: path.to_owned(), source: io::ErrorKind::NotFound.into() });
    }
    let _lock = open::lock(path)?;
    let mut connection = open::connect(path).await?;
    let schema = open::schema_of(path, &mut connection).await;
    connection.close().await.map_err(open::refused(path))?;
    match schema? {
        Schema::Empty => Err(OpenError::Foreign { store: open::name(path) }),
        Schema::Current | Schema::Older(_) | Schema::Newer(_) => raise(path).await,
    }
}
