//! The data keys of the database: made, wrapped anew, erased, and followed where other nodes do so.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use sluice_actors::{domain::Timestamp, ports::StoreUnavailable};
use uuid::Uuid;

use super::{
    Store,
    batch::Batch,
    command::Command,
    jobs::ReadFailed,
    people,
    rows::{BadRow, Reader, Row},
    sql::sql,
    value::values,
};
use crate::{
    api::{
        encryption::{DataKeyRow, DataKeys, SealStep},
        records::AuditEntry,
    },
    ids,
    seal::{DataKey, Encryption, Held, SealError, StoredKey},
};

/// By how much the clocks of two nodes may differ for one to see what the other erased.
const SKEW: Duration = Duration::from_hours(1);

/// A change of data keys.
#[derive(Debug)]
pub(super) enum KeyChange {
    /// A new one.
    Insert(StoredKey),
    /// One that is wrapped by another key from now on: its id, who wrapped it before, and the new form.
    Rewrap(Vec<(Uuid, String, StoredKey)>),
    /// All of a tenant are gone.
    Erase {
        /// Whose.
        tenant: String,
    },
}

/// Changes data keys, with the line of the audit. Returns which were changed.
pub(super) async fn change(
    batch: &mut Batch<'_>,
    change: &KeyChange,
    entry: Option<&AuditEntry>,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let mut changed = Vec::new();
    match change {
        KeyChange::Insert(key) => {
            let (tenant, wrapped_by) = (key.tenant.as_str(), key.wrapped_by.as_str());
            let values = values![key.id, tenant, key.wrapped.as_deref(), wrapped_by, key.created_at];
            batch.execute(sql!("insert_data_key"), values).await?;
            changed.push(key.id);
        }
        KeyChange::Rewrap(keys) => {
            for (id, was, key) in keys {
                let values = values![*id, was.as_str(), key.wrapped.as_deref(), key.wrapped_by.as_str()];
                if batch.execute(sql!("rewrap_data_key"), values).await? > 0 {
                    changed.push(*id);
                }
            }
        }
        KeyChange::Erase { tenant } => {
            for row in batch.fetch(sql!("erase_data_keys"), values![tenant.as_str(), batch.now]).await? {
                changed.push(Reader::new(&row, "data_keys", "id").get("id")?);
            }
        }
    }
    // That data keys are wrapped by the newest key already is an answer, too, to who ordered it.
    if let Some(entry) = entry.filter(|_| !changed.is_empty() || matches!(change, KeyChange::Rewrap(_))) {
        people::audit(batch, entry).await?;
    }
    Ok(changed)
}

/// A data key as it stands in its row.
pub(super) fn stored_key(row: &Row) -> Result<StoredKey, BadRow> {
    let row = Reader::new(row, "data_keys", "id");
    Ok(StoredKey {
        id: row.get("id")?,
        tenant: row.get("tenant")?,
        wrapped: row.opt("wrapped")?,
        wrapped_by: row.get("wrapped_by")?,
        created_at: row.time("created_at")?,
        erased_at: row.time_or_none("erased_at")?,
    })
}

/// Why the keys of a configuration are not put into force.
#[derive(Debug, thiserror::Error)]
pub enum KeysRefused {
    /// What is kept of a tenant is sealed, and its file names no key.
    #[error(
        "tenant {tenant}: {keys} data keys of it are in the database, but its file has no [encryption]: name its key \
         there, with `seal = false` where new rows are to be plain, or erase its keys, and its artifacts with them, with `sluice encryption erase {tenant}`"
    )]
    NoKeys {
        /// Whose.
        tenant: String,
        /// How many.
        keys: usize,
    },
    /// No key that its file names opens a data key.
    #[error("{0}")]
    Locked(SealError),
    /// The database does not answer.
    #[error("{0}")]
    Unavailable(String),
}

impl From<StoreUnavailable> for KeysRefused {
    fn from(error: StoreUnavailable) -> Self {
        Self::Unavailable(error.0)
    }
}

impl Store {
    async fn stored_keys(&self, tenant: Option<&str>) -> Result<Vec<StoredKey>, ReadFailed> {
        let rows = self.worker_rows(sql!("data_keys"), values![tenant]).await?;
        Ok(rows.iter().map(stored_key).collect::<Result<_, _>>()?)
    }

    async fn change_keys(&self, change: KeyChange, audit: Option<AuditEntry>) -> Result<Vec<Uuid>, StoreUnavailable> {
        let change = Box::new(change);
        Ok(self.shared.writer.submit(|reply| Command::ChangeKeys { change, audit, reply }).await?)
    }

