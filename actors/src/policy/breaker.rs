//! A circuit breaker, by `failsafe`, in our time and with one probe.
//!
//! failsafe's state machine is sound, but four things around it are not what we need: it reads the
//! std clock (a test's paused time would not move it), its half-open state admits everyone, a
//! straggler's success closes it, and its ratio policy cannot trip in its first window. So:
//!
//! - every call to the machine runs under a mock clock of its own, set to tokio's time;
//! - failures are judged by `Judge`, a failure policy of our own;
//! - in half-open one [`Ticket`] is out at a time: the probe;
//! - a ticket carries the generation (how often the state has changed) in which it was taken; what
//!   it reports in a later one is ignored.
//!
//! This file is the only one that knows failsafe.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use failsafe::{FailurePolicy, StateMachine, clock};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use super::window::Window;
use super::{BreakerPolicy, BreakerState};

/// How far ahead of its birth the machine's clock begins: its mock clock starts at the std clock's
/// now and only goes forward, while a test's paused time stands still.
const AHEAD: Duration = Duration::from_hours(87600);
/// A cooldown is spread by this share to each side, so that many breakers do not probe together.
const JITTER: f64 = 0.2;
/// At the beginning of the ramp calls are this far apart; at its end they flow freely.
const RAMP_GAP: Duration = Duration::from_secs(1);

/// Leave to make one call, to be given back with its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    generation: u64,
    probe: bool,
}

impl Ticket {
    /// Whether this call is the probe.
    pub const fn is_probe(self) -> bool {
        self.probe
    }
}

/// What a call said about the health of the callee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It is well.
    Success,
    /// It is not.
    Failure,
    /// The call says nothing: it was refused for its own fault, or never made. A probe that ends so
    /// leaves the probe to the next call.
    Neutral,
}

/// Why a call may not go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNow {
    /// Open, or pacing itself after a good probe: ask again then.
    Until(Instant),
    /// The probe is out: ask again when it has reported.
    Probing,
}

/// Whose failures may open a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    /// Anyone's.
    ByAnyone,
    /// Only those of two different users within the window: what fails for a single one is that
    /// user's own breaker's affair, and must not hold the others.
    ByTwoUsers,
}

/// A circuit breaker.
pub struct Breaker {
    policy: BreakerPolicy,
    machine: StateMachine<SharedJudge, ()>,
    judge: SharedJudge,
    born: Instant,
    /// How far an operator moved the machine's clock ahead, to probe at once.
    skew: Duration,
    state: BreakerState,
    generation: u64,
    probing: bool,
    open_until: Instant,
    opened: u32,
    ramp: Option<Ramp>,
}

#[derive(Debug, Clone, Copy)]
struct Ramp {
    began: Instant,
    next: Instant,
}

impl Breaker {
    /// A closed breaker. `seed` spreads its cooldowns.
    pub fn new(policy: BreakerPolicy, opens: Opens, seed: u64, now: Instant) -> Self {
        let judge = SharedJudge(Arc::new(Mutex::new(Judge::new(policy, opens, seed, now))));
        Self {
            policy,
            machine: StateMachine::new(judge.clone(), ()),
            judge,
            born: now,
            skew: Duration::ZERO,
            state: BreakerState::Closed,
            generation: 0,
            probing: false,
            open_until: now,
            opened: 0,
            ramp: None,
        }
    }

    /// Opens a new breaker as it was remembered: not before `wait` from now may it probe, and it
    /// had opened `opens` times in a row.
    pub fn reopen(&mut self, wait: Duration, opens: u32, now: Instant) {
        {
            let mut judge = self.judge.lock();
            judge.in_a_row = opens;
            judge.sentence = Some(wait);
        }
        self.at(now, StateMachine::on_error);
        self.open_until = now + wait;
        self.enter(BreakerState::Open);
    }

    /// Its policy.
    pub const fn policy(&self) -> &BreakerPolicy {
        &self.policy
    }

    /// Its state.
    pub const fn state(&self) -> BreakerState {
        self.state
    }

