//! `secrets` of a source: which keys verify, and when.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use sha2::{Digest, Sha256};
use sluice_actors::domain::{TenantName, Timestamp};

use super::{
    finding::Problem,
    section::{Section, Spot},
    tree::{Item, Value},
    units::FromItem,
};
use crate::{
    secrets::{Head, Previous, Reference, Secret, reference::RemoteReference},
    vendors::{Key, Vendor},
};

/// A rotation has a new and an old secret; the third is for one that comes before the last went.
pub(super) const MAX_SECRETS: usize = 3;

/// Longer, and a leaked old secret is good for longer than anybody remembers it.
pub(crate) const LONGEST_OVERLAP: Duration = Duration::from_hours(24 * 90);

/// The keys of a source. What is shown of them leaves out what is known by itself, without the file
/// that names them: nodes that see a rotation at different times are not configured differently.
#[derive(Default)]
pub struct Keys {
    all: Vec<LiveKey>,
    /// How often it changed which of them are revoked.
    changes: AtomicU64,
}

impl Keys {
    pub(super) fn new(all: Vec<LiveKey>) -> Self {
        Self { all, changes: AtomicU64::new(0) }
    }

    /// Takes out of use the keys that `is_revoked` says, and puts all others into it.
    pub fn revoke(&self, is_revoked: impl Fn(&LiveKey) -> bool) {
        let mut changed = false;
        for key in &self.all {
            let now = is_revoked(key);
            changed |= key.revoked.swap(now, Ordering::Relaxed) != now;
        }
        if changed {
            // What is read by who sees the new number is the new standing.
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    /// Another number whenever it changed which keys are revoked.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

impl std::ops::Deref for Keys {
    type Target = [LiveKey];

    fn deref(&self) -> &[LiveKey] {
        &self.all
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.iter().filter(|key| !key.is_previous)).finish()
    }
}

/// A key with its label and its window.
pub struct LiveKey {
    /// The key.
    pub key: Key,
    /// A label that tells versions apart without telling the secret (`env:NEW`).
    pub version: Arc<str>,
    /// The label under which its uses are counted: where it is known since when the value stands
    /// under `version`, that belongs to it, or the uses of the value before would be taken for its own.
    pub counted_as: Arc<str>,
    /// Since when the value stands under `version`, where that is known.
    pub since: Option<Timestamp>,
    /// When it begins to verify.
    pub not_before: Option<Timestamp>,
    /// When it stops verifying.
    pub not_after: Option<Timestamp>,
    /// How long the version before it is kept by a rotation, where its entry says so.
    pub overlap: Option<Duration>,
    /// Whether it is the version before the one that the file names, as its provider or
    /// `sluice secret rotate` keeps it.
    pub is_previous: bool,
    revoked: AtomicBool,
}

impl fmt::Debug for LiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without what nodes may see at different times.
        let mut shown = f.debug_struct("LiveKey");
        shown.field("key", &self.key).field("version", &self.version);
        shown.field("not_before", &self.not_before).field("not_after", &self.not_after);
        shown.field("overlap", &self.overlap).finish_non_exhaustive()
    }
}

impl LiveKey {
    fn new(key: Key, version: String, since: Option<Timestamp>, window: &Window) -> Self {
        let counted_as = since.map_or_else(|| version.clone(), |since| format!("{version}@{since}"));
        Self {
            key,
            version: version.into(),
            counted_as: counted_as.into(),
            since,
            not_before: window.not_before,
            not_after: window.not_after,
            overlap: window.overlap,
            is_previous: false,
            revoked: AtomicBool::new(false),
        }
    }

    /// Whether it verifies at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.is_revoked()
            && self.not_before.is_none_or(|begin| begin <= now)
            && self.not_after.is_none_or(|end| now < end)
    }

    /// Whether an operator took it out of use.
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }
}

