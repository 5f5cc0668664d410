//! Where a secret is kept, how it is read there and how a new one takes its place.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow};
use sluice_actors::{domain::Timestamp, ports::Clock as _};

use super::target::{SITE, Target, refused};
use crate::{
    cli::files,
    clock::SystemClock,
    config::Config,
    ids,
    secrets::{
        Environment, Head, Keep, Previous, Providers, Reference, Secret, Secrets,
        reference::{Location, RemoteReference, Version},
        vault::Login,
    },
};

/// Where a secret is kept, by who may change it.
pub(super) enum Kept {
    /// In a file, which nobody else rotates meanwhile.
    File { path: PathBuf, _lock: File },
    /// By a provider.
    Remote { reference: RemoteReference, providers: Box<Providers> },
}

/// What is there.
pub(super) struct Now {
    pub(super) current: Secret,
    pub(super) previous: Option<Secret>,
    /// The end of the previous one where it still verifies or signs.
    pub(super) previous_ends: Option<Timestamp>,
    since: Option<Timestamp>,
    /// Others whose value before is in the same document and still used, and until when: the document has one
    /// version before, and a new one takes its place.
    pub(super) beside: Vec<(String, Option<Timestamp>)>,
}

impl Kept {
    /// Where the newest secret of `target` is, if it can be changed there.
    pub(super) fn of(target: &Target<'_>) -> anyhow::Result<Self> {
        let named = &target.named;
        match &target.reference {
            Reference::Env(name) => Err(refused(format!(
                "{named} has its secret in the environment variable {name}, which only who starts the gateway can change; put the new value into a file or a provider, name that first in the tenant's file and give `env:{name}` a `not_after`"
            ))),
            Reference::File { .. } => {
                let config = target.config;
                let path = local(config).path(&target.reference).context("no path")?;
                let path = in_file(&path)?;
                let held = lock(&path)?;
                Ok(Self::File { path, _lock: held })
            }
            Reference::Remote(reference) => {
                if let Version::Named(_) | Version::Previous = reference.location.version {
                    return Err(refused(format!(
                        "{named} names one version ({reference}), which stays what it is; leave `?version=` out of its reference"
                    )));
                }
                let mut providers = Box::new(target.config.secrets.clone());
                // The gateway's own login need not be able to write.
                if let Ok(token) = std::env::var("VAULT_TOKEN")
                    && !token.is_empty()
                    && let Some(vault) = &mut providers.vault
                {
                    vault.login = Login::Token(Secret::new(token.into_bytes()));
                }
                Ok(Self::Remote { reference: reference.clone(), providers })
            }
        }
    }

    /// Reads it anew.
    pub(super) async fn read(&self, target: &Target<'_>) -> anyhow::Result<Now> {
        match self {
            Self::File { path, .. } => {
                let current = local(target.config).resolve(&target.reference);
                let current = current.map_err(|error| anyhow!("{}: {error}; {}", target.reference, error.cure()))?;
                let previous = Previous::of(path).map_err(|error| {
                    refused(format!(
                        "{}, beside it, {error}; move it away: what is rotated out is kept under that name",
                        Previous::path(path).display()
                    ))
                })?;
                let previous = previous.filter(|previous| previous.value.expose() != current.expose());
                Ok(Now {
                    current,
                    since: previous.as_ref().map(|previous| previous.head.rotated_at),
                    previous_ends: previous.as_ref().map(|previous| previous.head.not_after),
                    previous: previous.map(|previous| previous.value),
                    beside: Vec::new(),
                })
            }
            Self::Remote { reference, providers } => {
                let keep = Keep::default();
                let beside = beside(target, reference);
                let ours = [Some(reference.clone()), reference.previous()].into_iter().flatten();
                let theirs = beside.iter().flat_map(|other| [other.before.clone(), other.current.clone()]);
                keep.fetch(providers, &ours.chain(theirs).collect()).await;
                let secrets = Secrets { keep, ..local(target.config) };
                let resolve = |reference: RemoteReference| secrets.resolve(&Reference::Remote(reference));
                let current = resolve(reference.clone());
                let current = current.map_err(|error| anyhow!("{reference}: {error}; {}", error.cure()))?;
                // There need not be one.
                let previous = reference.previous().and_then(|previous| resolve(previous).ok());
                let previous = previous.filter(|previous| previous.expose() != current.expose());
                let since = secrets.keep.created(reference);
                let previous_ends = since.zip(target.overlap).map(|(since, overlap)| since.plus(overlap));
                let still_good = |other: Beside| {
                    let before = resolve(other.before).ok()?;
                    let differs = resolve(other.current).map_or(true, |current| current.expose() != before.expose());
                    let ends = other.overlap.zip(since).map(|(overlap, since)| since.plus(overlap));
                    differs.then_some((other.named, ends))
                };
                let beside = beside.into_iter().filter_map(still_good).collect();
                let previous_ends = previous_ends.filter(|_| previous.is_some());
                Ok(Now { current, previous, previous_ends, since, beside })
            }
        }
    }