    /// When the next probe may go, while it is open.
    pub fn probe_at(&self) -> Option<Instant> {
        (self.state == BreakerState::Open).then_some(self.open_until)
    }

    /// How often it opened in all.
    pub const fn opened(&self) -> u32 {
        self.opened
    }

    /// How often it opened in a row without a full recovery between.
    pub fn in_a_row(&self) -> u32 {
        self.judge.lock().in_a_row
    }

    /// Whether a call may go now. Changes nothing.
    ///
    /// # Errors
    /// When to ask again.
    pub fn check(&self, now: Instant) -> Result<(), NotNow> {
        match self.state {
            BreakerState::Closed => match self.ramp {
                Some(ramp) if now < ramp.next && now < ramp.began + self.policy.ramp => {
                    Err(NotNow::Until(ramp.next.min(ramp.began + self.policy.ramp)))
                }
                _ => Ok(()),
            },
            BreakerState::Open if now < self.open_until => Err(NotNow::Until(self.open_until)),
            BreakerState::HalfOpen if self.probing => Err(NotNow::Probing),
            BreakerState::Open | BreakerState::HalfOpen => Ok(()),
        }
    }

    /// Takes leave for one call; [`Self::check`] must have allowed it.
    pub fn take(&mut self, now: Instant) -> Ticket {
        // failsafe's cooldown is over strictly after its end, ours at it.
        let permitted = self.at(now + Duration::from_nanos(1), StateMachine::is_call_permitted);
        debug_assert!(permitted, "check() comes first");
        if self.state == BreakerState::Open {
            self.enter(BreakerState::HalfOpen);
        }
        if let Some(ramp) = &mut self.ramp {
            let left = 1.0 - now.duration_since(ramp.began).as_secs_f64() / self.policy.ramp.as_secs_f64().max(1e-9);
            if left > 0.0 {
                ramp.next = now + RAMP_GAP.mul_f64(left * left);
            } else {
                self.ramp = None;
            }
        }
        let probe = self.state == BreakerState::HalfOpen;
        self.probing |= probe;
        Ticket { generation: self.generation, probe }
    }

    /// Takes a call's result; `user` is who called. Returns the new state if it changed.
    pub fn report(&mut self, ticket: Ticket, user: u64, report: Report, now: Instant) -> Option<BreakerState> {
        if ticket.generation != self.generation {
            return None;
        }
        if ticket.probe {
            self.probing = false;
        }
        {
            let mut judge = self.judge.lock();
            judge.now = now;
            judge.user = user;
            judge.probe = ticket.probe;
            judge.recovered = self.ramp.is_none() && !ticket.probe;
        }
        match report {
            Report::Neutral => return None,
            Report::Success => self.at(now, StateMachine::on_success),
            Report::Failure => self.at(now, StateMachine::on_error),
        }
        let sentence = self.judge.lock().passed.take();
        if let Some(cooldown) = sentence {
            self.open_until = now + cooldown;
            self.opened += 1;
            self.ramp = None;
            self.enter(BreakerState::Open);
            Some(BreakerState::Open)
        } else if ticket.probe {
            self.ramp = Some(Ramp { began: now, next: now });
            self.enter(BreakerState::Closed);
            Some(BreakerState::Closed)
        } else {
            None
        }
    }

    /// Lets the next call go as the probe, however long it would still be open.
    pub fn probe_now(&mut self, now: Instant) {
        if self.state == BreakerState::Open && now < self.open_until {
            self.skew += self.open_until - now;
            self.open_until = now;
        }
    }

    fn enter(&mut self, state: BreakerState) {
        self.state = state;
        self.generation += 1;
        self.probing = false;
    }

    /// Runs `work` on the machine at our time.
    fn at<T>(&self, now: Instant, work: impl FnOnce(&StateMachine<SharedJudge, ()>) -> T) -> T {
        clock::freeze(|machine_clock| {
            let birth = self.judge.lock().birth.get_or_insert_with(|| machine_clock.now() + AHEAD).to_owned();
            let target = birth + (now - self.born) + self.skew;
            machine_clock.advance(target.saturating_duration_since(machine_clock.now()));
            work(&self.machine)
        })
    }
}

