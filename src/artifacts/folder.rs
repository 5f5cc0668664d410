//! Objects in a folder of this machine. The gateway serves them itself, under URLs that it signed: an
//! HMAC over the verb, the path and every parameter as they stand, so that nothing of a URL can be
//! another without the signature being wrong.
//!
//! The key of the signatures lies in the folder, readable by its owner only. Whoever shares the folder
//! shares the key, and nobody else can serve its objects.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use object_store::{
    GetOptions, GetRange, GetResult, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload,
    local::LocalFileSystem, path::Path as ObjectPath,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use sluice_actors::domain::Timestamp;
use subtle::ConstantTimeEq as _;
use tokio::sync::OnceCell;

use super::{
    Exactly, Key, Link, ObjectError, Ticket,
    objects::{encoded, file_name},
};
use crate::{ids, secrets::Secret};

/// The file of the key.
const KEY_FILE: &str = ".signing-key";
/// The last parameter of a signed URL.
const SIGNATURE: &str = "&signature=";
/// Bytes that are collected before they are written.
const CHUNK: usize = 256 * 1024;

/// A folder of objects.
pub struct Folder {
    dir: PathBuf,
    /// The public listener's origin, without a trailing slash.
    origin: Box<dyn Fn() -> String + Send + Sync>,
    opened: OnceCell<Opened>,
}

#[derive(Clone)]
struct Opened {
    files: Arc<LocalFileSystem>,
    key: Secret,
}

/// Why a signed URL opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkRefused {
    /// It is not as we signed it.
    Forged,
    /// It is, but its time is over.
    Expired,
}

