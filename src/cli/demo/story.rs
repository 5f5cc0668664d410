//! What the demo shows, step by step. Each step checks what it claims; one that does not come true
//! within its time is told as not shown.

use std::{collections::BTreeSet, future::Future, time::Duration};

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use sluice_actors::{
    domain::{EventId, JobState, LaneKey, Mandate},
    ports::{BreakerState, Clock, DeadLetterFilter},
};

use super::{
    LOOK,
    board::Board,
    world::{ACME, GLOBEX, ORDERS, STATUS, World},
};
use crate::{
    api::records::{JobDetail, RecordFilter, RefusalFilter, Scope},
    cli::send::Answer,
    clock::SystemClock,
    standins::Fault,
    vendors,
};

/// How long one thing may take to happen.
const PATIENCE: Duration = Duration::from_mins(1);
/// The time between two vendors, so that one can watch.
const BEAT: Duration = Duration::from_millis(120);
/// How long the probe of the mended callee takes, so that one can see the breaker half open.
const SLOW_PROBE: Duration = Duration::from_secs(2);
/// Events for the lane whose callee is down: more than its breaker needs to open.
const DURING_OUTAGE: usize = 6;

/// One step and what came of it.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    what: &'static str,
    shown: bool,
    seen: String,
}

impl Outcome {
    pub(super) fn is_shown(&self) -> bool {
        self.shown
    }

    /// Its line on the screen.
    pub(super) fn line(&self) -> String {
        let mark = if self.shown { "✓" } else { "✗" };
        format!("{mark} {:12}  {}", self.what, self.seen)
    }
}

/// Plays the steps.
pub(super) struct Story<'a> {
    world: &'a World,
    board: &'a Board,
    quiet: bool,
    outcomes: Vec<Outcome>,
}

impl<'a> Story<'a> {
    /// `quiet` keeps the steps off the screen.
    pub(super) fn new(world: &'a World, board: &'a Board, quiet: bool) -> Self {
        Self { world, board, quiet, outcomes: Vec::new() }
    }

    /// All steps, in their order.
    pub(super) async fn play(mut self) -> Vec<Outcome> {
        let world = self.world;
        for vendor in vendors::NAMES {
            self.step(vendor, every_vendor(world, vendor)).await;
            tokio::time::sleep(BEAT).await;
        }
        self.step("duplicate", duplicate(world)).await;
        self.step("forgery", forgery(world)).await;
        self.step("stale", stale(world)).await;
        self.step("out of order", out_of_order(world)).await;
        self.step("breaker", breaker(world)).await;
        self.step("dead letter", dead_letter(world)).await;
        self.outcomes
    }

    async fn step(&mut self, what: &'static str, happens: impl Future<Output = anyhow::Result<String>>) {
        let (shown, seen) = match happens.await {
            Ok(seen) => (true, seen),
            Err(error) => (false, format!("{error:#}")),
        };
        let outcome = Outcome { what, shown, seen };
        if !self.quiet {
            self.board.line(&outcome.line());
        }
        self.outcomes.push(outcome);
    }
}

/// The vendor's signed sample becomes a summary and a post.
async fn every_vendor(world: &World, vendor: &'static str) -> anyhow::Result<String> {
    let sender = world.sender(ACME, vendor);
    let delivery = sender.sample(&fresh_id(), SystemClock.now())?;
    accepted(&sender.send(&delivery).await?)?;
    let jobs = settled(world, newest_event(world, ACME, vendor).await?).await?;
    for job in &jobs {
        ensure!(job.job.state == JobState::Succeeded, "{} is {}", job.job.route, job.job.state);
    }
    let summary = jobs.iter().find(|job| job.job.route.as_str() == "summary").context("no job of the route summary")?;
    let posts = world.wordpress.posts();
    let id = summary.job.id.to_string();
    let post = posts.iter().find(|post| post.job_id == id).context("the site has no post of the job")?;
    let more: String =
        jobs.iter().filter(|job| job.job.id != summary.job.id).map(|job| format!(", and {}", job.job.kind)).collect();
    Ok(format!("{} became post {} “{}”{more}", summary.job.event_type, post.id, post.title))
}

