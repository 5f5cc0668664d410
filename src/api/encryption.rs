//! Encryption at rest: which keys there are, and what is done about them. Never a key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sluice_actors::{
    domain::{TenantName, Timestamp},
    ports::StoreUnavailable,
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Api, ApiError,
    access::{Allowed, HandleKeys, See},
    answer::{Json, Rows},
    events::Reason,
    records::AuditEntry,
    request::{Body, Call},
};
use crate::{config::Config, seal::Encryption};

/// The data keys of the store.
#[async_trait]
pub trait DataKeys: Send + Sync + 'static {
    /// The data keys of a tenant, or of all, oldest first.
    async fn data_keys(&self, tenant: Option<&str>) -> Result<Vec<DataKeyRow>, StoreUnavailable>;
    /// Wraps those of a tenant by its newest wrapping key that another one wraps. Returns how many.
    async fn rewrap(&self, tenant: &str, audit: AuditEntry) -> Result<u64, StoreUnavailable>;
    /// Makes a new data key for what a tenant sends from now on. `None`: nothing of it is sealed.
    async fn rotate(&self, tenant: &str, audit: AuditEntry) -> Result<Option<Uuid>, StoreUnavailable>;
    /// Erases the data keys of a tenant, and by that all that they sealed. Returns how many.
    async fn erase_keys(&self, tenant: &str, audit: AuditEntry) -> Result<u64, StoreUnavailable>;
    /// Looks at a bounded part of a tenant's rows from `cursor` on, and seals the plain ones unless it is a dry run.
    async fn seal_step(&self, tenant: &str, cursor: Option<&str>, dry_run: bool) -> Result<SealStep, StoreUnavailable>;
}

/// A data key, without the key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DataKeyRow {
    /// Its id, which stands in every value that it sealed.
    #[schema(value_type = String)]
    pub id: Uuid,
    /// Whose.
    pub tenant: String,
    /// The fingerprint of the key that wraps it.
    pub wrapped_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was erased.
    pub erased_at: Option<Timestamp>,
}

/// A wrapping key, by its reference.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WrappingKeyView {
    /// The reference that names it.
    pub reference: String,
    /// Which key is there.
    pub fingerprint: String,
    /// Data keys that it wraps.
    pub wraps: usize,
    /// Whether it may be taken out of the configuration: another one wraps, and it wraps nothing.
    pub safe_to_remove: bool,
}

/// A tenant's keys.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EncryptionView {
    /// The tenant.
    pub tenant: String,
    /// Whether new rows are sealed.
    pub seals: bool,
    /// Its wrapping keys, newest first.
    pub wrapping_keys: Vec<WrappingKeyView>,
    /// Its data keys, oldest first.
    pub data_keys: Vec<DataKeyRow>,
}

impl EncryptionView {
    fn new(tenant: String, encryption: Option<&Arc<Encryption>>, data_keys: Vec<DataKeyRow>) -> Self {
        let keys = encryption.map_or(&[][..], |encryption| &encryption.keys[..]);
        let wrapping_keys = keys.iter().enumerate().map(|(nth, key)| {
            let wrapped = |row: &&DataKeyRow| row.erased_at.is_none() && row.wrapped_by == key.fingerprint();
            let wraps = data_keys.iter().filter(wrapped).count();
            WrappingKeyView {
                reference: key.reference().to_owned(),
                fingerprint: key.fingerprint().to_owned(),
                wraps,
                safe_to_remove: nth > 0 && wraps == 0,
            }
        });
        let wrapping_keys = wrapping_keys.collect();
        Self { tenant, seals: encryption.is_some_and(|encryption| encryption.seal), wrapping_keys, data_keys }
    }
}

/// What a step of sealing found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SealStep {
    /// Hand it back for the next step; none at the end.
    pub next: Option<String>,
    /// Rows that were sealed before.
    pub sealed: u64,
    /// Rows that were plain.
    pub plain: u64,
    /// Of those, how many are sealed now.
    pub newly_sealed: u64,
    /// How far it has come, of `total`.
    pub done: u64,
    /// Where it ends.
    pub total: u64,
}

/// Which step.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = SealRows)]
pub struct Seal {
    /// From the last step; none begins.
    pub cursor: Option<String>,
    /// Only count.
    pub dry_run: bool,
    /// Why.
    pub reason: Option<String>,
}

/// How many data keys were changed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeysChanged {
    /// How many.
    pub keys: u64,
}

/// The data key that seals from now on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyMade {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Uuid,
}

pub(super) async fn list(api: Arc<Api>, who: Allowed<See>, _: Call<()>) -> Result<Rows<EncryptionView>, ApiError> {
    let config = api.config.load_full();
    let stored = api.keys.data_keys(None).await?;
    let mut views = Vec::new();
    for (name, tenant) in config.tenants.iter().filter(|(name, _)| who.scope().holds(name)) {
        let keys: Vec<_> = stored.iter().filter(|key| key.tenant == name.as_str()).cloned().collect();
        if tenant.encryption.is_some() || !keys.is_empty() {
            views.push(EncryptionView::new(name.to_string(), tenant.encryption.as_ref(), keys));
        }
    }
    Ok(Rows(views))
}

/// The tenant that the path names, if the caller sees it and it is configured.
fn named<P: super::access::Permission, T>(
    config: &Config,
    who: &Allowed<P>,
    call: &Call<T>,
) -> Result<TenantName, ApiError> {
    let tenant: TenantName = call.parameter(0)?;
    if who.scope().holds(&tenant) && config.tenants.contains_key(&tenant) {
        return Ok(tenant);
    }
    Err(ApiError::NotFound("no such tenant".to_owned()))
}

