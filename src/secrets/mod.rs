//! Secrets by reference: one file per provider, values that never show themselves.
//!
//! To add a provider: a variant of [`Reference`] with its form, a file here that looks it up, one
//! arm in [`Secrets::resolve`].

mod env;
mod file;

use std::{fmt, path::PathBuf, str::FromStr};

use zeroize::Zeroizing;

pub use env::Environment;

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

/// Where a secret is kept, as the configuration names it. Shows no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `env:NAME`: an environment variable.
    Env(String),
    /// `file:PATH`: a file; one line end at its end does not belong to the secret.
    File(PathBuf),
    /// `aws-sm:NAME[#key]`: AWS Secrets Manager.
    AwsSecretsManager(String),
    /// `vault:PATH#field`: `HashiCorp` Vault.
    Vault(String),
}

/// The text is not a reference. Does not carry the text: it may be the secret itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// No known provider before a colon.
    #[error("is a plain value where only a reference to a secret may stand")]
    Plain,
    /// A provider, but nothing after it.
    #[error("names no secret after the provider")]
    Empty,
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let (provider, rest) = text.split_once(':').ok_or(InvalidReference::Plain)?;
        let reference = match provider {
            "env" => Self::Env(rest.to_owned()),
            "file" => Self::File(rest.into()),
            "aws-sm" => Self::AwsSecretsManager(rest.to_owned()),
            "vault" => Self::Vault(rest.to_owned()),
            _ => return Err(InvalidReference::Plain),
        };
        if rest.trim().is_empty() { Err(InvalidReference::Empty) } else { Ok(reference) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::AwsSecretsManager(name) => write!(f, "aws-sm:{name}"),
            Self::Vault(path) => write!(f, "vault:{path}"),
        }
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
    /// A provider that this build does not have.
    #[error("the provider {0} is not in this build yet")]
    NoProvider(&'static str),
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
            Self::NoProvider(_) => "use `env:NAME` or `file:PATH` until it is",
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
}

impl Secrets {
    /// The secret that `reference` leads to: at least one byte.
    pub fn resolve(&self, reference: &Reference) -> Result<Secret, SecretError> {
        let secret = match reference {
            Reference::Env(name) => env::resolve(&self.environment, name)?,
            Reference::File(path) => file::resolve(&self.dir.join(path))?,
            Reference::AwsSecretsManager(_) => return Err(SecretError::NoProvider("aws-sm")),
            Reference::Vault(_) => return Err(SecretError::NoProvider("vault")),
        };
        if secret.expose().is_empty() { Err(SecretError::Empty) } else { Ok(secret) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_value_is_no_reference_and_is_not_repeated() {
        for plain in ["sk_live_4eC39H", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "https://example.com", ""] {
            let error = plain.parse::<Reference>().unwrap_err();
            assert_eq!(error, InvalidReference::Plain);
            assert!(plain.is_empty() || !error.to_string().contains(plain));
        }
        assert_eq!("env:".parse::<Reference>(), Err(InvalidReference::Empty));
    }

    #[test]
    fn a_reference_is_written_as_it_was_read() {
        for text in ["env:NAME", "file:a/b.pem", "aws-sm:prod/acme#key", "vault:secret/data/acme#stripe"] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::new(b"hunter2".to_vec())), "Secret(…)");
    }

    #[test]
    fn a_provider_that_is_not_built_in_says_so() {
        let secrets = Secrets { dir: PathBuf::new(), environment: Environment::fixed([]) };
        let error = secrets.resolve(&"vault:a#b".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "the provider vault is not in this build yet");
    }
}
