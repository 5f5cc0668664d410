//! What remote providers said, kept for as long as the process lives and nowhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use sluice_actors::domain::Timestamp;
use tokio::time::{Instant, timeout};

use super::{
    Providers, Secret,
    reference::{Location, RemoteKind, RemoteReference, Version},
    remote::{Document, Provider, RemoteError},
    vault::Session,
};

/// Questions to providers at once.
const AT_ONCE: usize = 8;
/// How often a question is asked while the answer is to come back.
const TRIES: u32 = 3;
/// Before the second try; doubled before the third.
const PAUSE: Duration = Duration::from_millis(200);

/// The last good value of each reference, what was said last, and since when. Clones share it.
#[derive(Clone, Default)]
pub struct Keep(Arc<Shared>);

#[derive(Default)]
struct Shared {
    entries: Mutex<BTreeMap<RemoteReference, Entry>>,
    session: Arc<Session>,
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keep")
    }
}

#[derive(Default)]
struct Entry {
    good: Option<Good>,
    error: Option<RemoteError>,
    stale: Staleness,
}

struct Good {
    value: Secret,
    created: Option<Timestamp>,
    /// When the provider said so last.
    at: Instant,
}

/// Whether a secret is too old to be used: its provider could not be read for longer than
/// `secrets.max_age`. Says nothing of itself, so that nodes which see it at different times are not
/// configured differently.
#[derive(Clone, Default)]
pub struct Staleness(Arc<AtomicBool>);

impl Staleness {
    /// Whether it is too old now.
    pub fn is_stale(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Staleness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Staleness")
    }
}

/// What came of asking.
#[derive(Debug, Default)]
pub struct Refreshed {
    /// Whether a value is another than before, or fresh again after it was too old.
    pub changed: bool,
    /// The providers that gave all that they were asked for.
    pub succeeded: BTreeSet<RemoteKind>,
    /// What was not given.
    pub failed: Vec<(RemoteReference, RemoteError)>,
}

impl Keep {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<RemoteReference, Entry>> {
        // Each entry is whole at every step.
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last good value.
    pub(super) fn value(&self, reference: &RemoteReference) -> Result<Secret, RemoteError> {
        match self.entries().get(reference) {
            Some(Entry { good: Some(good), .. }) => Ok(good.value.clone()),
            Some(Entry { error: Some(error), .. }) => Err(error.clone()),
            Some(_) | None => Err(RemoteError::NotRead),
        }
    }

    /// When the version in use was made.
    pub fn created(&self, reference: &RemoteReference) -> Option<Timestamp> {
        self.entries().get(reference)?.good.as_ref()?.created
    }

    /// Tells from now on whether the value of `reference` is too old.
    pub fn staleness(&self, reference: &RemoteReference) -> Staleness {
        self.entries().entry(reference.clone()).or_default().stale.clone()
    }

    /// Forgets all but `used`.
    pub fn retain(&self, used: &BTreeSet<RemoteReference>) {
        self.entries().retain(|reference, _| used.contains(reference));
    }

    /// When the first value will be too old, unless it is read until then.
    pub fn expiry(&self, max_age: Duration) -> Option<Instant> {
        let entries = self.entries();
        let fresh = entries.values().filter(|entry| !entry.stale.is_stale());
        fresh.filter_map(|entry| Some(entry.good.as_ref()?.at + max_age)).min()
    }

    /// Takes what is older than `max_age` out of use; tells what that is.
    pub fn expire(&self, max_age: Duration) -> Vec<RemoteReference> {
        let now = Instant::now();
        let entries = self.entries();
        let expired = entries.iter().filter(|(_, entry)| {
            let is_old = entry.good.as_ref().is_some_and(|good| now.duration_since(good.at) >= max_age);
            is_old && !entry.stale.0.swap(true, Ordering::Relaxed)
        });
        expired.map(|(reference, _)| reference.clone()).collect()
    }

