//! `signing_key` of `[wordpress]`: which keys sites know, and which of them signs.
//!
//! A site learns a key from the key set before it can verify with it. So a new key is published for
//! `lead` while the one before still signs; then the new one signs, and the old one stays published
//! until its end for what is still under way.

use std::{fmt, sync::Arc, time::Duration};

use sluice_actors::domain::Timestamp;

use super::{
    finding::Problem,
    keys::{self, History, MAX_SECRETS, Window},
    section::{Section, Spot},
    tree::Item,
};
use crate::{actions::SigningKey, secrets::Secret};

/// Sites fetch the key set each hour; one fetch may fail.
pub(crate) const DEFAULT_LEAD: Duration = Duration::from_hours(2);

/// The keys of a site, newest first.
pub struct SigningKeys(Vec<SiteKey>);

/// An Ed25519 key with its window.
pub struct SiteKey {
    /// The key, PKCS#8 PEM.
    pub pem: Secret,
    /// Its id in tokens and in the key set.
    pub kid: String,
    /// A label that tells versions apart (`file:acme.pem`).
    pub version: Arc<str>,
    /// When it begins to sign; it is published before.
    pub signs_from: Option<Timestamp>,
    /// When it is published no more.
    pub not_after: Option<Timestamp>,
    /// How long a rotation keeps the key before it, where its entry says so.
    pub overlap: Option<Duration>,
    /// How long a rotation only publishes it, where its entry says so.
    pub lead: Option<Duration>,
    /// Whether it is the version before the one that the file names.
    pub is_previous: bool,
    /// What the file says of its beginning.
    not_before: Option<Timestamp>,
}

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// It is published, and will sign.
    Published,
    /// It signs.
    Signs,
    /// It is published for what it signed.
    Retiring,
    /// It is over.
    Retired,
}

impl SiteKey {
    fn is_published(&self, now: Timestamp) -> bool {
        self.not_after.is_none_or(|end| now < end)
    }

    fn may_sign(&self, now: Timestamp) -> bool {
        self.is_published(now) && self.signs_from.is_none_or(|begin| begin <= now)
    }
}

impl SigningKeys {
    /// The key that its file names first.
    pub fn newest(&self) -> &SiteKey {
        // There is at least one.
        &self.0[0]
    }

    /// The key that signs at `now`: the newest that has begun. None where all have ended, or none
    /// has begun.
    pub fn signing(&self, now: Timestamp) -> Option<&SiteKey> {
        self.0.iter().find(|key| key.may_sign(now))
    }

    /// The keys that sites are to know at `now`.
    pub fn published(&self, now: Timestamp) -> impl Iterator<Item = &SiteKey> {
        self.0.iter().filter(move |key| key.is_published(now))
    }

    /// All keys, each with what it does at `now`.
    pub fn duties(&self, now: Timestamp) -> impl Iterator<Item = (&SiteKey, Duty)> {
        let signing = self.0.iter().position(|key| key.may_sign(now));
        self.0.iter().enumerate().map(move |(nth, key)| {
            let duty = match signing {
                _ if !key.is_published(now) => Duty::Retired,
                Some(signing) if nth == signing => Duty::Signs,
                Some(signing) if nth > signing => Duty::Retiring,
                Some(_) | None => Duty::Published,
            };
            (key, duty)
        })
    }

