//! Who goes next when more want a slot than there are.
//!
//! Two levels: first the tenant that used least of late, then that tenant's lane that used least;
//! a tenant with a thousand lanes gets one tenant's share. Use is counted in slot-seconds and is
//! charged while a call still runs, so that hanging calls are as noisy as many calls. It fades with
//! a half-life, so that nobody hoards credit and nobody pays for last week.

use std::cmp::Ordering;

use tokio::time::Instant;

use crate::domain::JobClass;

/// In this many seconds half of what was used is forgotten.
const HALF_LIFE: f64 = 60.0;
/// Weights of the classes fresh, retry, replay among those that wait.
const WEIGHTS: [f64; 3] = [80.0, 15.0, 5.0];
/// Of this many slots the last is kept for tenants that use few.
const RESERVE: usize = 8;

/// What a tenant or a lane used of late.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    recent: f64,
    running: u32,
    at: Instant,
}

impl Usage {
    /// Of someone who is new.
    pub const fn new(now: Instant) -> Self {
        Self { recent: 0.0, running: 0, at: now }
    }

    /// A call of it began.
    pub fn begin(&mut self, now: Instant) {
        self.settle(now);
        self.running += 1;
    }

    /// A call of it ended.
    pub fn finish(&mut self, now: Instant) {
        self.settle(now);
        self.running = self.running.saturating_sub(1);
    }

    /// Calls in flight.
    pub const fn running(&self) -> u32 {
        self.running
    }

    /// Slot-seconds of late; a call in flight counts as at least one more, so that a burst of
    /// grants in one moment is spread as well.
    pub fn score(&self, now: Instant) -> f64 {
        self.recent_at(now) + f64::from(self.running)
    }

    /// Its place in the order of least use. While nothing of a user runs its rank does not change:
    /// all that is idle fades alike, so a rank is kept as if nothing had ever faded since `origin`.
    pub fn rank(&self, now: Instant, origin: Instant) -> Rank {
        Rank::of(self.score(now), now, origin)
    }

    /// A bound that no later rank of it falls below, whatever begins or ends.
    pub fn least_rank(&self, now: Instant, origin: Instant) -> Rank {
        Rank::of(self.recent_at(now), now, origin)
    }

    fn settle(&mut self, now: Instant) {
        self.recent = self.recent_at(now);
        self.at = now;
    }

    fn recent_at(&self, now: Instant) -> f64 {
        let kept = (-now.duration_since(self.at).as_secs_f64() / HALF_LIFE).exp2();
        let added = f64::from(self.running) * HALF_LIFE / std::f64::consts::LN_2 * (1.0 - kept);
        self.recent * kept + added
    }
}

/// A place in the order of least use.
#[derive(Debug, Clone, Copy)]
pub struct Rank(f64);

impl Rank {
    /// Of someone who used nothing.
    pub const UNUSED: Self = Self(f64::NEG_INFINITY);

