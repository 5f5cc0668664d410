//! This process as a node: its lease, its lanes, who else lives.
//!
//! One task with a connection of its own, so that a lease is renewed however busy the writer is.
//! Only the clock of the database counts. Whether this node may trust its lease is for the reader of
//! [`Lease`] to say: by the monotonic clock, and long before the others may take the node for dead.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use sluice_actors::{
    domain::{Epoch, LaneKey},
    ports::{Acquired, LaneMemory, Owned, StoreUnavailable},
};
use sqlx::{Arguments, Connection, PgConnection, postgres::PgArguments};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use super::{
    open::{self, Database},
    wake,
};
use crate::{
    ingest::writer::Writer,
    store::{
        OpenError,
        command::Command,
        counters::{Counters, count_in},
        nodes::{Hint, Lease, Member, Profile},
        rows::{Reader, Row},
        session::Readers,
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
/// How often the counters are read anew while other nodes change what they count.
const RECOUNT: Duration = Duration::from_secs(10);
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
    outgoing: Mutex<HashSet<LaneKey>>,
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

    pub(in crate::store) fn announce(&self, lane: &LaneKey) {
        if self.holds(lane) {
            return;
        }
        let mut outgoing = lock(&self.outgoing);
        if outgoing.is_empty() {
            self.outgoing_first.notify_one();
        }
        if !outgoing.contains(lane) {
            outgoing.insert(lane.clone());
        }
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
        database: start.database,
        connection: None,
        name: start.name,
        requests: from,
        hints: Some(hint_sender),
        renewed: now,
        recounted: now,
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
    pub(in crate::store) fn keep(
        mut self,
        writer: Writer<Command>,
        counters: Arc<Counters>,
        readers: Arc<ArcSwap<Readers>>,
    ) {
        if let Some(hints) = self.task.hints.take() {
            tokio::spawn(wake::listen(self.task.database.clone(), self.node.clone(), hints));
        }
        tokio::spawn(self.task.run(writer, counters, readers));
    }
}

struct Task {
    node: Arc<Node>,
    database: Arc<Database>,
    /// None after it failed; connected anew when it is needed.
    connection: Option<PgConnection>,
    name: Option<String>,
    requests: mpsc::Receiver<Request>,
    hints: Option<mpsc::Sender<Hint>>,
    renewed: Instant,
    recounted: Instant,
    /// The others do not know yet what this node told last.
    undescribed: bool,
}

/// Parameters in order.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => {{
        let mut arguments = PgArguments::default();
        $( arguments.add($value).map_err(sqlx::Error::Encode)?; )*
        arguments
    }};
}