    /// When what is published changes next after `now`.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.0.iter().filter_map(|key| key.not_after).filter(|end| now < *end).min()
    }

    /// One key without a window.
    #[cfg(test)]
    pub(crate) fn only(pem: Secret) -> Self {
        let kid = SigningKey::parse(&pem).expect("a key").kid().to_owned();
        Self(vec![SiteKey {
            pem,
            kid,
            version: "env:KEY".into(),
            signs_from: None,
            not_after: None,
            overlap: None,
            lead: None,
            is_previous: false,
            not_before: None,
        }])
    }

    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let Some(items) = section.one_or_more("signing_key") else {
            // Tells that it is missing.
            section.required_secret("signing_key");
            return None;
        };
        if items.is_empty() {
            section.error("signing_key", "is empty: nothing could be signed", "name at least one key");
        }
        if items.len() > MAX_SECRETS {
            section.error(
                "signing_key",
                format!("names {} keys", items.len()),
                format!("keep at most {MAX_SECRETS}, newest first; each one more can sign"),
            );
        }
        let named = items.len();
        let mut keys: Vec<SiteKey> = Vec::new();
        for (spot, item) in items {
            let Some((item, window)) = keys::split_entry(section, &spot, item, true) else { continue };
            let history = keys::history(section, &spot, &item, window.overlap);
            for key in read_entry(section, &spot, &item, &window, history) {
                // The same again has no window of its own.
                if keys.iter().all(|known| known.kid != key.kid) {
                    keys.push(key);
                }
            }
        }
        if named > 1 && keys.iter().all(|key| key.not_before.is_some()) {
            section.warn(
                "signing_key",
                "names only keys that begin at some time: before it nothing is signed",
                "leave `not_before` out of the oldest",
            );
        }
        (!keys.is_empty()).then_some(Self(keys))
    }
}

/// The key that an entry names, with the one before behind it.
fn read_entry(section: &Section<'_>, spot: &Spot, item: &Item, window: &Window, history: History) -> Vec<SiteKey> {
    let Some((pem, reference)) = section.secret_at(item, spot) else { return Vec::new() };
    let Ok(key) = SigningKey::parse(&pem) else {
        let problem = Problem::new(
            "is not an Ed25519 private key in PKCS#8 PEM",
            "make one with `openssl genpkey -algorithm ed25519`",
        );
        section.ctx.error(&spot.place, &spot.key, problem);
        return Vec::new();
    };
    let mut current = SiteKey {
        pem,
        kid: key.kid().to_owned(),
        version: reference.to_string().into(),
        signs_from: window.not_before,
        not_after: window.not_after,
        overlap: window.overlap,
        lead: window.lead,
        is_previous: false,
        not_before: window.not_before,
    };
    let former = history.former.and_then(|former| {
        let key = SigningKey::parse(&former.secret).ok()?;
        Some((key.kid().to_owned(), former))
    });
    let Some((kid, former)) = former.filter(|(kid, _)| *kid != current.kid) else { return vec![current] };
    let lead = window.lead.unwrap_or(DEFAULT_LEAD);
    // Never past the end of the old one: then nothing would sign.
    let until = former.signs_until.unwrap_or(former.replaced_at.plus(lead)).min(former.not_after);
    current.signs_from = Some(window.not_before.map_or(until, |begin| begin.max(until)));
    if let Some(tenant) = section.tenant() {
        section.ctx.claim(tenant, &former.secret, spot);
    }
    let previous = SiteKey {
        pem: former.secret,
        kid,
        version: former.version.into(),
        signs_from: None,
        not_after: Some(former.not_after),
        overlap: None,
        lead: None,
        is_previous: true,
        not_before: None,
    };
    vec![current, previous]
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().filter(|key| !key.is_previous)).finish()
    }
}

