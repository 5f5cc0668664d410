//! Uploads: a sender of a source asks, with a request signed as its deliveries are, and gets leave to put
//! exactly the bytes that it named. An event refers to them by key.

use std::{sync::PoisonError, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sluice_actors::{
    domain::{ArtifactId, EventEnvelope, LaneKey, Timestamp},
    ports::StoreUnavailable,
};
use uuid::Uuid;

use super::{
    Added, Artifact, ArtifactError, Artifacts, BATCH, Exactly, Folder, Incoming, Key, Kind, Leave, ObjectError,
    Objects, PATIENCE, Quota, Removed, Use, Written,
};
use crate::api::records::Retention;

/// Characters of a media type at most.
const MAX_TYPE: usize = 127;
/// How long a request that began before its URL ended may still send bytes, for S3 looks at the time once: so long,
/// and what its length takes at the slowest that our own listener suffers.
const UNDER_WAY: Duration = Duration::from_hours(1);
/// Bytes a second.
pub const SLOWEST: u64 = 64 * 1024;

/// What a sender asks for: `{"upload":{"length":…,"type":"…","sha256":"…"}}`. The wrapping keeps such a
/// body from being an event of any vendor, and an event from being one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadAsk {
    upload: Asked,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    length: u64,
    #[serde(rename = "type")]
    media_type: String,
    sha256: String,
}

impl UploadAsk {
    /// What it asks leave for; none: it is not of the form.
    fn exactly(&self) -> Option<Exactly> {
        let Asked { length, media_type, sha256 } = &self.upload;
        let mut digest = [0; 32];
        let lower = !sha256.bytes().any(|byte| byte.is_ascii_uppercase());
        hex::decode_to_slice(sha256, &mut digest).ok().filter(|()| lower)?;
        (is_media_type(media_type) && *length > 0).then(|| Exactly {
            length: *length,
            media_type: media_type.clone(),
            digest,
        })
    }
}

/// `type/subtype`, without parameters (RFC 6838 §4.2).
fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.len() <= MAX_TYPE && text.split_once('/').is_some_and(|(kind, name)| is_name(kind) && is_name(name))
}

/// What a sender is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Promise {
    /// Always true.
    pub ok: bool,
    /// What an event names the upload by.
    pub key: String,
    /// Whether these bytes are there already: there is nothing to upload then.
    pub stored: bool,
    /// How to upload them; none if they are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<HowTo>,
}

/// How to upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HowTo {
    method: &'static str,
    url: String,
    headers: serde_json::Map<String, serde_json::Value>,
    expires_at: String,
}

/// Why a sender gets no leave.
#[derive(Debug, Clone)]
pub enum UploadRefused {
    /// It does not say what it would upload.
    Malformed,
    /// Larger than `artifacts.max_upload`.
    TooLarge,
    /// The tenant's uploads take as much as they may.
    Full,
    /// An upload of these bytes was removed, and a URL of it can still be used.
    Ending,
    /// A store does not answer.
    Unavailable(ArtifactError),
}