impl Task {
    /// Rows of a statement. A connection that fails is given up.
    async fn rows(&mut self, text: &'static str, arguments: PgArguments) -> Result<Vec<Row>, sqlx::Error> {
        let asking = async {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                None => self.connection.insert(open::connect_node(&self.database).await?),
            };
            sqlx::query_with(text, arguments).fetch_all(connection).await
        };
        let found = timeout(PATIENCE, asking).await.unwrap_or_else(|elapsed| Err(sqlx::Error::Io(elapsed.into())));
        if !matches!(found, Ok(_) | Err(sqlx::Error::Database(_))) {
            self.connection = None;
        }
        Ok(found?.into_iter().map(Row::Postgres).collect())
    }

    /// How many rows a statement changed.
    async fn change(&mut self, text: &'static str, arguments: PgArguments) -> Result<u64, sqlx::Error> {
        let asking = async {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                None => self.connection.insert(open::connect_node(&self.database).await?),
            };
            sqlx::query_with(text, arguments).execute(connection).await
        };
        let done = timeout(PATIENCE, asking).await.unwrap_or_else(|elapsed| Err(sqlx::Error::Io(elapsed.into())));
        if !matches!(done, Ok(_) | Err(sqlx::Error::Database(_))) {
            self.connection = None;
        }
        Ok(done?.rows_affected())
    }

    /// The first registration.
    async fn begin(&mut self) -> Result<(), sqlx::Error> {
        if let Some(name) = self.name.clone() {
            self.change(own!("postgres", "forget_name"), arguments![name]).await?;
        }
        self.register(self.node.first_id.clone()).await?;
        self.bury().await?;
        self.look_around().await
    }

    /// Lives under this id from now on.
    async fn register(&mut self, id: String) -> Result<(), sqlx::Error> {
        let renewed = Instant::now();
        let config = lock(&self.node.profile).config.clone();
        let arguments = arguments![
            id.clone(),
            self.name.clone(),
            env!("CARGO_PKG_VERSION"),
            i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX),
            json(&config),
        ];
        self.change(own!("postgres", "register_node"), arguments).await?;
        self.node.id.store(Arc::new(id));
        self.renewed = renewed;
        Ok(())
    }

    async fn run(mut self, writer: Writer<Command>, counters: Arc<Counters>, readers: Arc<ArcSwap<Readers>>) {
        let node = self.node.clone();
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut flush_at: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                _ = beats.tick() => self.beat(&writer, &counters, &readers).await,
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
    async fn beat(&mut self, writer: &Writer<Command>, counters: &Arc<Counters>, readers: &ArcSwap<Readers>) {
        if self.renewed.elapsed() >= RENEW {
            self.renew().await;
        }
        if let Err(error) = self.bury().await {
            tracing::debug!(%error, "cannot look for nodes whose lease has run out");
        }
        if self.node.recovers.load(Ordering::SeqCst) {
            match self.rows(own!("postgres", "is_anything_orphaned"), PgArguments::default()).await {
                Ok(rows) if is_true(&rows) => recover(writer.clone()),
                _ => {}
            }
        }
        if self.node.members.borrow().len() > 1 && self.recounted.elapsed() >= RECOUNT {
            self.recounted = Instant::now();
            recount(counters.clone(), readers.load_full());
        }
    }

    /// Renews the lease; comes back if the others took this node for dead.
    async fn renew(&mut self) {
        if let Err(error) = self.try_renew().await {
            tracing::warn!(%error, since_ms = self.renewed.elapsed().as_millis() as u64, "lease of this node not renewed");
        }
    }

    async fn try_renew(&mut self) -> Result<(), sqlx::Error> {
        let began = Instant::now();
        let (id, lease) = (self.node.id(), i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX));
        let renewed = self.change(own!("postgres", "renew_node"), arguments![id.as_str(), lease]).await?;
        if renewed > 0 {
            self.renewed = began;
            self.node.lease.send_modify(|lease| lease.renewed = began);
            if self.undescribed {
                self.describe().await;
            }
        } else {
            let tenure = self.node.lease.borrow().tenure + 1;
            tracing::error!(node = %id, "the other nodes took this node for dead; it takes its lanes anew");
            // A new id: what was begun under the old one is anyone's.
            self.register(format!("{}.{tenure}", self.node.first_id)).await?;
            self.node.set_held(HashSet::clear);
            self.node.lease.send_replace(Lease { renewed: self.renewed, tenure });
            self.describe().await;
        }
        self.look_around().await
    }

    /// Reads who lives.
    async fn look_around(&mut self) -> Result<(), sqlx::Error> {
        let rows = self.rows(own!("postgres", "live_nodes"), PgArguments::default()).await?;
        let id = self.node.id();
        let mut members = Vec::with_capacity(rows.len());
        for row in &rows {
            let row = Reader::new(row, "nodes", "id");
            let of: String = row.get("id")?;
            members.push(Member {
                is_self: of == *id,
                id: of,
                version: row.get("version")?,
                started_at: row.time("started_at")?,
                profile: Profile { config: row.json("config")?, callees: row.json("callees")? },
            });
        }
        self.node.members.send_if_modified(|now| {
            let changed = **now != members;
            if changed {
                *now = Arc::new(members);
            }
            changed
        });
        Ok(())
    }

    /// Takes nodes for dead whose lease has run out.
    async fn bury(&mut self) -> Result<(), sqlx::Error> {
        let id = self.node.id();
        for row in self.rows(own!("postgres", "bury_nodes"), arguments![id.as_str()]).await? {
            let dead: String = Reader::new(&row, "nodes", "id").get("id")?;
            tracing::warn!(node = dead, "a node is dead: its lease has run out, its lanes and jobs are anyone's");
        }
        Ok(())
    }

    /// Tells the others of this node.
    async fn describe(&mut self) {
        let told = self.try_describe().await;
        // The next renewal is soon enough.
        self.undescribed = told.is_err();
        if let Err(error) = told {
            tracing::warn!(%error, "the other nodes do not know of the configuration of this one yet");
        }
    }

    async fn try_describe(&mut self) -> Result<(), sqlx::Error> {
        let profile = lock(&self.node.profile).clone();
        let id = self.node.id();
        let arguments = arguments![id.as_str(), json(&profile.config), json(&profile.callees)];
        self.change(own!("postgres", "describe_node"), arguments).await?;
        self.look_around().await
    }

    /// Takes and gives back lanes: whatever waits, at once. `Some`: the node is to end.
    async fn serve(&mut self, first: Request) -> Option<oneshot::Sender<()>> {
        let mut wanted: BTreeMap<LaneKey, Vec<oneshot::Sender<_>>> = BTreeMap::new();
        let mut given = Vec::new();
        let mut end = None;
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Acquire(lane, reply) => wanted.entry(lane).or_default().push(reply),
                Request::Release(lane, epoch, reply) => given.push((lane, epoch, reply)),
                Request::Leave(reply) => end = Some(reply),
            }
            next = if end.is_none() { self.requests.try_recv().ok() } else { None };
        }
        if !given.is_empty() {
            let done = self.give(&given).await.map_err(|error| unavailable(&error));
            for (_, _, reply) in given {
                reply.send(done.clone()).ok();
            }
        }
        if !wanted.is_empty() {
            let lanes: Vec<LaneKey> = wanted.keys().cloned().collect();
            let taken = self.take(&lanes).await.map_err(|error| unavailable(&error));
            for (lane, replies) in wanted {
                let answer = taken.as_ref().map_err(Clone::clone);
                let answer = answer.map(|taken| taken.get(&lane).cloned().map_or(Acquired::Elsewhere, Acquired::Mine));
                for reply in replies {
                    reply.send(answer.clone()).ok();
                }
            }
        }
        end
    }

    async fn take(&mut self, lanes: &[LaneKey]) -> Result<HashMap<LaneKey, Owned>, sqlx::Error> {
        let config = lock(&self.node.profile).config.clone();
        let (tenants, sources) = columns(lanes.iter());
        let configs: Vec<Option<String>> = tenants.iter().map(|tenant| config.get(tenant).cloned()).collect();
        let id = self.node.id();
        let arguments = arguments![id.as_str(), tenants, sources, configs];
        let rows = self.rows(own!("postgres", "acquire_lanes"), arguments).await?;
        let mut taken = HashMap::with_capacity(rows.len());
        for row in &rows {
            let row = Reader::new(row, "lanes", "source");
            let memory = LaneMemory { paused: row.get("paused")?, breakers: row.json("breaker")? };
            let owned = Owned { epoch: Epoch(row.get("epoch")?), memory, taken_over: row.get("taken_over")? };
            taken.insert(row.lane()?, owned);
        }
        self.node.set_held(|held| {
            for lane in lanes {
                if taken.contains_key(lane) {
                    held.insert(lane.clone())
                } else {
                    held.remove(lane)
                };
            }
        });
        Ok(taken)
    }

    async fn give<T>(&mut self, given: &[(LaneKey, Epoch, T)]) -> Result<(), sqlx::Error> {
        let (tenants, sources) = columns(given.iter().map(|(lane, ..)| lane));
        let epochs: Vec<i64> = given.iter().map(|(_, epoch, _)| epoch.0).collect();
        let id = self.node.id();
        let arguments = arguments![id.as_str(), tenants, sources, epochs];
        for row in &self.rows(own!("postgres", "release_lanes"), arguments).await? {
            let lane = Reader::new(row, "lanes", "source").lane()?;
            self.node.set_held(|held| {
                held.remove(&lane);
            });
        }
        Ok(())
    }

    /// Tells the other nodes what they have to do.
    async fn tell(&mut self) {
        let lanes = mem::take(&mut *lock(&self.node.outgoing));
        if self.node.members.borrow().len() < 2 {
            return;
        }
        self.notify(wake::told(&self.node.id(), &lanes)).await;
    }

    async fn notify(&mut self, payload: String) {
        let mut arguments = PgArguments::default();
        if arguments.add(payload).is_ok()
            && let Err(error) = self.rows(own!("postgres", "notify"), arguments).await
        {
            // They find it by their poll.
            tracing::debug!(%error, "the other nodes could not be told of work");
        }
    }

    async fn leave(&mut self) {
        let id = self.node.id();
        let left = async {
            self.change(own!("postgres", "leave_node"), arguments![id.as_str()]).await?;
            Ok::<_, sqlx::Error>(())
        };
        if let Err(error) = left.await {
            tracing::warn!(%error, "the other nodes wait for the lease of this one to run out");
        }
        self.notify(wake::left(&id)).await;
        if let Some(connection) = self.connection.take() {
            timeout(PATIENCE, connection.close()).await.ok();
        }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn columns<'a>(lanes: impl Iterator<Item = &'a LaneKey>) -> (Vec<String>, Vec<String>) {
    lanes.map(|lane| (lane.tenant.as_str().to_owned(), lane.source.as_str().to_owned())).unzip()
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

/// The other nodes change what this one counts.
fn recount(counters: Arc<Counters>, readers: Arc<Readers>) {
    tokio::spawn(async move {
        match count_in(&readers.people).await {
            Ok(counts) => counters.reset(counts),
            Err(error) => tracing::debug!(%error, "the counters of lanes not read anew"),
        }
    });
}

const _: () = assert!(RENEW.as_millis() * 3 < LEASE.as_millis());