impl fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What the file says, and nothing that nodes may see at different times.
        let mut shown = f.debug_struct("SiteKey");
        shown.field("version", &self.version).field("not_before", &self.not_before);
        shown
            .field("not_after", &self.not_after)
            .field("overlap", &self.overlap)
            .field("lead", &self.lead)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{KeyPair, PKCS_ED25519};

    use super::*;
    use crate::{
        config::{Config, Errors, Input},
        secrets::{Head, Previous},
    };

    fn pem() -> String {
        KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem()
    }

    fn resolved(dir: &Path, signing_key: &str) -> Result<Config, Errors> {
        let text = format!(
            "[wordpress]\nsite = 'https://blog.example'\nsite_uuid = '7f8f0a2e-3c1b-4d5e-9f60-718293a4b5c6'\n\
             signing_key = {signing_key}\n"
        );
        Input::new(dir).tenant("acme", text).resolve()
    }

    fn told(dir: &Path, signing_key: &str) -> String {
        resolved(dir, signing_key).unwrap_err().to_string()
    }

    /// At a second: what each key does, by its reference.
    fn duties(config: &Config, second: i64) -> Vec<(String, Duty)> {
        let site = config.tenants.values().next().unwrap().wordpress.clone().unwrap();
        let at = site.signing.duties(Timestamp::from_secs(second));
        at.map(|(key, duty)| (key.version.to_string(), duty)).collect()
    }

    #[test]
    fn the_newest_that_has_begun_signs_and_what_has_not_ended_is_published() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["new", "old"] {
            std::fs::write(dir.path().join(name), pem()).unwrap();
        }
        let list = "[{ ref = 'file:new', not_before = '1970-01-01T00:00:10Z' }, \
                     { ref = 'file:old', not_after = '1970-01-01T00:00:20Z' }]";
        let config = resolved(dir.path(), list).unwrap();
        let of = |second| duties(&config, second).into_iter().map(|(_, duty)| duty).collect::<Vec<_>>();
        assert_eq!(of(9), [Duty::Published, Duty::Signs]);
        assert_eq!(of(10), [Duty::Signs, Duty::Retiring]);
        assert_eq!(of(20), [Duty::Signs, Duty::Retired]);
        assert!(config.warnings.iter().all(|warning| !warning.key.contains("signing_key")), "{:?}", config.warnings);
        let site = config.tenants.values().next().unwrap().wordpress.clone().unwrap();
        let next = |second| site.signing.next_change(Timestamp::from_secs(second)).map(Timestamp::as_secs);
        assert_eq!((next(5), next(20)), (Some(20), None));
    }

    #[test]
    fn a_rotated_key_signs_after_its_lead_and_never_leaves_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("key"), pem());
        std::fs::write(&path, pem()).unwrap();
        let keep = |value: &str, signs_until: Option<i64>| {
            let at = Timestamp::from_secs;
            let head = Head { rotated_at: at(100), not_after: at(500), since: None, signs_until: signs_until.map(at) };
            let previous = Previous { head, value: Secret::new(value.as_bytes().to_vec()) };
            std::fs::write(Previous::path(&path), &*previous.to_bytes()).unwrap();
            resolved(dir.path(), "'file:key'").unwrap()
        };
        let config = keep(&old, Some(200));
        let of = |config: &Config, second| duties(config, second).into_iter().map(|(_, duty)| duty).collect::<Vec<_>>();
        assert_eq!(of(&config, 199), [Duty::Published, Duty::Signs]);
        assert_eq!(of(&config, 200), [Duty::Signs, Duty::Retiring]);
        assert_eq!(of(&config, 500), [Duty::Signs, Duty::Retired]);
        // A lead beyond the old one's end would leave nobody to sign.
        let config = keep(&old, Some(900));
        assert_eq!(
            (of(&config, 499), of(&config, 500)),
            (vec![Duty::Published, Duty::Signs], vec![Duty::Signs, Duty::Retired])
        );
        // What is no key, or the same one, is none.
        assert_eq!(of(&keep("hunter2", Some(200)), 0), [Duty::Signs]);
        let same = std::fs::read_to_string(&path).unwrap();
        assert_eq!(of(&keep(&same, Some(200)), 0), [Duty::Signs]);
    }

    #[test]
    fn what_is_wrong_with_signing_keys_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c", "d"] {
            std::fs::write(dir.path().join(name), pem()).unwrap();
        }
        std::fs::write(dir.path().join("bad"), "hunter2").unwrap();
        for (keys, what) in [
            ("[]", "is empty: nothing could be signed"),
            ("['file:a', 'file:b', 'file:c', 'file:d']", "names 4 keys"),
            ("['file:a', 'file:bad']", "signing_key[1]: is not an Ed25519 private key"),
            ("{ ref = 'file:a', lead = '2h', overlap = '1h' }", "is not shorter than `overlap`"),
            ("{ ref = 'file:a', leed = '2h' }", "did you mean `lead`?"),
            ("7", "signing_key"),
        ] {
            let told = told(dir.path(), keys);
            assert!(told.contains(what) && !told.contains("hunter2"), "{keys}: {told}");
        }
        let config = resolved(
            dir.path(),
            "[{ ref = 'file:a', not_before = '2026-01-01T00:00:00Z' }, { ref = 'file:b', not_before = '2026-01-02T00:00:00Z' }]",
        );
        assert!(config.unwrap().warnings.iter().any(|warning| warning.reason.contains("before it nothing is signed")));
    }
}
