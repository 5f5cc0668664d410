//! What is wrong or odd in a configuration, in a line that names the place, the key, the reason and
//! the cure.

use std::{fmt, path::PathBuf, sync::Arc};

use crate::error_code::ErrorCode;

/// Where a value was written. Places of one file are in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file, at a line (from 1; 0 where the whole file is meant).
    File(Arc<PathBuf>, usize),
    /// In an environment variable that overrides a file.
    Env(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, 0) => write!(f, "{}", path.display()),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// What is wrong with one value and what to do about it. Never carries a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: ErrorCode,
    pub(super) reason: String,
    pub(super) cure: String,
}

impl Problem {
    pub(super) fn new(reason: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { code: ErrorCode::Configuration, reason: reason.into(), cure: cure.into() }
    }

    /// A problem with what a reference leads to.
    pub(super) fn secret(reason: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { code: ErrorCode::Secret, ..Self::new(reason, cure) }
    }
}

/// One thing that is wrong (in [`Errors`]) or odd (in the configuration's warnings). Its text is one
/// line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The page of `docs/errors/` that says more.
    pub code: ErrorCode,
    /// Where.
    pub place: Place,
    /// The full key (`sources.payments.limits.pending`); empty where the whole file is meant.
    pub key: String,
    /// What is wrong.
    pub reason: String,
    /// What to do; empty where the reason says it.
    pub cure: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)?;
        if !self.cure.is_empty() {
            write!(f, "; {}", self.cure)?;
        }
        Ok(())
    }
}

/// All that is wrong with a configuration, in the order of files and lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

impl Errors {
    pub(super) fn new(mut errors: Vec<Error>) -> Self {
        errors.sort_by(|a, b| a.place.cmp(&b.place));
        Self(errors)
    }
}

/// The nearest of `known`, if it is near enough to be what was meant.
pub(super) fn nearest<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&text.to_lowercase(), candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean …?` for the nearest of `known`, else all of them.
pub(super) fn suggest<'k>(text: &str, known: impl IntoIterator<Item = &'k str> + Clone) -> String {
    match nearest(text, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}