/// When an entry verifies.
#[derive(Default)]
pub(super) struct Window {
    pub(super) not_before: Option<Timestamp>,
    pub(super) not_after: Option<Timestamp>,
    /// How long the version before it verifies beside it.
    pub(super) overlap: Option<Duration>,
    /// Of a key that signs: how long a new version is only published.
    pub(super) lead: Option<Duration>,
}

/// An entry is a reference, or a table of a reference and its window. `signs`: of a key that signs.
pub(super) fn split_entry(section: &Section<'_>, spot: &Spot, item: Item, signs: bool) -> Option<(Item, Window)> {
    if !matches!(item.value, Value::Table(_)) {
        return Some((item, Window::default()));
    }
    let mut table = section.as_table(spot.clone(), item)?;
    let reference = table.required("ref", "write { ref = \"env:NAME\", not_after = \"2026-12-01T00:00:00Z\" }");
    let not_before = table.opt("not_before");
    let not_after = table.opt("not_after");
    let overlap = table.duration("overlap", Duration::from_secs(1)..=LONGEST_OVERLAP);
    let lead = if signs { table.duration("lead", Duration::ZERO..=LONGEST_OVERLAP) } else { None };
    if let (Some(begin), Some(end)) = (not_before, not_after)
        && end <= begin
    {
        table.error("not_after", "is not after `not_before`: it would never verify", "correct one of them");
    }
    if let (Some(lead), Some(overlap)) = (lead, overlap)
        && overlap <= lead
    {
        table.error(
            "lead",
            "is not shorter than `overlap`: the old key would end before the new one signs",
            "correct one of them",
        );
    }
    let item = Item { place: spot.place.clone(), value: Value::Text(reference.unwrap_or_default()) };
    table.finish();
    (!matches!(&item.value, Value::Text(text) if text.is_empty()))
        .then_some((item, Window { not_before, not_after, overlap, lead }))
}

/// The version before the one that an entry names.
pub(super) struct Former {
    pub(super) secret: Secret,
    pub(super) version: String,
    /// When it stops being good.
    pub(super) not_after: Timestamp,
    /// When the version after it was made.
    pub(super) replaced_at: Timestamp,
    pub(super) since: Option<Timestamp>,
    /// Of a key that signs, where `sluice secret rotate` said so.
    pub(super) signs_until: Option<Timestamp>,
}

/// What is known of the value that an entry names, and of the one before.
pub(super) struct History {
    pub(super) since: Option<Timestamp>,
    pub(super) former: Option<Former>,
}

/// The history of what `item` names. A provider's version before is used for `overlap`, the one that
/// `sluice secret rotate` kept for as long as it said.
pub(super) fn history(section: &Section<'_>, spot: &Spot, item: &Item, overlap: Option<Duration>) -> History {
    match String::from_item(item).ok().and_then(|text| text.parse::<Reference>().ok()) {
        Some(Reference::Remote(current)) => of_provider(section, spot, &current, overlap),
        Some(reference @ Reference::File { .. }) => of_file(section, spot, &reference),
        Some(Reference::Env(_)) | None => {
            if overlap.is_some() {
                no_previous(section, spot);
            }
            History { since: None, former: None }
        }
    }
}

fn no_previous(section: &Section<'_>, spot: &Spot) {
    let problem = Problem::new(
        "has an `overlap`, but no provider that knows its previous version",
        "name the old secret by itself, with a `not_after`",
    );
    section.ctx.error(&spot.place, &format!("{}.overlap", spot.key), problem);
}

fn of_provider(section: &Section<'_>, spot: &Spot, current: &RemoteReference, overlap: Option<Duration>) -> History {
    let keep = &section.ctx.secrets.keep;
    let since = keep.created(current);
    let none = History { since, former: None };
    let Some(overlap) = overlap else { return none };
    let Some(previous) = current.previous() else {
        no_previous(section, spot);
        return none;
    };
    // There need not be one.
    let secret = section.ctx.resolve(&Reference::Remote(previous.clone())).ok();
    let former = secret.zip(since).map(|(secret, replaced_at)| Former {
        secret,
        version: previous.to_string(),
        not_after: replaced_at.plus(overlap),
        replaced_at,
        since: keep.created(&previous),
        signs_until: None,
    });
    History { since, former }
}