    fn of(used: f64, now: Instant, origin: Instant) -> Self {
        Self(used.log2() + now.duration_since(origin).as_secs_f64() / HALF_LIFE)
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Shares out slots among the three classes of jobs by weight. A class that does not wait leaves
/// its share to the others, and gets no credit for it.
#[derive(Debug, Default)]
pub struct Shares {
    pass: [f64; 3],
    floor: f64,
}

impl Shares {
    /// The class whose turn it is among those that wait.
    pub fn pick(&self, waiting: [bool; 3]) -> Option<JobClass> {
        let classes = [JobClass::Fresh, JobClass::Retry, JobClass::Replay];
        let waiting = classes.into_iter().filter(|class| waiting[index(*class)]);
        waiting.min_by(|a, b| self.effective(*a).total_cmp(&self.effective(*b)))
    }

    /// A job of `class` was let in.
    pub fn charge(&mut self, class: JobClass) {
        self.floor = self.effective(class);
        self.pass[index(class)] = self.floor + 1.0 / WEIGHTS[index(class)];
    }

    fn effective(&self, class: JobClass) -> f64 {
        self.pass[index(class)].max(self.floor)
    }
}

const fn index(class: JobClass) -> usize {
    match class {
        JobClass::Fresh => 0,
        JobClass::Retry => 1,
        JobClass::Replay => 2,
    }
}

/// Whether a tenant with `running` calls may take one of `free` slots out of `slots`. The last
/// eighth is for tenants that hold few: calls that hang cannot be taken back, and a tenant whose
/// calls all hang must not hold every slot until they are cut off.
pub const fn may_take(slots: usize, free: usize, running: usize) -> bool {
    let reserve = slots / RESERVE;
    free > reserve || (free > 0 && running < slots.div_ceil(RESERVE * 4))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_hanging_call_is_charged_while_it_runs() {
        let now = Instant::now();
        let mut hanging = Usage::new(now);
        hanging.begin(now);
        let mut busy = Usage::new(now);
        let mut at = now;
        for _ in 0..10 {
            busy.begin(at);
            at += Duration::from_millis(500);
            busy.finish(at);
        }
        let later = now + Duration::from_secs(10);
        assert!(hanging.score(later) > busy.score(later));
    }

    #[tokio::test]
    async fn what_was_used_fades() {
        let now = Instant::now();
        let mut usage = Usage::new(now);
        usage.begin(now);
        let minute = now + Duration::from_mins(1);
        usage.finish(minute);
        let used = usage.score(minute);
        let faded = usage.score(minute + Duration::from_mins(1));
        assert!((faded - used / 2.0).abs() < 1e-9);
    }

    #[tokio::test]
    async fn grants_of_one_moment_are_spread() {
        let now = Instant::now();
        let mut tenants = [Usage::new(now); 4];
        for _ in 0..40 {
            let least = tenants.iter_mut().min_by(|a, b| a.score(now).total_cmp(&b.score(now))).unwrap();
            least.begin(now);
        }
        assert!(tenants.iter().all(|tenant| tenant.running() == 10));
    }

    #[tokio::test]
    async fn ranks_order_as_scores_do_and_stand_still_while_nothing_runs() {
        let origin = Instant::now();
        let at = |secs| origin + Duration::from_secs(secs);
        let (mut little, mut much) = (Usage::new(origin), Usage::new(origin));
        much.begin(at(0));
        little.begin(at(90));
        much.finish(at(100));
        little.finish(at(100));
        assert_eq!(Usage::new(origin).rank(at(7), origin), Rank::UNUSED);
        let then = little.rank(at(100), origin);
        // Hours later nearly everything has faded, and the order is the same.
        let later = at(6 * 3600);
        assert!((little.rank(later, origin).0 - then.0).abs() < 1e-6);
        assert!(little.rank(later, origin) < much.rank(later, origin));
    }

    #[tokio::test]
    async fn no_rank_falls_below_its_bound() {
        let origin = Instant::now();
        let mut usage = Usage::new(origin);
        let mut bound = usage.least_rank(origin, origin);
        for step in 1..200_u64 {
            let now = origin + Duration::from_secs(step * 7);
            if step % 3 == 0 {
                usage.begin(now);
            } else if step % 5 == 0 {
                usage.finish(now);
            }
            assert!(usage.rank(now, origin) >= bound, "at step {step}");
            bound = usage.least_rank(now, origin);
        }
    }

    fn serve(shares: &mut Shares, waiting: [bool; 3], times: usize) -> [usize; 3] {
        let mut served = [0; 3];
        for _ in 0..times {
            let class = shares.pick(waiting).unwrap();
            shares.charge(class);
            served[index(class)] += 1;
        }
        served
    }

    #[test]
    fn classes_that_wait_get_80_15_and_5_of_a_hundred() {
        assert_eq!(serve(&mut Shares::default(), [true; 3], 100), [80, 15, 5]);
    }

    #[test]
    fn a_class_that_does_not_wait_leaves_its_share_and_gets_no_credit() {
        let mut shares = Shares::default();
        assert_eq!(serve(&mut shares, [true, false, false], 1000), [1000, 0, 0]);
        assert_eq!(serve(&mut shares, [false, false, true], 100), [0, 0, 100]);
        let [fresh, retry, replay] = serve(&mut shares, [true, true, true], 100);
        assert!(fresh >= 78 && retry <= 17 && replay <= 6, "{fresh} {retry} {replay}");
        assert_eq!(shares.pick([false; 3]), None);
    }

    #[test]
    fn the_last_slots_are_for_tenants_that_hold_few() {
        // Slots, free, held by the tenant, whether it may take one.
        let table = [
            (256, 256, 0, true),
            (256, 33, 223, true),
            (256, 32, 224, false),
            (256, 32, 7, true),
            (256, 32, 8, false),
            (256, 1, 0, true),
            (256, 0, 0, false),
            (4, 1, 3, true),
            (1, 1, 0, true),
        ];
        for (slots, free, running, may) in table {
            assert_eq!(may_take(slots, free, running), may, "{slots} {free} {running}");
        }
    }
}
