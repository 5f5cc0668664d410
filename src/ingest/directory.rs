//! What receiving needs of the configuration and keeps beside it: per source its live keys, its
//! buckets, its share of memory, its backlog.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use sluice_actors::{
    domain::{SourceName, TenantName, Timestamp},
    ports::Rate,
};
use tokio::time::{Duration, Instant};

use super::{
    Place,
    bucket::Bucket,
    memory::{BodyMemory, Share},
};
use crate::{
    api::records::Records,
    config::{Config, Live, Source},
    secrets::Secret,
    vendors::Key,
};

/// Media types that any source may accept; a request with another one is refused before it is known
/// whether its path leads anywhere.
const COMMON_MEDIA_TYPES: [&str; 2] = ["application/json", "application/x-www-form-urlencoded"];

/// How many refused deliveries of one source are kept in a second, so that a flood costs nothing.
const KEPT_REFUSALS: Rate = Rate { per_second: 10.0, burst: 10 };

/// The directory in force; follows the configuration.
pub(super) struct Directories {
    config: Live,
    memory: Arc<BodyMemory>,
    /// Decides which source a path that leads nowhere pretends to be.
    seed: u64,
    current: ArcSwap<Directory>,
    rebuilding: Mutex<()>,
}

impl Directories {
    pub(super) fn new(config: Live, seed: u64) -> Self {
        let now = config.load_full();
        let memory = BodyMemory::new(now.limits.body_memory);
        let current = ArcSwap::from_pointee(Directory::build(now, &memory, seed, None));
        Self { config, memory, seed, current, rebuilding: Mutex::new(()) }
    }

    /// The directory of the configuration that is in force now.
    pub(super) fn current(&self) -> Arc<Directory> {
        let directory = self.current.load_full();
        if Arc::ptr_eq(&directory.config, &self.config.load()) { directory } else { self.rebuild() }
    }

    #[cold]
    fn rebuild(&self) -> Arc<Directory> {
        let _one = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.current.load_full();
        let config = self.config.load_full();
        if !Arc::ptr_eq(&old.config, &config) {
            self.current.store(Arc::new(Directory::build(config, &self.memory, self.seed, Some(&old))));
        }
        self.current.load_full()
    }

    pub(super) fn memory(&self) -> &Arc<BodyMemory> {
        &self.memory
    }
}

/// One configuration, as receiving sees it.
pub(super) struct Directory {
    pub(super) config: Arc<Config>,
    tenants: HashMap<TenantName, HashMap<SourceName, Arc<Intake>>>,
    /// What vendors call, without a trailing slash.
    pub(super) public_url: String,
    pub(super) media_types: Vec<&'static str>,
    seed: u64,
    /// All sources: what paths that lead nowhere choose from.
    decoys: Vec<Arc<Intake>>,
    /// The memory of paths that lead nowhere.
    nowhere: Arc<Share>,
}

impl Directory {
    fn build(config: Arc<Config>, memory: &Arc<BodyMemory>, seed: u64, old: Option<&Self>) -> Self {
        let mut tenants: HashMap<_, HashMap<_, _>> = HashMap::new();
        let mut media_types = COMMON_MEDIA_TYPES.to_vec();
        let mut decoys = Vec::new();
        for (tenant, source) in config.tenants.values().flat_map(|t| t.sources.values().map(move |s| (t, s))) {
            let before = old.and_then(|old| old.intake(&source.lane.tenant, &source.lane.source));
            let intake = Arc::new(Intake::new(source.clone(), memory, before));
            media_types.extend(source.vendor.profile().content_types);
            decoys.push(intake.clone());
            tenants.entry(tenant.name.clone()).or_default().insert(source.lane.source.clone(), intake);
        }
        media_types.sort_unstable();
        media_types.dedup();
        let public_url = config.edge.origin();
        let nowhere = match old {
            Some(old) => old.nowhere.clone(),
            None => memory.share(0),
        };
        Self { config, tenants, public_url, media_types, seed, decoys, nowhere }
    }

    pub(super) fn intake(&self, tenant: &TenantName, source: &SourceName) -> Option<&Arc<Intake>> {
        self.tenants.get(tenant)?.get(source)
    }

    /// The source that a path which leads nowhere is treated as, the same for the same path: its
    /// body cap and its work. So neither a large body nor the time that a signature of one scheme or
    /// another takes tells which paths lead somewhere. None only where there are no sources.
    pub(super) fn decoy(&self, tenant: &TenantName, source: &SourceName) -> Option<&Arc<Intake>> {
        let mut hasher = DefaultHasher::new();
        (self.seed, tenant, source).hash(&mut hasher);
        let at = hasher.finish().checked_rem(self.decoys.len() as u64)?;
        self.decoys.get(at as usize)
    }

    pub(super) fn nowhere(&self) -> &Arc<Share> {
        &self.nowhere
    }
}

/// One source with what receiving keeps of it.
pub(super) struct Intake {
    pub(super) source: Arc<Source>,
    live: ArcSwap<LiveKeys>,
    pub(super) bucket: Arc<Bucket>,
    pub(super) kept_refusals: Arc<Bucket>,
    pub(super) memory: Arc<Share>,
    pub(super) backlog: Arc<Backlog>,
}

