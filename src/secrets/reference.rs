//! How the configuration names a secret.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where a secret is kept, as the configuration names it. Shows no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `env:NAME`: an environment variable.
    Env(String),
    /// `file:PATH` or `file:FOLDER#NAME`: a file; one line end at its end does not belong to the secret.
    File {
        /// The file or folder.
        path: PathBuf,
        /// The file in the folder.
        key: Option<String>,
    },
    /// What a remote provider keeps.
    Remote(RemoteReference),
}

/// A remote provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RemoteKind {
    /// AWS Secrets Manager.
    AwsSecretsManager,
    /// `HashiCorp` Vault or `OpenBao`, KV version 2.
    Vault,
}

impl RemoteKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::AwsSecretsManager, Self::Vault];

    /// Its word in references and in labels of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwsSecretsManager => "aws-sm",
            Self::Vault => "vault",
        }
    }
}

/// Which version of what a provider keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The one in force.
    Current,
    /// The one in force before: `?version=previous`.
    Previous,
    /// This one: a number of Vault, a stage (`AWSPENDING`) or version id of AWS.
    Named(String),
}

/// What one question to a provider answers; several references may be fields of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Who keeps it.
    pub kind: RemoteKind,
    /// Its name (AWS) or path of the API (`secret/data/acme`).
    pub name: String,
    /// Which version.
    pub version: Version,
}

/// `aws-sm:NAME[?version=V][#key]` or `vault:PATH[?version=V]#field`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteReference {
    /// What is asked for.
    pub location: Location,
    /// The key of the JSON object there; none: all of it.
    pub field: Option<String>,
}

impl RemoteReference {
    /// The same of the version before, where this one names none.
    #[must_use]
    pub fn previous(&self) -> Option<Self> {
        (self.location.version == Version::Current).then(|| {
            let location = Location { version: Version::Previous, ..self.location.clone() };
            Self { location, field: self.field.clone() }
        })
    }
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
    /// A key of a folder with a path in it.
    #[error("names no file of the folder after `#`")]
    Key,
    /// Something else than `version=` after `?`.
    #[error("has something else than `version=…` after `?`")]
    Version,
    /// A path of Vault that is none of KV version 2.
    #[error("is no path of Vault's KV version 2")]
    VaultPath,
}

impl InvalidReference {
    /// What the operator does about it.
    pub fn cure(self) -> &'static str {
        match self {
            Self::Plain | Self::Empty => {
                "put the value into a file that only the gateway may read and write \"file:PATH\", or into the environment and write \"env:NAME\""
            }
            Self::Key => "write \"file:FOLDER#NAME\"",
            Self::Version => "write such as \"vault:secret/data/acme?version=3#stripe\", or leave it out",
            Self::VaultPath => "write the mount, `data`, the path and the field: \"vault:secret/data/acme#stripe\"",
        }
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let (provider, rest) = text.split_once(':').ok_or(InvalidReference::Plain)?;
        let kind = RemoteKind::ALL.into_iter().find(|kind| kind.as_str() == provider);
        if kind.is_none() && provider != "env" && provider != "file" {
            return Err(InvalidReference::Plain);
        }
        if rest.trim().is_empty() {
            return Err(InvalidReference::Empty);
        }
        match (kind, provider) {
            (Some(kind), _) => Ok(Self::Remote(remote(kind, rest)?)),
            (None, "env") => Ok(Self::Env(rest.to_owned())),
            (None, _) => file(rest),
        }
    }
}

fn file(rest: &str) -> Result<Reference, InvalidReference> {
    let Some((path, key)) = rest.split_once('#') else {
        return Ok(Reference::File { path: rest.into(), key: None });
    };
    if path.is_empty() || key.is_empty() || key.starts_with('.') || key.contains(['/', '#', '\\']) {
        return Err(InvalidReference::Key);
    }
    Ok(Reference::File { path: path.into(), key: Some(key.to_owned()) })
}

