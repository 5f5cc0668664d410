//! Where what happened becomes an alert, or is held back.

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use sluice_actors::{
    domain::{EventId, SourceName, TenantName},
    ports::{DeadLetterFilter, JobStore, StoreUnavailable},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    Alarm, Alert, Failure, Notice, Notices, Poster, expiry,
    lines::{Around, Lines, ends},
};
use crate::{
    api::{
        marks::{Mark, Marks, Raise, Raised},
        records::{Records, Scope},
    },
    config::{self, Cause, Config},
    ids, redact,
    telemetry::metrics::Metrics,
};

/// Alerts of the same lane and cause are told no more often.
const HOUR: Duration = Duration::from_hours(1);
/// A secret that ends is no news every hour.
const DAY: Duration = Duration::from_hours(24);
/// What belongs to a notice may be said a moment later; and of many at once one look is enough.
const SETTLE: Duration = Duration::from_millis(500);
/// Notices that are settled together.
const TOGETHER: usize = 1024;
/// How often it is looked whose hour is over.
const LOOK: Duration = Duration::from_secs(30);
/// What is told of them at once.
const HELD_AT_ONCE: usize = 50;
/// How often it is looked which secrets end.
const EXPIRY: Duration = Duration::from_mins(10);
/// How often a store that does not answer is asked about an alert, and how long it is left alone in between.
const ASKED: usize = 4;
const BUSY: Duration = Duration::from_secs(2);
/// Characters of a payload and of an error that are shown.
const SAMPLE: usize = 800;
const ERROR: usize = 400;

/// What the desk needs.
pub struct DeskParts {
    /// The configuration in force.
    pub config: config::Live,
    /// What people read of the store.
    pub records: Arc<dyn Records>,
    /// To count dead letters.
    pub jobs: Arc<dyn JobStore>,
    /// What was told when.
    pub marks: Arc<dyn Marks>,
    /// Who tells.
    pub poster: Poster,
    /// The series.
    pub metrics: Metrics,
    /// The origin of the console where the configuration names none.
    pub console: String,
    /// Seeds the jitter of retries.
    pub seed: u64,
}

/// A desk at work. Dropped, it goes on: [`Working::end`] ends it.
pub struct Working {
    ending: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Working {
    /// Ends it: what was said so far is settled and told, what receivers did not take so far is tried once more.
    /// What is not done `within` that time is lost.
    pub async fn end(mut self, within: Duration) {
        self.ending.send_replace(true);
        if tokio::time::timeout(within, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("alerts were not taken in time and are lost");
        }
    }
}

/// Decides what is told.
pub struct Desk {
    parts: DeskParts,
    alarm: Alarm,
    lines: Lines,
    /// What was told while the store did not answer: this node's own memory of an hour.
    unmarked: HashMap<Mark, Instant>,
}

impl Cause {
    /// For how long after one was told others are not.
    const fn every(self) -> Duration {
        match self {
            Self::SecretExpiring => DAY,
            _ => HOUR,
        }
    }

    /// Whether it happens once: what is not told in its time is told later. The others are looked at again and
    /// again for as long as they last.
    const fn is_transition(self) -> bool {
        matches!(self, Self::BreakerOpened | Self::BreakerClosed | Self::LaneParked | Self::NodeTakenForDead)
    }

    /// Whether it is looked at by a timer: how often that was is nothing to tell.
    const fn counts(self) -> bool {
        !matches!(self, Self::SecretExpiring)
    }
}

impl Desk {
    /// Sets a desk to work that listens to `alarm`.
    pub fn start(parts: DeskParts, alarm: Alarm, notices: Notices) -> Working {
        let (ending, told) = watch::channel(false);
        let (poster, config, metrics) = (parts.poster.clone(), parts.config.clone(), parts.metrics.clone());
        let lines = Lines::new(Around { poster, config, metrics, ending: told.clone() }, parts.seed);
        let desk = Self { parts, alarm, lines, unmarked: HashMap::new() };
        Working { ending, task: tokio::spawn(desk.run(notices, told)) }
    }

