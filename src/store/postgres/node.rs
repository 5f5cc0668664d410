//! This process as a node: its lease, its lanes, who else lives.
//!
//! One task with a connection of its own, so that a lease is renewed however busy the writer is.
//! Only the clock of the database counts. Whether this node may trust its lease is for the reader of
//! [`Lease`] to say: by the monotonic clock, and long before the others may take the node for dead.

mod lanes;
mod lease;
mod link;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use sluice_actors::{
    domain::{Epoch, LaneKey},
    ports::{Acquired, StoreUnavailable, Told},
};
use sqlx::postgres::PgArguments;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};

use self::link::Link;
use super::{
    open::{self, Database},
    wake,
};
use crate::{
    ingest::writer::Writer,
    store::{
        OpenError,
        command::Command,
        counters::{Counters, count_from_now_on},
        nodes::{Hint, Lease, Member, Profile},
        rows::{Reader, Row},
        sql::own,
    },
};

/// How long a node is alive after it said so.
const LEASE: Duration = Duration::from_secs(10);
/// After how long it says so again: with the next beat, which is every 3 s.
const RENEW: Duration = Duration::from_millis(2500);
/// How often it looks for others whose lease has run out.
const BEAT: Duration = Duration::from_secs(1);
/// How long a statement may take with the way there; the server's own limits are shorter.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long hints are gathered before the other nodes are told.
const GATHER: Duration = Duration::from_millis(50);
/// How often the counters are read anew while other nodes change what they count; more rarely where
/// that takes long, so that it takes no more than a fiftieth of the time.
const RECOUNT: Duration = Duration::from_secs(10);
const RECOUNT_SHARE: u32 = 50;
/// How long a node that begins waits for what a dead one left behind: the server notices within a second
/// or two that nobody is there any more.
const BEGIN: Duration = Duration::from_secs(10);
/// Requests that may wait.
const WAITING: usize = 4096;

/// A request to the task.
enum Request {
    Acquire(LaneKey, oneshot::Sender<Result<Acquired, StoreUnavailable>>),
    Release(LaneKey, Epoch, oneshot::Sender<Result<(), StoreUnavailable>>),
    Leave(oneshot::Sender<()>),
}

/// This node, as the rest of the process sees it.
pub(in crate::store) struct Node {
    first_id: String,
    id: ArcSwap<String>,
    /// Lanes that are this node's, as far as it knows.
    held: RwLock<HashSet<LaneKey>>,
    profile: Mutex<Profile>,
    described: Notify,
    requests: mpsc::Sender<Request>,
    lease: watch::Sender<Lease>,
    members: watch::Sender<Arc<Vec<Member>>>,
    taken_for_dead: Notify,
    /// What dead nodes left is brought back without being asked, once somebody asked.
    recovers: AtomicBool,
    /// For the nodes that have these lanes.
    outgoing: Mutex<HashSet<(Told, LaneKey)>>,
    outgoing_first: Notify,
    heard: Mutex<Option<mpsc::Receiver<Hint>>>,
}

fn gone() -> StoreUnavailable {
    StoreUnavailable("the store is closed".into())
}

