//! A vendor's own keys of a source's table, read so that every mistake names its key.

use super::InvalidOption;

/// A table whose keys are taken one by one; what is left at the end is an error.
#[derive(Debug)]
pub(super) struct Options {
    path: String,
    table: toml::Table,
}

impl Options {
    /// The vendor's keys themselves.
    pub(super) fn new(table: &toml::Table) -> Self {
        Self { path: String::new(), table: table.clone() }
    }

    /// A key's full name.
    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Says that a key does not fit.
    pub(super) fn invalid(&self, key: &str, reason: impl Into<String>) -> InvalidOption {
        InvalidOption { key: self.name(key), reason: reason.into() }
    }

    /// A text.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, InvalidOption> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(key, "must be a text")),
        }
    }

    /// A text that has to be there.
    pub(super) fn needed(&mut self, key: &str, expected: &str) -> Result<String, InvalidOption> {
        self.text(key)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.invalid(key, format!("is missing: {expected}")))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, InvalidOption> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(Some(*value));
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        Err(self.invalid(key, format!("`{text}` is not one of {}", known.join(", "))))
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<String>, InvalidOption> {
        let Some(value) = self.table.remove(key) else { return Ok(Vec::new()) };
        let texts =
            value.as_array().and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        texts.ok_or_else(|| self.invalid(key, "must be a list of texts"))
    }

    /// A table within this one.
    pub(super) fn table(&mut self, key: &str) -> Result<Option<Self>, InvalidOption> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(toml::Value::Table(table)) => Ok(Some(Self { path: self.name(key), table })),
            Some(_) => Err(self.invalid(key, "must be a table")),
        }
    }

    /// A table that has to be there.
    pub(super) fn needed_table(&mut self, key: &str, expected: &str) -> Result<Self, InvalidOption> {
        self.table(key)?.ok_or_else(|| self.invalid(key, format!("is missing: {expected}")))
    }

    /// Refuses what was not taken.
    pub(super) fn finish(self) -> Result<(), InvalidOption> {
        match self.table.keys().next() {
            None => Ok(()),
            Some(key) => Err(self.invalid(key, "is not a key of this vendor")),
        }
    }
}
