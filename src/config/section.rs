//! A table of a configuration file, read key by key. What is wrong is written down and reading goes
//! on, so that an operator sees everything at once; what was not asked for is unknown.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::RangeInclusive,
    path::PathBuf,
};

use sha2::{Digest, Sha256};
use sluice_actors::domain::TenantName;

use super::{
    finding::{Error, Place, Problem, suggest},
    tree::{Entries, Item, Value},
    units::{ByteSize, FromItem, show_duration},
};
use crate::secrets::{
    InvalidReference, Reference, Secret, SecretError, Secrets, Staleness,
    reference::{RemoteReference, Version},
    remote::RemoteError,
};

/// What all sections of one reading share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) secrets: Secrets,
    /// Remote providers are not asked: what they keep is not checked.
    pub(super) offline: bool,
    /// What of remote providers was asked for, in the order of asking.
    pub(super) remote: RefCell<Vec<RemoteReference>>,
    pub(super) errors: RefCell<Vec<Error>>,
    pub(super) warnings: RefCell<Vec<Error>>,
    /// Files that secrets and schemas were read from.
    pub(super) files: RefCell<Vec<PathBuf>>,
    /// Which tenant a secret belongs to, by its digest: no secret serves two.
    owners: RefCell<BTreeMap<[u8; 32], (TenantName, Place)>>,
}

impl Context {
    pub(super) fn new(secrets: Secrets, offline: bool) -> Self {
        Self {
            secrets,
            offline,
            remote: RefCell::default(),
            errors: RefCell::default(),
            warnings: RefCell::default(),
            files: RefCell::default(),
            owners: RefCell::default(),
        }
    }

    /// What was asked for and never read.
    pub(super) fn unread(&self) -> BTreeSet<RemoteReference> {
        let asked = self.remote.borrow();
        let unread = asked.iter().filter(|reference| {
            let value = self.secrets.resolve(&Reference::Remote((*reference).clone()));
            matches!(value, Err(SecretError::Remote(_)))
        });
        unread.cloned().collect()
    }

    /// Where in the order of asking it is.
    pub(super) fn mark(&self) -> usize {
        self.remote.borrow().len()
    }

    /// Of what was asked for since `mark`, whether it is too old. A previous version is not needed.
    pub(super) fn staleness_since(&self, mark: usize) -> Vec<Staleness> {
        let asked = self.remote.borrow();
        let needed = asked[mark..].iter().filter(|reference| reference.location.version != Version::Previous);
        needed.map(|reference| self.secrets.keep.staleness(reference)).collect()
    }

    pub(super) fn error(&self, place: &Place, key: &str, problem: Problem) {
        let Problem { code, reason, cure } = problem;
        self.errors.borrow_mut().push(Error { code, place: place.clone(), key: key.to_owned(), reason, cure });
    }

    pub(super) fn warn(&self, place: &Place, key: &str, reason: impl Into<String>, cure: impl Into<String>) {
        let Problem { code, reason, cure } = Problem::new(reason, cure);
        self.warnings.borrow_mut().push(Error { code, place: place.clone(), key: key.to_owned(), reason, cure });
    }

    /// The secret of a reference; what it depends on is noted.
    pub(super) fn resolve(&self, reference: &Reference) -> Result<Secret, SecretError> {
        self.files.borrow_mut().extend(self.secrets.path(reference));
        if let Reference::Remote(remote) = reference {
            self.remote.borrow_mut().push(remote.clone());
        }
        self.secrets.resolve(reference)
    }

    /// Marks a secret as the tenant's own.
    pub(super) fn claim(&self, tenant: &TenantName, secret: &Secret, spot: &Spot) {
        let digest: [u8; 32] = Sha256::digest(secret.expose()).into();
        let mut owners = self.owners.borrow_mut();
        let (owner, first) = owners.entry(digest).or_insert_with(|| (tenant.clone(), spot.place.clone()));
        if owner != tenant {
            let problem = Problem::secret(
                format!("is the same secret as one of tenant `{owner}` ({first})"),
                "give each tenant a secret of its own in the vendor's settings: with a shared one, either can forge the other's deliveries",
            );
            drop(owners);
            self.error(&spot.place, &spot.key, problem);
        }
    }
}

