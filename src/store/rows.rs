//! Rows as values of the domain. A row that does not fit names its table, column and id.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use sluice_actors::domain::{
    CheckpointStage, EventEnvelope, EventId, Fence, Job, JobClass, JobId, JobState, LaneKey, Timestamp, TraceId,
};
use sqlx::{Decode, Row as _, TypeInfo, ValueRef, postgres::PgRow, sqlite::SqliteRow};
use uuid::Uuid;

use super::{postgres::nul, sqlite::connection::EmbeddedRow};
use crate::api::{
    records::{AttemptRow, AuditRow, DeadLetterRow, EventRow, JobRow, RefusalRow, SecretUse, Switch},
    traffic::{ACK_BOUNDS, Counts, Minute},
};

/// A row of either engine.
pub(super) enum Row {
    /// Of SQLite, read by the writer.
    Embedded(EmbeddedRow),
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of Postgres.
    Postgres(PgRow),
}

/// What a column can be read as.
pub(super) trait Field<'r>: Sized {
    /// Reads the column; `None` for NULL.
    fn read(row: &'r Row, column: &str) -> Result<Option<Self>, sqlx::Error>;
}

impl<'r> Field<'r> for Cow<'r, str> {
    fn read(row: &'r Row, column: &str) -> Result<Option<Self>, sqlx::Error> {
        match row {
            Row::Embedded(row) => Ok(row.text(column)?.map(Cow::Borrowed)),
            Row::Sqlite(row) => Ok(row.try_get::<Option<&str>, _>(column)?.map(Cow::Borrowed)),
            Row::Postgres(row) => Ok(row.try_get::<Option<&str>, _>(column)?.map(nul::unescape)),
        }
    }
}

impl Field<'_> for String {
    fn read(row: &Row, column: &str) -> Result<Option<Self>, sqlx::Error> {
        Ok(Cow::read(row, column)?.map(Cow::into_owned))
    }
}

impl<'r> Field<'r> for &'r [u8] {
    fn read(row: &'r Row, column: &str) -> Result<Option<Self>, sqlx::Error> {
        match row {
            Row::Embedded(row) => row.bytes(column),
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
    }
}

impl Field<'_> for Vec<u8> {
    fn read(row: &Row, column: &str) -> Result<Option<Self>, sqlx::Error> {
        Ok(<&[u8]>::read(row, column)?.map(<[u8]>::to_vec))
    }
}

impl Field<'_> for i64 {
    fn read(row: &Row, column: &str) -> Result<Option<Self>, sqlx::Error> {
        match row {
            Row::Embedded(row) => row.number(column),
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => {
                let raw = row.try_get_raw(column)?;
                if raw.is_null() {
                    return Ok(None);
                }
                // Small numbers have small columns there.
                let read = match raw.type_info().name() {
                    "INT2" => <i16 as Decode<sqlx::Postgres>>::decode(raw).map(Self::from),
                    "INT4" => <i32 as Decode<sqlx::Postgres>>::decode(raw).map(Self::from),
                    _ => return row.try_get(column),
                };
                read.map(Some).map_err(sqlx::Error::Decode)
            }
        }
    }
}

impl Field<'_> for bool {
    fn read(row: &Row, column: &str) -> Result<Option<Self>, sqlx::Error> {
        match row {
            Row::Embedded(row) => Ok(row.number(column)?.map(|number| number != 0)),
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
    }
}

impl Field<'_> for Uuid {
    fn read(row: &Row, column: &str) -> Result<Option<Self>, sqlx::Error> {
        match row {
            Row::Embedded(_) | Row::Sqlite(_) => {
                let bytes = <&[u8]>::read(row, column)?;
                bytes.map(Self::from_slice).transpose().map_err(|error| sqlx::Error::Decode(error.into()))
            }
            Row::Postgres(row) => row.try_get(column),
        }
    }
}

/// A stored value that does not fit its type. Never carries the value.
#[derive(Debug, thiserror::Error)]
#[error("bad row in `{table}`, column `{column}`, id {id}: {reason}")]
pub(super) struct BadRow {
    table: &'static str,
    column: &'static str,
    id: String,
    reason: String,
}

impl From<BadRow> for sqlx::Error {
    fn from(bad: BadRow) -> Self {
        Self::Decode(Box::new(bad))
    }
}

/// A row of a table.
pub(super) struct Reader<'r> {
    row: &'r Row,
    table: &'static str,
    id: &'static str,
}

impl<'r> Reader<'r> {
    /// `id` is the column that names the row in an error.
    pub(super) const fn new(row: &'r Row, table: &'static str, id: &'static str) -> Self {
        Self { row, table, id }
    }

