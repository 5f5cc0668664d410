//! The keys in use: whose values are sealed, and the data keys that this process has unwrapped.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use arc_swap::ArcSwap;
use sluice_actors::domain::Timestamp;
use uuid::Uuid;

use super::{
    key::{DataKey, WrappingKey},
    value::{Place, SealError, text_sealed_by, value_sealed_by},
};

/// How what is kept of a tenant is sealed.
#[derive(Debug)]
pub struct Encryption {
    /// The wrapping keys, newest first, at least one. The first wraps; all unwrap.
    pub keys: Vec<WrappingKey>,
    /// Whether new rows are sealed. Where not, what is sealed still opens.
    pub seal: bool,
}

impl Encryption {
    /// The key that wraps.
    pub fn first(&self) -> Option<&WrappingKey> {
        self.keys.first()
    }
}

/// A data key as the database holds it.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// Whose.
    pub tenant: String,
    /// Its id; ids sort in the order they were made.
    pub id: Uuid,
    /// Wrapped; `None`: it was erased.
    pub wrapped: Option<Vec<u8>>,
    /// The fingerprint of the key that wrapped it.
    pub wrapped_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was erased.
    pub erased_at: Option<Timestamp>,
}

/// What is known of a data key.
#[derive(Debug, Clone)]
pub enum Held {
    /// It opens.
    Key(Arc<DataKey>),
    /// It was erased, and all that it sealed.
    Erased,
}

/// A value of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened<T> {
    /// As it was before it was sealed, if it was.
    Plain(T),
    /// Its key was erased.
    Erased,
}

impl<T> Opened<T> {
    /// The value; `None` where it was erased.
    pub fn plain(self) -> Option<T> {
        match self {
            Self::Plain(value) => Some(value),
            Self::Erased => None,
        }
    }
}

/// The keys of this process, shared by all who seal and open.
#[derive(Debug, Default)]
pub struct Ring {
    settings: ArcSwap<BTreeMap<String, Arc<Encryption>>>,
    keys: RwLock<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    held: HashMap<Uuid, Held>,
    /// By which new rows of a tenant are sealed.
    active: HashMap<String, Arc<DataKey>>,
}

impl Ring {
    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        // Each entry is whole at every step.
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a configuration into force, by tenant. What is sealed next is sealed by the newest key of the database.
    pub fn configure(&self, settings: BTreeMap<String, Arc<Encryption>>) {
        self.settings.store(Arc::new(settings));
        self.write().active.clear();
    }

    /// Whether anything may be sealed.
    pub fn is_used(&self) -> bool {
        !self.settings.load().is_empty()
    }

    /// How what is kept of a tenant is sealed.
    pub fn encryption(&self, tenant: &str) -> Option<Arc<Encryption>> {
        self.settings.load().get(tenant).cloned()
    }

    /// The data key by which new rows of a tenant are sealed, if it is at hand.
    pub fn active(&self, tenant: &str) -> Option<Arc<DataKey>> {
        self.read().active.get(tenant).cloned()
    }

    /// What is known of a data key here.
    pub fn held(&self, id: Uuid) -> Option<Held> {
        self.read().held.get(&id).cloned()
    }

    /// Takes a data key of the database into use.
    pub fn take(&self, stored: &StoredKey) -> Result<Held, SealError> {
        let Some(wrapped) = &stored.wrapped else {
            self.erase(&[stored.id]);
            return Ok(Held::Erased);
        };
        if let Some(held) = self.held(stored.id) {
            return Ok(held);
        }
        let (tenant, id) = (&stored.tenant, stored.id);
        let encryption = self.encryption(tenant);
        let keys = encryption.as_ref().map_or(&[][..], |encryption| &encryption.keys[..]);
        let key = keys.iter().find_map(|key| key.unwrap(tenant, id, wrapped));
        let key =
            key.ok_or_else(|| SealError::Locked { tenant: tenant.clone(), id, wrapped_by: stored.wrapped_by.clone() })?;
        // Erased meanwhile, it stays so.
        Ok(self.write().held.entry(id).or_insert_with(|| Held::Key(Arc::new(key))).clone())
    }

    /// Seals by a key that is held from now on, unless it was erased meanwhile.
    pub fn activate(&self, tenant: &str, key: &Arc<DataKey>) {
        let mut keys = self.write();
        if matches!(keys.held.entry(key.id()).or_insert_with(|| Held::Key(key.clone())), Held::Key(_)) {
            keys.active.insert(tenant.to_owned(), key.clone());
        }
    }

    /// A newer data key is in the database than the one in use: it is looked for the next time.
    pub fn supersede(&self, tenant: &str, newest: Uuid) {
        let mut keys = self.write();
        if keys.active.get(tenant).is_some_and(|key| key.id() < newest) {
            keys.active.remove(tenant);
        }
    }