fn reference(text: &str) -> Result<Reference, Problem> {
    text.parse().map_err(|error: InvalidReference| Problem::new(error.to_string(), error.cure()))
}

/// Where a key stands, for findings after it was read.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) place: Place,
    pub(super) key: String,
}

/// One table. Ask for its keys, then [`Section::finish`].
#[must_use = "unknown keys are found by `finish`"]
pub(super) struct Section<'a> {
    pub(super) ctx: &'a Context,
    place: Place,
    path: String,
    tenant: Option<TenantName>,
    left: Entries,
    known: Vec<&'static str>,
    places: BTreeMap<String, Place>,
}

impl<'a> Section<'a> {
    /// The root of a file. `tenant`: whose file it is.
    pub(super) fn root(ctx: &'a Context, place: Place, entries: Entries, tenant: Option<TenantName>) -> Self {
        Self { ctx, place, path: String::new(), tenant, left: entries, known: Vec::new(), places: BTreeMap::new() }
    }

    fn child(&self, spot: Spot, entries: Entries) -> Section<'a> {
        Section {
            ctx: self.ctx,
            place: spot.place,
            path: spot.key,
            tenant: self.tenant.clone(),
            left: entries,
            known: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where `key` (or what is below it) stands; the section itself if the key is not there.
    pub(super) fn spot(&self, key: &str) -> Spot {
        let own = key.split(['.', '[']).next().unwrap_or(key);
        let place = self.places.get(own).unwrap_or(&self.place).clone();
        Spot { place, key: self.path_of(key) }
    }

    /// The tenant whose file it is of.
    pub(super) fn tenant(&self) -> Option<&TenantName> {
        self.tenant.as_ref()
    }

    /// Where this section stands.
    pub(super) fn here(&self) -> Spot {
        Spot { place: self.place.clone(), key: self.path.clone() }
    }

    pub(super) fn error(&self, key: &str, reason: impl Into<String>, cure: impl Into<String>) {
        self.problem(key, Problem::new(reason, cure));
    }

    pub(super) fn problem(&self, key: &str, problem: Problem) {
        let spot = self.spot(key);
        self.ctx.error(&spot.place, &spot.key, problem);
    }

    pub(super) fn warn(&self, key: &str, reason: impl Into<String>, cure: impl Into<String>) {
        let spot = self.spot(key);
        self.ctx.warn(&spot.place, &spot.key, reason, cure);
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key) || self.places.contains_key(key)
    }

    fn take(&mut self, key: &'static str) -> Option<Item> {
        self.known.push(key);
        let item = self.left.remove(key)?;
        self.places.insert(key.to_owned(), item.place.clone());
        Some(item)
    }

    /// The value of `key`; none if it is missing or wrong.
    pub(super) fn opt<T: FromItem>(&mut self, key: &'static str) -> Option<T> {
        self.parsed(key, T::from_item)
    }

    /// The value of `key`, or its default.
    pub(super) fn get<T: FromItem>(&mut self, key: &'static str, default: T) -> T {
        self.opt(key).unwrap_or(default)
    }

    /// The value of `key`, which must be there.
    pub(super) fn required<T: FromItem>(&mut self, key: &'static str, cure: &str) -> Option<T> {
        if !self.has(key) {
            self.known.push(key);
            self.error(key, "is missing", cure);
            return None;
        }
        self.opt(key)
    }

