//! The jobs that a lane holds in memory, bounded, grouped by what they need.
//!
//! Jobs that call the same callees wait for the same things, so they stand in one line; a line that
//! is held does not stop the others. What is dropped here is still in the store.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use crate::{
    admission::{Care, GroupId},
    domain::{CalleeId, Job, JobClass, JobId, Timestamp},
    ports::HeldWork,
};

/// One line: jobs with the same callees, class and care.
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) callees: Arc<[CalleeId]>,
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

    /// Adds a job behind those of its line. False if it is here already or there is no room: one
    /// line takes half of the queue at most, so that it never hides the others.
    pub(super) fn push(&mut self, job: Job, callees: Vec<CalleeId>) -> bool {
        if self.ids.len() >= self.cap || self.ids.contains(&job.id) {
            return false;
        }
        let share = self.share();
        let care = Care::of(job.suspicion);
        let same =
            |group: &&mut Group| group.class == job.class && group.care == care && group.callees[..] == callees[..];
        match self.groups.iter_mut().find(same) {
            Some(group) if group.jobs.len() >= share => return false,
            Some(group) => {
                self.ids.insert(job.id);
                group.jobs.push_back(job);
            }
            None => {
                self.next += 1;
                self.ids.insert(job.id);
                let class = job.class;
                let jobs = VecDeque::from([job]);
                self.groups.push(Group { id: self.next, callees: callees.into(), class, care, asked: 0, jobs });
            }
        }
        true
    }

    const fn share(&self) -> usize {
        self.cap.div_ceil(2)
    }

    /// The next job of a line, which the desk has granted.
    pub(super) fn pop(&mut self, id: GroupId) -> Option<Job> {
        let at = self.groups.iter().position(|group| group.id == id)?;
        let group = &mut self.groups[at];
        group.asked = group.asked.saturating_sub(1);
        let job = group.jobs.pop_front();
        if group.jobs.is_empty() {
            self.groups.swap_remove(at);
        }
        if let Some(job) = &job {
            self.ids.remove(&job.id);
        }
        job
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

    /// The work of lines that `is_held`, and of lines that have half of their room filled.
    pub(super) fn held_work(&self, is_held: impl Fn(&Group) -> bool) -> Vec<HeldWork> {
        let full = self.share().div_ceil(2);
        let mut held: Vec<HeldWork> = self
            .groups
            .iter()
            .filter(|group| is_held(group) || group.len() >= full)
            .flat_map(|group| &group.jobs)
            .map(|job| HeldWork { route: job.route.clone(), has_checkpoint: job.has_checkpoint, class: job.class })
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