    async fn run(mut self, mut notices: Notices, mut ending: watch::Receiver<bool>) {
        let [mut looks, mut expiries] = [LOOK, EXPIRY].map(|period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        loop {
            let step = tokio::select! {
                notice = notices.recv() => {
                    let Some(first) = notice else { return };
                    sleep(SETTLE).await;
                    let heard = [first].into_iter().chain(waiting(&mut notices)).take(TOGETHER).collect();
                    AssertUnwindSafe(self.settle(heard)).catch_unwind().await
                }
                true = ends(&mut ending) => {
                    let heard = waiting(&mut notices).collect();
                    if AssertUnwindSafe(self.settle(heard)).catch_unwind().await.is_err() {
                        tracing::error!("the desk of alerts panicked at its end");
                    }
                    return self.lines.finish().await;
                }
                _ = looks.tick() => AssertUnwindSafe(self.tell_held()).catch_unwind().await,
                _ = expiries.tick() => {
                    let looked = AssertUnwindSafe(self.look_at_secrets()).catch_unwind().await;
                    if looked.as_ref().is_ok_and(Result::is_err) {
                        expiries.reset_after(BUSY);
                    }
                    looked.map(drop)
                }
            };
            if step.is_err() {
                tracing::error!("the desk of alerts panicked, goes on with the next");
            }
        }
    }

    async fn settle(&mut self, heard: Vec<Notice>) {
        let mut seen = HashSet::new();
        for notice in heard {
            // Of what lasts, one look is enough.
            if notice.cause.is_transition() || seen.insert(notice.clone()) {
                self.notice(notice).await;
            }
        }
    }

    async fn notice(&mut self, notice: Notice) {
        let config = self.parts.config.load_full();
        let callers = notice.callee.as_ref().and_then(|callee| self.alarm.callers(callee));
        let (tenants, failed_in) = match (&notice.lane, callers) {
            (Some(lane), _) => (vec![lane.tenant.clone()], Some(lane.clone())),
            (None, Some((tenants, lane))) => (tenants, Some(lane)),
            (None, None) => (Vec::new(), None),
        };
        if !config.alerts.receivers.iter().any(|receiver| receiver.wants(notice.cause, &tenants)) {
            return;
        }
        let dead = match (&notice.lane, notice.cause) {
            (Some(lane), Cause::DeadLetters) => {
                let (tenant, source) = (lane.tenant.to_string(), lane.source.to_string());
                let filter =
                    DeadLetterFilter { tenant: Some(tenant), source: Some(source), ..DeadLetterFilter::default() };
                match self.parts.jobs.count_dead_letters(&filter).await {
                    Ok(count) if count >= config.alerts.dead_letters => count,
                    Ok(_) => return,
                    Err(error) => {
                        tracing::warn!(%error, "dead letters cannot be counted now; the next one is looked at again");
                        return;
                    }
                }
            }
            _ => 0,
        };
        // Whom a tenant's jobs call refuses all of them alike.
        let source = notice.lane.as_ref().map(|lane| lane.source.clone());
        let source = source.filter(|_| notice.cause != Cause::CredentialsRefused);
        let mark = Mark {
            tenant: notice.lane.as_ref().map(|lane| lane.tenant.to_string()).unwrap_or_default(),
            place: match (&source, &notice.callee) {
                (Some(source), _) => source.to_string(),
                (None, Some(callee)) => callee.as_str().to_owned(),
                (None, None) => String::new(),
            },
            cause: notice.cause.as_str(),
        };
        let failure = failed_in.filter(|_| notice.cause != Cause::LaneParked);
        let alert = Alert {
            failure: failure.and_then(|lane| self.alarm.last_failure(&lane)),
            summary: summary(&notice, dead),
            ..self.blank(&config, notice.cause, tenants, source)
        };
        let alert = Alert { callee: notice.callee.map(|callee| callee.as_str().to_owned()), ..alert };
        self.raise(mark, alert).await;
    }

    /// An alert without what only its cause knows.
    fn blank(&self, config: &Config, cause: Cause, tenants: Vec<TenantName>, source: Option<SourceName>) -> Alert {
        let at = self.parts.poster.clock.now();
        let origin = match &config.admin.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => self.parts.console.clone(),
        };
        let page = match (cause, &*tenants, &source) {
            (Cause::DeadLetters, [tenant], Some(source)) => format!("dead?tenant={tenant}&source={source}"),
            (Cause::SecretExpiring, ..) => "sources".to_owned(),
            (_, [tenant], Some(source)) => format!("jobs?tenant={tenant}&source={source}"),
            _ => "lanes".to_owned(),
        };
        Alert {
            id: format!("alert_{}", hex::encode(ids::nonce())),
            cause,
            at,
            tenants,
            source,
            callee: None,
            summary: String::new(),
            suppressed: 0,
            failure: None,
            link: format!("{origin}/#/{page}"),
        }
    }

