//! `env:NAME`.

use std::{collections::BTreeMap, fmt};

use super::{Secret, SecretError};

/// The environment that variables are read from.
#[derive(Clone)]
pub enum Environment {
    /// That of the process.
    Process,
    /// A fixed one, for tests.
    Fixed(BTreeMap<String, String>),
}

impl Environment {
    /// A fixed environment.
    pub fn fixed<'v>(variables: impl IntoIterator<Item = (&'v str, &'v str)>) -> Self {
        Self::Fixed(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The variables whose name begins with `prefix`, in order of their names. A name or value that
    /// is not UTF-8 is left out.
    pub fn with_prefix(&self, prefix: &str) -> BTreeMap<String, String> {
        match self {
            Self::Process => std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
                .filter(|(name, _)| name.starts_with(prefix))
                .filter_map(|(name, value)| Some((name, value.into_string().ok()?)))
                .collect(),
            Self::Fixed(variables) => variables
                .iter()
                .filter(|(name, _)| name.starts_with(prefix))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "Process",
            Self::Fixed(_) => "Fixed(…)",
        })
    }
}

/// The value of the variable `name`, byte for byte.
pub(super) fn resolve(environment: &Environment, name: &str) -> Result<Secret, SecretError> {
    let value = match environment {
        Environment::Process => std::env::var_os(name).map(std::ffi::OsString::into_encoded_bytes),
        Environment::Fixed(variables) => variables.get(name).map(|value| value.clone().into_bytes()),
    };
    value.map(Secret::new).ok_or_else(|| SecretError::NotSet(name.to_owned()))
}
