//! Failures on demand.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// One way to misbehave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This answer instead of the work.
    Answer {
        /// The status.
        status: u16,
        /// More headers.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: String,
    },
    /// The work is done after this long.
    Late(Duration),
    /// No answer at all.
    Hang,
    /// The work is done, the answer never comes.
    DoneThenHang,
    /// The work is done, the answer is broken off.
    DoneThenBreak,
    /// A header, then a byte now and then, without end.
    Drip,
    /// A body without end, as fast as it is read.
    Huge,
    /// Half a body, then the connection is cut.
    Break,
}

impl Fault {
    /// A status with a JSON error.
    pub fn status(status: u16) -> Self {
        let body = format!(r#"{{"code":"error","message":"scripted {status}"}}"#);
        Self::Answer { status, headers: vec![("content-type", "application/json".to_owned())], body }
    }

    /// A status that asks to wait: seconds or an HTTP date.
    pub fn retry_after(status: u16, wait: &str) -> Self {
        Self::Answer { status, headers: vec![("retry-after", wait.to_owned())], body: String::new() }
    }

    /// An HTML page, as firewalls and caches send.
    pub fn page(status: u16) -> Self {
        let headers = vec![("content-type", "text/html".to_owned())];
        Self::Answer { status, headers, body: "<!doctype html><title>Just a moment</title>".to_owned() }
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Self {
        Self::Answer { status: 307, headers: vec![("location", to.to_owned())], body: String::new() }
    }

    /// WordPress without the plugin.
    pub fn no_route() -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        let body = r#"{"code":"rest_no_route","message":"No route was found.","data":{"status":404}}"#.to_owned();
        Self::Answer { status: 404, headers, body }
    }

    /// JSON with this status.
    pub fn json(status: u16, body: &str) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self::Answer { status, headers, body: body.to_owned() }
    }
}

/// What the next requests meet.
#[derive(Debug, Default)]
pub(super) struct Faults {
    next: Mutex<VecDeque<Fault>>,
    always: Mutex<Option<Fault>>,
    sometimes: Mutex<Option<Sometimes>>,
}

/// A fault that strikes by chance.
#[derive(Debug)]
struct Sometimes {
    fault: Fault,
    share: f64,
    chance: StdRng,
}

impl Faults {
    pub(super) fn push(&self, fault: Fault) {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).push_back(fault);
    }

    pub(super) fn always(&self, fault: Option<Fault>) {
        *self.always.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    pub(super) fn sometimes(&self, share: f64, seed: u64, fault: Fault) {
        let sometimes = Sometimes { fault, share, chance: StdRng::seed_from_u64(seed) };
        *self.sometimes.lock().unwrap_or_else(PoisonError::into_inner) = Some(sometimes);
    }

    pub(super) fn take(&self) -> Option<Fault> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        next.or_else(|| self.always.lock().unwrap_or_else(PoisonError::into_inner).clone()).or_else(|| self.by_chance())
    }

    fn by_chance(&self) -> Option<Fault> {
        let mut sometimes = self.sometimes.lock().unwrap_or_else(PoisonError::into_inner);
        let Sometimes { fault, share, chance } = sometimes.as_mut()?;
        chance.random_bool(*share).then(|| fault.clone())
    }
}
