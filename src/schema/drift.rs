//! How far vendors' payloads have moved away from their documentation.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use sluice_actors::domain::Timestamp;

use super::{Checked, DeviationKind};

/// Fields that are told apart; further ones are counted under the path `*`.
const MAX_ROWS: usize = 2_048;

/// The longest `api_version` that is kept as a key.
const MAX_VERSION: usize = 64;

/// Counts of deviations, shared by all that normalise and all that report. Bounded; begins empty
/// with the process.
#[derive(Debug, Default)]
pub struct Drift {
    rows: Mutex<HashMap<Key, Seen>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    vendor: &'static str,
    schema: &'static str,
    api_version: Option<String>,
    kind: DeviationKind,
    path: String,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

/// One counted deviation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftRow {
    /// The vendor.
    pub vendor: String,
    /// The schema within the vendor: a family of event types.
    pub schema: String,
    /// The vendor's payload version, where it has one.
    pub api_version: Option<String>,
    /// Of which sort.
    pub kind: DeviationKind,
    /// JSON pointer to the field; `*` where too many were seen.
    pub path: String,
    /// Events since the start of the process.
    pub count: u64,
    /// First seen.
    pub first: Timestamp,
    /// Last seen.
    pub last: Timestamp,
}

impl Drift {
    /// Counts what a check found.
    pub fn record(&self, vendor: &'static str, api_version: Option<&str>, checked: &Checked, now: Timestamp) {
        let Some(schema) = checked.schema.filter(|_| !checked.deviations.is_empty()) else {
            return;
        };
        let api_version = api_version.filter(|version| version.len() <= MAX_VERSION).map(str::to_owned);
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        for deviation in &checked.deviations {
            let mut key = Key {
                vendor,
                schema,
                api_version: api_version.clone(),
                kind: deviation.kind,
                path: deviation.path.clone(),
            };
            if rows.len() >= MAX_ROWS && !rows.contains_key(&key) {
                key.api_version = None;
                "*".clone_into(&mut key.path);
            }
            let seen = rows.entry(key).or_insert(Seen { count: 0, first: now, last: now });
            seen.count += 1;
            seen.last = seen.last.max(now);
        }
    }

    /// All counts, most frequent first.
    pub fn rows(&self) -> Vec<DriftRow> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<DriftRow> = rows
            .iter()
            .map(|(key, seen)| DriftRow {
                vendor: key.vendor.to_owned(),
                schema: key.schema.to_owned(),
                api_version: key.api_version.clone(),
                kind: key.kind,
                path: key.path.clone(),
                count: seen.count,
                first: seen.first,
                last: seen.last,
            })
            .collect();
        rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (&a.vendor, &a.path).cmp(&(&b.vendor, &b.path))));
        rows
    }

    /// Counts by vendor, schema and sort: labels that are bounded by the code.
    pub fn totals(&self) -> Vec<((&'static str, &'static str, DeviationKind), u64)> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals: HashMap<_, u64> = HashMap::new();
        for (key, seen) in rows.iter() {
            *totals.entry((key.vendor, key.schema, key.kind)).or_default() += seen.count;
        }
        let mut totals: Vec<_> = totals.into_iter().collect();
        totals.sort_unstable();
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Deviation, *};

    fn unknown(path: &str) -> Checked {
        Checked {
            schema: Some("invoice"),
            deviations: vec![Deviation { kind: DeviationKind::Unknown, path: path.to_owned() }],
        }
    }

    #[test]
    fn deviations_are_counted_by_vendor_schema_version_and_path() {
        let drift = Drift::default();
        drift.record("stripe", Some("2026-01-01"), &unknown("/a"), Timestamp::from_secs(2));
        drift.record("stripe", Some("2026-01-01"), &unknown("/a"), Timestamp::from_secs(1));
        drift.record("stripe", None, &unknown("/a"), Timestamp::from_secs(3));
        let rows = drift.rows();
        assert_eq!(rows.iter().map(|row| row.count).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(rows[0].last, Timestamp::from_secs(2));
        assert_eq!(drift.totals(), [(("stripe", "invoice", DeviationKind::Unknown), 3)]);
    }

    #[test]
    fn a_sender_that_invents_fields_cannot_grow_the_table() {
        let drift = Drift::default();
        for n in 0..MAX_ROWS * 2 {
            drift.record("stripe", Some("v"), &unknown(&format!("/f{n}")), Timestamp::default());
        }
        let rows = drift.rows();
        assert_eq!(rows.len(), MAX_ROWS + 1);
        assert_eq!((rows[0].path.as_str(), rows[0].count), ("*", MAX_ROWS as u64));
    }
}
