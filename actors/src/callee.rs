//! What all lanes of the node share about one callee: its bucket, its cap on calls at once, its
//! breaker with the one probe, and whose credentials it refuses.
//!
//! Three rules keep one user of a callee from harming the others:
//!
//! - the shared breaker opens only when two lanes fail ([`Opens::ByTwoUsers`]); what fails for one
//!   lane alone is the affair of that lane's own breaker;
//! - a `Retry-After` empties the shared bucket only where the callee has a rate of its own, that
//!   is, where the quota is shared; elsewhere it holds the lane that was told;
//! - refused credentials (401, 403) hold the tenant whose credentials they are.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    domain::{CallResult, CalleeId, HoldReason, TenantName},
    policy::{
        breaker::{Breaker, NotNow, Opens, Report, Ticket},
        bucket::Bucket,
    },
    ports::{BreakerPolicy, BreakerState, CalleePolicy, Rate},
};

/// How long a callee is left alone after it refused our credentials.
pub(crate) const UNAUTHORIZED: Duration = Duration::from_mins(5);
/// How long after an unsuccessful probe of credentials the next may go, if no refusal follows.
const REFUSAL_FOLLOWS: Duration = Duration::from_secs(5);
/// A callee that was not called for this long and has nothing to remember is forgotten.
const IDLE: Duration = Duration::from_mins(1);

/// Why a callee cannot be called now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// In the words of a hold.
    pub(crate) reason: HoldReason,
    /// When to ask again; none where an event will tell.
    pub(crate) retry_at: Option<Instant>,
}

/// A callee as the node knows it.
pub(crate) struct Callee {
    id: CalleeId,
    policy: CalleePolicy,
    bucket: Option<Bucket>,
    breaker: Breaker,
    in_flight: u32,
    refused: Vec<Refused>,
    used: Instant,
}

/// A tenant whose credentials it refuses.
struct Refused {
    tenant: TenantName,
    until: Instant,
    probing: bool,
}

/// What one call took of a callee.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    ticket: Ticket,
    /// Whether the call may be made; else only the probe is kept for it.
    whole: bool,
    token: bool,
    probes_credentials: bool,
}

impl Taken {
    /// Whether the call may be made.
    pub(crate) const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether the call tells whether the tenant's credentials are taken again.
    pub(crate) const fn probes_credentials(&self) -> bool {
        self.probes_credentials
    }
}

impl Callee {
    /// A callee that is called for the first time since it was forgotten; the node began at `born`.
    pub(crate) fn new(id: CalleeId, policy: CalleePolicy, seed: u64, born: Instant, now: Instant) -> Self {
        let bucket = policy.rate.map(|rate| {
            if policy.joining.is_zero() {
                return untouched_since(rate, born);
            }
            let mut bucket = Bucket::empty(rate);
            bucket.stand_empty(policy.joining);
            bucket
        });
        let breaker = Breaker::new(policy.breaker, Opens::ByTwoUsers, seed, now);
        Self { id, policy, bucket, breaker, in_flight: 0, refused: Vec::new(), used: now }
    }

    /// The limits changed.
    pub(crate) fn reload(&mut self, policy: CalleePolicy, seed: u64, now: Instant) {
        if policy.rate != self.policy.rate {
            self.bucket = policy.rate.map(|rate| match &self.bucket {
                Some(bucket) => Bucket::restored(rate, bucket.full_at()),
                None => Bucket::empty(rate),
            });
        }
        if policy.breaker != self.policy.breaker {
            self.breaker = rebuilt(&self.breaker, policy.breaker, Opens::ByTwoUsers, seed, now);
        }
        self.policy = policy;
    }

    /// Its breaker is open, as it was remembered.
    pub(crate) fn reopen(&mut self, wait: Duration, opens: u32, now: Instant) {
        self.breaker.reopen(wait, opens, now);
    }

    /// Whether `tenant` may call it now.
    pub(crate) fn check(&self, tenant: &TenantName, now: Instant) -> Result<(), Refusal> {
        self.check_health(tenant, now)?;
        self.check_room()
    }