impl From<StoreUnavailable> for UploadRefused {
    fn from(error: StoreUnavailable) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<ObjectError> for UploadRefused {
    fn from(error: ObjectError) -> Self {
        Self::Unavailable(error.into())
    }
}

/// The id of an upload: the same for the same bytes of the same source on the same day. A request that is
/// sent again, by its sender or by who overheard it, leads to the same upload of the same bytes.
fn id(lane: &LaneKey, date: &str, exactly: &Exactly) -> ArtifactId {
    let parts = (lane.tenant.as_str(), lane.source.as_str(), date, &exactly.media_type, exactly.length, exactly.digest);
    let digest = Sha256::digest(serde_json::to_vec(&parts).expect("texts and numbers are JSON"));
    let bytes: [u8; 16] = std::array::from_fn(|at| digest[at]);
    ArtifactId::from_uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

impl Artifacts {
    /// Gives leave to upload. The request was verified as the source's own.
    ///
    /// # Errors
    /// Why not.
    pub async fn promise(&self, lane: &LaneKey, ask: &[u8]) -> Result<Promise, UploadRefused> {
        let ask = crate::json::parse_strict(ask).ok().and_then(|value| UploadAsk::deserialize(value).ok());
        let exactly = ask.as_ref().and_then(UploadAsk::exactly).ok_or(UploadRefused::Malformed)?;
        let settings = self.config.load().artifacts.clone();
        if exactly.length > settings.max_upload as u64 {
            return Err(UploadRefused::TooLarge);
        }
        let now = self.clock.now();
        let date = now.to_string();
        let artifact = Artifact {
            id: id(lane, &date[..10], &exactly),
            lane: lane.clone(),
            kind: Kind::Upload,
            event: None,
            job: None,
            subject: None,
            media_type: exactly.media_type.clone(),
            bytes: exactly.length,
            digest: exactly.digest,
            created_at: now,
            stored_at: None,
            delete_after: Some(now.plus(Retention::default().events)),
        };
        let quota = Quota { count: settings.uploads, bytes: settings.upload_bytes as u64 };
        let under_way = UNDER_WAY + Duration::from_secs(exactly.length / SLOWEST);
        let leave = Leave { quota, until: now.plus(settings.upload_ttl).plus(under_way) };
        let artifact = match self.register.add(artifact.clone(), Some(leave)).await? {
            Added::New => artifact,
            Added::Known(known) => *known,
            Added::Full => return Err(UploadRefused::Full),
            Added::Gone => return Err(UploadRefused::Ending),
        };
        let (key, stored) = (artifact.key(), artifact.stored_at.is_some());
        let upload = if stored {
            None
        } else {
            let ticket = self.objects.ticket(&key, &exactly, now, settings.upload_ttl).await?;
            let headers = ticket.headers.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            let expires_at = ticket.link.expires_at.to_string();
            Some(HowTo { method: "PUT", url: ticket.link.url, headers, expires_at })
        };
        Ok(Promise { ok: true, key: key.to_string(), stored, upload })
    }

    /// The folder that this gateway serves; none where objects lie elsewhere.
    pub fn folder(&self) -> Option<&Folder> {
        match &self.objects {
            Objects::Folder(folder) => Some(folder),
            #[cfg(feature = "aws")]
            Objects::S3(_) => None,
        }
    }

    /// Ends an upload into the folder. `false`: it is not what was promised.
    pub async fn received(&self, key: &Key, incoming: Incoming, exactly: &Exactly) -> Result<bool, ObjectError> {
        match incoming.finish(exactly).await {
            Ok(true) => {
                self.told(Written::Stored, exactly.length);
                match self.register.stored(key.id()).await {
                    Ok(true) => Ok(true),
                    // Erased meanwhile.
                    Ok(false) => self.objects.delete(key).await.map(|()| false),
                    Err(error) => {
                        // The object is there: who uses it looks at it.
                        tracing::warn!(id = %key.id(), %error, "an upload is stored, but not marked as such");
                        Ok(true)
                    }
                }
            }
            Ok(false) => {
                self.told(Written::Refused, 0);
                Ok(false)
            }
            Err(error) => {
                self.told(Written::Failed, 0);
                Err(error)
            }
        }
    }

    /// An upload that did not come to its end.
    pub async fn cut_off(&self, incoming: Incoming) {
        self.told(Written::Failed, 0);
        incoming.abort().await;
    }

    /// The upload that an event of a source refers to, if it is this source's, with its bytes in place.
    ///
    /// # Errors
    /// [`ObjectError::NotFound`]: it is promised, and its bytes have not come (yet).
    pub async fn used(&self, id: ArtifactId, event: &EventEnvelope) -> Result<Option<Artifact>, ArtifactError> {
        let used = Use {
            id,
            lane: event.lane.clone(),
            event: event.id,
            subject: event.subject_id.clone(),
            until: self.clock.now().plus(Retention::default().events),
        };
        let Some(artifact) = self.register.use_upload(used).await? else { return Ok(None) };
        let length = self.objects.length(&artifact.key()).await?;
        // Without this, a store that pins nothing would decide what an event refers to.
        if length != artifact.bytes {
            return Err(ObjectError::NotFound.into());
        }
        // A bucket tells nobody that they came.
        if artifact.stored_at.is_none() && !self.register.stored(id).await? {
            // Erased meanwhile.
            return Ok(None);
        }
        Ok(Some(artifact))
    }

    /// Looks whether the bytes came that nobody told of. What did not come takes no place any more.
    pub(super) async fn look_at_promises(&self, now: Timestamp) -> Result<Removed, StoreUnavailable> {
        let begin = || self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let from = begin().1;
        let promised = self.register.promised(now, from, BATCH).await?;
        let (is_full, mut last) = (promised.len() == BATCH, from);
        let (mut broken, mut failed, mut known) = (Vec::new(), Vec::new(), 0);
        for artifact in promised {
            last = artifact.id;
            match self.came(&artifact).await {
                Ok(true) => known += u64::from(self.register.stored(artifact.id).await?),
                Ok(false) => broken.push(artifact.id),
                Err(error) => failed.push(error),
            }
            if failed.len() == PATIENCE {
                break;
            }
        }
        let goes_on = !failed.is_empty() && (is_full || failed.len() == PATIENCE);
        begin().1 = if goes_on { last } else { ArtifactId::from_uuid(Uuid::nil()) };
        let rows = if broken.is_empty() { 0 } else { self.register.end_promises(broken, now).await? };
        Ok(Removed { rows, more: is_full && rows + known > 0, failed: failed.pop() })
    }

    /// Whether the object is there as it was promised; another one is removed.
    async fn came(&self, artifact: &Artifact) -> Result<bool, ObjectError> {
        match self.objects.length(&artifact.key()).await {
            Ok(length) if length == artifact.bytes => Ok(true),
            Ok(_) => self.objects.delete(&artifact.key()).await.map(|()| false),
            Err(ObjectError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exactly(text: &str) -> Option<Exactly> {
        let value = crate::json::parse_strict(text.as_bytes()).ok()?;
        UploadAsk::deserialize(value).ok()?.exactly()
    }

    #[test]
    fn an_upload_says_exactly_what_it_is() {
        let hash = "ab".repeat(32);
        let ask = |length: &str, media: &str, sha: &str| {
            exactly(&format!(r#"{{"upload":{{"length":{length},"type":"{media}","sha256":"{sha}"}}}}"#))
        };
        assert_eq!(
            ask("5", "image/svg+xml", &hash),
            Some(Exactly { length: 5, media_type: "image/svg+xml".to_owned(), digest: [0xab; 32] })
        );
        for (length, media, sha) in [
            ("0", "image/png", &*hash),
            ("-1", "image/png", &hash),
            ("1.5", "image/png", &hash),
            ("18446744073709551616", "image/png", &hash),
            ("5", "", &hash),
            ("5", "png", &hash),
            ("5", "image/", &hash),
            ("5", "image/png; charset=x", &hash),
            ("5", "image/png\\r\\nx: y", &hash),
            ("5", "text/html/x", &hash),
            ("5", &format!("image/{}", "x".repeat(130)), &hash),
            ("5", "image/png", "ab"),
            ("5", "image/png", &"AB".repeat(32)),
            ("5", "image/png", &"zz".repeat(32)),
        ] {
            assert_eq!(ask(length, media, sha), None, "{length} {media} {sha}");
        }
        for other in ["{}", "[]", "", r#"{"upload":{}}"#, r#"{"length":5,"type":"a/b","sha256":"00"}"#] {
            assert_eq!(exactly(other), None, "{other}");
        }
        let more = format!(r#"{{"upload":{{"length":5,"type":"a/b","sha256":"{hash}"}},"type":"invoice.paid"}}"#);
        assert_eq!(exactly(&more), None, "no event is an upload");
    }

    #[test]
    fn the_same_bytes_of_a_day_are_one_upload_and_of_another_source_another() {
        let lane = |source: &str| LaneKey::new("acme".parse().unwrap(), source.parse().unwrap());
        let of = |digest: u8| Exactly { length: 5, media_type: "a/b".to_owned(), digest: [digest; 32] };
        let first = id(&lane("pay"), "2026-11-24", &of(1));
        assert_eq!(first, id(&lane("pay"), "2026-11-24", &of(1)));
        assert_ne!(first, id(&lane("chat"), "2026-11-24", &of(1)));
        assert_ne!(first, id(&lane("pay"), "2026-11-25", &of(1)));
        assert_ne!(first, id(&lane("pay"), "2026-11-24", &of(2)));
    }
}