impl Intake {
    /// What still fits is carried over a reload: nobody gains a full bucket by it.
    fn new(source: Arc<Source>, memory: &Arc<BodyMemory>, before: Option<&Arc<Self>>) -> Self {
        let inbound = source.limits.inbound;
        let bucket = before.map(|b| b.bucket.clone()).filter(|bucket| bucket.rate() == inbound);
        let share = before
            .filter(|b| b.source.limits.max_body == source.limits.max_body)
            .map_or_else(|| memory.share(source.limits.max_body), |b| b.memory.clone());
        Self {
            live: ArcSwap::from_pointee(LiveKeys::of(&source, Timestamp::from_millis(i64::MIN))),
            bucket: bucket.unwrap_or_else(|| Arc::new(Bucket::new(inbound))),
            kept_refusals: before.map_or_else(|| Arc::new(Bucket::new(KEPT_REFUSALS)), |b| b.kept_refusals.clone()),
            memory: share,
            backlog: before.map_or_else(Arc::default, |b| b.backlog.clone()),
            source,
        }
    }

    /// The keys that verify at `now`.
    pub(super) fn live(&self, now: Timestamp) -> Arc<LiveKeys> {
        let live = self.live.load_full();
        let same = live.changes == self.source.keys.changes();
        if same && live.from <= now && live.until.is_none_or(|until| now < until) {
            return live;
        }
        let live = Arc::new(LiveKeys::of(&self.source, now));
        self.live.store(live.clone());
        live
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place { lane: &self.source.lane, vendor: self.source.vendor.name() }
    }
}

/// The keys of a source that are within their windows, newest first, and how long that holds.
pub(super) struct LiveKeys {
    pub(super) keys: Vec<Key>,
    pub(super) versions: Vec<Arc<str>>,
    /// The labels under which their uses are counted.
    pub(super) counted_as: Vec<Arc<str>>,
    /// As many keys of the same kinds that are nobody's secret: what a path that leads nowhere is
    /// verified under.
    pub(super) nobodys: Vec<Key>,
    from: Timestamp,
    until: Option<Timestamp>,
    /// Of [`Keys::changes`](crate::config::Keys::changes).
    changes: u64,
}

impl LiveKeys {
    fn of(source: &Source, now: Timestamp) -> Self {
        // Before it is looked which are revoked: a change meanwhile is found at the next delivery.
        let changes = source.keys.changes();
        // Once: which are revoked may change between two looks.
        let live: Vec<_> = source.keys.iter().filter(|key| key.is_live(now)).collect();
        let live = || live.iter();
        let bounds = source.keys.iter().flat_map(|key| [key.not_before, key.not_after]);
        Self {
            keys: live().map(|key| key.key.clone()).collect(),
            versions: live().map(|key| key.version.clone()).collect(),
            counted_as: live().map(|key| key.counted_as.clone()).collect(),
            nobodys: live().map(|key| nobodys(&key.key)).collect(),
            from: now,
            until: bounds.flatten().filter(|bound| *bound > now).min(),
            changes,
        }
    }
}

/// A key that takes as long to verify under and holds no secret: public keys are none.
fn nobodys(key: &Key) -> Key {
    match key {
        Key::Symmetric(_) => Key::Symmetric(Secret::new(vec![0; 32])),
        Key::Ed25519(_) | Key::EcdsaP256(_) | Key::Rsa(_) | Key::Certified { .. } => key.clone(),
    }
}

/// How long a reading of the backlog is good while it is far from the cap.
const BACKLOG_AGE: Duration = Duration::from_secs(10);
/// How long it is good at the cap.
const BACKLOG_AGE_AT_CAP: Duration = Duration::from_millis(100);

/// A lane's jobs that are not over: the store's count, plus what was stored since.
#[derive(Debug)]
pub(super) struct Backlog {
    born: Instant,
    jobs: AtomicU64,
    /// When the store was asked, in milliseconds after `born`; `u64::MAX`: never.
    asked: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Default for Backlog {
    fn default() -> Self {
        Self { born: Instant::now(), jobs: AtomicU64::new(0), asked: AtomicU64::new(NEVER) }
    }
}

impl Backlog {
    pub(super) fn add(&self, jobs: usize) {
        self.jobs.fetch_add(jobs as u64, Relaxed);
    }

    /// Whether the source has `cap` jobs waiting. Asks the store rarely: what is stored here is
    /// counted here, and what ended since can only make the answer milder, so it asks again at the
    /// cap. A store that does not answer is no reason to refuse: recording will find out.
    pub(super) async fn is_full(self: &Arc<Self>, source: &Source, records: &Arc<dyn Records>) -> bool {
        let cap = source.limits.pending;
        let asked = self.asked.load(Relaxed);
        let now = self.born.elapsed().as_millis() as u64;
        let age = Duration::from_millis(now.saturating_sub(asked));
        if asked == NEVER || (self.jobs.load(Relaxed) >= cap && age >= BACKLOG_AGE_AT_CAP) {
            if self.asked.compare_exchange(asked, now, Relaxed, Relaxed).is_ok() {
                self.refresh(source, records.as_ref()).await;
            }
        } else if age >= BACKLOG_AGE && self.asked.compare_exchange(asked, now, Relaxed, Relaxed).is_ok() {
            let (backlog, lane, records) = (self.clone(), source.lane.clone(), records.clone());
            tokio::spawn(async move {
                if let Ok(jobs) = records.pending(lane.tenant.as_str(), lane.source.as_str()).await {
                    backlog.jobs.store(jobs, Relaxed);
                }
            });
        }
        self.jobs.load(Relaxed) >= cap
    }

    async fn refresh(&self, source: &Source, records: &dyn Records) {
        let lane = &source.lane;
        if let Ok(jobs) = records.pending(lane.tenant.as_str(), lane.source.as_str()).await {
            self.jobs.store(jobs, Relaxed);
        }
    }
}