/// Its keys, which it must have.
fn keys_of(config: &Config, tenant: &TenantName) -> Result<Arc<Encryption>, ApiError> {
    let encryption = config.tenants.get(tenant).and_then(|tenant| tenant.encryption.clone());
    encryption.ok_or_else(|| ApiError::Conflict(format!("the file of tenant {tenant} has no [encryption]")))
}

pub(super) async fn rewrap(
    api: Arc<Api>,
    who: Allowed<HandleKeys>,
    call: Call<Body<Reason>>,
) -> Result<Json<KeysChanged>, ApiError> {
    let config = api.config.load_full();
    let tenant = named(&config, &who, &call)?;
    keys_of(&config, &tenant)?;
    let audit = who.acts("encryption.rewrap", Some(tenant.as_str()), "data keys", call.input.0.text());
    Ok(Json(KeysChanged { keys: api.keys.rewrap(tenant.as_str(), audit).await? }))
}

pub(super) async fn rotate(
    api: Arc<Api>,
    who: Allowed<HandleKeys>,
    call: Call<Body<Reason>>,
) -> Result<Json<KeyMade>, ApiError> {
    let config = api.config.load_full();
    let tenant = named(&config, &who, &call)?;
    keys_of(&config, &tenant)?;
    let audit = who.acts("encryption.rotate", Some(tenant.as_str()), "data keys", call.input.0.text());
    let made = api.keys.rotate(tenant.as_str(), audit).await?;
    let id = made.ok_or_else(|| ApiError::Conflict(format!("new rows of tenant {tenant} are not sealed")))?;
    Ok(Json(KeyMade { id }))
}

pub(super) async fn erase(
    api: Arc<Api>,
    who: Allowed<HandleKeys>,
    call: Call<Body<Reason>>,
) -> Result<Json<KeysChanged>, ApiError> {
    // Of a tenant whose file is gone, too: that is when it may be asked for.
    let tenant: TenantName = call.parameter(0)?;
    if !who.scope().holds(&tenant) {
        return Err(ApiError::NotFound("no such tenant".to_owned()));
    }
    let audit = who.acts("encryption.erase", Some(tenant.as_str()), "data keys", call.input.0.text());
    let keys = api.keys.erase_keys(tenant.as_str(), audit).await?;
    if keys == 0 {
        return Err(ApiError::Conflict(format!("tenant {tenant} has no data key")));
    }
    api.remove_erased().await;
    Ok(Json(KeysChanged { keys }))
}

pub(super) async fn seal(
    api: Arc<Api>,
    who: Allowed<HandleKeys>,
    call: Call<Body<Seal>>,
) -> Result<Json<SealStep>, ApiError> {
    let config = api.config.load_full();
    let tenant = named(&config, &who, &call)?;
    let Seal { cursor, dry_run, reason } = call.input.0;
    if !dry_run {
        if !keys_of(&config, &tenant)?.seal {
            return Err(ApiError::Conflict(format!("`seal` is off in the [encryption] of tenant {tenant}")));
        }
        if !api.sealing.goes_on(&tenant, cursor.as_deref()) {
            // The order; what it changes is not what a row means.
            let reason = reason.unwrap_or_default();
            api.records.audit(who.acts("encryption.seal", Some(tenant.as_str()), "rows", &reason)).await?;
        }
    }
    let step = api.keys.seal_step(tenant.as_str(), cursor.as_deref(), dry_run).await?;
    if !dry_run {
        api.sealing.keep(tenant, step.next.clone());
    }
    Ok(Json(step))
}

/// Where the sealing of each tenant goes on that somebody ordered here: its steps are one act in the audit. One that
/// begins anywhere else is an order of its own.
#[derive(Debug, Default)]
pub struct Sealing(Mutex<HashMap<TenantName, String>>);

impl Sealing {
    fn goes_on(&self, tenant: &TenantName, cursor: Option<&str>) -> bool {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        cursor.is_some() && next.as_deref() == cursor
    }

    fn keep(&self, tenant: TenantName, next: Option<String>) {
        if let Some(next) = next {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant, next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::WrappingKey;

    #[test]
    fn a_key_may_go_once_another_wraps_all() {
        let key = |byte: u8| {
            let text = format!("{}a5", hex::encode([byte; 31]));
            WrappingKey::parse(text.as_bytes(), format!("env:KEY{byte}")).unwrap()
        };
        let row = |by: &WrappingKey, erased| DataKeyRow {
            id: Uuid::from_u128(1),
            tenant: "acme".into(),
            wrapped_by: by.fingerprint().into(),
            created_at: Timestamp::from_secs(1),
            erased_at: erased,
        };
        let safe = |rows| {
            let encryption = Arc::new(Encryption { keys: vec![key(2), key(1)], seal: true });
            let view = EncryptionView::new("acme".into(), Some(&encryption), rows);
            view.wrapping_keys.iter().map(|key| (key.wraps, key.safe_to_remove)).collect::<Vec<_>>()
        };
        assert_eq!(safe(vec![row(&key(1), None), row(&key(2), None)]), [(1, false), (1, false)]);
        assert_eq!(
            safe(vec![row(&key(2), None), row(&key(1), Some(Timestamp::from_secs(2)))]),
            [(1, false), (0, true)]
        );
        assert_eq!(safe(Vec::new()), [(0, false), (0, true)], "the first stays: it wraps what comes");
    }
}
