//! Seals what was stored before a tenant's rows were sealed: a bounded part at a time, in the order of the tables. Each
//! row says by itself whether it is sealed, so that it may break off anywhere and begin again.

use std::borrow::Cow;

use serde_json::Value;
use sluice_actors::ports::StoreUnavailable;
use uuid::Uuid;

use super::{
    Store,
    batch::Batch,
    command::Command,
    jobs::ReadFailed,
    rows::{BadRow, Reader, Row},
    sealing::{form_row, seal_refusal},
    sql::sql,
    value::{Values, values},
};
use crate::{
    api::encryption::SealStep,
    seal::{Column, DataKey, Place, SealError, text_sealed_by, value_sealed_by},
};

/// Rows, whosesoever, that one step looks at.
const WINDOW: i64 = 2_000;
/// Rows, and bytes of them, that one step seals in one transaction.
const ROWS: usize = 200;
const BYTES: i64 = 1 << 20;

/// The tables, in order.
const KINDS: [&str; 5] = ["payloads", "forms", "jobs", "results", "refusals"];

/// A row with its values sealed, and what stood there where somebody may change it.
pub(super) enum SealedRow {
    Payload { seq: i64, raw: Vec<u8>, headers: String },
    Form { seq: i64, was: String, form: String },
    Checkpoint { seq: i64, was: String, checkpoint: String },
    Result { seq: i64, was: String, result: String },
    Refusal { seq: i64, headers: String },
}

/// Writes sealed rows in the place of plain ones, unless the key that sealed them was erased meanwhile: nobody could
/// read them again. Returns how many.
pub(super) async fn write(batch: &mut Batch<'_>, key: Uuid, rows: &[SealedRow]) -> Result<u64, sqlx::Error> {
    let known = batch.fetch(sql!("data_key"), values![key]).await?;
    let is_live = match known.first() {
        Some(row) => Reader::new(row, "data_keys", "id").time_or_none("erased_at")?.is_none(),
        None => false,
    };
    if !is_live {
        return Ok(0);
    }
    let mut written = 0;
    for row in rows {
        let (statement, values) = match row {
            SealedRow::Payload { seq, raw, headers } => {
                batch.bytes += raw.len() as u64;
                (sql!("seal_payload"), values![*seq, raw.as_slice(), headers.as_str()])
            }
            SealedRow::Form { seq, was, form } => {
                batch.bytes += form.len() as u64;
                (sql!("seal_form"), values![*seq, form.as_str(), was.as_str()])
            }
            SealedRow::Checkpoint { seq, was, checkpoint } => {
                (sql!("seal_checkpoint"), values![*seq, checkpoint.as_str(), was.as_str()])
            }
            SealedRow::Result { seq, was, result } => {
                (sql!("seal_result"), values![*seq, result.as_str(), was.as_str()])
            }
            SealedRow::Refusal { seq, headers } => (sql!("seal_refusal"), values![*seq, headers.as_str()]),
        };
        written += batch.execute(statement, values).await?;
    }
    Ok(written)
}

/// A table and where in it a step begins: `payloads:17`.
fn read_cursor(cursor: &str) -> Option<(usize, i64)> {
    let (kind, from) = cursor.split_once(':')?;
    Some((KINDS.iter().position(|known| *known == kind)?, from.parse().ok()?))
}

/// The numbers of each table: the first, and the one after the last.
struct Bounds([(i64, i64); KINDS.len()]);

impl Bounds {
    fn total(&self) -> u64 {
        self.0.iter().map(|(first, end)| (end - first).max(0).unsigned_abs()).sum()
    }

    /// How many numbers stand before this place.
    fn before(&self, kind: usize, from: i64) -> u64 {
        let whole: u64 = self.0[..kind].iter().map(|(first, end)| (end - first).max(0).unsigned_abs()).sum();
        let (first, end) = self.0[kind];
        whole + (from.clamp(first, end.max(first)) - first).unsigned_abs()
    }
}

impl Store {
    async fn seal_bounds(&self) -> Result<Bounds, ReadFailed> {
        let mut bounds = Bounds([(0, 0); KINDS.len()]);
        for row in &self.rows(sql!("seal_bounds"), Values::default()).await? {
            let row = Reader::new(row, "bounds", "kind");
            let kind: Cow<'_, str> = row.get("kind")?;
            if let Some(at) = KINDS.iter().position(|known| *known == kind) {
                bounds.0[at] = (row.get("first")?, row.get::<i64>("last")? + 1);
            }
        }
        Ok(bounds)
    }

    /// The number after the rows that one step looks at; `None`: there are none.
    async fn seal_end(&self, kind: usize, from: i64) -> Result<Option<i64>, ReadFailed> {
        let rows = self.rows(sql!("seal_end"), values![KINDS[kind], from, WINDOW]).await?;
        let last = rows.first().map(|row| Reader::new(row, KINDS[kind], "last").opt::<i64>("last")).transpose()?;
        Ok(last.flatten().map(|last| last + 1))
    }