/// The same delivery again gets the first one's answer and has no second effect.
async fn duplicate(world: &World) -> anyhow::Result<String> {
    let sender = world.sender(ACME, "stripe");
    let delivery = sender.sample(&fresh_id(), SystemClock.now())?;
    let first = accepted(&sender.send(&delivery).await?)?;
    settled(world, event_of(&first)?).await?;
    let chats = world.llm.chats().len();
    let second = accepted(&sender.send(&delivery).await?)?;
    ensure!(second["duplicate"] == true && second["event_id"] == first["event_id"], "answered {second}");
    ensure!(world.llm.chats().len() == chats, "the model was asked again");
    Ok(format!("answered as a duplicate of {}, nothing done twice", text(&first, "event_id")))
}

/// A signature with a guessed secret.
async fn forgery(world: &World) -> anyhow::Result<String> {
    let sender = world.sender(ACME, "stripe");
    refused(world, &sender.send(&sender.forgery(&fresh_id())?).await?, "bad_signature").await
}

/// A genuine signature, captured and sent again later.
async fn stale(world: &World) -> anyhow::Result<String> {
    let sender = world.sender(ACME, "stripe");
    let then = SystemClock.now().minus(Duration::from_mins(10));
    refused(world, &sender.send(&sender.sample(&fresh_id(), then)?).await?, "stale_timestamp").await
}

/// An older update that arrives after a newer one does not undo it.
async fn out_of_order(world: &World) -> anyhow::Result<String> {
    let sender = world.sender(ACME, "generic");
    let subject = format!("thread-{}", fresh_id());
    let now = SystemClock.now();
    let update = |minutes: u64, answer: &str| {
        json!({
            "event_type": "assistant.completed",
            "subject_id": subject,
            "occurred_at": now.minus(Duration::from_mins(minutes)).to_string(),
            "data": { "answer": answer },
        })
    };
    let newer = accepted(&sender.send(&sender.delivery(&fresh_id(), &update(1, "It was shipped."))?).await?)?;
    ends_as(world, &newer, JobState::Succeeded).await?;
    let older = accepted(&sender.send(&sender.delivery(&fresh_id(), &update(5, "It is being packed."))?).await?)?;
    ends_as(world, &older, JobState::Superseded).await?;
    Ok("the older update was stored and superseded, the post keeps the newer one".to_owned())
}

/// An outage of one callee: the breaker holds the lane, other lanes go on, one probe closes it.
async fn breaker(world: &World) -> anyhow::Result<String> {
    let sender = world.sender(GLOBEX, STATUS);
    world.pager.fail_always(Some(Fault::status(503)));
    let mut events = Vec::new();
    for n in 0..DURING_OUTAGE {
        let body =
            json!({ "event_type": "status.changed", "subject_id": format!("check-{n}"), "data": { "up": false } });
        events.push(event_of(&accepted(&sender.send(&sender.delivery(&fresh_id(), &body)?).await?)?)?);
    }
    becomes(world, BreakerState::Open).await?;
    let failed = world.pager.requests().len();
    let held = {
        let filter = RecordFilter {
            tenant: Some(GLOBEX.to_owned()),
            source: Some(STATUS.to_owned()),
            ..RecordFilter::default()
        };
        let jobs = world.running.records.jobs(&Scope::All, &filter).await?;
        jobs.items.iter().filter(|job| job.attempts == 0).count()
    };
    // Other lanes are not slowed.
    every_vendor(world, "github").await.context("while the breaker was open")?;
    world.pager.fail_always(Some(Fault::Late(SLOW_PROBE)));
    becomes(world, BreakerState::HalfOpen).await?;
    becomes(world, BreakerState::Closed).await?;
    world.pager.fail_always(None);
    for event in events {
        for job in settled(world, event).await? {
            ensure!(job.job.state == JobState::Succeeded, "{} is {}", job.job.id, job.job.state);
        }
    }
    Ok(format!(
        "open after {failed} failed calls with {held} jobs held, half open for one probe, closed; all {DURING_OUTAGE} jobs done"
    ))
}

/// A call that is refused for good becomes a dead letter; replayed after the repair, it succeeds.
async fn dead_letter(world: &World) -> anyhow::Result<String> {
    let sender = world.sender(GLOBEX, ORDERS);
    world.crm.fail_next(Fault::status(422));
    let body = json!({ "event_type": "order.paid", "subject_id": "order-7", "data": { "total": "49.00" } });
    let answer = accepted(&sender.send(&sender.delivery(&fresh_id(), &body)?).await?)?;
    let dead = ends_as(world, &answer, JobState::DeadLetter).await?;
    let reason = dead.dead_letter.context("a dead letter")?.reason;
    let filter = DeadLetterFilter { job: Some(dead.job.id), ..DeadLetterFilter::default() };
    let matched = world.running.gateway.replay(filter, Mandate::new("demo", "the story goes on"), 10.0).await?;
    ensure!(matched == 1, "{matched} dead letters match");
    let job = ends_as(world, &answer, JobState::Succeeded).await?;
    Ok(format!("order.paid was dead ({reason}), replayed, done at attempt {}", job.attempts.len()))
}