    async fn raise(&mut self, mark: Mark, mut alert: Alert) {
        let cause = alert.cause;
        let suppressed = |metrics: &Metrics| metrics.alerts_suppressed_total.with_label_values(&[cause.as_str()]).inc();
        self.unmarked.retain(|_, told| told.elapsed() < DAY);
        if self.unmarked.get(&mark).is_some_and(|told| told.elapsed() < cause.every()) {
            suppressed(&self.parts.metrics);
            return;
        }
        let hold = cause.is_transition().then(|| serde_json::to_string(&alert).unwrap_or_default());
        let raise =
            Raise { id: alert.id.clone(), mark: mark.clone(), every: cause.every(), counts: cause.counts(), hold };
        match self.ask(raise).await {
            Ok(Raised::Tell { suppressed }) => alert.suppressed = suppressed,
            Ok(Raised::Suppressed) => return suppressed(&self.parts.metrics),
            Err(error) => {
                // Nobody can say who else tells it: twice is better than not at all.
                tracing::warn!(%error, cause = cause.as_str(), "alert told without a mark in the store");
                self.unmarked.insert(mark, Instant::now());
            }
        }
        self.tell(alert).await;
    }

    /// Asks the store whether an alert is told, more than once where it is busy.
    async fn ask(&self, raise: Raise) -> Result<Raised, StoreUnavailable> {
        for _ in 1..ASKED {
            if let Ok(raised) = self.parts.marks.raise(raise.clone()).await {
                return Ok(raised);
            }
            sleep(BUSY).await;
        }
        self.parts.marks.raise(raise).await
    }

    async fn tell(&mut self, mut alert: Alert) {
        if let Some(failure) = &mut alert.failure {
            self.complete(failure).await;
        }
        self.lines.tell(&Arc::new(alert));
    }

    /// Adds what the store has of the event. Everything is redacted once more: a source may have left patterns out
    /// for its own people, but these are others.
    async fn complete(&self, failure: &mut Failure) {
        failure.error = shown(&failure.error, ERROR);
        let found = self.parts.records.event(&Scope::All, EventId::clone(&failure.event_id)).await;
        let Ok(Some(event)) = found else { return };
        failure.event_type = Some(shown(&event.event.event_type, ERROR));
        failure.external_id = Some(shown(&event.event.external_id, ERROR));
        failure.sample = event.raw.map(|raw| sample(&raw));
    }