    /// One step of [`crate::api::encryption::DataKeys::seal_step`].
    pub(super) async fn seal_rows(
        &self,
        tenant: &str,
        cursor: Option<&str>,
        dry_run: bool,
    ) -> Result<SealStep, StoreUnavailable> {
        let bounds = self.seal_bounds().await?;
        let (kind, from) = cursor.and_then(read_cursor).unwrap_or((0, i64::MIN));
        let (first, end) = bounds.0[kind];
        let from = from.max(first);
        let mut until = self.seal_end(kind, from).await?.unwrap_or(end);
        let mut step = SealStep { total: bounds.total(), ..SealStep::default() };
        let found = self.rows(sql!("seal_scan"), values![KINDS[kind], tenant, from, until]).await?;
        let mut plain = Vec::new();
        let mut bytes = 0;
        for row in &found {
            let row = Reader::new(row, KINDS[kind], "seq");
            let at = |error: BadRow| StoreUnavailable::from(ReadFailed::from(error));
            let (seq, size): (i64, i64) = (row.get("seq").map_err(at)?, row.get("size").map_err(at)?);
            if row.get::<bool>("sealed").map_err(at)? {
                step.sealed += 1;
                continue;
            }
            if !dry_run && (plain.len() == ROWS || (bytes + size > BYTES && !plain.is_empty())) {
                until = seq;
                break;
            }
            bytes += size;
            plain.push(seq);
        }
        step.plain = plain.len() as u64;
        if !dry_run && !plain.is_empty() {
            step.newly_sealed = self.seal_some(tenant, kind, &plain).await?;
        }
        step.done = bounds.before(kind, until.max(from));
        let next =
            if until < end { Some((kind, until)) } else { (kind + 1 < KINDS.len()).then_some((kind + 1, i64::MIN)) };
        step.next = next.map(|(kind, from)| format!("{}:{from}", KINDS[kind]));
        Ok(step)
    }

    async fn seal_some(&self, tenant: &str, kind: usize, seqs: &[i64]) -> Result<u64, StoreUnavailable> {
        let Some(key) = self.sealing_key(tenant).await? else { return Ok(0) };
        let mut rows = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let found = self.rows(sql!("seal_read"), values![KINDS[kind], *seq]).await?;
            if let Some(row) = found.first() {
                rows.extend(sealed(&key, tenant, kind, *seq, row)?);
            }
        }
        Ok(self.shared.writer.submit(|reply| Command::SealRows { key: key.id(), rows, reply }).await?)
    }
}

/// A row with its values sealed; `None`: it is sealed already.
fn sealed(key: &DataKey, tenant: &str, kind: usize, seq: i64, row: &Row) -> Result<Option<SealedRow>, ReadFailed> {
    let row = Reader::new(row, KINDS[kind], "row");
    let was: String = row.get("text")?;
    let seal = |column, bound: &[u8], text: &str| -> Result<Option<String>, SealError> {
        if text_sealed_by(text).is_some() {
            return Ok(None);
        }
        key.seal_text(&Place { tenant, column, row: bound }, text).map(Some)
    };
    let id = || row.get::<Uuid>("row");
    Ok(match KINDS[kind] {
        "payloads" => {
            let (id, raw) = (id()?, row.get::<Vec<u8>>("raw")?);
            let raw = match value_sealed_by(&raw) {
                Some(_) => raw,
                None => key.seal(&Place { tenant, column: Column::Raw, row: id.as_bytes() }, &raw)?,
            };
            let headers = seal(Column::Headers, id.as_bytes(), &was)?.unwrap_or(was);
            Some(SealedRow::Payload { seq, raw, headers })
        }
        "forms" => {
            let bound = form_row(id()?, row.number("version")?);
            seal(Column::Form, &bound, &was)?.map(|form| SealedRow::Form { seq, was, form })
        }
        "jobs" => seal(Column::Checkpoint, id()?.as_bytes(), &was)?.map(|checkpoint| SealedRow::Checkpoint {
            seq,
            was,
            checkpoint,
        }),
        "results" => seal(Column::Result, id()?.as_bytes(), &was)?.map(|result| SealedRow::Result { seq, was, result }),
        _ => {
            let headers: Value = row.json("text")?;
            let (source, body): (String, String) = (row.get("source")?, row.get("body")?);
            let sealed = seal_refusal(key, (tenant, &source, row.get("at")?), &headers, &body)?;
            Some(SealedRow::Refusal { seq, headers: Value::from(sealed).to_string() })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_that_is_not_ours_begins_anew() {
        assert_eq!(read_cursor("forms:17"), Some((1, 17)));
        for cursor in ["", "forms", "forms:x", "users:1", ":1"] {
            assert_eq!(read_cursor(cursor), None, "{cursor}");
        }
    }

    #[test]
    fn progress_counts_the_numbers_of_all_tables() {
        let bounds = Bounds([(10, 20), (0, 0), (5, 8), (0, 0), (1, 2)]);
        assert_eq!(bounds.total(), 14);
        assert_eq!(
            [bounds.before(0, 10), bounds.before(0, 15), bounds.before(2, 5), bounds.before(4, 2)],
            [0, 5, 10, 14]
        );
    }
}