/// Waits for the lane's breaker.
async fn becomes(world: &World, wanted: BreakerState) -> anyhow::Result<()> {
    until(&format!("the breaker is {wanted:?}"), async || {
        let node = world.running.gateway.snapshot().await?;
        let lane = node.lanes.iter().find(|lane| is(&lane.lane, GLOBEX, STATUS));
        Ok(lane.and_then(|lane| lane.breakers.iter().find(|breaker| breaker.state == wanted)).map(|_| ()))
    })
    .await
}

fn is(lane: &LaneKey, tenant: &str, source: &str) -> bool {
    lane.tenant.as_str() == tenant && lane.source.as_str() == source
}

/// Waits until the event's one job is in this state.
async fn ends_as(world: &World, answer: &Value, wanted: JobState) -> anyhow::Result<JobDetail> {
    let event = event_of(answer)?;
    until(&format!("its job is {wanted}"), async || {
        Ok(details(world, event).await?.into_iter().find(|job| job.job.state == wanted))
    })
    .await
}

/// Waits until all jobs of an event are over.
async fn settled(world: &World, event: EventId) -> anyhow::Result<Vec<JobDetail>> {
    until("its jobs are over", async || {
        let jobs = details(world, event).await?;
        Ok((!jobs.is_empty() && jobs.iter().all(|job| job.job.state.is_final())).then_some(jobs))
    })
    .await
}

async fn details(world: &World, event: EventId) -> anyhow::Result<Vec<JobDetail>> {
    let records = &world.running.records;
    let detail = records.event(&Scope::All, event).await?.context("the event is not in the store")?;
    let mut jobs = Vec::new();
    for job in detail.jobs {
        jobs.extend(records.job(&Scope::All, job.id).await?);
    }
    Ok(jobs)
}

/// Looks until there is something to see.
async fn until<T>(what: &str, look: impl AsyncFn() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let seen = async {
        loop {
            if let Some(seen) = look().await? {
                return anyhow::Ok(seen);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    match tokio::time::timeout(PATIENCE, seen).await {
        Ok(seen) => seen,
        Err(_) => bail!("not within {} s: {what}", PATIENCE.as_secs()),
    }
}

/// The id of a sample; no two are alike.
fn fresh_id() -> String {
    hex::encode(&crate::ids::nonce()[..8])
}

/// The body of a success; null where the vendor wants none, or one of its own form.
fn accepted(answer: &Answer) -> anyhow::Result<Value> {
    let body = String::from_utf8_lossy(&answer.body);
    ensure!((200..300).contains(&answer.status), "answered {} {body}", answer.status);
    Ok(serde_json::from_str(&body).unwrap_or_default())
}

/// Checks that a delivery was refused, as every refused one is, and that the reason is kept inside.
async fn refused(world: &World, answer: &Answer, reason: &str) -> anyhow::Result<String> {
    ensure!(answer.status == 401, "answered {}", answer.status);
    let body: Value = serde_json::from_slice(&answer.body)?;
    let told: BTreeSet<&str> = body.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    ensure!(!told.contains("event_id"), "answered {body}");
    until(&format!("the refusal `{reason}` is kept"), async || {
        let kept = world.running.records.refusals(&Scope::All, &RefusalFilter::of(ACME, "stripe"), 10).await?;
        Ok(kept.iter().any(|kept| kept.reason == reason).then_some(()))
    })
    .await?;
    Ok(format!("401 without a reason to the sender; inside: {reason}"))
}

/// The newest event of a source, where the answer names none.
async fn newest_event(world: &World, tenant: &str, source: &str) -> anyhow::Result<EventId> {
    let filter = RecordFilter {
        tenant: Some(tenant.to_owned()),
        source: Some(source.to_owned()),
        limit: Some(1),
        ..RecordFilter::default()
    };
    let page = world.running.records.events(&Scope::All, &filter).await?;
    Ok(page.items.first().context("no event was stored")?.id)
}

fn event_of(answer: &Value) -> anyhow::Result<EventId> {
    text(answer, "event_id").parse().with_context(|| format!("answered {answer}"))
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