    /// Asks the providers for all of `wanted`, each question within its deadline; first for what is there, then for
    /// the versions before. A rotation that falls between is known by the next time; the other way round, what it
    /// retired would be neither. A value that is not given stays what it was; a previous version that is gone is
    /// forgotten.
    pub async fn fetch(&self, providers: &Providers, wanted: &BTreeSet<RemoteReference>) -> Refreshed {
        let mut asked: BTreeMap<&Location, Vec<&RemoteReference>> = BTreeMap::new();
        for reference in wanted {
            asked.entry(&reference.location).or_default().push(reference);
        }
        let mut ready: BTreeMap<RemoteKind, Result<Arc<dyn Provider>, RemoteError>> = BTreeMap::new();
        for kind in asked.keys().map(|location| location.kind).collect::<BTreeSet<_>>() {
            ready.insert(kind, providers.of(kind, &self.0.session).await);
        }
        let questions = asked.iter().map(|(location, references)| {
            let provider = ready[&location.kind].clone();
            let question = async move {
                let document = match provider {
                    Ok(provider) => read(&*provider, location, providers.timeout).await,
                    Err(error) => Err(error),
                };
                (references, document)
            };
            (location, question)
        });
        let (before, now): (Vec<_>, Vec<_>) =
            questions.partition(|(location, _)| location.version == Version::Previous);
        let mut answers = Vec::with_capacity(asked.len());
        for round in [now, before] {
            let round: Vec<_> = round.into_iter().map(|(_, question)| question).collect();
            answers.extend(stream::iter(round).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        }
        let mut refreshed = Refreshed { succeeded: ready.into_keys().collect(), ..Refreshed::default() };
        for (references, document) in answers {
            for reference in references {
                self.take(reference, &document, &mut refreshed);
            }
        }
        refreshed
    }

    /// [`Keep::fetch`] for where nothing may wait asynchronously: reading a configuration.
    pub fn fetch_blocking(&self, providers: &Providers, wanted: &BTreeSet<RemoteReference>) {
        // A thread and runtime of its own: the caller may stand in a runtime or in none.
        let fetched = std::thread::scope(|scope| {
            let fetch = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(self.fetch(providers, wanted));
                // Not dropped: that would wait for a look-up of a name that hangs.
                runtime.shutdown_background();
                Ok::<(), std::io::Error>(())
            };
            scope.spawn(fetch).join()
        });
        if !matches!(fetched, Ok(Ok(()))) {
            let mut entries = self.entries();
            for reference in wanted {
                let error = RemoteError::Unavailable("asking it failed on this machine".to_owned());
                entries.entry(reference.clone()).or_default().error = Some(error);
            }
        }
    }

    fn take(&self, reference: &RemoteReference, document: &Result<Document, RemoteError>, refreshed: &mut Refreshed) {
        let read = document.as_ref().map_err(Clone::clone);
        let read = read.and_then(|document| Ok((document.field(reference.field.as_deref())?, document.created)));
        let mut entries = self.entries();
        let entry = entries.entry(reference.clone()).or_default();
        match read {
            Ok((value, created)) => {
                let same = entry.good.as_ref().is_some_and(|good| good.value.expose() == value.expose());
                let was_stale = entry.stale.0.swap(false, Ordering::Relaxed);
                refreshed.changed |= !same || was_stale;
                *entry = Entry {
                    good: Some(Good { value, created, at: Instant::now() }),
                    error: None,
                    stale: entry.stale.clone(),
                };
            }
            // There need not be one.
            Err(error @ (RemoteError::NoVersion | RemoteError::NotFound))
                if reference.location.version == Version::Previous =>
            {
                refreshed.changed |= entry.good.take().is_some();
                entry.error = Some(error);
            }
            Err(error) => {
                refreshed.succeeded.remove(&reference.location.kind);
                refreshed.failed.push((reference.clone(), error.clone()));
                entry.error = Some(error);
            }
        }
    }
}

/// One question, asked again while its answer is to come back.
async fn read(provider: &dyn Provider, location: &Location, within: Duration) -> Result<Document, RemoteError> {
    let asking = async {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match provider.read(location).await {
                Err(error) if error.may_pass() => tokio::time::sleep(pause).await,
                answer => return answer,
            }
            pause *= 2;
        }
        provider.read(location).await
    };
    let late = |_| RemoteError::Unavailable(format!("no answer within {} s", within.as_secs_f32()));
    timeout(within, asking).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
}
