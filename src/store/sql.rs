//! Statements by name: `sql/<engine>/<name>.sql`, the same names on every engine.
//!
//! A statement for many rows is written for one row on SQLite, marked with the comment
//! `-- repeated`, and becomes the same text for 1, 2, 4 … 128 rows, so that a batch of any size is a
//! few large statements and each of them is prepared once. On Postgres it takes an array for each
//! column.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// A statement in the text of each engine.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

/// The statement of this name: a file on every engine.
macro_rules! sql {
    ($name:literal) => {
        &$crate::store::sql::Statement {
            sqlite: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/sql/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/sql/postgres/", $name, ".sql")),
        }
    };
}

/// The text of what only one engine needs: `sql/<engine>/own/<name>.sql`.
macro_rules! own {
    ($engine:literal, $name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/sql/", $engine, "/own/", $name, ".sql"))
    };
}

/// A statement for many rows.
macro_rules! bulk {
    ($(#[$doc:meta])* $static:ident, $name:literal) => {
        $(#[$doc])*
        pub(super) static $static: std::sync::LazyLock<$crate::store::sql::Bulk> =
            std::sync::LazyLock::new(|| $crate::store::sql::Bulk::new($crate::store::sql::sql!($name)));
    };
}

pub(crate) use {bulk, own, sql};

/// Rows of the largest text. 128 rows of the widest statement bind 2 688 of SQLite's 32 766
/// parameters.
const LARGEST: usize = 128;

/// One statement for many rows.
#[derive(Debug)]
pub(crate) struct Bulk {
    /// For 1, 2, 4 … rows on SQLite.
    texts: Vec<Arc<str>>,
    /// For any number of rows on Postgres.
    pub(crate) postgres: &'static str,
}

impl Bulk {
    /// From a statement whose text for SQLite has one row marked `-- repeated`.
    pub(crate) fn new(statement: &Statement) -> Self {
        Self { texts: repeated(statement.sqlite), postgres: statement.postgres }
    }

    /// Cuts `rows` into the largest chunks there are texts for.
    pub(crate) fn chunks<'a, T>(&self, rows: &'a [T]) -> impl Iterator<Item = (SqlStr, &'a [T])> {
        let mut rest = rows;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let size = rest.len().min(LARGEST).ilog2() as usize;
            let (chunk, after) = rest.split_at(1 << size);
            rest = after;
            Some((AssertSqlSafe(self.texts[size].clone()).into_sql_str(), chunk))
        })
    }
}

/// A text for one row, for 1, 2, 4 … rows.
pub(crate) fn repeated(text: &str) -> Vec<Arc<str>> {
    let sizes = std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n <= LARGEST);
    sizes.map(|rows| repeat(text, rows).into()).collect()
}

fn repeat(text: &str, rows: usize) -> String {
    let mut repeated = String::new();
    for line in text.lines() {
        match line.strip_suffix("-- repeated") {
            Some(row) => repeated.push_str(&vec![row.trim_end(); rows].join(",")),
            None => repeated.push_str(line),
        }
        repeated.push('\n');
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marked_row_is_repeated() {
        assert_eq!(
            repeat("VALUES\n  (?, ?) -- repeated\nRETURNING 1\n", 2),
            "VALUES\n  (?, ?),  (?, ?)\nRETURNING 1\n"
        );
    }

    #[test]
    fn rows_are_cut_into_the_largest_chunks() {
        let bulk = Bulk::new(&Statement { sqlite: "VALUES\n(?) -- repeated\n", postgres: "" });
        let rows = [0_u8; 300];
        let sizes: Vec<usize> = bulk.chunks(&rows).map(|(_, chunk)| chunk.len()).collect();
        assert_eq!(sizes, [128, 128, 32, 8, 4]);
        assert_eq!(bulk.chunks(&rows[..0]).count(), 0);
    }
}