fn unavailable(error: &sqlx::Error) -> StoreUnavailable {
    StoreUnavailable(error.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// The id under which it lives now.
    pub(in crate::store) fn id(&self) -> Arc<String> {
        self.id.load_full()
    }

    /// A transaction found that the others took this node for dead.
    pub(in crate::store) fn is_taken_for_dead(&self) {
        self.taken_for_dead.notify_one();
    }

    /// From now on what dead nodes left running is brought back.
    pub(in crate::store) fn recover_from_now_on(&self) {
        self.recovers.store(true, Ordering::SeqCst);
    }

    pub(in crate::store) fn lease(&self) -> watch::Receiver<Lease> {
        self.lease.subscribe()
    }

    pub(in crate::store) fn members(&self) -> watch::Receiver<Arc<Vec<Member>>> {
        self.members.subscribe()
    }

    pub(in crate::store) fn describe(&self, profile: Profile) {
        let mut current = lock(&self.profile);
        if *current != profile {
            *current = profile;
            self.described.notify_one();
        }
    }

    pub(in crate::store) fn tell(&self, lane: &LaneKey, what: Told) {
        if self.holds(lane) {
            return;
        }
        let mut outgoing = lock(&self.outgoing);
        if outgoing.is_empty() {
            self.outgoing_first.notify_one();
        }
        outgoing.insert((what, lane.clone()));
    }

    pub(in crate::store) fn hints(&self) -> Option<mpsc::Receiver<Hint>> {
        lock(&self.heard).take()
    }

    /// Whether the lane is this node's, as far as it knows.
    pub(super) fn holds(&self, lane: &LaneKey) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).contains(lane)
    }

    pub(in crate::store) async fn acquire(&self, lane: &LaneKey) -> Result<Acquired, StoreUnavailable> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Acquire(lane.clone(), reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    pub(in crate::store) async fn release(&self, lane: &LaneKey, epoch: Epoch) -> Result<(), StoreUnavailable> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Release(lane.clone(), epoch, reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Gives all lanes back and ends.
    pub(in crate::store) async fn leave(&self) {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request::Leave(reply)).await.is_ok() {
            answer.await.ok();
        }
    }

    fn set_held(&self, change: impl FnOnce(&mut HashSet<LaneKey>)) {
        change(&mut self.held.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What a node begins with.
pub(in crate::store) struct Start {
    pub(in crate::store) database: Arc<Database>,
    /// Of this life of the process.
    pub(in crate::store) id: String,
    /// Of its data folder, which no other process has.
    pub(in crate::store) name: Option<String>,
}

/// A node that lives but has no task yet.
pub(in crate::store) struct Registered {
    task: Task,
    pub(in crate::store) node: Arc<Node>,
}

/// Begins to live: from now on the others know of it.
pub(in crate::store) async fn register(start: Start) -> Result<Registered, OpenError> {
    let (requests, from) = mpsc::channel(WAITING);
    let (hint_sender, hints) = mpsc::channel(64);
    let now = Instant::now();
    let node = Arc::new(Node {
        id: ArcSwap::from_pointee(start.id.clone()),
        first_id: start.id,
        held: RwLock::default(),
        profile: Mutex::default(),
        described: Notify::new(),
        requests,
        lease: watch::Sender::new(Lease { renewed: now, tenure: 0 }),
        members: watch::Sender::default(),
        taken_for_dead: Notify::new(),
        recovers: AtomicBool::new(false),
        outgoing: Mutex::default(),
        outgoing_first: Notify::new(),
        heard: Mutex::new(Some(hints)),
    });
    let database = start.database.clone();
    let mut task = Task {
        node: node.clone(),
        link: Link::to(database.clone()),
        database: start.database,
        name: start.name,
        requests: from,
        hints: Some(hint_sender),
        renewed: now,
        recount_at: now + RECOUNT,
        recounting: None,
        undescribed: false,
    };
    let end = now + BEGIN;
    let registered = loop {
        match task.begin().await {
            Err(error) if Instant::now() < end => {
                tracing::debug!(%error, "this node does not live yet, trying again");
                sleep(GATHER).await;
            }
            ended => break ended,
        }
    };
    registered.map_err(|error| OpenError::Unreachable { store: database.to_string(), source: error.into() })?;
    Ok(Registered { task, node })
}

impl Registered {
    /// Starts the task that keeps it alive.
    pub(in crate::store) fn keep(mut self, writer: Writer<Command>, counters: Arc<Counters>) {
        if let Some(hints) = self.task.hints.take() {
            tokio::spawn(wake::listen(self.task.database.clone(), self.node.clone(), hints));
        }
        tokio::spawn(self.task.run(writer, counters));
    }
}

struct Task {
    node: Arc<Node>,
    database: Arc<Database>,
    link: Link,
    name: Option<String>,
    requests: mpsc::Receiver<Request>,
    hints: Option<mpsc::Sender<Hint>>,
    renewed: Instant,
    recount_at: Instant,
    recounting: Option<JoinHandle<Duration>>,
    /// The others do not know yet what this node told last.
    undescribed: bool,
}

impl Task {
    async fn run(mut self, writer: Writer<Command>, counters: Arc<Counters>) {
        let node = self.node.clone();
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut flush_at: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                _ = beats.tick() => self.beat(&writer, &counters).await,
                () = node.taken_for_dead.notified() => self.renew().await,
                () = node.described.notified() => self.describe().await,
                () = sleep_until(flush_at.unwrap_or_else(Instant::now)), if flush_at.is_some() => {
                    flush_at = None;
                    self.tell().await;
                }
                () = node.outgoing_first.notified(), if flush_at.is_none() => flush_at = Some(Instant::now() + GATHER),
                request = self.requests.recv() => match request {
                    Some(Request::Leave(reply)) => {
                        self.leave().await;
                        reply.send(()).ok();
                        return;
                    }
                    Some(first) => {
                        if let Some(reply) = self.serve(first).await {
                            self.leave().await;
                            reply.send(()).ok();
                            return;
                        }
                    }
                    None => return self.leave().await,
                },
            }
        }
    }

    /// Every second.
    async fn beat(&mut self, writer: &Writer<Command>, counters: &Arc<Counters>) {
        if self.renewed.elapsed() >= RENEW {
            self.renew().await;
        }
        if let Err(error) = self.bury().await {
            tracing::debug!(%error, "cannot look for nodes whose lease has run out");
        }
        if self.node.recovers.load(Ordering::SeqCst) {
            match self.link.ask(own!("postgres", "is_anything_orphaned"), PgArguments::default()).await {
                Ok(rows) if is_true(&rows) => recover(writer.clone()),
                _ => {}
            }
        }
        if let Some(done) = self.recounting.take_if(|recounting| recounting.is_finished()) {
            self.recount_at = Instant::now() + done.await.unwrap_or(RECOUNT);
        }
        if self.node.members.borrow().len() > 1 && self.recounting.is_none() && Instant::now() >= self.recount_at {
            self.recounting = Some(tokio::spawn(recount(counters.clone(), self.database.clone())));
        }
    }
}

fn is_true(rows: &[Row]) -> bool {
    rows.first().is_some_and(|row| Reader::new(row, "jobs", "orphaned").get("orphaned").unwrap_or(false))
}

/// Brings back what dead nodes left running.
fn recover(writer: Writer<Command>) {
    tokio::spawn(async move {
        match writer.submit(|reply| Command::Recover { reply }).await {
            Ok(recovered) if recovered.suspects + recovered.poisoned > 0 => {
                let (suspects, poisoned) = (recovered.suspects, recovered.poisoned);
                tracing::warn!(suspects, poisoned, "jobs of a dead node were brought back");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "jobs of a dead node not brought back yet"),
        }
    });
}

/// The other nodes change what this one counts. Returns how long to leave it so.
async fn recount(counters: Arc<Counters>, database: Arc<Database>) -> Duration {
    let began = Instant::now();
    match open::snapshot(&database).await {
        Ok(snapshot) => drop(count_from_now_on(&counters, snapshot).await),
        Err(error) => tracing::debug!(%error, "the counters of lanes not read anew"),
    }
    RECOUNT.max(began.elapsed() * RECOUNT_SHARE)
}

const _: () = assert!(RENEW.as_millis() * 3 < LEASE.as_millis());
