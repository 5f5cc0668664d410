//! Where objects lie: a folder of this machine, or a bucket that speaks S3. Whoever asks for an object's
//! bytes gets a signed URL that ends by itself; the bytes do not pass through a job or a callback.

use std::time::Duration;

use bytes::Bytes;
use object_store::{
    Attribute, Attributes, ObjectStore, ObjectStoreExt as _, PutOptions, PutPayload, path::Path as ObjectPath,
};
use sluice_actors::domain::Timestamp;

use super::{Folder, Key, Kind};
use crate::{config::ArtifactPlace, ids};

/// Why an object store did not do what it was asked for. Never carries a key, a URL or its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("the object is not there")]
    NotFound,
    /// It does not let us.
    #[error("the object store refuses our credentials")]
    Refused,
    /// It cannot be reached, or cannot take what it is given.
    #[error("the object store is unavailable: {0}")]
    Unavailable(&'static str),
}

impl From<object_store::Error> for ObjectError {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error;
        match error {
            Error::NotFound { .. } => Self::NotFound,
            Error::Unauthenticated { .. } | Error::PermissionDenied { .. } => Self::Refused,
            Error::JoinError { .. } => Self::Unavailable("its work was cut off"),
            _ => Self::Unavailable("no answer, or none that makes sense"),
        }
    }
}

/// A URL that opens an object for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The URL. It is a capability: it goes to whom it is for, and into no log.
    pub url: String,
    /// Until when.
    pub expires_at: Timestamp,
}

/// What an upload must be, exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exactly {
    /// Its length in bytes.
    pub length: u64,
    /// Its media type.
    pub media_type: String,
    /// Its SHA-256.
    pub digest: [u8; 32],
}

/// Leave to upload one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Where to `PUT` it.
    pub link: Link,
    /// The headers that must be sent with it, as they are.
    pub headers: Vec<(&'static str, String)>,
}

/// An object store.
pub enum Objects {
    /// A folder, served by the gateway.
    Folder(Folder),
    /// A bucket.
    #[cfg(feature = "aws")]
    S3(Box<super::s3::S3>),
}

impl Objects {
    /// The store of a place. `origin`: the public listener's, asked anew for each URL.
    pub fn new(place: &ArtifactPlace, origin: impl Fn() -> String + Send + Sync + 'static) -> Self {
        match place {
            ArtifactPlace::Folder(dir) => Self::Folder(Folder::new(dir.clone(), origin)),
            #[cfg(feature = "aws")]
            ArtifactPlace::Bucket(bucket) => Self::S3(Box::new(super::s3::S3::new(bucket.clone()))),
        }
    }

    /// Writes, reads, signs and removes a probe.
    pub async fn probe(&self, now: Timestamp) -> Result<(), ObjectError> {
        let tenant = "sluice-probe".parse().expect("a name");
        let key = Key::new(tenant, Kind::Result, now, ids::artifact_id(now));
        self.put(&key, "text/plain", Bytes::from_static(b"probe")).await?;
        let read = self.get(&key).await;
        let signed = self.link(&key, "text/plain", now, Duration::from_secs(60)).await;
        self.delete(&key).await?;
        signed?;
        if read? == "probe"[..] { Ok(()) } else { Err(ObjectError::Unavailable("it gives back other bytes")) }
    }

    /// The word for it in metrics: `folder` or `s3`.
    pub fn backend(&self) -> &'static str {
        match self {
            Self::Folder(_) => "folder",
            #[cfg(feature = "aws")]
            Self::S3(_) => "s3",
        }
    }

    /// Who is called.
    pub fn host(&self) -> &str {
        match self {
            Self::Folder(_) => "folder",
            #[cfg(feature = "aws")]
            Self::S3(s3) => s3.host(),
        }
    }

    async fn client(&self) -> Result<std::sync::Arc<dyn ObjectStore>, ObjectError> {
        match self {
            Self::Folder(folder) => folder.client().await,
            #[cfg(feature = "aws")]
            Self::S3(s3) => s3.client().await,
        }
    }

    /// Where an object lies in the store.
    fn path(&self, key: &Key) -> ObjectPath {
        let prefix = match self {
            Self::Folder(_) => "",
            #[cfg(feature = "aws")]
            Self::S3(s3) => s3.prefix(),
        };
        ObjectPath::from(format!("{prefix}{key}"))
    }

    /// Keeps an object, durably; one that is there is replaced.
    pub async fn put(&self, key: &Key, media_type: &str, content: Bytes) -> Result<(), ObjectError> {
        let mut options = PutOptions::default();
        // A folder keeps none: the row knows the type.
        if !matches!(self, Self::Folder(_)) {
            let mut attributes = Attributes::new();
            attributes.insert(Attribute::ContentType, media_type.to_owned().into());
            options.attributes = attributes;
        }
        self.client().await?.put_opts(&self.path(key), PutPayload::from_bytes(content), options).await?;
        Ok(())
    }

    /// The object's bytes.
    pub async fn get(&self, key: &Key) -> Result<Bytes, ObjectError> {
        Ok(self.client().await?.get(&self.path(key)).await?.bytes().await?)
    }

    /// How long the object is.
    pub async fn length(&self, key: &Key) -> Result<u64, ObjectError> {
        Ok(self.client().await?.head(&self.path(key)).await?.size)
    }

    /// Removes an object. One that is not there is removed.
    pub async fn delete(&self, key: &Key) -> Result<(), ObjectError> {
        match self.client().await?.delete(&self.path(key)).await.map_err(ObjectError::from) {
            Ok(()) | Err(ObjectError::NotFound) => {}
            Err(error) => return Err(error),
        }
        match self {
            Self::Folder(folder) => folder.removed(key).await,
            #[cfg(feature = "aws")]
            Self::S3(_) => Ok(()),
        }
    }

    /// A URL that opens the object from `now` on for `ttl`, or less where our credentials end before.
    pub async fn link(&self, key: &Key, media_type: &str, now: Timestamp, ttl: Duration) -> Result<Link, ObjectError> {
        match self {
            Self::Folder(folder) => folder.link(key, media_type, now.plus(ttl)).await,
            #[cfg(feature = "aws")]
            Self::S3(s3) => s3.link(self.path(key).as_ref(), key, media_type, now, ttl).await,
        }
    }

    /// Leave to upload the object, exactly as it was said to be.
    pub async fn ticket(
        &self,
        key: &Key,
        exactly: &Exactly,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Ticket, ObjectError> {
        match self {
            Self::Folder(folder) => folder.ticket(key, exactly, now.plus(ttl)).await,
            #[cfg(feature = "aws")]
            Self::S3(s3) => s3.ticket(self.path(key).as_ref(), exactly, now, ttl).await,
        }
    }
}

/// What a browser calls the file that it saves.
pub(super) fn file_name(key: &Key, media_type: &str) -> String {
    let ending = match media_type.split(';').next().unwrap_or_default().trim() {
        "application/json" => ".json",
        "text/plain" => ".txt",
        "application/pdf" => ".pdf",
        "image/png" => ".png",
        "image/jpeg" => ".jpg",
        _ => "",
    };
    format!("{}-{}{ending}", key.kind().shown(), key.id())
}

/// Percent-encodes what a query's value may not hold.
pub(super) fn encoded(text: &str) -> String {
    serde_urlencoded::to_string([("", text)]).unwrap_or_default().trim_start_matches('=').to_owned()
}