    /// Whether it has room for one more call by its own limits, whoever makes it.
    pub(crate) fn check_room(&self) -> Result<(), Refusal> {
        let busy = |retry_at| Refusal { reason: HoldReason::CalleeBusy(self.id.clone()), retry_at };
        if self.has_no_place() {
            return Err(busy(None));
        }
        match self.bucket.as_ref().and_then(Bucket::next_at) {
            Some(at) => Err(busy(Some(at))),
            None => Ok(()),
        }
    }

    fn has_no_place(&self) -> bool {
        self.policy.concurrency.is_some_and(|most| self.in_flight >= most.max(1))
    }

    /// Whether it is well, as far as is known, and takes the tenant's credentials.
    pub(crate) fn check_health(&self, tenant: &TenantName, now: Instant) -> Result<(), Refusal> {
        self.check_credentials(tenant, now)?;
        self.check_breaker(now)
    }

    /// Whether its breaker lets a call pass, whoever makes it.
    pub(crate) fn check_breaker(&self, now: Instant) -> Result<(), Refusal> {
        refuse_by(&self.breaker, &self.id, now)
    }

    /// Whether it takes the tenant's credentials, as far as is known.
    pub(crate) fn check_credentials(&self, tenant: &TenantName, now: Instant) -> Result<(), Refusal> {
        if let Some(refused) = self.refused.iter().find(|refused| refused.tenant == *tenant) {
            let held = |retry_at| Refusal { reason: HoldReason::Unauthorized(self.id.clone()), retry_at };
            if now < refused.until {
                return Err(held(Some(refused.until)));
            }
            if refused.probing {
                return Err(held(None));
            }
        }
        Ok(())
    }

    /// Takes leave for a call that [`Self::check`] allowed.
    pub(crate) fn take(&mut self, tenant: &TenantName, now: Instant) -> Taken {
        let token = self.bucket.as_mut().is_some_and(|bucket| bucket.take().is_ok());
        self.in_flight += 1;
        self.used = now;
        let mut probes_credentials = false;
        if let Some(refused) = self.refused.iter_mut().find(|refused| refused.tenant == *tenant) {
            refused.probing = true;
            probes_credentials = true;
        }
        Taken { ticket: self.breaker.take(now), whole: true, token, probes_credentials }
    }

    /// Keeps the probe for a later call of an attempt that begins now. None where there is no probe
    /// to keep: its breaker is closed.
    pub(crate) fn reserve(&mut self, now: Instant) -> Option<Taken> {
        let closed = self.breaker.state() == BreakerState::Closed;
        (!closed).then(|| Taken {
            ticket: self.breaker.take(now),
            whole: false,
            token: false,
            probes_credentials: false,
        })
    }

    /// A call ended; `user` is the lane that made it. None: it was never made.
    pub(crate) fn leave(
        &mut self,
        taken: Taken,
        tenant: &TenantName,
        user: u64,
        result: Option<CallResult>,
        now: Instant,
    ) -> Option<BreakerState> {
        if taken.whole {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        self.used = now;
        if taken.token && result.is_none() {
            self.give_back();
        }
        if let (Some(CallResult::Failure { retry_after: Some(wait) }), Some(bucket)) = (result, &mut self.bucket) {
            bucket.stand_empty(wait);
        }
        if taken.probes_credentials {
            match result {
                Some(CallResult::Success) => self.refused.retain(|refused| refused.tenant != *tenant),
                _ => {
                    if let Some(refused) = self.refused.iter_mut().find(|refused| refused.tenant == *tenant) {
                        refused.probing = false;
                        // A refusal is told by the attempt's outcome, a moment after the call.
                        refused.until = refused.until.max(now + REFUSAL_FOLLOWS);
                    }
                }
            }
        }
        self.breaker.report(taken.ticket, user, report(result), now)
    }

    /// It refuses the credentials of `tenant`.
    pub(crate) fn refuse(&mut self, tenant: &TenantName, now: Instant) {
        self.refused.retain(|refused| refused.tenant != *tenant);
        self.refused.push(Refused { tenant: tenant.clone(), until: now + UNAUTHORIZED, probing: false });
    }

    /// Lets the next call go as a probe now.
    pub(crate) fn probe_now(&mut self, tenant: &TenantName, now: Instant) {
        self.breaker.probe_now(now);
        for refused in self.refused.iter_mut().filter(|refused| refused.tenant == *tenant) {
            refused.until = now;
        }
    }

    /// Whether a `Retry-After` of it concerns all its users.
    pub(crate) const fn shares_its_quota(&self) -> bool {
        self.bucket.is_some()
    }

    /// Whether it can be forgotten.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.in_flight == 0
            && self.refused.iter().all(|refused| refused.until + IDLE < now)
            && self.breaker.state() == BreakerState::Closed
            && self.breaker.in_a_row() == 0
            && self.bucket.as_ref().is_none_or(|bucket| bucket.full_at() <= now)
            && now.duration_since(self.used) > IDLE
    }

