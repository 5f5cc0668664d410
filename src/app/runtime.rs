//! `runtime.json` in the data folder: how the commands find a running gateway. Readable by its
//! owner only, since it holds the token of the API; gone when the process ends in order.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::http_client::Pin;

/// The file's name.
pub const FILE: &str = "runtime.json";

/// What the file tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Runtime {
    /// The process.
    pub pid: u32,
    /// What the API asks for.
    pub token: String,
    /// The API's origin.
    pub admin: String,
    /// The certificate that it shows, where it speaks TLS: commands on this machine trust it, whatever its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_certificate: Option<Pin>,
    /// The public listener's origin.
    pub public: String,
}

/// The written file; dropping it removes it.
#[derive(Debug)]
pub struct Written {
    path: PathBuf,
    runtime: Mutex<Runtime>,
}

impl Written {
    /// The API shows another certificate from now on.
    ///
    /// # Errors
    /// The file cannot be written anew.
    pub fn shows(&self, certificate: Option<Pin>) -> io::Result<()> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if runtime.admin_certificate == certificate {
            return Ok(());
        }
        let fresh = Runtime { admin_certificate: certificate, ..runtime.clone() };
        fresh.put(&self.path)?;
        *runtime = fresh;
        Ok(())
    }
}

impl Runtime {
    /// Writes the file into `folder`, over that of an earlier life.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(self, folder: &Path) -> io::Result<Written> {
        let path = folder.join(FILE);
        self.put(&path)?;
        Ok(Written { path, runtime: Mutex::new(self) })
    }

    fn put(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_file_name(format!("{FILE}.{}", self.pid));
        // `create_new` after a removal: never a file that another user made and can read.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    }

    /// Reads the file of `folder`.
    ///
    /// # Errors
    /// It is not there (nothing runs) or not of its form.
    pub fn read(folder: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(folder.join(FILE))?)?)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let pid = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).pid;
        let ours = self.path.parent().and_then(|folder| Runtime::read(folder).ok()).is_some_and(|r| r.pid == pid);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the runtime file");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn runtime(pid: u32) -> Runtime {
        let admin = "http://127.0.0.1:1".to_owned();
        Runtime { pid, token: "t".to_owned(), admin, admin_certificate: None, public: String::new() }
    }

    #[test]
    fn only_the_owner_can_read_the_file_and_it_goes_with_the_process() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "left by an earlier life, readable by all").unwrap();
        let written = runtime(7).write(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Runtime::read(folder.path()).unwrap().token, "t");
        drop(written);
        assert!(!path.exists());
    }

    #[test]
    fn another_certificate_is_told_to_who_reads_next() {
        let folder = tempfile::tempdir().unwrap();
        let written = runtime(7).write(folder.path()).unwrap();
        let pin = Pin::of(&b"a certificate".as_slice().into());
        written.shows(Some(pin.clone())).unwrap();
        assert_eq!(Runtime::read(folder.path()).unwrap().admin_certificate, Some(pin));
        written.shows(None).unwrap();
        assert_eq!(Runtime::read(folder.path()).unwrap().admin_certificate, None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn the_file_of_another_life_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let old = runtime(7).write(folder.path()).unwrap();
        let _new = runtime(8).write(folder.path()).unwrap();
        drop(old);
        assert_eq!(Runtime::read(folder.path()).unwrap().pid, 8);
    }
}
