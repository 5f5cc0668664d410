//! A configuration folder with a database in it.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rcgen::{KeyPair, PKCS_ED25519};
use tempfile::TempDir;

use super::postgres::root;

/// A folder with `sluice.toml` and `tenants/`; listeners on free ports, loopback callees allowed.
pub(crate) struct Folder {
    dir: TempDir,
}

/// What every test's gateway has in common.
const MAIN: &str = r#"
[edge]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[outbound]
allow_private = ["127.0.0.0/8"]
[telemetry]
format = "json"
filter = "info,sluice=debug"
"#;

impl Folder {
    /// A folder without tenants; in memory, so that no other program's writes make its store wait.
    pub(crate) fn new() -> Self {
        Self::of(tempfile::tempdir_in(root()))
    }

    /// The same on a disk, for what is about disks.
    pub(crate) fn on_disk() -> Self {
        Self::of(tempfile::tempdir())
    }

    fn of(dir: std::io::Result<TempDir>) -> Self {
        let folder = Self { dir: dir.expect("a folder for the test") };
        fs::create_dir(folder.path().join("tenants")).expect("the folder of tenants");
        folder.main("");
        folder
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The main file.
    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("sluice.toml")
    }

    /// Writes the main file: what all tests have in common and `more`.
    pub(crate) fn main(&self, more: &str) {
        fs::write(self.config(), format!("{MAIN}{more}")).expect("the main file");
    }

    /// Writes a tenant's file.
    pub(crate) fn tenant(&self, name: &str, text: &str) {
        fs::write(self.path().join(format!("tenants/{name}.toml")), text).expect("a tenant's file");
    }

    /// Writes a secret and returns the reference to it.
    pub(crate) fn secret(&self, name: &str, value: &str) -> String {
        let path = self.path().join(name);
        let _ = fs::remove_file(&path);
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path).expect("a secret's file");
        std::io::Write::write_all(&mut file, value.as_bytes()).expect("a secret's value");
        format!("file:{name}")
    }

    /// Makes an Ed25519 key; returns the reference to it and the public key in PEM.
    pub(crate) fn signing_key(&self, name: &str) -> (String, String) {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("an Ed25519 key");
        (self.secret(name, &pair.serialize_pem()), pair.public_key_pem())
    }

    /// A folder with the same configuration, for another node.
    pub(crate) fn twin(&self) -> Self {
        let twin = Self::new();
        for below in ["", "tenants"] {
            for entry in fs::read_dir(self.path().join(below)).expect("the folder") {
                let path = entry.expect("an entry").path();
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                if path.is_file() && !["node", "runtime.json"].contains(&&*name) {
                    fs::copy(&path, twin.path().join(below).join(name)).expect("a copy");
                }
            }
        }
        twin
    }

    /// Every byte of every file below the folder (the database and its journal included), but not
    /// the configuration and its secrets.
    pub(crate) fn stored_bytes(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fs::read_dir(self.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sluice.db")))
            .map(|path| (path.clone(), fs::read(&path).expect("a stored file")))
            .collect()
    }
}
