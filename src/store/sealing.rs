//! The seam of encryption at rest: what the store takes in is sealed here, what it gives out is opened here, and
//! nobody else knows (ADR 0021).
//!
//! Sealing is done before a command is handed to the writer, in the caller's task or, for large bodies, on the threads
//! for those. What a job begins with is opened by the writer, which parses it anyway.

use std::{borrow::Cow, sync::Arc};

use serde_json::{Value, json};
use sluice_actors::{domain::JobId, ports::StoreUnavailable};
use uuid::Uuid;

use super::{Store, jobs::ReadFailed, rows::Reader, sql::sql, value::values};
use crate::{
    api::records::RefusalRow,
    ingest::{NewEvent, NewForm},
    seal::{Column, DataKey, Opened, Place, SealError, text_sealed_by, value_sealed_by},
};

impl From<SealError> for sqlx::Error {
    /// An error of content: one such row must not fail its neighbours.
    fn from(error: SealError) -> Self {
        Self::Decode(Box::new(error))
    }
}

impl From<SealError> for ReadFailed {
    fn from(error: SealError) -> Self {
        sqlx::Error::from(error).into()
    }
}

/// What a form is bound to: its event, and which of its forms it is.
pub(super) fn form_row(event: Uuid, schema_version: u32) -> Vec<u8> {
    [event.as_bytes().as_slice(), schema_version.to_be_bytes().as_slice()].concat()
}

/// What a refused delivery is bound to: its source and its time.
pub(super) fn refusal_row(source: &str, at: i64) -> Vec<u8> {
    [at.to_be_bytes().as_slice(), source.as_bytes()].concat()
}

/// Seals an event's values.
fn seal_event(key: &DataKey, event: &mut NewEvent) -> Result<(), SealError> {
    let id = event.id.as_uuid();
    let lane = event.lane.clone();
    let place = Place { tenant: lane.tenant.as_str(), column: Column::Raw, row: id.as_bytes() };
    event.raw = key.seal(&place, &event.raw)?.into();
    event.headers = key.seal_text(&Place { column: Column::Headers, ..place }, &event.headers)?;
    if let Some(form) = &mut event.form {
        seal_form(key, lane.tenant.as_str(), id, form)?;
    }
    Ok(())
}

fn seal_form(key: &DataKey, tenant: &str, event: Uuid, form: &mut NewForm) -> Result<(), SealError> {
    let row = form_row(event, form.schema_version);
    form.json = key.seal_text(&Place { tenant, column: Column::Form, row: &row }, &form.json)?;
    Ok(())
}

/// Headers and body of a refused delivery as one sealed text, in the place of the headers.
pub(super) fn seal_refusal(
    key: &DataKey,
    (tenant, source, at): (&str, &str, i64),
    headers: &Value,
    body: &str,
) -> Result<String, SealError> {
    let row = refusal_row(source, at);
    let place = Place { tenant, column: Column::Refusal, row: &row };
    key.seal_text(&place, &json!({ "headers": headers, "body": body }).to_string())
}

/// What stands in the place of a body whose key was erased.
const ERASED: &str = "(erased with the key of its tenant)";

fn unavailable(error: &SealError) -> StoreUnavailable {
    StoreUnavailable(error.to_string())
}

impl Store {
    /// Seals the events of a delivery, which are of one tenant, where it is to be sealed.
    pub(super) async fn seal_delivery(&self, mut delivery: Vec<NewEvent>) -> Result<Vec<NewEvent>, StoreUnavailable> {
        let Some(first) = delivery.first() else { return Ok(delivery) };
        let Some(key) = self.sealing_key(first.lane.tenant.as_str()).await? else { return Ok(delivery) };
        let bytes: usize = delivery.iter().map(|event| event.raw.len()).sum();
        let sealed = self.shared.heavy.run(bytes, move || {
            delivery.iter_mut().try_for_each(|event| seal_event(&key, event))?;
            Ok::<_, SealError>(delivery)
        });
        sealed.await.map_err(|error| unavailable(&error))
    }