    /// Its breaker.
    pub(crate) const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Calls in flight.
    pub(crate) const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Tokens there now; none without a rate.
    pub(crate) fn tokens(&self) -> Option<f64> {
        self.bucket.as_ref().map(Bucket::tokens)
    }

    /// The last moment until which it is held for refused credentials.
    pub(crate) fn unauthorized_until(&self) -> Option<Instant> {
        self.refused.iter().map(|refused| refused.until).max()
    }

    fn give_back(&mut self) {
        if let Some(bucket) = &mut self.bucket {
            bucket.give_back();
        }
    }
}

/// What one lane knows of one of its callees.
pub(crate) struct LaneCallee {
    /// The callee.
    pub(crate) id: CalleeId,
    /// The lane's own breaker of it.
    pub(crate) breaker: Breaker,
    /// A wait it asked this lane for.
    pub(crate) not_before: Option<Instant>,
}

impl LaneCallee {
    /// A callee that the lane calls for the first time.
    pub(crate) fn new(id: CalleeId, policy: BreakerPolicy, seed: u64, now: Instant) -> Self {
        Self { id, breaker: Breaker::new(policy, Opens::ByAnyone, seed, now), not_before: None }
    }

    /// Whether the lane may call it now, as far as the lane knows.
    pub(crate) fn check(&self, now: Instant) -> Result<(), Refusal> {
        if let Some(at) = self.not_before.filter(|at| now < *at) {
            return Err(Refusal { reason: HoldReason::CalleeBusy(self.id.clone()), retry_at: Some(at) });
        }
        refuse_by(&self.breaker, &self.id, now)
    }
}

/// What a call's result says to a breaker.
pub(crate) const fn report(result: Option<CallResult>) -> Report {
    match result {
        Some(CallResult::Success) => Report::Success,
        Some(CallResult::Failure { .. }) => Report::Failure,
        Some(CallResult::Neutral) | None => Report::Neutral,
    }
}

/// A bucket that this process did not touch before. Its owner before us may have emptied it when
/// this process was `born`; since then it filled.
pub(crate) fn untouched_since(rate: Rate, born: Instant) -> Bucket {
    Bucket::restored(rate, born + rate.refill())
}

/// A breaker under a new policy: an open one stays open as long as it would have.
pub(crate) fn rebuilt(old: &Breaker, policy: BreakerPolicy, opens: Opens, seed: u64, now: Instant) -> Breaker {
    let mut breaker = Breaker::new(policy, opens, seed, now);
    if old.state() != BreakerState::Closed {
        let wait = old.probe_at().map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        breaker.reopen(wait, old.in_a_row(), now);
    }
    breaker
}

fn refuse_by(breaker: &Breaker, callee: &CalleeId, now: Instant) -> Result<(), Refusal> {
    breaker.check(now).map_err(|not_now| match not_now {
        NotNow::Until(at) if breaker.state() == BreakerState::Closed => {
            Refusal { reason: HoldReason::CalleeBusy(callee.clone()), retry_at: Some(at) }
        }
        NotNow::Until(at) => Refusal { reason: HoldReason::BreakerOpen(callee.clone()), retry_at: Some(at) },
        NotNow::Probing => Refusal { reason: HoldReason::BreakerOpen(callee.clone()), retry_at: None },
    })
}