    /// A column that is never NULL.
    pub(super) fn get<T: Field<'r>>(&self, column: &'static str) -> Result<T, BadRow> {
        self.opt(column)?.ok_or_else(|| self.bad(column, "is NULL".into()))
    }

    /// A column that may be NULL.
    pub(super) fn opt<T: Field<'r>>(&self, column: &'static str) -> Result<Option<T>, BadRow> {
        T::read(self.row, column).map_err(|error| self.bad(column, error.to_string()))
    }

    /// A column with text that has a form.
    pub(super) fn parse<T>(&self, column: &'static str) -> Result<T, BadRow>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let text: Cow<'_, str> = self.get(column)?;
        text.parse().map_err(|error: T::Err| self.bad(column, error.to_string()))
    }

    /// A column with JSON text.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, column: &'static str) -> Result<T, BadRow> {
        let text: Cow<'_, str> = self.get(column)?;
        serde_json::from_str(&text)
            .map_err(|error| self.bad(column, format!("{:?} error in its JSON", error.classify())))
    }

    /// An event's id.
    pub(super) fn event_id(&self, column: &'static str) -> Result<EventId, BadRow> {
        self.get(column).map(EventId::from_uuid)
    }

    /// A job's id.
    pub(super) fn job_id(&self, column: &'static str) -> Result<JobId, BadRow> {
        self.get(column).map(JobId::from_uuid)
    }

    /// Milliseconds since the epoch.
    pub(super) fn time(&self, column: &'static str) -> Result<Timestamp, BadRow> {
        self.get(column).map(Timestamp::from_millis)
    }

    /// Milliseconds since the epoch, or NULL.
    pub(super) fn time_or_none(&self, column: &'static str) -> Result<Option<Timestamp>, BadRow> {
        Ok(self.opt(column)?.map(Timestamp::from_millis))
    }

    /// A trace's id.
    pub(super) fn trace_id(&self, column: &'static str) -> Result<TraceId, BadRow> {
        let bytes: &[u8] = self.get(column)?;
        bytes
            .try_into()
            .ok()
            .and_then(TraceId::from_bytes)
            .ok_or_else(|| self.bad(column, "not 16 bytes, or all zero".into()))
    }

    /// A number that is never negative.
    pub(super) fn number<T: TryFrom<i64, Error: fmt::Display>>(&self, column: &'static str) -> Result<T, BadRow> {
        T::try_from(self.get(column)?).map_err(|error| self.bad(column, error.to_string()))
    }

    /// Columns `tenant` and `source`.
    pub(super) fn lane(&self) -> Result<LaneKey, BadRow> {
        Ok(LaneKey::new(self.parse("tenant")?, self.parse("source")?))
    }

    /// Column `state` of a job.
    pub(super) fn state(&self) -> Result<JobState, BadRow> {
        self.parse("state")
    }

    fn bad(&self, column: &'static str, reason: String) -> BadRow {
        let id = || {
            let uuid = Uuid::read(self.row, self.id).ok().flatten().map(|id| id.to_string());
            uuid.or_else(|| i64::read(self.row, self.id).ok().flatten().map(|number| number.to_string()))
        };
        BadRow { table: self.table, column, id: id().unwrap_or_else(|| "unknown".into()), reason }
    }
}

/// The stored number of a class.
pub(super) const fn class_number(class: JobClass) -> i64 {
    match class {
        JobClass::Fresh => 0,
        JobClass::Retry => 1,
        JobClass::Replay => 2,
    }
}

/// A job as a lane sees it.
pub(super) fn job(row: &Row) -> Result<Job, BadRow> {
    let row = Reader::new(row, "jobs", "id");
    Ok(Job {
        id: row.job_id("id")?,
        event_id: row.event_id("event_id")?,
        lane: row.lane()?,
        route: row.parse("route")?,
        kind: Arc::from(row.get::<String>("type")?),
        state: row.state()?,
        class: match row.get::<i64>("class")? {
            0 => JobClass::Fresh,
            1 => JobClass::Retry,
            2 => JobClass::Replay,
            _ => return Err(row.bad("class", "not 0, 1 or 2".into())),
        },
        attempts: row.number("attempts")?,
        claims: row.number("claims")?,
        deaths: row.number("deaths")?,
        suspicion: row.number("suspicion")?,
        next_run_at: row.time("next_run_at")?,
        fence: Fence(row.get("fence")?),
        stage: CheckpointStage::from_number(row.get("stage")?)
            .ok_or_else(|| row.bad("stage", "not 0, 1 or 2".into()))?,
    })
}

/// The event of a job that begins, whose form was opened; columns of `find_begins`.
pub(super) fn envelope(row: &Row, lane: LaneKey, data: serde_json::Value) -> Result<EventEnvelope, BadRow> {
    let row = Reader::new(row, "events", "event_id");
    Ok(EventEnvelope {
        id: row.event_id("event_id")?,
        lane,
        vendor: Arc::from(row.get::<String>("vendor")?),
        external_id: row.get("external_id")?,
        event_type: row.get("event_type")?,
        subject_id: row.opt("subject_id")?,
        occurred_at: row.time("occurred_at")?,
        received_at: row.time("received_at")?,
        schema_version: row.number("schema_version")?,
        api_version: row.opt("api_version")?,
        data,
        trace_id: row.trace_id("trace_id")?,
        sampled: row.get("sampled")?,
    })
}