fn remote(kind: RemoteKind, rest: &str) -> Result<RemoteReference, InvalidReference> {
    let (rest, field) = match rest.split_once('#') {
        Some((_, "")) => return Err(InvalidReference::Empty),
        Some((rest, field)) => (rest, Some(field.to_owned())),
        None => (rest, None),
    };
    let (name, version) = match rest.split_once('?') {
        None => (rest, Version::Current),
        Some((name, query)) => match query.strip_prefix("version=") {
            None | Some("") => return Err(InvalidReference::Version),
            Some("previous") => (name, Version::Previous),
            Some(version) => (name, Version::Named(version.to_owned())),
        },
    };
    if name.is_empty() {
        return Err(InvalidReference::Empty);
    }
    if kind == RemoteKind::Vault {
        let parts: Vec<&str> = name.split('/').collect();
        let data = parts.iter().position(|part| *part == "data").unwrap_or(0);
        // An escape or a backslash could be read as a way out of the mount.
        let is_odd = |c: char| c.is_whitespace() || matches!(c, '%' | '\\');
        let odd = |part: &&str| part.is_empty() || part.starts_with('.') || part.contains(is_odd);
        if data == 0 || data + 1 == parts.len() || parts.iter().any(odd) || field.is_none() {
            return Err(InvalidReference::VaultPath);
        }
        if matches!(&version, Version::Named(number) if number.parse::<u32>().is_err()) {
            return Err(InvalidReference::Version);
        }
    }
    Ok(RemoteReference { location: Location { kind, name: name.to_owned(), version }, field })
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File { path, key: None } => write!(f, "file:{}", path.display()),
            Self::File { path, key: Some(key) } => write!(f, "file:{}#{key}", path.display()),
            Self::Remote(remote) => remote.fmt(f),
        }
    }
}

impl fmt::Display for RemoteReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { kind, name, version } = &self.location;
        write!(f, "{}:{name}", kind.as_str())?;
        match version {
            Version::Current => {}
            Version::Previous => f.write_str("?version=previous")?,
            Version::Named(version) => write!(f, "?version={version}")?,
        }
        match &self.field {
            Some(field) => write!(f, "#{field}"),
            None => Ok(()),
        }
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
        for text in [
            "env:NAME",
            "file:a/b.pem",
            "file:/etc/sluice/acme#stripe",
            "aws-sm:prod/acme",
            "aws-sm:prod/acme#key",
            "aws-sm:prod/acme?version=AWSPREVIOUS#key",
            "aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/acme-AbCdEf#key",
            "vault:secret/data/acme#stripe",
            "vault:teams/web/data/acme/stripe?version=3#key",
            "vault:secret/data/acme?version=previous#stripe",
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_leads_nowhere_is_refused_before_anybody_is_asked() {
        for (text, error) in [
            ("file:a#", InvalidReference::Key),
            ("file:#a", InvalidReference::Key),
            ("file:a#../b", InvalidReference::Key),
            ("file:a#..data", InvalidReference::Key),
            ("aws-sm:a#", InvalidReference::Empty),
            ("aws-sm:?version=1", InvalidReference::Empty),
            ("aws-sm:a?stage=b", InvalidReference::Version),
            ("aws-sm:a?version=", InvalidReference::Version),
            ("vault:secret/acme#stripe", InvalidReference::VaultPath),
            ("vault:secret/data/acme", InvalidReference::VaultPath),
            ("vault:secret/data/#a", InvalidReference::VaultPath),
            ("vault:secret/data/../sys/raw#a", InvalidReference::VaultPath),
            ("vault:secret/data/%2e%2e/%2e./sys/raw#a", InvalidReference::VaultPath),
            ("vault:secret/data/a\\..\\sys#a", InvalidReference::VaultPath),
            ("vault:data/acme#a", InvalidReference::VaultPath),
            ("vault:secret/data/acme?version=new#a", InvalidReference::Version),
        ] {
            assert_eq!(text.parse::<Reference>(), Err(error), "{text}");
        }
    }
}
