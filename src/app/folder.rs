//! The data folder, which one process has at a time. Its name tells the other nodes that a new
//! process of it took the place of one that is dead.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::{app::Refused, error_code::ErrorCode, ids};

/// The file that carries the name and the lock.
const FILE: &str = "node";

/// A folder that this process has until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    /// Its name, which it keeps.
    pub(super) name: String,
    _lock: File,
}

/// Takes the folder; gives it a name if it has none.
pub(super) fn hold(folder: &Path) -> Result<Held, Refused> {
    let path = folder.join(FILE);
    let failed = |error: io::Error| {
        Refused::new(ErrorCode::NotWritable, format!("database.url: cannot write {}: {error}", path.display()))
    };
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let message = format!("another sluice runs from {}; each node needs a folder of its own", folder.display());
            return Err(Refused::new(ErrorCode::StoreHeld, message));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let mut name = String::new();
    file.read_to_string(&mut name).map_err(failed)?;
    let is_name = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_name {
        name = hex::encode(ids::nonce());
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        file.write_all(name.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    Ok(Held { name, _lock: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_name_and_is_one_processs_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = hold(folder.path()).unwrap();
        assert_eq!(hold(folder.path()).unwrap_err().code, ErrorCode::StoreHeld);
        let name = held.name.clone();
        drop(held);
        assert_eq!(hold(folder.path()).unwrap().name, name);
        assert_eq!(name.len(), 32);
    }

    #[test]
    fn a_name_that_was_cut_short_is_given_anew() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "abc").unwrap();
        assert_eq!(hold(folder.path()).unwrap().name.len(), 32);
    }
}