/// An event in a table.
pub(super) fn event_row(row: &Row) -> Result<EventRow, BadRow> {
    let row = Reader::new(row, "events", "id");
    Ok(EventRow {
        id: row.event_id("id")?,
        tenant: row.get("tenant")?,
        source: row.get("source")?,
        vendor: row.get("vendor")?,
        external_id: row.get("external_id")?,
        event_type: row.get("event_type")?,
        subject_id: row.opt("subject_id")?,
        occurred_at: row.time("occurred_at")?,
        received_at: row.time("received_at")?,
        secret_version: row.get("secret_version")?,
        api_version: row.opt("api_version")?,
        revises: row.opt("revises")?.map(EventId::from_uuid),
        status: row.get("status")?,
        trace_id: row.trace_id("trace_id")?.to_string(),
        quarantine_reason: row.opt("quarantine_reason")?,
    })
}

/// A job in a table.
pub(super) fn job_row(row: &Row) -> Result<JobRow, BadRow> {
    let row = Reader::new(row, "jobs", "id");
    Ok(JobRow {
        id: row.job_id("id")?,
        event_id: row.event_id("event_id")?,
        tenant: row.get("tenant")?,
        source: row.get("source")?,
        route: row.get("route")?,
        kind: row.get("type")?,
        state: row.state()?,
        attempts: row.number("attempts")?,
        claims: row.number("claims")?,
        deaths: row.number("deaths")?,
        next_run_at: row.time("next_run_at")?,
        last_error: row.opt("last_error")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        finished_at: row.time_or_none("finished_at")?,
        event_type: row.get("event_type")?,
        subject_id: row.opt("subject_id")?,
        trace_id: row.trace_id("trace_id")?.to_string(),
    })
}

/// One attempt.
pub(super) fn attempt_row(row: &Row) -> Result<AttemptRow, BadRow> {
    let row = Reader::new(row, "attempts", "number");
    Ok(AttemptRow {
        number: row.number("number")?,
        started_at: row.time("started_at")?,
        duration_ms: row.number("duration_ms")?,
        outcome: row.get("outcome")?,
        error: row.opt("error")?,
    })
}

/// A dead letter of a job.
pub(super) fn dead_letter_row(row: &Row, job: JobRow) -> Result<DeadLetterRow, BadRow> {
    let row = Reader::new(row, "dead_letters", "at");
    Ok(DeadLetterRow {
        job,
        reason: row.get("reason")?,
        detail: row.get("detail")?,
        at: row.time("at")?,
        replayed_at: row.time_or_none("replayed_at")?,
        replayed_by: row.opt("replayed_by")?,
    })
}

/// What was switched off.
pub(super) fn switch(row: &Row) -> Result<Switch, BadRow> {
    let row = Reader::new(row, "switches", "tenant");
    let source: Cow<'_, str> = row.get("source")?;
    let source = if source.is_empty() { None } else { Some(row.parse("source")?) };
    Ok((row.parse("tenant")?, source))
}

/// When a secret verified last.
pub(super) fn secret_use(row: &Row) -> Result<SecretUse, BadRow> {
    let row = Reader::new(row, "secret_uses", "last_at");
    Ok(SecretUse {
        tenant: row.get("tenant")?,
        source: row.get("source")?,
        secret_version: row.get("secret_version")?,
        uses: row.number("uses")?,
        first: row.time("first_at")?,
        last: row.time("last_at")?,
    })
}

/// Of each of [`ACK_BOUNDS`].
const ACK_COLUMNS: [&str; ACK_BOUNDS.len()] =
    ["acks_2", "acks_5", "acks_10", "acks_25", "acks_50", "acks_100", "acks_250", "acks_1000", "acks_2000"];

/// A minute of traffic.
pub(super) fn minute(row: &Row) -> Result<(Timestamp, Minute), BadRow> {
    let row = Reader::new(row, "traffic", "at");
    let mut counts = Counts {
        events: row.number("events")?,
        refused: row.number("refused")?,
        succeeded: row.number("succeeded")?,
        failed: row.number("failed")?,
        dead: row.number("dead")?,
        acks: row.number("acks")?,
        ..Counts::default()
    };
    for (within, column) in counts.within.iter_mut().zip(ACK_COLUMNS) {
        *within = row.number(column)?;
    }
    Ok((row.time("at")?, Minute { counts, waiting: row.number("waiting")? }))
}

/// A line of the audit.
pub(super) fn audit_row(row: &Row) -> Result<AuditRow, BadRow> {
    let row = Reader::new(row, "audit", "seq");
    Ok(AuditRow {
        at: row.time("at")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        tenant: row.opt("tenant")?,
        object: row.get("object")?,
        reason: row.get("reason")?,
    })
}

/// A refused delivery.
pub(super) fn refusal_row(row: &Row) -> Result<RefusalRow, BadRow> {
    let row = Reader::new(row, "refusals", "id");
    Ok(RefusalRow {
        id: row.get("id")?,
        at: row.time("at")?,
        tenant: row.get("tenant")?,
        source: row.get("source")?,
        reason: row.get("reason")?,
        peer: row.get("peer")?,
        request: row.get("request")?,
        headers: row.json("headers")?,
        body: row.get("body")?,
        body_bytes: row.number("body_bytes")?,
        hint: row.get("hint")?,
    })
}