/// What a signed URL of an object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Which object.
    pub key: Key,
    /// Its media type.
    pub media_type: String,
    /// What a browser calls the file that it saves.
    pub file_name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShownQuery {
    expires: i64,
    #[serde(rename = "type")]
    media_type: String,
    #[expect(dead_code, reason = "checked before; it is part of the form")]
    signature: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketQuery {
    expires: i64,
    length: u64,
    sha256: String,
    #[serde(rename = "type")]
    media_type: String,
    #[expect(dead_code, reason = "checked before; it is part of the form")]
    signature: String,
}

impl Folder {
    /// The objects below `dir`, which is made with the first of them. `origin` is asked anew for each URL.
    pub fn new(dir: PathBuf, origin: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { dir, origin: Box::new(origin), opened: OnceCell::new() }
    }

    async fn opened(&self) -> Result<&Opened, ObjectError> {
        self.opened
            .get_or_try_init(|| async {
                let dir = self.dir.clone();
                let opened = tokio::task::spawn_blocking(move || open(&dir)).await;
                let opened = opened.map_err(|_| ObjectError::Unavailable("its work was cut off"))?;
                opened.map_err(|error| {
                    tracing::error!(dir = %self.dir.display(), %error, "the folder of artifacts cannot be opened");
                    ObjectError::Unavailable("its folder cannot be opened")
                })
            })
            .await
    }

    pub(super) async fn client(&self) -> Result<Arc<dyn ObjectStore>, ObjectError> {
        Ok(self.opened().await?.files.clone())
    }

    /// Ends the removal of an object: what uploads that were cut off left of it goes too, and no power cut brings
    /// any of it back.
    pub(super) async fn removed(&self, key: &Key) -> Result<(), ObjectError> {
        let path = self.dir.join(key.to_string());
        let removed = tokio::task::spawn_blocking(move || -> io::Result<()> {
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
            let begins = format!("{}#", name.to_string_lossy());
            // With the last object its folders may be gone.
            let is_there = |folder: &&Path| folder.is_dir();
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(&begins) {
                    fs::remove_file(entry.path())?;
                }
            }
            folder.ancestors().find(is_there).map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
        });
        match removed.await {
            Ok(Ok(())) => Ok(()),
            _ => Err(ObjectError::Unavailable("its folder cannot be cleaned")),
        }
    }

    pub(super) async fn link(&self, key: &Key, media_type: &str, expires_at: Timestamp) -> Result<Link, ObjectError> {
        let path = format!("/artifacts/{key}");
        let query = format!("expires={}&type={}", expires_at.as_millis(), encoded(media_type));
        Ok(Link { url: self.signed("GET", &path, &query).await?, expires_at })
    }

    pub(super) async fn ticket(
        &self,
        key: &Key,
        exactly: &Exactly,
        expires_at: Timestamp,
    ) -> Result<Ticket, ObjectError> {
        let path = format!("/uploads/{key}");
        let query = format!(
            "expires={}&length={}&sha256={}&type={}",
            expires_at.as_millis(),
            exactly.length,
            hex::encode(exactly.digest),
            encoded(&exactly.media_type)
        );
        let url = self.signed("PUT", &path, &query).await?;
        let headers =
            vec![("content-length", exactly.length.to_string()), ("content-type", exactly.media_type.clone())];
        Ok(Ticket { link: Link { url, expires_at }, headers })
    }

    async fn signed(&self, verb: &str, path: &str, query: &str) -> Result<String, ObjectError> {
        let signature = hex::encode(mac(&self.opened().await?.key, verb, path, query));
        Ok(format!("{}{path}?{query}{SIGNATURE}{signature}", (self.origin)()))
    }

    /// The query before its signature, if that is ours.
    async fn verified<'q>(&self, verb: &str, path: &str, query: &'q str) -> Result<&'q str, LinkRefused> {
        let (signed, signature) = query.rsplit_once(SIGNATURE).ok_or(LinkRefused::Forged)?;
        // Nothing was ever signed where there is no folder, and a stranger's request makes none.
        if self.opened.get().is_none() && !self.dir.join(KEY_FILE).exists() {
            return Err(LinkRefused::Forged);
        }
        let opened = self.opened().await.map_err(|_| LinkRefused::Forged)?;
        let presented = hex::decode(signature).map_err(|_| LinkRefused::Forged)?;
        // One text for each signature: hexadecimal digits have two cases.
        let ours =
            bool::from(mac(&opened.key, verb, path, signed).ct_eq(&*presented)) && hex::encode(&presented) == signature;
        if ours { Ok(signed) } else { Err(LinkRefused::Forged) }
    }

    /// What a URL of an object says, if we signed it and its time is not over.
    pub async fn shown(&self, key: &Key, query: &str, now: Timestamp) -> Result<Shown, LinkRefused> {
        self.verified("GET", &format!("/artifacts/{key}"), query).await?;
        let said: ShownQuery = serde_urlencoded::from_str(query).map_err(|_| LinkRefused::Forged)?;
        if now >= Timestamp::from_millis(said.expires) {
            return Err(LinkRefused::Expired);
        }
        let file_name = file_name(key, &said.media_type);
        Ok(Shown { key: key.clone(), media_type: said.media_type, file_name })
    }

    /// What may be uploaded under a URL, if we signed it and its time is not over.
    pub async fn admitted(&self, key: &Key, query: &str, now: Timestamp) -> Result<Exactly, LinkRefused> {
        self.verified("PUT", &format!("/uploads/{key}"), query).await?;
        let said: TicketQuery = serde_urlencoded::from_str(query).map_err(|_| LinkRefused::Forged)?;
        if now >= Timestamp::from_millis(said.expires) {
            return Err(LinkRefused::Expired);
        }
        let mut digest = [0; 32];
        hex::decode_to_slice(&said.sha256, &mut digest).map_err(|_| LinkRefused::Forged)?;
        Ok(Exactly { length: said.length, media_type: said.media_type, digest })
    }

    /// An object, or a range of it.
    pub async fn read(&self, key: &Key, range: Option<GetRange>) -> Result<GetResult, ObjectError> {
        let options = GetOptions { range, ..GetOptions::default() };
        Ok(self.client().await?.get_opts(&ObjectPath::from(key.to_string()), options).await?)
    }

    /// Begins to write an object: it is there once it was written to its end, and not before.
    pub async fn receive(&self, key: &Key) -> Result<Incoming, ObjectError> {
        let upload = self.client().await?.put_multipart(&ObjectPath::from(key.to_string())).await?;
        Ok(Incoming { upload, digest: Sha256::new(), pending: Vec::new(), bytes: 0 })
    }
}