    /// Puts `value` in the place of what `now` says. `window`: until when the one there is kept beside
    /// it and until when it signs, where that is for us to say; none: not at all.
    pub(super) async fn write(
        &self,
        now: &Now,
        value: &Secret,
        rotated_at: Timestamp,
        window: Option<(Timestamp, Option<Timestamp>)>,
    ) -> anyhow::Result<()> {
        match self {
            Self::File { path, .. } => {
                let beside = Previous::path(path);
                if let Some((not_after, signs_until)) = window {
                    // First: between the two steps both files hold the old one, and nothing is refused.
                    let head = Head { rotated_at, not_after, since: now.since, signs_until };
                    let previous = Previous { head, value: now.current.clone() };
                    files::put_secret(&beside, &previous.to_bytes(), path)?;
                }
                files::put_secret(path, value.expose(), path)?;
                if window.is_none() && beside.exists() {
                    fs::remove_file(&beside).with_context(|| format!("cannot remove {}", beside.display()))?;
                }
                Ok(())
            }
            Self::Remote { reference, providers } => {
                let written = providers.write(reference, (&now.current, value), ids::nonce()).await;
                written.map_err(|error| refused(format!("{reference}: {error}; {}", error.cure())))
            }
        }
    }
}

/// Who else uses the version before of the same document: who, its reference, the one of what is there now, and
/// for how long; no end: until its entry is taken out.
struct Beside {
    named: String,
    before: RemoteReference,
    current: RemoteReference,
    overlap: Option<Duration>,
}

/// All of them but the entry that is rotated.
fn beside(target: &Target<'_>, reference: &RemoteReference) -> Vec<Beside> {
    let named = target.named.to_string();
    let entries: Vec<_> = entries(target.config).filter(|entry| entry.is_in(&reference.location)).collect();
    let mut all = Vec::new();
    for Entry { owner, reference: theirs, overlap } in &entries {
        let location = |version| Location { version, ..theirs.location.clone() };
        let of = |version| RemoteReference { location: location(version), field: theirs.field.clone() };
        let (current, before) = (of(Version::Current), of(Version::Previous));
        let is_implied =
            || entries.iter().any(|it| it.owner == *owner && it.reference == current && it.overlap.is_some());
        let is_used = match theirs.location.version {
            Version::Current => overlap.is_some() && *owner != named,
            Version::Previous => !is_implied(),
            Version::Named(_) => false,
        };
        if is_used {
            all.push(Beside { named: owner.clone(), before, current, overlap: *overlap });
        }
    }
    all
}

/// What a source, a site or the encryption of a tenant names at a provider.
struct Entry {
    owner: String,
    reference: RemoteReference,
    /// How long the version before is used.
    overlap: Option<Duration>,
}

impl Entry {
    fn is_in(&self, location: &Location) -> bool {
        self.reference.location.kind == location.kind && self.reference.location.name == location.name
    }
}

fn entries(config: &Config) -> impl Iterator<Item = Entry> {
    let now = SystemClock.now();
    let named = config.tenants.values().flat_map(move |tenant| {
        let of_sources = tenant.sources.values().flat_map(|source| {
            source.keys.iter().map(|key| (source.lane.to_string(), key.version.to_string(), key.overlap))
        });
        let of_site = tenant.wordpress.iter().flat_map(|site| {
            let owner = format!("{}/{SITE}", tenant.name);
            site.signing.duties(now).map(move |(key, _)| (owner.clone(), key.version.to_string(), key.overlap))
        });
        let of_encryption = tenant.encryption.iter().flat_map(|encryption| {
            let owner = format!("the encryption of {}", tenant.name);
            encryption.keys.iter().map(move |key| (owner.clone(), key.reference().to_owned(), None))
        });
        of_sources.chain(of_site).chain(of_encryption).collect::<Vec<_>>()
    });
    named.filter_map(|(owner, version, overlap)| match version.parse() {
        Ok(Reference::Remote(reference)) => Some(Entry { owner, reference, overlap }),
        Ok(Reference::Env(_) | Reference::File { .. }) | Err(_) => None,
    })
}

fn local(config: &Config) -> Secrets {
    Secrets::local(config.dir.clone(), Environment::Process)
}

/// The file itself, if it is one that can be changed in its place.
fn in_file(path: &Path) -> anyhow::Result<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new(""));
    if folder.join("..data").exists() {
        return Err(refused(format!(
            "{} is mounted (Kubernetes): a change here would be lost; put the new value into the Secret under another key, name that first in the tenant's file and give this one a `not_after`",
            path.display()
        )));
    }
    if path.is_symlink() {
        return Err(refused(format!(
            "{} is a link: name the file itself in the tenant's file, so that what it held before is kept beside it",
            path.display()
        )));
    }
    Ok(path.to_owned())
}

/// Holds the folder, so that two who rotate at once do so one after the other.
fn lock(path: &Path) -> anyhow::Result<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let held = File::open(folder).with_context(|| format!("cannot open {}", folder.display()))?;
    held.try_lock()
        .map_err(|_| refused(format!("somebody else rotates a secret in {}; try again", folder.display())))?;
    Ok(held)
}
