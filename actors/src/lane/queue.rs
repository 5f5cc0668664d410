//! The jobs that a lane holds in memory, bounded, grouped by what they need.
//!
//! Jobs that call the same callees wait for the same things, so they stand in one line; a line that
//! is held does not stop the others. What is dropped here is still in the store.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    admission::{Care, GroupId},
    domain::{CalleeId, Job, JobClass, JobId, Timestamp},
    ports::HeldWork,
};

/// After this long work that was not configured is looked at again, whatever a reload said.
const UNCONFIGURED: Duration = Duration::from_secs(30);

/// What the attempts of a line do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// They call these, in this order.
    Calls(Arc<[CalleeId]>),
    /// The action panicked when it was asked whom they call: they end as attempts that panicked.
    Broken,
}

impl Plan {
    /// Whom they call.
    pub(super) fn callees(&self) -> Arc<[CalleeId]> {
        match self {
            Self::Calls(callees) => callees.clone(),
            Self::Broken => Arc::default(),
        }
    }
}

/// Work whose route or credentials are not configured: passed over, so that it does not hide what
/// stands behind it in the store.
#[derive(Default)]
pub(super) struct Unconfigured {
    work: BTreeSet<HeldWork>,
    since: Option<Instant>,
}

impl Unconfigured {
    pub(super) fn add(&mut self, job: &Job) {
        self.work.insert(work_of(job));
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        if self.since.is_some_and(|since| since + UNCONFIGURED <= now) {
            *self = Self::default();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.work.is_empty()
    }

    pub(super) fn work(&self) -> impl Iterator<Item = HeldWork> {
        self.work.iter().cloned()
    }
}

fn work_of(job: &Job) -> HeldWork {
    HeldWork { route: job.route.clone(), stage: job.stage, class: job.class }
}

/// One line: jobs with the same plan, class and care.
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) plan: Plan,
    pub(super) class: JobClass,
    pub(super) care: Care,
    /// How many of its jobs the desk was asked for.
    pub(super) asked: usize,
    jobs: VecDeque<Job>,
}

impl Group {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }
}

/// All lines of a lane.
pub(super) struct Queue {
    cap: usize,
    groups: Vec<Group>,
    ids: HashSet<JobId>,
    next: GroupId,
}

impl Queue {
    /// An empty queue for at most `cap` jobs.
    pub(super) fn new(cap: usize) -> Self {
        Self { cap: cap.max(1), groups: Vec::new(), ids: HashSet::new(), next: 0 }
    }

    pub(super) fn set_cap(&mut self, cap: usize) {
        self.cap = cap.max(1);
    }

    pub(super) const fn cap(&self) -> usize {
        self.cap
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn contains(&self, job: JobId) -> bool {
        self.ids.contains(&job)
    }

    /// Adds a job behind those of its line, unless it is here already or there is no room: one line
    /// takes half of the queue at most, so that it never hides the others.
    pub(super) fn push(&mut self, job: Job, plan: Plan) {
        if self.ids.len() >= self.cap || self.ids.contains(&job.id) {
            return;
        }
        let share = self.share();
        let care = Care::of(job.suspicion);
        let same = |group: &&mut Group| group.class == job.class && group.care == care && group.plan == plan;
        match self.groups.iter_mut().find(same) {
            Some(group) if group.jobs.len() >= share => {}
            Some(group) => {
                self.ids.insert(job.id);
                group.jobs.push_back(job);
            }
            None => {
                self.next += 1;
                self.ids.insert(job.id);
                let class = job.class;
                let jobs = VecDeque::from([job]);
                self.groups.push(Group { id: self.next, plan, class, care, asked: 0, jobs });
            }
        }
    }

    const fn share(&self) -> usize {
        self.cap.div_ceil(2)
    }

    /// The next job of a line, which the desk has granted.
    pub(super) fn pop(&mut self, id: GroupId) -> Option<(Job, Plan)> {
        let at = self.groups.iter().position(|group| group.id == id)?;
        let group = &mut self.groups[at];
        group.asked = group.asked.saturating_sub(1);
        let job = group.jobs.pop_front();
        let plan = group.plan.clone();
        if group.jobs.is_empty() {
            self.groups.swap_remove(at);
        }
        let job = job?;
        self.ids.remove(&job.id);
        Some((job, plan))
    }

    /// A line for which the desk was asked for fewer than it could begin, of at most `most` at once.
    pub(super) fn unasked(&mut self, most: usize) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.asked < group.jobs.len().min(most))
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    /// Drops all but the first job of a line that is held: the first is the probe, the others would
    /// hide what stands behind them in the store. Returns how many.
    pub(super) fn shed(&mut self, id: GroupId) -> usize {
        let Some(group) = self.groups.iter_mut().find(|group| group.id == id) else { return 0 };
        let shed = group.jobs.split_off(1.min(group.jobs.len()));
        for job in &shed {
            self.ids.remove(&job.id);
        }
        shed.len()
    }

    /// Forgets every job.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
        self.ids.clear();
    }

    /// Whether a line has half of its room filled.
    pub(super) fn has_full_line(&self) -> bool {
        self.groups.iter().any(|group| self.is_full(group))
    }

    /// Whether it is time to read again, where lines were too full to take what there was.
    pub(super) fn runs_low(&self) -> bool {
        self.groups.iter().all(|group| group.len() <= self.cap.div_ceil(8))
    }

    fn is_full(&self, group: &Group) -> bool {
        group.len() >= self.share().div_ceil(2)
    }

    /// The work of lines that `is_held`, and of lines that have half of their room filled.
    pub(super) fn held_work(&self, is_held: impl Fn(&Group) -> bool) -> Vec<HeldWork> {
        let mut held: Vec<HeldWork> = self
            .groups
            .iter()
            .filter(|group| is_held(group) || self.is_full(group))
            .flat_map(|group| &group.jobs)
            .map(work_of)
            .collect();
        held.sort();
        held.dedup();
        held
    }

    /// When the job that is due longest was due.
    pub(super) fn oldest_due(&self) -> Option<Timestamp> {
        self.groups.iter().filter_map(|group| group.jobs.front()).map(|job| job.next_run_at).min()
    }
}