fn of_file(section: &Section<'_>, spot: &Spot, reference: &Reference) -> History {
    let none = History { since: None, former: None };
    let (Some(path), Some(beside)) = (section.ctx.secrets.path(reference), reference.beside()) else { return none };
    // Whether it is there or not: it may come.
    section.ctx.files.borrow_mut().push(Previous::path(&path));
    match Previous::of(&path) {
        Ok(None) => none,
        Ok(Some(Previous { head, value })) => {
            let Head { rotated_at, not_after, since, signs_until } = head;
            let former = Former {
                secret: value,
                version: beside.to_string(),
                not_after,
                replaced_at: rotated_at,
                since,
                signs_until,
            };
            History { since: Some(rotated_at), former: Some(former) }
        }
        Err(error) => {
            section.ctx.warn(
                &spot.place,
                &spot.key,
                format!("`{beside}`, beside it, {error}: it is not used"),
                "remove it, or give it another name",
            );
            none
        }
    }
}

pub(super) fn read_keys(
    section: &mut Section<'_>,
    vendor: Option<&dyn Vendor>,
    tenant: &TenantName,
    await_handshake: bool,
) -> Keys {
    let Some(items) = section.items("secrets") else {
        if !section.has("secrets") && !await_handshake {
            section.error(
                "secrets",
                "is missing: nothing could be verified",
                "write a list of references, newest first, such as [\"file:NAME.secret\"]",
            );
        }
        return Keys::default();
    };
    if items.is_empty() && !await_handshake {
        section.error("secrets", "is empty: nothing could be verified", "name at least one secret");
    }
    if items.len() > MAX_SECRETS {
        section.error(
            "secrets",
            format!("names {} secrets", items.len()),
            format!("keep at most {MAX_SECRETS}, newest first; each one more can forge"),
        );
    }
    let mut reading = Reading { section, vendor, tenant, seen: BTreeSet::new() };
    let mut keys = Vec::new();
    for (spot, item) in items {
        let Some((item, window)) = split_entry(reading.section, &spot, item, false) else { continue };
        let history = history(reading.section, &spot, &item, window.overlap);
        keys.extend(reading.key(&spot, &item, &window, history.since));
        keys.extend(history.former.and_then(|former| reading.former(&spot, former)));
    }
    Keys::new(keys)
}

struct Reading<'r, 's> {
    section: &'r Section<'s>,
    vendor: Option<&'r dyn Vendor>,
    tenant: &'r TenantName,
    seen: BTreeSet<[u8; 32]>,
}

impl Reading<'_, '_> {
    fn key(&mut self, spot: &Spot, item: &Item, window: &Window, since: Option<Timestamp>) -> Option<LiveKey> {
        let (secret, version) = self.text(spot, item)?;
        let ctx = self.section.ctx;
        if !self.seen.insert(digest(&secret)) {
            ctx.warn(&spot.place, &spot.key, "is the same secret as an earlier one", "remove it");
        }
        let key = self.vendor?.key(&secret).map_err(|error| {
            let problem = Problem::secret(error.to_string(), "copy it again from the vendor's settings");
            ctx.error(&spot.place, &spot.key, problem);
        });
        Some(LiveKey::new(key.ok()?, version, since, window))
    }

    /// The version before. One that is no key is none that could verify; nor is one needed that is
    /// the same as another.
    fn former(&mut self, spot: &Spot, former: Former) -> Option<LiveKey> {
        if !self.seen.insert(digest(&former.secret)) {
            return None;
        }
        self.section.ctx.claim(self.tenant, &former.secret, spot);
        let key = self.vendor?.key(&former.secret).ok()?;
        let window = Window { not_after: Some(former.not_after), ..Window::default() };
        Some(LiveKey { is_previous: true, ..LiveKey::new(key, former.version, former.since, &window) })
    }