    /// Puts the keys of a configuration into force: all tenants that it has, those without keys too. Data keys that
    /// another key than the first wraps are wrapped anew; payloads are not touched.
    ///
    /// # Errors
    /// A data key that they do not open, and then nothing changed.
    pub async fn use_keys(&self, tenants: BTreeMap<String, Option<Arc<Encryption>>>) -> Result<(), KeysRefused> {
        let stored = self.stored_keys(None).await.map_err(StoreUnavailable::from)?;
        let live = |tenant: &str| stored.iter().filter(|key| key.tenant == *tenant && key.wrapped.is_some()).count();
        let mut settings = BTreeMap::new();
        for (tenant, encryption) in tenants {
            match encryption {
                Some(encryption) => drop(settings.insert(tenant, encryption)),
                None if live(&tenant) == 0 => {}
                None => return Err(KeysRefused::NoKeys { keys: live(&tenant), tenant }),
            }
        }
        // What is under way for a tenant whose file is gone is sealed to its end.
        for key in stored.iter().filter(|key| key.wrapped.is_some()) {
            if let Some(former) = self.shared.ring.encryption(&key.tenant) {
                settings.entry(key.tenant.clone()).or_insert(former);
            }
        }
        let mut changes = Vec::new();
        for key in &stored {
            if let Some(encryption) = settings.get(&key.tenant) {
                changes.extend(wrapped_anew(encryption, key).map_err(KeysRefused::Locked)?);
            }
        }
        self.shared.ring.configure(settings);
        if !changes.is_empty() {
            match self.change_keys(KeyChange::Rewrap(changes), None).await {
                Ok(rewrapped) => tracing::info!(keys = rewrapped.len(), "data keys are wrapped by the newest key"),
                // They open all the same; `sluice encryption status` says which key still wraps.
                Err(error) => tracing::warn!(%error, "data keys stay wrapped by an older key until the next reload"),
            }
        }
        Ok(())
    }

    /// Takes over what other nodes erased and made since `since`, which is the last time that this was done.
    pub async fn follow_keys(&self, since: Timestamp) -> Result<(), StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.worker_rows(sql!("data_keys_since"), values![since.minus(SKEW)]).await?;
            Ok(rows.iter().map(stored_key).collect::<Result<Vec<_>, _>>()?)
        };
        for key in read().await? {
            match key.wrapped {
                Some(_) => self.shared.ring.supersede(&key.tenant, key.id),
                None => self.shared.ring.erase(&[key.id]),
            }
        }
        Ok(())
    }

    /// Forgets all data keys, because nobody can say which were erased meanwhile; they are read again when they are
    /// needed.
    pub fn forget_keys(&self) {
        self.shared.ring.forget();
    }

    /// Whether anything of any tenant may be sealed.
    pub fn has_keys(&self) -> bool {
        self.shared.ring.is_used()
    }

    /// The data key by which new rows of a tenant are sealed; `None` where they are plain. A tenant without one gets
    /// its first.
    pub(super) async fn sealing_key(&self, tenant: &str) -> Result<Option<Arc<DataKey>>, StoreUnavailable> {
        let ring = &self.shared.ring;
        let Some(encryption) = ring.encryption(tenant).filter(|encryption| encryption.seal) else { return Ok(None) };
        if let Some(key) = ring.active(tenant) {
            return Ok(Some(key));
        }
        let _one = self.shared.making_keys.lock().await;
        if let Some(key) = ring.active(tenant) {
            return Ok(Some(key));
        }
        let stored = self.stored_keys(Some(tenant)).await?;
        if let Some(newest) = stored.iter().rev().find(|key| key.wrapped.is_some())
            && let Held::Key(key) = ring.take(newest).map_err(ReadFailed::from)?
        {
            ring.activate(tenant, &key);
            return Ok(Some(key));
        }
        self.make_key(tenant, &encryption, &stored, None).await.map(Some)
    }

    async fn make_key(
        &self,
        tenant: &str,
        encryption: &Encryption,
        stored: &[StoredKey],
        audit: Option<AuditEntry>,
    ) -> Result<Arc<DataKey>, StoreUnavailable> {
        let now = self.shared.clock.now();
        let made = || -> Result<_, SealError> {
            let key = DataKey::new(ids::data_key_id(made_at(now, stored)))?;
            let by = encryption.first().ok_or(SealError::Random)?;
            let wrapped = Some(by.wrap(tenant, &key)?);
            let (tenant, wrapped_by) = (tenant.to_owned(), by.fingerprint().to_owned());
            let stored = StoredKey { tenant, id: key.id(), wrapped, wrapped_by, created_at: now, erased_at: None };
            Ok((key, stored))
        };
        let (key, stored) = made().map_err(|error| StoreUnavailable(error.to_string()))?;
        self.change_keys(KeyChange::Insert(stored), audit).await?;
        let key = Arc::new(key);
        self.shared.ring.activate(tenant, &key);
        tracing::info!(tenant, key = %key.id(), "a data key was made");
        Ok(key)
    }

    /// Takes a data key of the database into use, unless it is known.
    pub(super) async fn learn(&self, id: Uuid) -> Result<(), ReadFailed> {
        if self.shared.ring.held(id).is_some() {
            return Ok(());
        }
        let rows = self.worker_rows(sql!("data_key"), values![id]).await?;
        if let Some(row) = rows.first() {
            self.shared.ring.take(&stored_key(row)?)?;
        }
        Ok(())
    }
}

