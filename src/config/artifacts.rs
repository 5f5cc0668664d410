//! `[artifacts]` of `sluice.toml`: where objects lie, and how much of them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use url::Url;

use super::{
    Database, Outbound,
    finding::Problem,
    section::Section,
    units::{self, FromItem},
};

/// Where objects lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactPlace {
    /// In this folder; the gateway serves it.
    Folder(PathBuf),
    /// In a bucket.
    #[cfg(feature = "aws")]
    Bucket(Bucket),
}

impl ArtifactPlace {
    /// The word for it in metrics: `folder` or `s3`.
    pub const fn backend(&self) -> &'static str {
        match self {
            Self::Folder(_) => "folder",
            #[cfg(feature = "aws")]
            Self::Bucket(_) => "s3",
        }
    }
}

/// A bucket that speaks S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// The folder in it, without slashes at its ends; empty for all of it.
    pub prefix: String,
    /// Its region; none: that of AWS's environment.
    pub region: Option<String>,
    /// Who serves it, if not AWS.
    pub endpoint: Option<Url>,
}

/// `[artifacts]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifacts {
    /// Where objects lie.
    pub place: ArtifactPlace,
    /// How long a URL opens an object.
    pub link_ttl: Duration,
    /// How long a sender may begin an upload.
    pub upload_ttl: Duration,
    /// The largest upload, in bytes.
    pub max_upload: usize,
    /// Uploads of one tenant that are kept at once.
    pub uploads: u64,
    /// Their bytes.
    pub upload_bytes: usize,
    /// Whether it is kept what models were asked and what they said.
    pub transcripts: bool,
    /// How long payloads are kept as objects after their time in the store; none: they are not.
    pub archive: Option<Duration>,
}

/// The folder beside the database where nobody says otherwise.
const DEFAULT_FOLDER: &str = "artifacts";
const DAY: Duration = Duration::from_hours(24);

impl Artifacts {
    pub(super) fn read(mut section: Section<'_>, dir: &Path, database: &Database, outbound: &Outbound) -> Self {
        let is_written = section.has("transcripts") || section.has("archive") || section.has("max_upload");
        let region: Option<String> = section.opt("region");
        let endpoint: Option<Url> = section.parsed("endpoint", |item| {
            let url = units::parse_url(&String::from_item(item)?)?;
            outbound.check(&url)?;
            Ok(url)
        });
        let named = section.has("store");
        let place =
            section.parsed("store", |item| place(&String::from_item(item)?, dir, region.clone(), endpoint.clone()));
        let is_folder = matches!(place, None | Some(ArtifactPlace::Folder(_)));
        for key in ["region", "endpoint"] {
            if section.has(key) && is_folder && (place.is_some() || !named) {
                section.error(key, "is for buckets only", "write `store = \"s3://BUCKET\"`, or leave it out");
            }
        }
        if !named && is_written && matches!(database, Database::Postgres { .. }) {
            section.warn(
                "store",
                "is missing while the database is Postgres: objects lie in a folder of this machine, where nodes of others do not see them",
                "write `store = \"s3://BUCKET\"`, or name a folder that all nodes share",
            );
        }
        let read = Self {
            place: place.unwrap_or_else(|| ArtifactPlace::Folder(database.data_dir().join(DEFAULT_FOLDER))),
            link_ttl: section
                .duration("link_ttl", Duration::from_secs(60)..=DAY * 7)
                .unwrap_or(Duration::from_hours(1)),
            upload_ttl: section
                .duration("upload_ttl", Duration::from_secs(30)..=DAY)
                .unwrap_or(Duration::from_mins(15)),
            max_upload: section.size("max_upload", 1..=5 << 30).unwrap_or(25 << 20),
            uploads: section.number("uploads", 1000, 0..=10_000_000_i64) as u64,
            upload_bytes: section.size("upload_bytes", 0..=1 << 50).unwrap_or(1 << 30),
            transcripts: section.get("transcripts", false),
            archive: section.duration("archive", DAY..=DAY * 3660),
        };
        section.finish();
        read
    }
}

fn place(text: &str, dir: &Path, region: Option<String>, endpoint: Option<Url>) -> Result<ArtifactPlace, Problem> {
    let form = "write \"s3://BUCKET\", \"s3://BUCKET/FOLDER\", or the path of a folder";
    let Some(named) = text.strip_prefix("s3://") else {
        if text.is_empty() || text.contains("://") {
            return Err(Problem::new("names no place that the gateway knows", form));
        }
        return Ok(ArtifactPlace::Folder(dir.join(text)));
    };
    let (name, prefix) = named.split_once('/').unwrap_or((named, ""));
    let prefix = prefix.trim_end_matches('/');
    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    let is_name = (3..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
    let is_prefix = prefix.is_empty()
        || prefix.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.')
        });
    if !is_name || !is_prefix {
        return Err(Problem::new("is no bucket's URL", form));
    }
    let bucket = Bucket { name: name.to_owned(), prefix: prefix.to_owned(), region, endpoint };
    #[cfg(feature = "aws")]
    let place = Ok(ArtifactPlace::Bucket(bucket));
    #[cfg(not(feature = "aws"))]
    let place = Err(Problem::new(
        format!("`{}` is a bucket, which this build cannot reach", bucket.name),
        "build it with the feature `aws`, or name a folder",
    ));
    place
}