/// An object that arrives. Dropped before its end, it leaves nothing that anybody sees.
pub struct Incoming {
    upload: Box<dyn MultipartUpload>,
    digest: Sha256,
    pending: Vec<u8>,
    bytes: u64,
}

impl Incoming {
    /// How much of it came.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next bytes.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), ObjectError> {
        self.digest.update(piece);
        self.bytes += piece.len() as u64;
        self.pending.extend_from_slice(piece);
        if self.pending.len() >= CHUNK { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), ObjectError> {
        let pending = Bytes::from(std::mem::take(&mut self.pending));
        Ok(self.upload.put_part(PutPayload::from_bytes(pending)).await?)
    }

    /// Ends it: on the disk, under its name. `false`: it is not what was said, and nothing is left of it.
    pub async fn finish(mut self, exactly: &Exactly) -> Result<bool, ObjectError> {
        let digest: [u8; 32] = self.digest.finalize_reset().into();
        if self.bytes != exactly.length || digest != exactly.digest {
            self.abort().await;
            return Ok(false);
        }
        if !self.pending.is_empty() {
            self.flush().await?;
        }
        self.upload.complete().await?;
        Ok(true)
    }

    /// Gives it up.
    pub async fn abort(mut self) {
        // What cannot be removed goes with the object's row.
        let _ = self.upload.abort().await;
    }
}

fn mac(key: &Secret, verb: &str, path: &str, query: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    for part in [verb, "\n", path, "?", query] {
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().into()
}

fn open(dir: &Path) -> io::Result<Opened> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    let key = key(dir)?;
    let files = LocalFileSystem::new_with_prefix(dir).map_err(io::Error::other)?;
    Ok(Opened { files: Arc::new(files.with_fsync(true).with_automatic_cleanup(true)), key })
}

