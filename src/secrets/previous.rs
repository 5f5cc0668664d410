//! What a file held before `sluice secret rotate`: kept in a file beside it, which says for how long
//! it is still good. The end travels with the value: copying, touching or restoring files does not
//! open a window again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sluice_actors::domain::Timestamp;
use zeroize::Zeroizing;

use super::{Reference, Secret, SecretError, file};

/// What is added to a file's name.
const SUFFIX: &str = ".previous";

/// The secret before the one that a file holds.
#[derive(Debug, Clone)]
pub struct Previous {
    /// Its window and history.
    pub head: Head,
    /// The secret.
    pub value: Secret,
}

/// The first line of the file: one JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// When the file's present value took its place.
    pub rotated_at: Timestamp,
    /// When it stops being good.
    pub not_after: Timestamp,
    /// When it took its own place, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Of a key that signs: until when it signs, while the new one is only published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signs_until: Option<Timestamp>,
}

/// Why the file beside a secret is not used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPrevious {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(SecretError),
    /// Its first line is not such a head, or nothing follows it.
    #[error("is not what `sluice secret rotate` writes")]
    Form,
}

impl Previous {
    /// Where what was in the file at `path` is kept.
    pub fn path(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(SUFFIX);
        name.into()
    }

    /// Of the file at `path`, which need not have any.
    ///
    /// # Errors
    /// There is a file, and it is not one that can be used.
    pub fn of(path: &Path) -> Result<Option<Self>, InvalidPrevious> {
        let content = match file::resolve(&Self::path(path)) {
            Err(SecretError::Unreadable { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            content => content.map_err(InvalidPrevious::Unreadable)?,
        };
        let bytes = content.expose();
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(InvalidPrevious::Form)?;
        // What serde says could repeat a value.
        let head = serde_json::from_slice(&bytes[..end]).map_err(|_| InvalidPrevious::Form)?;
        let value = Secret::new(bytes[end + 1..].to_vec());
        if value.expose().is_empty() { Err(InvalidPrevious::Form) } else { Ok(Some(Self { head, value })) }
    }

    /// The file's content.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let head = serde_json::to_vec(&self.head).expect("times are texts");
        let mut bytes = Zeroizing::new(Vec::with_capacity(head.len() + self.value.expose().len() + 2));
        bytes.extend_from_slice(&head);
        bytes.push(b'\n');
        bytes.extend_from_slice(self.value.expose());
        bytes.push(b'\n');
        bytes
    }
}

impl Reference {
    /// How what is kept beside a file is called; none for what is no file.
    #[must_use]
    pub fn beside(&self) -> Option<Self> {
        match self {
            Self::File { path, key: None } => Some(Self::File { path: Previous::path(path), key: None }),
            Self::File { path, key: Some(key) } => {
                Some(Self::File { path: path.clone(), key: Some(format!("{key}{SUFFIX}")) })
            }
            Self::Env(_) | Self::Remote(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_beside_a_file_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme.pem");
        assert!(Previous::of(&path).unwrap().is_none());
        let at = Timestamp::from_secs;
        for value in ["s", "two\nlines\n", "{\"not_after\":1}", " "] {
            let head = Head {
                rotated_at: at(1),
                not_after: at(2),
                since: Some(at(0)),
                signs_until: (value == "s").then(|| at(3)),
            };
            let previous = Previous { head, value: Secret::new(value.into()) };
            std::fs::write(Previous::path(&path), &*previous.to_bytes()).unwrap();
            let read = Previous::of(&path).unwrap().unwrap();
            assert_eq!((read.head, read.value.expose()), (head, value.as_bytes()));
        }
    }

    #[test]
    fn another_file_of_that_name_is_not_taken_for_a_secret_and_not_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme");
        let head = r#"{"rotated_at":"2026-12-01T00:00:00Z","not_after":"2026-12-02T00:00:00Z"}"#;
        for content in [
            "hunter2",
            "hunter2\nhunter3",
            "{}\nhunter2",
            head,
            &format!("{head}\n"),
            &format!("{head}\n\n"),
            "\u{0}\n",
        ] {
            std::fs::write(Previous::path(&path), content).unwrap();
            let error = Previous::of(&path).unwrap_err();
            assert!(matches!(error, InvalidPrevious::Form), "{content}: {error}");
            assert!(!error.to_string().contains("hunter"));
        }
        std::fs::write(Previous::path(&path), "").unwrap();
        assert!(Previous::of(&path).is_err());
    }

    #[test]
    fn it_is_called_after_its_file() {
        for (of, is) in [("file:a/b.pem", "file:a/b.pem.previous"), ("file:mount#key", "file:mount#key.previous")] {
            let beside = of.parse::<Reference>().unwrap().beside().unwrap();
            assert_eq!(beside.to_string(), is);
            assert_eq!(is.parse::<Reference>().unwrap(), beside);
        }
        assert_eq!("env:A".parse::<Reference>().unwrap().beside(), None);
    }
}