    /// The secret's text and the label that tells its version. A public key may stand there in plain:
    /// it is no secret.
    fn text(&self, spot: &Spot, item: &Item) -> Option<(Secret, String)> {
        let public = |secret: &Secret| {
            self.vendor.and_then(|vendor| vendor.key(secret).ok()).is_some_and(|key| !matches!(key, Key::Symmetric(_)))
        };
        if let Ok(text) = String::from_item(item)
            && text.parse::<Reference>().is_err()
        {
            let secret = Secret::new(text.into_bytes());
            if public(&secret) {
                let version = format!("public:{}", hex::encode(&digest(&secret)[..4]));
                return Some((secret, version));
            }
        }
        let (secret, reference) = self.section.unclaimed_secret_at(item, spot)?;
        if !public(&secret) {
            self.section.ctx.claim(self.tenant, &secret, spot);
        }
        Some((secret, reference.to_string()))
    }
}

pub(super) fn digest(secret: &Secret) -> [u8; 32] {
    Sha256::digest(secret.expose()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Input};

    fn config(dir: &std::path::Path) -> Config {
        let text = "[sources.pay]\nvendor = 'generic'\nsecrets = ['file:pay', 'file:other']\n";
        Input::new(dir).tenant("acme", text).resolve().unwrap()
    }

    fn keys(config: &Config) -> &Keys {
        &config.tenants.values().next().unwrap().sources.values().next().unwrap().keys
    }

    #[test]
    fn what_a_rotation_kept_stands_behind_its_file_until_its_end_and_nodes_need_not_agree_on_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pay"), "new").unwrap();
        std::fs::write(dir.path().join("other"), "other").unwrap();
        let plain = config(dir.path());
        assert_eq!(keys(&plain)[0].counted_as, keys(&plain)[0].version);
        let at = Timestamp::from_secs;
        let keep = |value: &str| {
            let head = Head { rotated_at: at(100), not_after: at(200), since: Some(at(50)), signs_until: None };
            let previous = Previous { head, value: Secret::new(value.as_bytes().to_vec()) };
            std::fs::write(Previous::path(&dir.path().join("pay")), &*previous.to_bytes()).unwrap();
            config(dir.path())
        };
        let rotated = keep("old");
        let of: Vec<_> = keys(&rotated).iter().map(|key| (&*key.version, &*key.counted_as, key.is_previous)).collect();
        assert_eq!(
            of,
            [
                ("file:pay", "file:pay@1970-01-01T00:01:40.000Z", false),
                ("file:pay.previous", "file:pay.previous@1970-01-01T00:00:50.000Z", true),
                ("file:other", "file:other", false),
            ]
        );
        let old = &keys(&rotated)[1];
        assert!(old.is_live(at(199)) && !old.is_live(at(200)));
        assert_eq!(rotated.digests(), plain.digests());
        assert!(rotated.files.iter().any(|path| path.ends_with("pay.previous")), "its change is noticed");
        assert!(plain.files.iter().any(|path| path.ends_with("pay.previous")), "its coming is noticed");
        // In the middle of a rotation both files hold the same; nor does another entry's secret get an end.
        assert_eq!(keys(&keep("new")).len(), 2);
    }

    #[test]
    fn a_revoked_key_is_live_at_no_time_and_its_change_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pay"), "new").unwrap();
        std::fs::write(dir.path().join("other"), "other").unwrap();
        let config = config(dir.path());
        let keys = keys(&config);
        let before = keys.changes();
        keys.revoke(|_| false);
        assert_eq!(keys.changes(), before);
        keys.revoke(|key| &*key.version == "file:pay");
        assert_ne!(keys.changes(), before);
        assert!(!keys[0].is_live(Timestamp::from_secs(0)) && keys[1].is_live(Timestamp::from_secs(0)));
        keys.revoke(|_| false);
        assert!(keys[0].is_live(Timestamp::from_secs(0)));
    }
}