/// The folder's key, made by whoever comes first.
fn key(dir: &Path) -> io::Result<Secret> {
    let path = dir.join(KEY_FILE);
    if !path.exists() {
        let fresh = dir.join(format!("{KEY_FILE}.{}", hex::encode(ids::nonce())));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(hex::encode(ids::secret_bytes()).as_bytes())?;
        file.sync_all()?;
        // A link does not replace what another node made meanwhile.
        let linked = fs::hard_link(&fresh, &path);
        fs::remove_file(&fresh)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::File::open(dir)?.sync_all()?,
        }
    }
    let key = hex::decode(fs::read_to_string(&path)?.trim()).ok().filter(|key| key.len() == 32);
    key.map(Secret::new).ok_or_else(|| io::Error::other(format!("{KEY_FILE} is no key: remove it to have a new one")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "acme/results/2026-11-24/art_0193a7d4c1e87cc0a3f0c5d6e7f80912";
    const NOW: Timestamp = Timestamp::from_secs(1_795_507_205);

    fn folder(dir: &Path) -> Folder {
        Folder::new(dir.join("artifacts"), || "https://hooks.example.com".to_owned())
    }

    fn query(url: &str) -> String {
        url.split_once('?').unwrap().1.to_owned()
    }

    #[tokio::test]
    async fn a_link_opens_its_object_until_its_time_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, key): (_, Key) = (folder(dir.path()), KEY.parse().unwrap());
        let later = NOW.plus(std::time::Duration::from_secs(60));
        let link = folder.link(&key, "text/plain; charset=utf-8", later).await.unwrap();
        assert!(link.url.starts_with(&format!("https://hooks.example.com/artifacts/{KEY}?expires=")), "{}", link.url);
        let query = query(&link.url);
        let shown = folder.shown(&key, &query, NOW).await.unwrap();
        assert_eq!((shown.media_type.as_str(), shown.key), ("text/plain; charset=utf-8", key.clone()));
        assert_eq!(folder.shown(&key, &query, later).await, Err(LinkRefused::Expired));
        let other: Key = KEY.replace("acme", "bravo").parse().unwrap();
        assert_eq!(folder.shown(&other, &query, NOW).await, Err(LinkRefused::Forged));
        assert_eq!(
            folder.admitted(&key, &query, NOW).await,
            Err(LinkRefused::Forged),
            "leave to read is none to write"
        );
    }

    #[tokio::test]
    async fn no_byte_of_a_link_can_be_another() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, key): (_, Key) = (folder(dir.path()), KEY.parse().unwrap());
        let exactly = Exactly { length: 5, media_type: "image/png".to_owned(), digest: [7; 32] };
        let ticket = folder.ticket(&key, &exactly, NOW.plus(std::time::Duration::from_secs(60))).await.unwrap();
        let query = query(&ticket.link.url);
        assert_eq!(folder.admitted(&key, &query, NOW).await, Ok(exactly));
        for at in 0..query.len() {
            for byte in [b'0', b'1', b'a', b'A', b'&', b'='] {
                let mut bytes = query.clone().into_bytes();
                if std::mem::replace(&mut bytes[at], byte) != byte {
                    let forged = String::from_utf8(bytes).unwrap();
                    assert_eq!(folder.admitted(&key, &forged, NOW).await, Err(LinkRefused::Forged), "{forged}");
                }
            }
        }
        for forged in
            [format!("{query}&length=6"), format!("length=6&{query}"), query.replace('&', "&&"), String::new()]
        {
            assert_eq!(folder.admitted(&key, &forged, NOW).await, Err(LinkRefused::Forged), "{forged}");
        }
    }

    #[tokio::test]
    async fn nodes_that_share_the_folder_share_its_key_and_strangers_make_none() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other, key): (_, _, Key) = (folder(dir.path()), folder(dir.path()), KEY.parse().unwrap());
        assert_eq!(other.shown(&key, "expires=9&type=x&signature=00", NOW).await, Err(LinkRefused::Forged));
        assert!(!dir.path().join("artifacts").exists(), "a stranger's request makes no folder");
        let link = one.link(&key, "text/plain", NOW.plus(std::time::Duration::from_secs(60))).await.unwrap();
        assert!(other.shown(&key, &query(&link.url), NOW).await.is_ok());
        let file = dir.path().join("artifacts").join(KEY_FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path().join("artifacts")).unwrap().count(), 1, "nothing is left beside it");
    }

    #[tokio::test]
    async fn an_object_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, key): (_, Key) = (folder(dir.path()), KEY.parse().unwrap());
        let content = vec![b'x'; CHUNK + 7];
        let exactly = Exactly {
            length: content.len() as u64,
            media_type: "text/plain".to_owned(),
            digest: Sha256::digest(&content).into(),
        };
        let mut cut = folder.receive(&key).await.unwrap();
        cut.write(&content[..CHUNK]).await.unwrap();
        assert_eq!(folder.read(&key, None).await.err(), Some(ObjectError::NotFound));
        std::mem::forget(cut); // As if the process had died.
        let mut other = folder.receive(&key).await.unwrap();
        other.write(b"other bytes").await.unwrap();
        assert!(!other.finish(&exactly).await.unwrap());
        assert_eq!(folder.read(&key, None).await.err(), Some(ObjectError::NotFound));
        let mut whole = folder.receive(&key).await.unwrap();
        whole.write(&content).await.unwrap();
        assert!(whole.finish(&exactly).await.unwrap());
        assert_eq!(folder.read(&key, None).await.unwrap().bytes().await.unwrap(), content);
        let beside = || fs::read_dir(dir.path().join("artifacts/acme/results/2026-11-24")).unwrap().count();
        assert_eq!(beside(), 2, "what was cut off");
        super::super::Objects::Folder(folder).delete(&key).await.unwrap();
        assert_eq!(beside(), 0);
    }
}