    /// Seals the form of an event.
    pub(super) async fn seal_form(
        &self,
        event: sluice_actors::domain::EventId,
        mut form: NewForm,
    ) -> Result<NewForm, StoreUnavailable> {
        if !self.shared.ring.is_used() {
            return Ok(form);
        }
        let rows = self.worker_rows(sql!("tenant_of_event"), values![event]).await?;
        let Some(row) = rows.first() else { return Ok(form) };
        let tenant: String = Reader::new(row, "events", "tenant").get("tenant").map_err(ReadFailed::from)?;
        if let Some(key) = self.sealing_key(&tenant).await? {
            seal_form(&key, &tenant, event.as_uuid(), &mut form).map_err(|error| unavailable(&error))?;
        }
        Ok(form)
    }

    /// Seals what a job leaves.
    pub(super) async fn seal_of_job(
        &self,
        job: JobId,
        column: Column,
        text: String,
    ) -> Result<String, StoreUnavailable> {
        if !self.shared.ring.is_used() {
            return Ok(text);
        }
        let tenant = self.tenant_of(job).await?;
        let Some(key) = self.sealing_key(&tenant).await? else { return Ok(text) };
        let id = job.as_uuid();
        let place = Place { tenant: &tenant, column, row: id.as_bytes() };
        key.seal_text(&place, &text).map_err(|error| unavailable(&error))
    }

    /// Whose a job is; of one that this process began, it is known.
    async fn tenant_of(&self, job: JobId) -> Result<Arc<str>, ReadFailed> {
        if let Some(tenant) = self.shared.begun.tenant(job) {
            return Ok(tenant);
        }
        let rows = self.worker_rows(sql!("tenant_of_job"), values![job]).await?;
        // Of a job that is gone nothing will be written.
        rows.first()
            .map_or_else(|| Ok("".into()), |row| Ok(Reader::new(row, "jobs", "tenant").get::<String>("tenant")?.into()))
    }

    /// Seals a refused delivery.
    pub(super) async fn seal_refusal(&self, mut row: RefusalRow) -> Result<RefusalRow, StoreUnavailable> {
        let Some(key) = self.sealing_key(&row.tenant).await? else { return Ok(row) };
        let of = (row.tenant.as_str(), row.source.as_str(), row.at.as_millis());
        let sealed = seal_refusal(&key, of, &row.headers, &row.body).map_err(|error| unavailable(&error))?;
        (row.headers, row.body) = (sealed.into(), String::new());
        Ok(row)
    }

    /// Opens a refused delivery.
    pub(super) async fn open_refusal(&self, mut row: RefusalRow) -> Result<RefusalRow, ReadFailed> {
        let Value::String(sealed) = &row.headers else { return Ok(row) };
        let bound = refusal_row(&row.source, row.at.as_millis());
        let place = Place { tenant: &row.tenant, column: Column::Refusal, row: &bound };
        if text_sealed_by(sealed).is_none() {
            return Ok(row);
        }
        match self.open_text(&place, sealed.clone()).await? {
            Opened::Plain(text) => {
                let damaged = || SealError::Damaged { column: Column::Refusal };
                let mut whole: Value = serde_json::from_str(&text).map_err(|_| damaged())?;
                row.headers = whole["headers"].take();
                let Value::String(body) = whole["body"].take() else { return Err(damaged().into()) };
                row.body = body;
            }
            Opened::Erased => (row.headers, row.body) = (json!({}), ERASED.to_owned()),
        }
        Ok(row)
    }

    /// Opens bytes, as they were where they are plain.
    pub(super) async fn open_bytes(&self, place: &Place<'_>, value: Vec<u8>) -> Result<Opened<Vec<u8>>, ReadFailed> {
        if let Some(id) = value_sealed_by(&value) {
            self.learn(id).await?;
        }
        Ok(self.shared.ring.open(place, value)?)
    }

    /// Opens a text, as it was where it is plain.
    pub(super) async fn open_text(&self, place: &Place<'_>, text: String) -> Result<Opened<String>, ReadFailed> {
        if let Some(id) = text_sealed_by(&text) {
            self.learn(id).await?;
        }
        Ok(self.shared.ring.open_text(place, text)?)
    }

    /// Opens JSON.
    pub(super) async fn open_json(&self, place: &Place<'_>, text: Cow<'_, str>) -> Result<Opened<Value>, ReadFailed> {
        match self.open_text(place, text.into_owned()).await? {
            Opened::Plain(text) => {
                let value = serde_json::from_str(&text).map_err(|_| SealError::Damaged { column: place.column })?;
                Ok(Opened::Plain(value))
            }
            Opened::Erased => Ok(Opened::Erased),
        }
    }
}
