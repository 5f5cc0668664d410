//! Files that a command makes: all of them or none, secrets for their owner only.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{app::Refused, error_code::ErrorCode, ids};

/// The folder of secrets beside `sluice.toml`.
pub(super) const SECRETS: &str = "secrets";

/// Who may read what is made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Readers {
    /// Its owner.
    Owner,
    /// Everyone, as far as the process's umask lets them.
    All,
}

/// What a command made so far; it is removed again unless it is kept.
#[derive(Debug, Default)]
pub(super) struct Made {
    paths: Vec<PathBuf>,
}

impl Made {
    /// Makes a folder for its owner only, with what leads to it; one that is there stays as it is.
    pub(super) fn folder(&mut self, path: &Path) -> Result<(), Refused> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.folder(parent)?;
        }
        DirBuilder::new().mode(0o700).create(path).map_err(|error| not_writable(path, &error))?;
        self.paths.push(path.to_owned());
        Ok(())
    }

    /// Makes a file that must not be there yet.
    pub(super) fn file(&mut self, path: &Path, text: &str, readers: Readers) -> Result<(), Refused> {
        let mode = match readers {
            Readers::Owner => 0o600,
            Readers::All => 0o644,
        };
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        let mut file = opened.map_err(|error| not_writable(path, &error))?;
        self.paths.push(path.to_owned());
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|error| not_writable(path, &error))
    }

    /// Keeps all of it.
    pub(super) fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.paths.iter().rev() {
            // Best effort: a folder that someone else put something into stays.
            let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
    }
}

/// Puts `text` in the place of the file at `path`, whole or not at all; its mode stays.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), Refused> {
    // Where the file is a link, what it leads to is replaced, not the link.
    let path = &fs::canonicalize(path).map_err(|error| not_writable(path, &error))?;
    let mut fresh = Made::default();
    // No name of a tenant's file: a running gateway looks at those.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    fresh.file(&beside, text, Readers::All)?;
    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode());
    mode.and_then(|mode| fs::set_permissions(&beside, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|error| not_writable(path, &error))?;
    fresh.keep();
    Ok(())
}

/// Puts a secret into the file at `path`, whole or not at all, and on the disk. Owner and mode are
/// those of the file `like`; it may be the same.
pub(super) fn put_secret(path: &Path, secret: &[u8], like: &Path) -> Result<(), Refused> {
    let of = |error: io::Error| not_writable(path, &error);
    let as_it_is = fs::metadata(like).map_err(of)?;
    let mut fresh = Made::default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(of)?;
    fresh.paths.push(beside.clone());
    let now = file.metadata().map_err(of)?;
    if (now.uid(), now.gid()) != (as_it_is.uid(), as_it_is.gid()) {
        // Before the secret is in it. Who cannot give it away may not take it from its reader.
        fchown(&file, Some(as_it_is.uid()), Some(as_it_is.gid())).map_err(of)?;
    }
    file.set_permissions(fs::Permissions::from_mode(as_it_is.mode() & 0o777)).map_err(of)?;
    file.write_all(secret).and_then(|()| file.sync_all()).map_err(of)?;
    fs::rename(&beside, path).map_err(of)?;
    fresh.keep();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(of)
}

fn not_writable(path: &Path, error: &io::Error) -> Refused {
    let cure = match error.kind() {
        io::ErrorKind::AlreadyExists => "remove it, or choose another name",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "run this as the user that owns the folder, or choose another folder"
        }
        io::ErrorKind::NotADirectory => "a file is in the way; choose another folder",
        io::ErrorKind::StorageFull => "make room on the disk",
        _ => "choose another folder",
    };
    Refused::new(ErrorCode::NotWritable, format!("cannot write {}: {error}; {cure}", path.display()))
}

/// A fresh secret of 256 bits, in hexadecimal.
pub(super) fn hex_secret() -> Zeroizing<String> {
    Zeroizing::new(hex::encode(*Zeroizing::new(ids::secret_bytes())))
}

/// A fresh secret of 256 bits in the form of Standard Webhooks.
pub(super) fn whsec_secret() -> Zeroizing<String> {
    let bytes = Zeroizing::new(ids::secret_bytes());
    Zeroizing::new(format!("whsec_{}", STANDARD.encode(*bytes)))
}

/// How this program was called, for commands that are printed to be pasted.
pub(super) fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    if Path::new(&called).components().count() > 1 {
        // A relative path would no longer lead here from another folder.
        std::env::current_exe().map_or_else(|_| "sluice".to_owned(), |path| quoted(&path))
    } else {
        "sluice".to_owned()
    }
}

/// A path as a shell reads it.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_gone_again() {
        let dir = tempfile::tempdir().unwrap();
        let make = |made: &mut Made| {
            made.folder(&dir.path().join("a/b")).unwrap();
            made.file(&dir.path().join("a/b/secret"), "s", Readers::Owner).unwrap();
            assert!(made.file(&dir.path().join("a/b/secret"), "t", Readers::Owner).is_err());
        };
        let mut made = Made::default();
        make(&mut made);
        drop(made);
        assert!(!dir.path().join("a").exists());
        let mut made = Made::default();
        make(&mut made);
        made.keep();
        let kept = dir.path().join("a/b/secret");
        assert_eq!(fs::read_to_string(&kept).unwrap(), "s");
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme.toml");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let link = dir.path().join("link.toml");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(link.is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_path_is_quoted_where_a_shell_would_take_it_apart() {
        assert_eq!(quoted(Path::new("/etc/sluice-1/a.b")), "/etc/sluice-1/a.b");
        assert_eq!(quoted(Path::new("my gateway")), "'my gateway'");
        assert_eq!(quoted(Path::new("it's")), r"'it'\''s'");
    }
}