/// When a new key of a tenant is said to be made. The newest key is the one with the greatest id, so it comes after
/// all that there are, also after those of a node whose clock is ahead.
fn made_at(now: Timestamp, stored: &[StoredKey]) -> Timestamp {
    let made = |id: Uuid| {
        let (seconds, nanos) = id.get_timestamp()?.to_unix();
        i64::try_from(seconds * 1000 + u64::from(nanos / 1_000_000)).ok().map(Timestamp::from_millis)
    };
    let newest = stored.iter().filter_map(|key| made(key.id)).max();
    newest.map_or(now, |newest| now.max(newest.plus(Duration::from_millis(1))))
}

/// A data key, wrapped by the first key of the tenant, where another one wraps it.
fn wrapped_anew(encryption: &Encryption, stored: &StoredKey) -> Result<Option<(Uuid, String, StoredKey)>, SealError> {
    let Some(wrapped) = &stored.wrapped else { return Ok(None) };
    let (tenant, id) = (&stored.tenant, stored.id);
    let key = encryption.keys.iter().find_map(|key| key.unwrap(tenant, id, wrapped));
    let locked = || SealError::Locked { tenant: tenant.clone(), id, wrapped_by: stored.wrapped_by.clone() };
    let key = key.ok_or_else(locked)?;
    let first = encryption.first().ok_or_else(locked)?;
    if stored.wrapped_by == first.fingerprint() {
        return Ok(None);
    }
    let wrapped = Some(first.wrap(tenant, &key)?);
    let anew = StoredKey { wrapped, wrapped_by: first.fingerprint().to_owned(), ..stored.clone() };
    Ok(Some((id, stored.wrapped_by.clone(), anew)))
}

#[async_trait]
impl DataKeys for Store {
    async fn data_keys(&self, tenant: Option<&str>) -> Result<Vec<DataKeyRow>, StoreUnavailable> {
        let stored = self.stored_keys(tenant).await?;
        Ok(stored
            .into_iter()
            .map(|key| DataKeyRow {
                id: key.id,
                tenant: key.tenant,
                wrapped_by: key.wrapped_by,
                created_at: key.created_at,
                erased_at: key.erased_at,
            })
            .collect())
    }

    async fn rewrap(&self, tenant: &str, audit: AuditEntry) -> Result<u64, StoreUnavailable> {
        let Some(encryption) = self.shared.ring.encryption(tenant) else { return Ok(0) };
        let anew = |key: &StoredKey| wrapped_anew(&encryption, key).transpose();
        let stored = self.stored_keys(Some(tenant)).await?;
        let changes: Result<Vec<_>, _> = stored.iter().filter_map(anew).collect();
        let changes = changes.map_err(ReadFailed::from)?;
        Ok(self.change_keys(KeyChange::Rewrap(changes), Some(audit)).await?.len() as u64)
    }

    async fn rotate(&self, tenant: &str, audit: AuditEntry) -> Result<Option<Uuid>, StoreUnavailable> {
        let Some(encryption) = self.shared.ring.encryption(tenant).filter(|it| it.seal) else { return Ok(None) };
        let _one = self.shared.making_keys.lock().await;
        let stored = self.stored_keys(Some(tenant)).await?;
        Ok(Some(self.make_key(tenant, &encryption, &stored, Some(audit)).await?.id()))
    }

    async fn erase_keys(&self, tenant: &str, audit: AuditEntry) -> Result<u64, StoreUnavailable> {
        let change = KeyChange::Erase { tenant: tenant.to_owned() };
        match self.change_keys(change, Some(audit)).await {
            Ok(erased) => {
                self.shared.ring.erase(&erased);
                Ok(erased.len() as u64)
            }
            Err(error) => {
                // They may be gone all the same: what is there is read again.
                self.shared.ring.forget();
                Err(error)
            }
        }
    }

    async fn seal_step(&self, tenant: &str, cursor: Option<&str>, dry_run: bool) -> Result<SealStep, StoreUnavailable> {
        self.seal_rows(tenant, cursor, dry_run).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_the_newest_also_where_another_nodes_clock_is_ahead() {
        let now = Timestamp::from_secs(1_795_507_205);
        // Not by `ids`: its ids of one process come after all that other tests made.
        let ahead = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1_795_510_805, 0));
        let (tenant, wrapped_by) = ("acme".to_owned(), String::new());
        let stored = StoredKey { tenant, id: ahead, wrapped: None, wrapped_by, created_at: now, erased_at: None };
        assert_eq!(made_at(now, &[]), now);
        let after = made_at(now, std::slice::from_ref(&stored));
        assert_eq!(after, Timestamp::from_millis(1_795_510_805_001));
        assert!(ids::data_key_id(after) > ahead);
        let later = Timestamp::from_secs(1_795_520_000);
        assert_eq!(made_at(later, &[stored]), later);
    }
}