    /// Drops keys that were erased.
    pub fn erase(&self, ids: &[Uuid]) {
        let mut keys = self.write();
        for id in ids {
            keys.held.insert(*id, Held::Erased);
        }
        keys.active.retain(|_, key| !ids.contains(&key.id()));
    }

    /// Drops all data keys: nobody can say any more which of them were erased.
    pub fn forget(&self) {
        let mut keys = self.write();
        keys.held.retain(|_, held| matches!(held, Held::Erased));
        keys.active.clear();
    }

    /// Opens bytes of the store, whose key was taken where they are sealed.
    pub fn open(&self, place: &Place<'_>, value: Vec<u8>) -> Result<Opened<Vec<u8>>, SealError> {
        let Some(id) = value_sealed_by(&value) else { return Ok(Opened::Plain(value)) };
        match self.held(id).ok_or(SealError::Unknown { id })? {
            Held::Key(key) => key.open(place, value).map(Opened::Plain),
            Held::Erased => Ok(Opened::Erased),
        }
    }

    /// Opens a text of the store, as [`Ring::open`].
    pub fn open_text(&self, place: &Place<'_>, text: String) -> Result<Opened<String>, SealError> {
        let Some(id) = text_sealed_by(&text) else { return Ok(Opened::Plain(text)) };
        match self.held(id).ok_or(SealError::Unknown { id })? {
            Held::Key(key) => key.open_text(place, &text).map(Opened::Plain),
            Held::Erased => Ok(Opened::Erased),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::value::Column, *};

    fn wrapping(byte: u8) -> WrappingKey {
        let mut text = hex::encode([byte; 31]);
        text.push_str("a5");
        WrappingKey::parse(text.as_bytes(), format!("env:KEY{byte}")).unwrap()
    }

    fn ring(keys: Vec<WrappingKey>) -> Ring {
        let ring = Ring::default();
        ring.configure(BTreeMap::from([("acme".to_owned(), Arc::new(Encryption { keys, seal: true }))]));
        ring
    }

    fn stored(by: &WrappingKey, id: u128) -> StoredKey {
        let key = DataKey::new(Uuid::from_u128(id)).unwrap();
        StoredKey {
            tenant: "acme".into(),
            id: key.id(),
            wrapped: Some(by.wrap("acme", &key).unwrap()),
            wrapped_by: by.fingerprint().into(),
            created_at: Timestamp::from_secs(1),
            erased_at: None,
        }
    }

    #[test]
    fn any_key_of_the_list_unwraps_and_no_other() {
        let stored = stored(&wrapping(1), 1);
        assert!(ring(vec![wrapping(2), wrapping(1)]).take(&stored).is_ok());
        let locked = ring(vec![wrapping(2)]).take(&stored).unwrap_err();
        assert!(locked.to_string().contains(wrapping(1).fingerprint()), "{locked}");
        assert!(Ring::default().take(&stored).is_err());
    }

    #[test]
    fn an_erased_key_stays_erased_whoever_read_it_before() {
        let stored = stored(&wrapping(1), 1);
        let ring = ring(vec![wrapping(1)]);
        let Held::Key(key) = ring.take(&stored).unwrap() else { panic!("it opens") };
        ring.activate("acme", &key);
        let place = Place { tenant: "acme", column: Column::Raw, row: b"1" };
        let sealed = key.seal(&place, b"hello").unwrap();
        assert_eq!(ring.open(&place, sealed.clone()).unwrap(), Opened::Plain(b"hello".to_vec()));
        ring.erase(&[key.id()]);
        assert!(matches!(ring.take(&stored).unwrap(), Held::Erased), "read before, taken after");
        ring.activate("acme", &key);
        assert!(ring.active("acme").is_none());
        assert_eq!(ring.open(&place, sealed.clone()).unwrap(), Opened::Erased);
        ring.forget();
        assert_eq!(ring.open(&place, sealed).unwrap(), Opened::Erased);
    }

    #[test]
    fn forgotten_keys_open_nothing_until_they_are_taken_again() {
        let stored = stored(&wrapping(1), 1);
        let ring = ring(vec![wrapping(1)]);
        let Held::Key(key) = ring.take(&stored).unwrap() else { panic!("it opens") };
        ring.activate("acme", &key);
        ring.supersede("acme", key.id());
        assert!(ring.active("acme").is_some(), "nothing is newer");
        ring.supersede("acme", Uuid::from_u128(2));
        assert!(ring.active("acme").is_none());
        let place = Place { tenant: "acme", column: Column::Raw, row: b"1" };
        let sealed = key.seal(&place, b"hello").unwrap();
        ring.forget();
        assert_eq!(ring.open(&place, sealed.clone()), Err(SealError::Unknown { id: key.id() }));
        ring.take(&stored).unwrap();
        assert!(ring.open(&place, sealed).is_ok());
    }
}
