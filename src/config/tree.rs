//! A configuration file as a tree in which every value knows where it was written.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::finding::{Error, Place};
use crate::error_code::ErrorCode;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A value of a file, or the text of an environment variable.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// A TOML date or time, as written.
    Time(String),
    List(Vec<Item>),
    Table(Entries),
    /// Text of an environment variable: it is read as whatever the key wants.
    Raw(String),
}

pub(super) type Entries = BTreeMap<String, Item>;

impl Value {
    /// The kind, for messages.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Raw(_) => "a text",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::Time(_) => "a time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// As a value of the `toml` crate, for what is handed on untyped.
    pub(super) fn to_toml(&self) -> toml::Value {
        match self {
            Self::Text(text) | Self::Raw(text) | Self::Time(text) => toml::Value::String(text.clone()),
            Self::Integer(number) => toml::Value::Integer(*number),
            Self::Float(number) => toml::Value::Float(*number),
            Self::Bool(flag) => toml::Value::Boolean(*flag),
            Self::List(items) => toml::Value::Array(items.iter().map(|item| item.value.to_toml()).collect()),
            Self::Table(entries) => {
                toml::Value::Table(entries.iter().map(|(key, item)| (key.clone(), item.value.to_toml())).collect())
            }
        }
    }
}

/// Parses the text of the file `path`. Every syntax error is told.
pub(super) fn parse(path: &Arc<PathBuf>, text: &str, errors: &mut Vec<Error>) -> Entries {
    let (table, found) = DeTable::parse_recoverable(text);
    // Found once: a file may have ten thousand sources.
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line_at = |offset| ends.partition_point(|end| *end < offset) + 1;
    for error in found {
        let line = error.span().map_or(0, |span| line_at(span.start));
        errors.push(Error {
            code: ErrorCode::Configuration,
            place: Place::File(path.clone(), line),
            key: String::new(),
            reason: format!("not TOML: {}", error.message().replace('\n', ", ")),
            cure: String::new(),
        });
    }
    let place = |offset| Place::File(path.clone(), line_at(offset));
    entries(table.get_ref(), &place)
}

/// Lays the environment's overrides (`SLUICE_SECTION__KEY`) over a tree. `prefix` ends in `_` or
/// `__`; names are compared in upper case with `_` for `-`.
pub(super) fn override_with(entries: &mut Entries, prefix: &str, variables: &BTreeMap<String, String>) {
    for (name, text) in variables {
        if let Some(rest) = name.strip_prefix(prefix) {
            let place = Place::Env(name.as_str().into());
            let path: Vec<&str> = rest.split("__").collect();
            set(entries, &path, &place, text);
        }
    }
}

/// How a name is written in an environment variable.
pub(super) fn env_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

fn set(entries: &mut Entries, path: &[&str], place: &Place, text: &str) {
    let Some((first, rest)) = path.split_first() else { return };
    let known = entries.keys().find(|key| env_name(key) == *first).cloned();
    let key = known.unwrap_or_else(|| first.to_lowercase());
    if rest.is_empty() {
        entries.insert(key, Item { place: place.clone(), value: raw(place, text) });
        return;
    }
    let table = || Item { place: place.clone(), value: Value::Table(Entries::new()) };
    let item = entries.entry(key).or_insert_with(table);
    match &mut item.value {
        Value::Table(inner) => set(inner, rest, place, text),
        Value::List(items) => {
            if let Some(Value::Table(inner)) =
                rest[0].parse().ok().and_then(|n: usize| items.get_mut(n)).map(|item| &mut item.value)
            {
                set(inner, &rest[1..], place, text);
            }
        }
        _ => {
            let mut inner = Entries::new();
            set(&mut inner, rest, place, text);
            *item = Item { place: place.clone(), value: Value::Table(inner) };
        }
    }
}

/// A list or table is written in TOML; everything else is read by the key that wants it.
fn raw(place: &Place, text: &str) -> Value {
    if text.starts_with(['[', '{'])
        && let Ok(value) = DeValue::parse(text)
    {
        return self::value(value.get_ref(), &|_| place.clone());
    }
    Value::Raw(text.to_owned())
}

fn entries(table: &DeTable<'_>, place: &dyn Fn(usize) -> Place) -> Entries {
    table
        .iter()
        .map(|(key, item)| {
            let item = Item { place: place(key.span().start), value: value(item.get_ref(), place) };
            (key.get_ref().clone().into_owned(), item)
        })
        .collect()
}

fn value(value: &DeValue<'_>, place: &dyn Fn(usize) -> Place) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::Text(number.as_str().to_owned()), Value::Integer),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::Time(time.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| Item { place: place(item.span().start), value: self::value(item.get_ref(), place) })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(entries(table, place)),
    }
}
