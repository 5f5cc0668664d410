//! Secrets by reference: one file per provider, values that never show themselves.
//!
//! What is on this machine (`env:`, `file:`) is looked up at once. What a remote provider keeps is
//! read through the one trait [`remote::Provider`] into a [`Keep`], and resolved from there: a
//! configuration never waits for a provider that answered before.
//!
//! To add a remote provider: its word in [`reference::RemoteKind`], a file here that implements the
//! trait, one arm in `Providers::of`.

#[cfg(feature = "aws")]
mod aws;
mod env;
mod file;
mod fingerprint;
mod keep;
mod previous;
mod providers;
pub mod reference;
pub mod remote;
mod rewrite;
pub mod vault;

use std::{fmt, path::PathBuf};

use zeroize::Zeroizing;

pub use env::Environment;
pub use fingerprint::{Fingerprint, digits};
pub use keep::{Keep, Refreshed, Staleness};
pub use previous::{Head, InvalidPrevious, Previous};
pub use providers::Providers;
pub use reference::{InvalidReference, Reference};

use remote::RemoteError;

/// A secret value: zeroed when dropped, without `Display` or `Serialize`; `Debug` hides it.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes as they are.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The value. The name is loud on purpose: grep for it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The value as text; `None` if it is not UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a reference leads to no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    NotSet(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file, with its folder.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// There, but empty: an empty key verifies what anybody signs.
    #[error("is empty")]
    Empty,
    /// Larger than any secret: most likely the wrong file.
    #[error("is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// A folder where a file was expected.
    #[error("{0} is a folder")]
    Folder(PathBuf),
    /// What the provider said.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

impl SecretError {
    /// What the operator does about it.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::NotSet(_) => "set it for the process that runs `sluice`, or refer to a file with `file:PATH`",
            Self::Unreadable { .. } => {
                "create the file readable for the user that runs `sluice` (mode 0600), or correct the path; relative paths start at the configuration's folder"
            }
            Self::Empty => "put the secret there: an empty secret would let anybody sign",
            Self::TooLarge { .. } => "refer to a file that holds only the secret",
            Self::Folder(_) => "name the file in it: `file:FOLDER#NAME`",
            Self::Remote(error) => error.cure(),
        }
    }
}

/// All providers, with what they need.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// The folder that relative paths start at.
    pub dir: PathBuf,
    /// The environment.
    pub environment: Environment,
    /// What remote providers said.
    pub keep: Keep,
}

impl Secrets {
    /// Secrets of this machine, with nothing of remote providers.
    pub fn local(dir: PathBuf, environment: Environment) -> Self {
        Self { dir, environment, keep: Keep::default() }
    }

    /// The secret that `reference` leads to: at least one byte. Of a remote provider, the last good
    /// value; what was never read is [`RemoteError::NotRead`].
    pub fn resolve(&self, reference: &Reference) -> Result<Secret, SecretError> {
        let secret = match reference {
            Reference::Env(name) => env::resolve(&self.environment, name)?,
            Reference::File { .. } => file::resolve(&self.path(reference).unwrap_or_default())?,
            Reference::Remote(remote) => self.keep.value(remote)?,
        };
        if secret.expose().is_empty() { Err(SecretError::Empty) } else { Ok(secret) }
    }

    /// The file of a `file:` reference.
    pub fn path(&self, reference: &Reference) -> Option<PathBuf> {
        match reference {
            Reference::File { path, key: None } => Some(self.dir.join(path)),
            Reference::File { path, key: Some(key) } => Some(self.dir.join(path).join(key)),
            Reference::Env(_) | Reference::Remote(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::new(b"hunter2".to_vec())), "Secret(…)");
    }

    #[test]
    fn what_no_provider_was_asked_for_is_told_as_such() {
        let secrets = Secrets::local(PathBuf::new(), Environment::fixed([]));
        let error = secrets.resolve(&"vault:secret/data/a#b".parse().unwrap()).unwrap_err();
        assert!(matches!(error, SecretError::Remote(RemoteError::NotRead)), "{error}");
    }

    #[test]
    fn a_folder_is_read_by_its_keys() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("acme")).unwrap();
        std::fs::write(dir.path().join("acme/stripe"), "whsec_1\n").unwrap();
        let secrets = Secrets::local(dir.path().to_owned(), Environment::fixed([]));
        let resolve = |text: &str| secrets.resolve(&text.parse().unwrap());
        assert_eq!(resolve("file:acme#stripe").unwrap().expose(), b"whsec_1");
        assert!(matches!(resolve("file:acme"), Err(SecretError::Folder(_))));
        assert!(matches!(resolve("file:acme#shopify"), Err(SecretError::Unreadable { .. })));
    }
}
