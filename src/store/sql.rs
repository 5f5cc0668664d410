//! Statements by name: `sql/<engine>/<name>.sql`, the same names on every engine.
//!
//! A statement for many rows is written for one row on SQLite, marked with the comment
//! `-- repeated`, and becomes the same text for 1, 2, 4 … 128 rows, each of them prepared once. A
//! batch takes the largest text that it fills and goes on with the rest: one statement for many rows
//! costs little more than half of as many for one.
//! On Postgres a statement takes an array for each column.

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

/// Statements for many rows, carried out in this order as one request.
macro_rules! bulk {
    ($(#[$doc:meta])* $static:ident, $($name:literal),+) => {
        $(#[$doc])*
        pub(super) static $static: std::sync::LazyLock<$crate::store::sql::Bulk> =
            std::sync::LazyLock::new(|| $crate::store::sql::Bulk::new(&[$($crate::store::sql::sql!($name)),+]));
    };
}

pub(crate) use {bulk, own, sql};

/// The numbers of rows that there are texts for. The largest binds 2 560 of SQLite's 32 766
/// parameters.
pub(crate) const SIZES: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// Statements for many rows.
#[derive(Debug)]
pub(crate) struct Bulk {
    /// Each statement for each of [`SIZES`], on SQLite.
    texts: Vec<[Box<str>; SIZES.len()]>,
    /// Parameters of one row of each statement on SQLite.
    widths: Vec<usize>,
    /// Each statement, for any number of rows, on Postgres.
    pub(crate) postgres: Vec<&'static str>,
    /// Where all of them insert, or all of them read the same columns, on Postgres: every choice of them
    /// as one statement (see [`Bulk::chain`]).
    chains: Vec<Arc<str>>,
}

impl Bulk {
    /// From statements whose text for SQLite has one row marked `-- repeated`.
    pub(crate) fn new(statements: &[&Statement]) -> Self {
        let texts =
            statements.iter().map(|statement| SIZES.map(|rows| repeat(statement.sqlite, rows).into())).collect();
        let widths = statements.iter().map(|statement| width(statement.sqlite)).collect();
        let postgres: Vec<_> = statements.iter().map(|statement| statement.postgres).collect();
        let is_chained = |verbs: &[&str]| postgres.iter().all(|text| verbs.contains(&verb(text)));
        let end: Option<fn(usize) -> String> = match postgres.len() {
            0 | 1 => None,
            _ if is_chained(&["INSERT"]) => Some(|_| "SELECT 1 WHERE false".into()),
            _ if is_chained(&["SELECT", "WITH"]) => Some(all_parts),
            _ => None,
        };
        let chains =
            end.map(|end| (0..1 << postgres.len()).map(|choice| chain(&postgres, choice, end).into()).collect());
        Self { texts, widths, postgres, chains: chains.unwrap_or_default() }
    }

    /// Of the nth statement, the text for the most rows that `rows` fill, and how many it is for.
    pub(crate) fn text(&self, nth: usize, rows: usize) -> (usize, &str) {
        let size = SIZES.partition_point(|size| *size <= rows).saturating_sub(1);
        (SIZES[size], &self.texts[nth][size])
    }

    /// On Postgres, the chosen ones of several statements as one: that insert, and return nothing, or
    /// that read, and return the rows of all. `None` for others. Bit n of `choice`: the nth.
    pub(crate) fn chain(&self, choice: usize) -> Option<SqlStr> {
        self.chains.get(choice).map(|text| AssertSqlSafe(text.clone()).into_sql_str())
    }

    /// Parameters of one row of the nth statement on SQLite.
    pub(crate) fn width(&self, nth: usize) -> usize {
        self.widths[nth]
    }
}

/// The first word of a statement.
fn verb(text: &str) -> &str {
    let line = text.lines().find(|line| !line.starts_with("--")).unwrap_or_default();
    line.split_whitespace().next().unwrap_or_default()
}

/// The chosen statements as one, their parameters numbered on. `end`: what is said after so many parts.
fn chain(texts: &[&str], choice: usize, end: fn(usize) -> String) -> String {
    let mut parts = Vec::new();
    let mut before = 0;
    for text in texts.iter().enumerate().filter(|(nth, _)| choice & 1 << nth != 0).map(|(_, text)| text) {
        let (numbered, after) = number_on(text, before);
        parts.push(format!("part{} AS (\n{numbered})", parts.len()));
        before = after;
    }
    format!("WITH {}\n{}", parts.join(", "), end(parts.len()))
}

/// The rows of all parts.
fn all_parts(count: usize) -> String {
    let parts: Vec<String> = (0..count).map(|part| format!("SELECT * FROM part{part}")).collect();
    parts.join(" UNION ALL ")
}

/// A text whose `$1` is the parameter after `before`; and the number of its last one.
fn number_on(text: &str, before: usize) -> (String, usize) {
    let mut pieces = text.split('$');
    let mut numbered = pieces.next().unwrap_or_default().to_owned();
    let mut last = before;
    for piece in pieces {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let number = piece[..digits].parse::<usize>().expect("a `$` stands before the number of a parameter") + before;
        last = last.max(number);
        numbered.push('$');
        numbered.push_str(&number.to_string());
        numbered.push_str(&piece[digits..]);
    }
    (numbered, last)
}

const MARK: &str = "-- repeated";

/// Parameters of the marked row.
fn width(text: &str) -> usize {
    text.lines().filter(|line| line.ends_with(MARK)).map(|line| line.matches('?').count()).sum()
}

/// A text for one row, for so many.
pub(crate) fn repeat(text: &str, rows: usize) -> String {
    let mut repeated = String::new();
    for line in text.lines() {
        match line.strip_suffix(MARK) {
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
    fn the_largest_text_that_is_filled_is_taken() {
        let statement = |sqlite| Statement { sqlite, postgres: "" };
        let bulk = Bulk::new(&[&statement("VALUES\n(?, 1) -- repeated\n"), &statement("b (?, ?) -- repeated")]);
        let size = |rows| bulk.text(0, rows).0;
        assert_eq!([1, 3, 9, 33, 128, 300].map(size), [1, 2, 8, 32, 128, 128]);
        assert_eq!(bulk.text(0, 3).1, "VALUES\n(?, 1),(?, 1)\n");
        assert_eq!((bulk.text(1, 1).1, bulk.width(0), bulk.width(1)), ("b (?, ?)\n", 1, 2));
    }

    #[test]
    fn inserts_become_one_statement_with_parameters_numbered_on() {
        let statement = |postgres| Statement { sqlite: "", postgres };
        let first = statement("-- why\nINSERT INTO a SELECT $1, $2\n");
        let second = statement("INSERT INTO b SELECT $2, $1\n");
        let third = statement("INSERT INTO c SELECT $1\n");
        let all = Bulk::new(&[&first, &second, &third]);
        assert_eq!(
            all.chain(0b101).unwrap().as_str(),
            "WITH part0 AS (\n-- why\nINSERT INTO a SELECT $1, $2\n), \
             part1 AS (\nINSERT INTO c SELECT $3\n)\nSELECT 1 WHERE false"
        );
        let reads = statement("SELECT $1");
        assert!(Bulk::new(&[&first, &reads]).chain(0b11).is_none());
        assert!(Bulk::new(&[&first]).chain(0b1).is_none());
    }

    #[test]
    fn reads_become_one_statement_with_the_rows_of_all() {
        let statement = |postgres| Statement { sqlite: "", postgres };
        let (first, second) = (statement("-- why\nSELECT $1, $2\n"), statement("WITH a AS (SELECT 1) SELECT $1\n"));
        assert_eq!(
            Bulk::new(&[&first, &second]).chain(0b11).unwrap().as_str(),
            "WITH part0 AS (\n-- why\nSELECT $1, $2\n), part1 AS (\nWITH a AS (SELECT 1) SELECT $3\n)\n\
             SELECT * FROM part0 UNION ALL SELECT * FROM part1"
        );
    }
}
