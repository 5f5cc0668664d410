//! Artifacts: what is too large for a callback or must outlive the store lies in an object store, and
//! others get keys and signed URLs ([ADR 0022](../../docs/adr/0022-artifacts.md)).
//!
//! Order of all writing: row, object, mark that it is stored; order of all removing: object, row. A crash
//! in between leaves a row without an object, which retention removes, never an object that nobody knows.
//! Nothing here is called inside a transaction of the store or before a vendor's answer.

mod folder;
mod key;
mod objects;
mod register;
#[cfg(feature = "aws")]
mod s3;
mod uploads;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use sluice_actors::{
    domain::{ArtifactId, EventId, JobId, LaneKey, TenantName, Timestamp},
    ports::{Clock, StoreUnavailable},
};
use uuid::Uuid;

pub use folder::{Folder, Incoming, LinkRefused, Shown};
pub use key::{InvalidKey, Key, Kind};
pub use object_store::{GetRange, GetResult};
pub use objects::{Exactly, Link, ObjectError, Objects, Ticket};
pub use register::{Added, After, Artifact, ENDED_AT_ONCE, Leave, OldPayload, Quota, Register, Use};
pub use uploads::{Promise, SLOWEST, UploadAsk, UploadRefused};

use crate::{api::records::Scope, config::Live, ids};

/// Why an artifact could not be kept, opened or removed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ArtifactError {
    /// The store of rows.
    #[error("{0}")]
    Store(Arc<StoreUnavailable>),
    /// The store of objects.
    #[error(transparent)]
    Objects(#[from] ObjectError),
}

impl From<StoreUnavailable> for ArtifactError {
    fn from(error: StoreUnavailable) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// How writing an object ended, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It lies there.
    Stored,
    /// The object store did not take it, or it was cut off.
    Failed,
    /// It is not what was promised.
    Refused,
}

impl Written {
    /// All outcomes.
    pub const ALL: [Self; 3] = [Self::Stored, Self::Failed, Self::Refused];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// Told how each writing ended, and of how many bytes. Must return at once.
pub type Count = Arc<dyn Fn(&'static str, Written, u64) + Send + Sync>;

/// What an artifact of ours is to be.
#[derive(Debug, Clone)]
pub struct NewArtifact {
    /// Whose.
    pub lane: LaneKey,
    /// What.
    pub kind: Kind,
    /// Of which event.
    pub event: EventId,
    /// Of which job.
    pub job: Option<JobId>,
    /// Of which subject.
    pub subject: Option<String>,
    /// Its media type.
    pub media_type: &'static str,
    /// When it goes; none: with its event.
    pub delete_after: Option<Timestamp>,
}

/// How many artifacts one sweep removes.
const BATCH: usize = 100;
/// Objects that do not go before a sweep gives up.
const PATIENCE: usize = 5;
/// How long somebody who erases waits for objects to go; the sweeps remove the others.
const AT_ONCE: Duration = Duration::from_secs(10);

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Rows that are gone.
    pub rows: u64,
    /// Whether there may be more to do at once.
    pub more: bool,
    /// Why some objects are still there; they are tried again.
    pub failed: Option<ObjectError>,
}

/// All artifacts of this gateway.
pub struct Artifacts {
    objects: Objects,
    register: Arc<dyn Register>,
    config: Live,
    clock: Arc<dyn Clock>,
    count: Count,
    /// Where the next sweep begins: after objects that do not go, so that they keep no others; after uploads of
    /// which the object store does not say whether they came.
    from: Mutex<(After, ArtifactId)>,
}

impl Artifacts {
    /// Where the configuration says. `origin`: the public listener's, where it has no `public_url`.
    pub fn new(config: Live, register: Arc<dyn Register>, clock: Arc<dyn Clock>, origin: String, count: Count) -> Self {
        let live = config.clone();
        let objects = Objects::new(&config.load().artifacts.place, move || {
            let url = live.load().edge.public_url.clone();
            url.map_or_else(|| origin.clone(), |url| url.as_str().trim_end_matches('/').to_owned())
        });
        Self {
            objects,
            register,
            config,
            clock,
            count,
            from: Mutex::new((After::FIRST, ArtifactId::from_uuid(Uuid::nil()))),
        }
    }

    /// Where objects lie.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The rows.
    pub fn register(&self) -> &dyn Register {
        &*self.register
    }

    /// The settings in force.
    pub fn config(&self) -> &Live {
        &self.config
    }

    fn told(&self, written: Written, bytes: u64) {
        (self.count)(self.objects.backend(), written, bytes);
    }