    /// The value of `key` as `parse` reads it.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Item) -> Result<T, Problem>,
    ) -> Option<T> {
        let item = self.take(key)?;
        parse(&item).map_err(|problem| self.problem(key, problem)).ok()
    }

    /// A whole number within `range`.
    pub(super) fn number<T>(&mut self, key: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: Copy + PartialOrd + TryFrom<i64> + fmt::Display,
    {
        self.opt_number(key, range).unwrap_or(default)
    }

    /// A whole number within `range`, if it is there.
    pub(super) fn opt_number<T>(&mut self, key: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + PartialOrd + TryFrom<i64> + fmt::Display,
    {
        self.parsed(key, |item| {
            let number = i64::from_item(item)?;
            T::try_from(number).ok().filter(|number| range.contains(number)).ok_or_else(|| {
                Problem::new(format!("{number} is out of range"), format!("write {} to {}", range.start(), range.end()))
            })
        })
    }

    /// A number above zero, at most `max`.
    pub(super) fn positive(&mut self, key: &'static str, max: f64) -> Option<f64> {
        self.parsed(key, |item| {
            let number = f64::from_item(item)?;
            if number > 0.0 && number <= max {
                Ok(number)
            } else {
                Err(Problem::new(format!("{number} is out of range"), format!("write a number above 0, at most {max}")))
            }
        })
    }

    /// A size within `range`.
    pub(super) fn size(&mut self, key: &'static str, range: RangeInclusive<usize>) -> Option<usize> {
        self.parsed(key, |item| {
            let size = ByteSize::from_item(item)?;
            if range.contains(&size.0) {
                Ok(size.0)
            } else {
                let (least, most) = (ByteSize(*range.start()), ByteSize(*range.end()));
                Err(Problem::new(format!("{size} is out of range"), format!("write {least} to {most}")))
            }
        })
    }

    /// A duration within `range`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<std::time::Duration>,
    ) -> Option<std::time::Duration> {
        self.parsed(key, |item| {
            let duration = std::time::Duration::from_item(item)?;
            if range.contains(&duration) {
                Ok(duration)
            } else {
                let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
                Err(Problem::new(
                    format!("{} is out of range", show_duration(duration)),
                    format!("write {least} to {most}"),
                ))
            }
        })
    }

    /// As [`Section::items`]; what is no list is its only element.
    pub(super) fn one_or_more(&mut self, key: &'static str) -> Option<Vec<(Spot, Item)>> {
        if matches!(self.left.get(key)?.value, Value::List(_) | Value::Raw(_)) {
            return self.items(key);
        }
        let item = self.take(key)?;
        Some(vec![(self.spot(key), item)])
    }

    /// A list under `key`, each element with its spot; none if the key is missing. A text of the
    /// environment is split at commas.
    pub(super) fn items(&mut self, key: &'static str) -> Option<Vec<(Spot, Item)>> {
        let item = self.take(key)?;
        let items = match item.value {
            Value::List(items) => items,
            Value::Raw(text) => text
                .split(',')
                .filter(|part| !part.trim().is_empty())
                .map(|part| Item { place: item.place.clone(), value: Value::Raw(part.trim().to_owned()) })
                .collect(),
            other => {
                self.error(key, format!("is {}", other.kind()), "write a list in `[` and `]`");
                return None;
            }
        };
        let path = self.path_of(key);
        let spots = items
            .into_iter()
            .enumerate()
            .map(|(n, item)| (Spot { place: item.place.clone(), key: format!("{path}[{n}]") }, item));
        Some(spots.collect())
    }

    /// A list of values; what is wrong in it is told and left out. None if the key is missing or
    /// nothing is right.
    pub(super) fn list<T: FromItem>(&mut self, key: &'static str) -> Option<Vec<T>> {
        let items = self.items(key)?;
        let empty = items.is_empty();
        let parse = |(spot, item): (Spot, Item)| {
            T::from_item(&item).map_err(|problem| self.ctx.error(&spot.place, &spot.key, problem)).ok()
        };
        let values: Vec<T> = items.into_iter().filter_map(parse).collect();
        (empty || !values.is_empty()).then_some(values)
    }

    /// The table under `key`.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Section<'a>> {
        let item = self.take(key)?;
        let spot = self.spot(key);
        self.as_table(spot, item)
    }

    /// The table under `key`; an empty one if it is missing or wrong, so that its rules are checked.
    pub(super) fn table_or_empty(&mut self, key: &'static str) -> Section<'a> {
        self.table(key).unwrap_or_else(|| self.child(self.spot(key), Entries::new()))
    }

    /// The tables of the list under `key`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let items = self.items(key).unwrap_or_default();
        items.into_iter().filter_map(|(spot, item)| self.as_table(spot, item)).collect()
    }

    /// The entries of the table under `key`, whose keys are the operator's names.
    pub(super) fn named(&mut self, key: &'static str) -> Vec<(String, Spot, Item)> {
        let Some(table) = self.table(key) else { return Vec::new() };
        let spots = table.left.into_iter().map(|(name, item)| {
            let spot = Spot { place: item.place.clone(), key: format!("{}.{name}", table.path) };
            (name, spot, item)
        });
        spots.collect()
    }

    /// `item` as a table.
    pub(super) fn as_table(&self, spot: Spot, item: Item) -> Option<Section<'a>> {
        match item.value {
            Value::Table(entries) => Some(self.child(spot, entries)),
            other => {
                let problem = Problem::new(format!("is {}", other.kind()), "write a table");
                self.ctx.error(&spot.place, &spot.key, problem);
                None
            }
        }
    }

    /// The secret that the reference under `key` leads to.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        let item = self.take(key)?;
        let spot = self.spot(key);
        self.secret_at(&item, &spot).map(|(secret, _)| secret)
    }

    /// The secret under `key`, which must be there.
    pub(super) fn required_secret(&mut self, key: &'static str) -> Option<Secret> {
        if !self.has(key) {
            self.known.push(key);
            self.error(key, "is missing", "write a reference such as \"file:PATH\" or \"env:NAME\"");
            return None;
        }
        self.secret(key)
    }

    /// The text under `key`, or what the reference there leads to, and whether it is one: for values
    /// that may hold a credential and need not.
    pub(super) fn text_or_secret(&mut self, key: &'static str) -> Option<(Secret, bool)> {
        let item = self.take(key)?;
        let spot = self.spot(key);
        let text = String::from_item(&item).map_err(|problem| self.problem(key, problem)).ok()?;
        if text.parse::<Reference>() == Err(InvalidReference::Plain) {
            Some((Secret::new(text.into_bytes()), false))
        } else {
            self.secret_at(&item, &spot).map(|(secret, _)| (secret, true))
        }
    }

    /// The secret that the reference `item` leads to, claimed for the tenant of this file.
    pub(super) fn secret_at(&self, item: &Item, spot: &Spot) -> Option<(Secret, Reference)> {
        let (secret, reference) = self.unclaimed_secret_at(item, spot)?;
        if let Some(tenant) = &self.tenant {
            self.ctx.claim(tenant, &secret, spot);
        }
        Some((secret, reference))
    }

    /// As [`Section::secret_at`], for what turns out to be public.
    pub(super) fn unclaimed_secret_at(&self, item: &Item, spot: &Spot) -> Option<(Secret, Reference)> {
        let read = String::from_item(item).and_then(|text| reference(&text)).and_then(|reference| {
            match self.ctx.resolve(&reference) {
                Ok(secret) => Ok(Some((secret, reference))),
                Err(SecretError::Remote(RemoteError::NotRead)) if self.ctx.offline => {
                    self.ctx.warn(&spot.place, &spot.key, format!("`{reference}` is not looked up here"), "");
                    Ok(None)
                }
                Err(error) => Err(Problem::secret(format!("`{reference}`: {error}"), error.cure())),
            }
        });
        read.map_err(|problem| self.ctx.error(&spot.place, &spot.key, problem)).ok().flatten()
    }

    /// What the reference under `key` leads to, which is no secret: several tenants may have the same.
    pub(super) fn public(&mut self, key: &'static str) -> Option<Secret> {
        let item = self.take(key)?;
        let spot = self.spot(key);
        self.unclaimed_secret_at(&item, &spot).map(|(value, _)| value)
    }

    /// The secret under `key`, which must be one of this machine: what a provider is asked with.
    pub(super) fn local_secret(&mut self, key: &'static str) -> Option<Secret> {
        let item = self.take(key)?;
        let spot = self.spot(key);
        if let Ok(Reference::Remote(_)) = String::from_item(&item).and_then(|text| reference(&text)) {
            self.error(
                key,
                "is kept by a provider, which cannot be asked without it",
                "write a reference such as \"file:PATH\" or \"env:NAME\"",
            );
            return None;
        }
        self.unclaimed_secret_at(&item, &spot).map(|(secret, _)| secret)
    }

    /// Takes what was not asked for, if `wanted` knows it.
    pub(super) fn rest(&mut self, wanted: &[&'static str]) -> toml::Table {
        wanted.iter().filter_map(|key| Some(((*key).to_owned(), self.take(key)?.value.to_toml()))).collect()
    }

    /// Ends the reading: what was not asked for is unknown.
    pub(super) fn finish(self) {
        for (key, item) in &self.left {
            let cure = suggest(key, self.known.iter().copied());
            self.ctx.error(&item.place, &self.path_of(key), Problem::new("is not a known key", cure));
        }
    }
}
