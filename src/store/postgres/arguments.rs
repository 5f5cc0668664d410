//! Parameters as Postgres takes them: one by one, or an array for each column.

use std::borrow::Cow;

use sqlx::{Arguments, postgres::PgArguments};
use uuid::Uuid;

use super::nul::escape;
use crate::store::value::{Rows, Value, Values};

/// One by one.
pub(in crate::store) fn of(values: Values<'_>) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for value in values.into_inner() {
        let added = match value {
            Value::Text(text) => arguments.add(text.map(escape)),
            Value::Bytes(bytes) => arguments.add(bytes.as_deref()),
            Value::Id(id) => arguments.add(id),
            Value::Int(number) => arguments.add(number),
            Value::Flag(flag) => arguments.add(flag),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// A column of values of one kind.
enum Column<'v> {
    Text(Vec<Option<Cow<'v, str>>>),
    Bytes(Vec<Option<Cow<'v, [u8]>>>),
    Id(Vec<Option<Uuid>>),
    Int(Vec<Option<i64>>),
    Flag(Vec<bool>),
}

impl<'v> Column<'v> {
    /// For values like `first`.
    fn like(first: &Value<'v>, rows: usize) -> Self {
        match first {
            Value::Text(_) => Self::Text(Vec::with_capacity(rows)),
            Value::Bytes(_) => Self::Bytes(Vec::with_capacity(rows)),
            Value::Id(_) => Self::Id(Vec::with_capacity(rows)),
            Value::Int(_) => Self::Int(Vec::with_capacity(rows)),
            Value::Flag(_) => Self::Flag(Vec::with_capacity(rows)),
        }
    }

    /// `false`: the value is of another kind.
    fn push(&mut self, value: Value<'v>) -> bool {
        match (self, value) {
            (Self::Text(column), Value::Text(text)) => column.push(text.map(escape)),
            (Self::Bytes(column), Value::Bytes(bytes)) => column.push(bytes),
            (Self::Id(column), Value::Id(id)) => column.push(id),
            (Self::Int(column), Value::Int(number)) => column.push(number),
            (Self::Flag(column), Value::Flag(flag)) => column.push(flag),
            _ => return false,
        }
        true
    }
}

/// An array for each column of each part that has rows.
pub(in crate::store) fn columns<'v>(parts: impl IntoIterator<Item = Rows<'v>>) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for part in parts {
        add_columns(&mut arguments, part)?;
    }
    Ok(arguments)
}

fn add_columns(arguments: &mut PgArguments, Rows { count, values }: Rows<'_>) -> Result<(), sqlx::Error> {
    let values = values.into_inner();
    let width = values.len() / count.max(1);
    let mut columns: Vec<Column<'_>> = values.iter().take(width).map(|first| Column::like(first, count)).collect();
    for (at, value) in values.into_iter().enumerate() {
        if !columns[at % width].push(value) {
            return Err(sqlx::Error::Encode(format!("column {} is of two kinds", at % width).into()));
        }
    }
    for column in columns {
        let added = match column {
            Column::Text(column) => arguments.add(column),
            Column::Bytes(column) => arguments.add(column.iter().map(Option::as_deref).collect::<Vec<_>>()),
            Column::Id(column) => arguments.add(column),
            Column::Int(column) => arguments.add(column),
            Column::Flag(column) => arguments.add(column),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(())
}