    /// Tells what was held back for an hour.
    async fn tell_held(&mut self) {
        let before = self.parts.poster.clock.now().minus(HOUR);
        let held = match self.parts.marks.held_alerts(before, HELD_AT_ONCE).await {
            Ok(held) => held,
            Err(error) => return tracing::debug!(%error, "held alerts wait for the store"),
        };
        for held in held {
            match self.parts.marks.take_held_alert(&held).await {
                Ok(true) => {}
                Ok(false) | Err(_) => continue,
            }
            let Ok(mut alert) = serde_json::from_str::<Alert>(&held.alert) else { continue };
            // It is told itself.
            alert.suppressed = held.suppressed.saturating_sub(1);
            self.tell(alert).await;
        }
    }

    /// `Err`: it is not known now how secrets are used.
    async fn look_at_secrets(&mut self) -> Result<(), StoreUnavailable> {
        let config = self.parts.config.load_full();
        if config.alerts.receivers.is_empty() {
            return Ok(());
        }
        let uses = self.parts.records.secret_uses(&Scope::All).await?;
        for ending in expiry::ending(&config, &uses, self.parts.poster.clock.now()) {
            let (tenant, source) = (ending.lane.tenant.clone(), ending.lane.source.clone());
            let cause = Cause::SecretExpiring;
            if !config.alerts.receivers.iter().any(|receiver| receiver.wants(cause, std::slice::from_ref(&tenant))) {
                continue;
            }
            let mark = Mark { tenant: tenant.to_string(), place: source.to_string(), cause: cause.as_str() };
            let blank = self.blank(&config, cause, vec![tenant], Some(source));
            self.raise(mark, Alert { summary: ending.summary, ..blank }).await;
        }
        Ok(())
    }
}

/// What was said and is not heard yet.
fn waiting(notices: &mut Notices) -> impl Iterator<Item = Notice> {
    std::iter::from_fn(|| notices.try_recv().ok())
}

/// What happened, in a line.
fn summary(notice: &Notice, dead: u64) -> String {
    let callee = notice.callee.as_ref().map_or("a callee", |callee| callee.as_str());
    let is_lane = notice.lane.is_some();
    match notice.cause {
        Cause::BreakerOpened if is_lane => format!("its breaker for {callee} opened; its jobs for it wait"),
        Cause::BreakerOpened => format!("the shared breaker of {callee} opened; all jobs for it wait"),
        Cause::BreakerClosed if is_lane => format!("its breaker for {callee} closed; its jobs run again"),
        Cause::BreakerClosed => format!("the shared breaker of {callee} closed; jobs for it run again"),
        Cause::LaneParked => match notice.until {
            Some(until) => format!("the lane panicked too often and is parked until {until}"),
            None => "the lane panicked too often and is parked".to_owned(),
        },
        Cause::DeadLetters => format!("{dead} dead letters wait for a person"),
        Cause::CredentialsRefused => format!("{callee} refuses our credentials; its jobs wait for a person"),
        Cause::NodeTakenForDead => "the other nodes took a node for dead; it lost its lanes and goes on".to_owned(),
        Cause::SecretExpiring | Cause::Test => String::new(),
    }
}

/// A text as somebody outside may see it.
fn shown(text: &str, most: usize) -> String {
    clip(&redact::text(text), most)
}

/// The beginning of a stored payload: by its form where it has one, so that telling key names are heeded.
fn sample(raw: &str) -> String {
    let text = match redact::read_stored(raw.as_bytes()) {
        Some(mut value) => {
            redact::everything(&mut value);
            value.to_string()
        }
        None => redact::text(raw).into_owned(),
    };
    clip(&text, SAMPLE)
}

fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_redacted_by_all_patterns_and_short() {
        let raw = format!(
            r#"{{"password":"hunter2hunter2","mail":"jane@example.com","card":"4111 1111 1111 1111","long":"{}"}}"#,
            "x".repeat(5000)
        );
        let text = sample(&raw);
        for secret in ["hunter2", "jane@", "4111 1111"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert_eq!(text.chars().count(), SAMPLE + 1);
        assert!(!sample("call jane@example.com").contains("jane@"), "a text is no JSON");
    }
}
