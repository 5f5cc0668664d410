//! Which secrets end before somebody would miss them.

use std::time::Duration;

use sluice_actors::domain::{LaneKey, Timestamp};

use crate::{
    api::records::SecretUse,
    config::{Config, LiveKey},
};

/// A secret that ends soon or has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) lane: LaneKey,
    /// In one line.
    pub(super) summary: String,
}

/// Of each source at most one secret: the last that verifies, or one that the vendor still signs with. One that
/// only waits for its end after a rotation is nothing to tell of.
pub(super) fn ending(config: &Config, uses: &[SecretUse], now: Timestamp) -> Vec<Ending> {
    let horizon = now.plus(config.alerts.secret_expiry);
    let sources = config.tenants.values().flat_map(|tenant| tenant.sources.values());
    let endings = sources.filter(|source| source.is_on()).filter_map(|source| {
        let lane = &source.lane;
        let of_lane = uses.iter().filter(|it| it.tenant == lane.tenant.as_str() && it.source == lane.source.as_str());
        // What a value before it was used for is counted under another label.
        let of_keys = of_lane.filter(|it| source.keys.iter().any(|key| *key.counted_as == *it.secret_version));
        let used_last = of_keys.max_by_key(|it| it.last).map(|it| it.secret_version.as_str());
        let ((version, at), why) = match last_to_end(&source.keys) {
            Some(last) if last.1 <= horizon => (last, "no other secret of the source follows it"),
            _ => (in_use(&source.keys, used_last, now, horizon)?, "the vendor still signs with it"),
        };
        let summary = if at <= now {
            format!("the last secret ({version}) ended at {at}: nothing verifies any more")
        } else {
            format!("the secret {version} ends at {at}, in {}, and {why}", days(at.since(now)))
        };
        Some(Ending { lane: lane.clone(), summary })
    });
    endings.collect()
}

/// The secret that ends last; none where there is none or one never ends.
fn last_to_end(keys: &[LiveKey]) -> Option<(&str, Timestamp)> {
    let ends = keys.iter().filter(|key| !key.is_revoked()).map(|key| Some((&*key.version, key.not_after?)));
    ends.collect::<Option<Vec<_>>>()?.into_iter().max_by_key(|(_, at)| *at)
}

fn in_use<'k>(
    keys: &'k [LiveKey],
    used_last: Option<&str>,
    now: Timestamp,
    horizon: Timestamp,
) -> Option<(&'k str, Timestamp)> {
    let key = keys.iter().find(|key| Some(&*key.counted_as) == used_last)?;
    let at = key.not_after.filter(|at| now < *at && *at <= horizon)?;
    Some((&key.version, at))
}

fn days(left: Duration) -> String {
    match left.as_secs() / 3600 {
        0 => "less than an hour".to_owned(),
        hours @ 1..48 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Input, secrets::Environment};

    /// At 2026-12-01; `secrets` of one source, and which of them was used last.
    fn told(secrets: &str, used_last: Option<&str>) -> Vec<String> {
        let environment = Environment::fixed([("NEW", "one"), ("OLD", "two")]);
        let tenant = format!("[sources.pay]\nvendor = 'generic'\nsecrets = {secrets}\n");
        let config = Input::new("cfg").environment(environment).tenant("acme", tenant).resolve().unwrap();
        let now = Timestamp::parse_rfc3339("2026-12-01T00:00:00Z").unwrap();
        let uses = used_last.map(|version| SecretUse {
            tenant: "acme".into(),
            source: "pay".into(),
            secret_version: version.into(),
            uses: 1,
            first: now,
            last: now,
        });
        ending(&config, uses.as_slice(), now).into_iter().map(|it| it.summary).collect()
    }

    #[test]
    fn the_last_secret_of_a_source_is_told_of_before_its_end_and_after_it() {
        let at = |end: &str| told(&format!("[{{ ref = 'env:OLD', not_after = '{end}' }}]"), None);
        assert!(at("2026-12-16T00:00:00Z").is_empty(), "15 days are more than 14");
        assert!(at("2026-12-03T00:00:00Z")[0].contains("in 2 days"), "{:?}", at("2026-12-03T00:00:00Z"));
        assert!(at("2026-11-30T00:00:00Z")[0].contains("nothing verifies"));
    }

    #[test]
    fn a_secret_that_waits_for_its_end_after_a_rotation_is_told_of_only_while_it_is_in_use() {
        let rotated = "['env:NEW', { ref = 'env:OLD', not_after = '2026-12-02T00:00:00Z' }]";
        assert!(told(rotated, None).is_empty());
        assert!(told(rotated, Some("env:NEW")).is_empty());
        assert!(told(rotated, Some("env:OLD"))[0].contains("still signs with it"));
        let gone = "['env:NEW', { ref = 'env:OLD', not_after = '2026-11-02T00:00:00Z' }]";
        assert!(told(gone, Some("env:OLD")).is_empty(), "nobody can use it any more");
    }
}
