//! How often somebody may try to sign in. Counts wrong passwords by address and name, by address and
//! by name; past some of them the next attempt has to wait, twice as long each time.
//!
//! A name alone is held up only a little, so that nobody can lock a user out by guessing at them.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sluice_actors::domain::Timestamp;

/// Wrong passwords are forgotten after so long without another one.
const MEMORY: Duration = Duration::from_mins(30);
/// Whom wrong passwords are remembered of at most; of more, those that are free soonest are forgotten.
const MAX_KEYS: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Pair(IpAddr, String),
    Address(IpAddr),
    Name(String),
}

impl Key {
    /// Wrong passwords that cost nothing, and how long the wait grows at most.
    const fn limits(&self) -> (u32, Duration) {
        match self {
            Self::Pair(..) => (5, Duration::from_mins(15)),
            Self::Address(_) => (30, Duration::from_mins(15)),
            Self::Name(_) => (50, Duration::from_secs(30)),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Strikes {
    count: u32,
    last: Timestamp,
    free_at: Timestamp,
}

/// Who failed how often.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    strikes: Mutex<HashMap<Key, Strikes>>,
}

/// What an attempt counts against; without a name, only against who makes it.
fn keys(client: IpAddr, name: &str) -> Vec<Key> {
    let named = (!name.is_empty()).then(|| Key::Name(name.to_owned()));
    [Key::Pair(client, name.to_owned()), Key::Address(client)].into_iter().chain(named).collect()
}

/// Forgets a tenth: those that are free soonest.
fn forget_some(strikes: &mut HashMap<Key, Strikes>) {
    let mut free: Vec<Timestamp> = strikes.values().map(|found| found.free_at).collect();
    free.sort_unstable();
    let mut left = (free.len() / 10).max(3);
    let until = free.get(left).copied();
    strikes.retain(|_, found| {
        let forget = left > 0 && until.is_none_or(|until| found.free_at <= until);
        left -= usize::from(forget);
        !forget
    });
}

impl Throttle {
    /// Counts an attempt as failed before it is made, so that many at once are counted as well; `Err`
    /// says how long to wait, and the attempt must not be made.
    pub(super) fn begin(&self, client: IpAddr, name: &str, now: Timestamp) -> Result<(), Duration> {
        let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys(client, name);
        let wait = keys.iter().filter_map(|key| strikes.get(key)).map(|found| found.free_at.since(now)).max();
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        if strikes.len() + keys.len() > MAX_KEYS {
            strikes.retain(|_, found| now.since(found.last) < MEMORY);
        }
        if strikes.len() + keys.len() > MAX_KEYS {
            forget_some(&mut strikes);
        }
        for key in keys {
            let (free, longest) = key.limits();
            let found = strikes.entry(key).or_insert(Strikes { count: 0, last: now, free_at: now });
            if now.since(found.last) >= MEMORY {
                found.count = 0;
            }
            found.count = found.count.saturating_add(1);
            found.last = now;
            let over = found.count.saturating_sub(free);
            if over > 0 {
                found.free_at = now.plus(Duration::from_secs(1 << over.min(10)).min(longest));
            }
        }
        Ok(())
    }

    /// The attempt succeeded: nothing is held against the name from this address.
    pub(super) fn succeeded(&self, client: IpAddr, name: &str) {
        let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(client, name) {
            if let Key::Pair(..) = key {
                strikes.remove(&key);
            } else if let Some(found) = strikes.get_mut(&key) {
                found.count = found.count.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    #[test]
    fn after_five_wrong_passwords_the_next_one_waits_twice_as_long_each_time() {
        let throttle = Throttle::default();
        let mut now = Timestamp::from_secs(1000);
        for _ in 0..6 {
            throttle.begin(address(1), "ada", now).unwrap();
        }
        for seconds in [2, 4, 8, 16] {
            assert_eq!(throttle.begin(address(1), "ada", now), Err(Duration::from_secs(seconds)));
            now = now.plus(Duration::from_secs(seconds));
            throttle.begin(address(1), "ada", now).unwrap();
        }
        assert!(throttle.begin(address(2), "ada", now).is_ok(), "from elsewhere the user still gets in");
        assert!(throttle.begin(address(1), "bob", now).is_ok());
    }

    #[test]
    fn a_right_password_clears_the_name_at_that_address() {
        let throttle = Throttle::default();
        let now = Timestamp::from_secs(1000);
        for _ in 0..40 {
            throttle.begin(address(1), "ada", now).unwrap();
            throttle.succeeded(address(1), "ada");
        }
    }

    #[test]
    fn attempts_without_a_name_hold_up_only_who_makes_them() {
        let throttle = Throttle::default();
        let now = Timestamp::from_secs(1000);
        for last in 0..100 {
            let _ = throttle.begin(address(last), "", now);
        }
        assert!(throttle.begin(address(200), "", now).is_ok());
        for _ in 0..6 {
            let _ = throttle.begin(address(1), "", now);
        }
        assert!(throttle.begin(address(1), "", now).is_err());
    }

    #[test]
    fn one_address_that_tries_many_names_is_held_up() {
        let throttle = Throttle::default();
        let now = Timestamp::from_secs(1000);
        let tries = (0..100).filter(|n| throttle.begin(address(1), &format!("user{n}"), now).is_ok()).count();
        assert_eq!(tries, 31);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..2 * MAX_KEYS as u32 {
            let client = IpAddr::from(n.to_be_bytes());
            let _ = throttle.begin(client, &format!("user{n}"), Timestamp::from_secs(1000));
        }
        assert!(throttle.strikes.lock().unwrap().len() <= MAX_KEYS);
    }
}
