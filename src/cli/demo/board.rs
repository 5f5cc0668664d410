//! The live table of lanes and jobs, on a terminal only.

use std::{collections::BTreeMap, future::Future, pin::pin, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use sluice_actors::{
    domain::JobState,
    handle::{LaneSnapshot, LaneStatus, NodeSnapshot},
    ports::BreakerState,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    api::records::{JobRow, RecordFilter, Scope},
    app::Running,
    cli::output,
};

/// How often the table is drawn.
const REDRAW: Duration = Duration::from_millis(150);
/// Lanes in the table, and jobs below it: together they fit a terminal of 24 lines.
const LANES: usize = 10;
const JOBS: usize = 5;

/// Lines that stay, above a table that changes.
pub(super) struct Board {
    bar: ProgressBar,
}

impl Board {
    pub(super) fn new() -> Self {
        let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        Self { bar: ProgressBar::no_length().with_style(style) }
    }

    /// Writes a line that stays.
    pub(super) fn line(&self, text: &str) {
        if self.bar.is_hidden() { output::line(text) } else { self.bar.suspend(|| output::line(text)) }
    }

    /// Takes the table away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Runs `work` and shows what the gateway does meanwhile.
    pub(super) async fn follow<T>(&self, running: &Running, work: impl Future<Output = T>) -> T {
        if self.bar.is_hidden() {
            return work.await;
        }
        let mut work = pin!(work);
        let mut ticks = interval(REDRAW);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => self.draw(running).await,
            }
        }
    }

    async fn draw(&self, running: &Running) {
        let filter = RecordFilter { limit: Some(500), ..RecordFilter::default() };
        let (node, jobs) = tokio::join!(running.gateway.snapshot(), running.records.jobs(&Scope::All, &filter));
        // While the gateway starts or ends the old table stays.
        if let (Ok(node), Ok(jobs)) = (node, jobs) {
            let lines: Vec<String> = table(&node, &jobs.items).iter().map(|line| output::paint(line)).collect();
            self.bar.set_message(lines.join("\n"));
        }
    }
}

/// One lane's jobs.
#[derive(Default)]
struct Counts {
    waiting: usize,
    running: usize,
    done: usize,
    dead: usize,
    /// Where its newest job stands among all: the order of the table.
    newest: usize,
}

fn table(node: &NodeSnapshot, jobs: &[JobRow]) -> Vec<String> {
    let mut lanes: BTreeMap<String, Counts> = BTreeMap::new();
    for (position, job) in jobs.iter().enumerate() {
        let lane = lanes
            .entry(format!("{}/{}", job.tenant, job.source))
            .or_insert_with(|| Counts { newest: position, ..Counts::default() });
        match job.state {
            JobState::Pending | JobState::Failed => lane.waiting += 1,
            JobState::Running => lane.running += 1,
            JobState::Succeeded | JobState::Superseded | JobState::Cancelled => lane.done += 1,
            JobState::DeadLetter => lane.dead += 1,
        }
    }
    let mut lanes: Vec<(String, Counts)> = lanes.into_iter().collect();
    lanes.sort_by_key(|(_, counts)| (counts.waiting + counts.running == 0, counts.newest));
    let more = lanes.len().saturating_sub(LANES);
    let rows = lanes.iter().take(LANES).map(|(lane, counts)| {
        let live = node.lanes.iter().find(|live| live.lane.to_string() == *lane);
        vec![
            lane.clone(),
            status(live).to_owned(),
            breaker(live).to_owned(),
            counts.waiting.to_string(),
            counts.running.to_string(),
            counts.done.to_string(),
            counts.dead.to_string(),
        ]
    });
    let mut text = vec![String::new()];
    text.extend(output::table_lines(
        &["LANE", "STATUS", "BREAKER", "WAITING", "RUNNING", "DONE", "DEAD"],
        rows.collect(),
    ));
    if more > 0 {
        text.push(format!("and {more} more"));
    }
    text.push(String::new());
    let newest = jobs.iter().take(JOBS).map(|job| {
        let lane = format!("{}/{}", job.tenant, job.source);
        vec![lane, job.event_type.clone(), job.route.clone(), job.state.to_string(), job.attempts.to_string()]
    });
    text.extend(output::table_lines(&["NEWEST JOBS", "TYPE", "ROUTE", "STATE", "ATTEMPTS"], newest.collect()));
    text
}

fn status(lane: Option<&LaneSnapshot>) -> &'static str {
    match lane.map(|lane| lane.status) {
        None => "asleep",
        Some(LaneStatus::Flowing) => "flowing",
        Some(LaneStatus::Held) => "held",
        Some(LaneStatus::Paused) => "paused",
        Some(LaneStatus::Parked) => "parked",
        Some(LaneStatus::Unconfigured) => "unconfigured",
    }
}

/// The worst of its breakers.
fn breaker(lane: Option<&LaneSnapshot>) -> &'static str {
    let states = || lane.into_iter().flat_map(|lane| &lane.breakers).map(|breaker| breaker.state);
    if states().any(|state| state == BreakerState::Open) {
        "open"
    } else if states().any(|state| state == BreakerState::HalfOpen) {
        "half_open"
    } else {
        "closed"
    }
}