/// Our failure policy: N failures in a row, or a share of failures over a window of calls.
struct Judge {
    policy: BreakerPolicy,
    opens: Opens,
    seed: u64,
    /// The machine's moment for the breaker's birth.
    birth: Option<std::time::Instant>,
    window: Window,
    row: u32,
    row_user: Option<u64>,
    row_by_two: bool,
    last_failed: Option<(u64, Instant)>,
    two_failed_at: Option<Instant>,
    in_a_row: u32,
    /// Told before each call of the machine.
    now: Instant,
    user: u64,
    probe: bool,
    recovered: bool,
    /// A cooldown that was remembered, to be passed on as it is.
    sentence: Option<Duration>,
    /// The cooldown that the last failure brought.
    passed: Option<Duration>,
}

impl Judge {
    fn new(policy: BreakerPolicy, opens: Opens, seed: u64, now: Instant) -> Self {
        Self {
            policy,
            opens,
            seed,
            birth: None,
            window: Window::new(policy.window, now),
            row: 0,
            row_user: None,
            row_by_two: false,
            last_failed: None,
            two_failed_at: None,
            in_a_row: 0,
            now,
            user: 0,
            probe: false,
            recovered: true,
            sentence: None,
            passed: None,
        }
    }

    fn fail(&mut self) {
        self.window.record(self.now, true);
        self.row += 1;
        self.row_by_two |= self.row_user.is_some_and(|user| user != self.user);
        self.row_user = Some(self.user);
        if self.last_failed.is_some_and(|(user, at)| user != self.user && self.is_recent(at)) {
            self.two_failed_at = Some(self.now);
        }
        self.last_failed = Some((self.user, self.now));
    }

    fn is_recent(&self, at: Instant) -> bool {
        self.now.duration_since(at) <= self.policy.window
    }

    fn must_open(&mut self) -> bool {
        let (calls, failures) = self.window.counts(self.now);
        let by_row = self.row >= self.policy.failures.max(1);
        let by_share =
            calls >= self.policy.min_calls.max(1) && f64::from(failures) >= self.policy.ratio * f64::from(calls);
        let by_two = match self.opens {
            Opens::ByAnyone => return self.probe || by_row || by_share,
            Opens::ByTwoUsers => self.two_failed_at.is_some_and(|at| self.is_recent(at)),
        };
        self.probe || (by_row && self.row_by_two) || (by_share && by_two)
    }

    fn next_cooldown(&mut self) -> Duration {
        let doublings = self.in_a_row.min(20);
        self.in_a_row += 1;
        let plain = self.policy.cooldown.saturating_mul(1 << doublings).min(self.policy.max_cooldown);
        let mut rng = StdRng::seed_from_u64(self.seed.wrapping_add(u64::from(self.in_a_row) << 32));
        plain.mul_f64(1.0 + rng.random_range(-JITTER..=JITTER)).min(self.policy.max_cooldown.max(plain))
    }

    fn forget(&mut self) {
        self.window = Window::new(self.policy.window, self.now);
        self.row = 0;
        self.row_user = None;
        self.row_by_two = false;
        self.last_failed = None;
        self.two_failed_at = None;
    }
}

#[derive(Clone)]
struct SharedJudge(Arc<Mutex<Judge>>);

impl SharedJudge {
    fn lock(&self) -> MutexGuard<'_, Judge> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FailurePolicy for SharedJudge {
    fn record_success(&mut self) {
        let mut judge = self.lock();
        let now = judge.now;
        judge.window.record(now, false);
        judge.row = 0;
        judge.row_user = None;
        judge.row_by_two = false;
        if judge.recovered {
            judge.in_a_row = 0;
        }
    }

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        let mut judge = self.lock();
        if let Some(sentence) = judge.sentence.take() {
            return Some(sentence);
        }
        judge.fail();
        if !judge.must_open() {
            return None;
        }
        let cooldown = judge.next_cooldown();
        judge.forget();
        judge.passed = Some(cooldown);
        Some(cooldown)
    }

    fn revived(&mut self) {
        self.lock().forget();
    }
}

#[cfg(test)]
mod tests;
