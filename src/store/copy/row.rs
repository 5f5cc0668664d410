//! A row of a table as values that mean the same on both engines; its key; the digest of many.

use std::borrow::Cow;

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::tables::{Kind, Table};
use crate::store::{
    rows::{BadRow, Reader, Row},
    value::{Value, Values},
};

/// The values of a row, in the order of the table's columns.
pub(super) fn values<'r>(row: &'r Row, table: &Table) -> Result<Vec<Value<'r>>, BadRow> {
    let reader = Reader::new(row, table.name, table.columns[0].0);
    let value = |(column, kind): &(&'static str, Kind)| {
        Ok(match kind {
            Kind::Text => Value::Text(reader.opt::<Cow<'_, str>>(column)?),
            Kind::Bytes => Value::Bytes(reader.opt::<&[u8]>(column)?.map(Cow::Borrowed)),
            Kind::Id => Value::Id(reader.opt::<Uuid>(column)?),
            Kind::Int => Value::Int(reader.opt::<i64>(column)?),
            Kind::Flag => Value::Flag(reader.get::<bool>(column)?),
        })
    };
    table.columns.iter().map(value).collect()
}

/// Bytes of a row, about.
pub(super) fn size(values: &[Value<'_>]) -> usize {
    values.iter().map(|value| bytes(value).map_or(8, |bytes| bytes.len())).sum()
}

/// The bytes of a value; `None` for NULL.
fn bytes<'v>(value: &'v Value<'_>) -> Option<Cow<'v, [u8]>> {
    match value {
        Value::Text(text) => text.as_deref().map(|text| text.as_bytes().into()),
        Value::Bytes(bytes) => bytes.as_deref().map(Cow::Borrowed),
        Value::Id(id) => id.as_ref().map(|id| id.as_bytes().as_slice().into()),
        Value::Int(number) => number.map(|number| number.to_le_bytes().to_vec().into()),
        Value::Flag(flag) => Some(vec![u8::from(*flag)].into()),
    }
}

/// The key of a row as text that comes back as it was: a JSON array.
pub(super) fn key_text(key: &[Value<'_>]) -> String {
    let json = |value: &Value<'_>| match value {
        Value::Text(Some(text)) => Json::from(text.as_ref()),
        Value::Int(Some(number)) => Json::from(*number),
        other => bytes(other).map_or(Json::Null, |bytes| Json::from(hex::encode(bytes))),
    };
    key.iter().map(json).collect::<Json>().to_string()
}

/// The key that [`key_text`] wrote; `None` for what it never writes.
pub(super) fn key_of(text: &str, table: &Table) -> Option<Values<'static>> {
    let parts: Vec<Json> = serde_json::from_str(text).ok()?;
    let parts = parts.into_iter().zip(table.key()).map(|(part, (_, kind))| {
        let bytes = || hex::decode(part.as_str()?).ok();
        Some(match kind {
            Kind::Text => Value::from(part.as_str()?.to_owned()),
            Kind::Int => Value::from(part.as_i64()?),
            Kind::Bytes => Value::from(bytes()?),
            Kind::Id => Value::Id(Some(Uuid::from_slice(&bytes()?).ok()?)),
            Kind::Flag => return None,
        })
    });
    let parts: Vec<_> = parts.collect::<Option<_>>()?;
    (parts.len() == table.key).then(|| parts.into_iter().collect())
}

/// How many rows, and a sum of their SHA-256 digests: the same in whatever order they come, for the
/// engines do not sort alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) rows: u64,
    sum: [u64; 4],
}

impl Digest {
    /// Takes a row in.
    pub(super) fn add(&mut self, values: &[Value<'_>]) {
        let mut row = Sha256::new();
        for value in values {
            match bytes(value) {
                Some(bytes) => {
                    row.update((bytes.len() as u64 + 1).to_le_bytes());
                    row.update(bytes);
                }
                None => row.update(0_u64.to_le_bytes()),
            }
        }
        for (sum, part) in self.sum.iter_mut().zip(row.finalize().chunks_exact(8)) {
            *sum = sum.wrapping_add(u64::from_le_bytes(part.try_into().unwrap_or_default()));
        }
        self.rows += 1;
    }

    /// The sum for people.
    pub(super) fn hex(&self) -> String {
        hex::encode(self.sum.map(u64::to_be_bytes).concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::copy::tables::TABLES;

    #[test]
    fn a_key_comes_back_as_it_was() {
        let id = Uuid::from_u128(7);
        let keys = TABLES.iter().find(|table| table.name == "keys").unwrap();
        let attempts = TABLES.iter().find(|table| table.name == "attempts").unwrap();
        for (table, key) in [
            (keys, vec![Value::from("a\0b"), Value::from("\u{10FFFF}\""), Value::from(vec![0_u8, 255])]),
            (attempts, vec![Value::Id(Some(id)), Value::from(i64::MAX)]),
        ] {
            let text = key_text(&key);
            let back = key_of(&text, table).unwrap().into_inner();
            assert_eq!(format!("{back:?}"), format!("{key:?}"), "{text}");
        }
        for wrong in ["", "[]", "[1]", "[\"zz\",1]", "{}"] {
            assert!(key_of(wrong, attempts).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_digest_depends_on_every_value_and_not_on_the_order_of_rows() {
        let digest = |rows: &[&[Value<'_>]]| {
            let mut digest = Digest::default();
            for row in rows {
                digest.add(row);
            }
            digest
        };
        let (one, two) = ([Value::from("a"), Value::from(1_i64)], [Value::from("b"), Value::Int(None)]);
        assert_eq!(digest(&[&one, &two]), digest(&[&two, &one]));
        let others: [&[Value<'_>]; 5] = [
            &[Value::from("a"), Value::from(2_i64)],
            &[Value::from("a"), Value::Int(None)],
            &[Value::from("A"), Value::from(1_i64)],
            &[Value::Text(None), Value::from(1_i64)],
            &[Value::from("a\u{1}"), Value::from(0_i64)],
        ];
        for other in others {
            assert_ne!(digest(&[&one]), digest(&[other]), "{other:?}");
        }
        // No byte moves from one column to the next unseen.
        assert_ne!(
            digest(&[&[Value::from("ab"), Value::from("c")]]),
            digest(&[&[Value::from("a"), Value::from("bc")]])
        );
    }
}