    /// Keeps what we made.
    pub async fn keep(&self, new: NewArtifact, content: Bytes) -> Result<Artifact, ArtifactError> {
        let now = self.clock.now();
        let NewArtifact { lane, kind, event, job, subject, media_type, delete_after } = new;
        let mut artifact = Artifact {
            id: ids::artifact_id(now),
            lane,
            kind,
            event: Some(event),
            job,
            subject,
            media_type: media_type.to_owned(),
            bytes: content.len() as u64,
            digest: Sha256::digest(&content).into(),
            created_at: now,
            stored_at: None,
            delete_after,
        };
        match self.register.add(artifact.clone(), None).await? {
            Added::New | Added::Known(_) => {}
            // Erased while it was made.
            Added::Gone | Added::Full => return Err(ObjectError::NotFound.into()),
        }
        if let Err(error) = self.objects.put(&artifact.key(), media_type, content).await {
            self.told(Written::Failed, 0);
            return Err(error.into());
        }
        self.told(Written::Stored, artifact.bytes);
        if !self.register.stored(artifact.id).await? {
            self.objects.delete(&artifact.key()).await?;
            return Err(ObjectError::NotFound.into());
        }
        artifact.stored_at = Some(now);
        Ok(artifact)
    }

    /// One of a tenant's artifacts.
    pub async fn find(&self, tenant: &TenantName, id: ArtifactId) -> Result<Option<Artifact>, ArtifactError> {
        Ok(self.register.artifact(&Scope::Tenants(vec![tenant.clone()]), id).await?)
    }

    /// A fresh URL of an artifact.
    pub async fn link(&self, artifact: &Artifact) -> Result<Link, ObjectError> {
        let ttl = self.config.load().artifacts.link_ttl;
        self.objects.link(&artifact.key(), &artifact.media_type, self.clock.now(), ttl).await
    }

    /// An archived payload, opened where it is sealed. None: its key was erased. It has no URL: what is sealed
    /// can only be opened here.
    pub async fn payload(&self, artifact: &Artifact) -> Result<Option<Bytes>, ArtifactError> {
        let bytes = self.objects.get(&artifact.key()).await?;
        Ok(self.register.opened(artifact, bytes).await?)
    }

    /// Removes artifacts whose time is over at `now`, those of erased tenants, and promises that were not kept.
    ///
    /// # Errors
    /// The store of rows. What the object store does not do is in [`Removed::failed`].
    pub async fn sweep(&self, now: Timestamp) -> Result<Removed, StoreUnavailable> {
        while self.register.end_erased(now).await? as usize == ENDED_AT_ONCE {}
        let promises = self.look_at_promises(now).await?;
        let expired = self.remove_expired(now).await?;
        Ok(Removed {
            rows: promises.rows + expired.rows,
            more: promises.more || expired.more,
            failed: promises.failed.or(expired.failed),
        })
    }

    /// Removes what was erased just now, as far as that is soon done; the sweeps remove the rest.
    pub async fn remove_erased(&self, now: Timestamp) {
        let all = async {
            loop {
                let removed = self.sweep(now).await?;
                if let Some(error) = removed.failed {
                    tracing::warn!(%error, "objects that were erased go later");
                }
                if !removed.more {
                    return Ok::<_, StoreUnavailable>(());
                }
            }
        };
        match tokio::time::timeout(AT_ONCE, all).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "artifacts that were erased go later"),
            Err(_) => tracing::info!("artifacts that were erased are being removed"),
        }
    }

    async fn remove_expired(&self, now: Timestamp) -> Result<Removed, StoreUnavailable> {
        let begin = || self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let from = begin().0;
        let expired = self.register.expired(now, from, BATCH).await?;
        let (is_full, mut last) = (expired.len() == BATCH, from);
        let mut gone: Vec<ArtifactId> = Vec::with_capacity(expired.len());
        let mut failed = Vec::new();
        for artifact in expired {
            last = After(artifact.delete_after.unwrap_or(now), artifact.id);
            match self.objects.delete(&artifact.key()).await {
                Ok(()) => gone.push(artifact.id),
                // One that stays does not keep the others; a store that is away is not asked for each.
                Err(error) => failed.push(error),
            }
            if failed.len() == PATIENCE {
                break;
            }
        }
        let goes_on = !failed.is_empty() && (is_full || failed.len() == PATIENCE);
        begin().0 = if goes_on { last } else { After::FIRST };
        let more = is_full && !gone.is_empty();
        let rows = if gone.is_empty() { 0 } else { self.register.forget(gone, now).await? };
        Ok(Removed { rows, more, failed: failed.pop() })
    }

    /// Archives payloads that retention is about to remove, one after the other.
    pub async fn archive(&self, events: &[EventId], keep_for: Duration) -> Result<u64, ArtifactError> {
        let mut archived = 0;
        for event in events {
            let Some(payload) = self.register.old_payload(*event).await? else { continue };
            let new = NewArtifact {
                lane: payload.lane.clone(),
                kind: Kind::Payload,
                event: payload.event,
                job: None,
                subject: payload.subject.clone(),
                media_type: "application/octet-stream",
                delete_after: Some(self.clock.now().plus(keep_for)),
            };
            match self.keep(new, archived_bytes(&payload)).await {
                Ok(_) => archived += 1,
                Err(ArtifactError::Objects(ObjectError::NotFound)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(archived)
    }
}

/// The bytes of an archived payload: as they are stored, so that what is sealed stays so and ends with its key.
fn archived_bytes(payload: &OldPayload) -> Bytes {
    payload.raw.clone()
}
