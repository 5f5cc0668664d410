//! The group-commit writer: many requests, one transaction.
//!
//! One thread owns the [`Engine`], which owns the only connection that writes. While one batch
//! commits, the next one gathers in a bounded channel; nothing waits for a batch to fill. A request
//! waits on a oneshot, so a client that hangs up cancels nothing: what was handed in is carried out.
//!
//! No answer leaves before its batch is committed and on the disk: an engine puts answers into the
//! [`Reply`] slots of its commands, and only the writer, after [`Engine::commit`] and then the
//! [`Flush`] succeeded, lets them go. One batch is flushed while the next one is written.
//!
//! To write for another store, implement [`Engine`] and a [`Command`] enum; there is no SQL here.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc as mpsc_of_threads,
    thread::JoinHandle,
    time::Duration,
};

use futures_util::FutureExt;
use sluice_actors::ports::StoreUnavailable;
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::RecordError;

/// Why a write has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The store is locked, full, gone or closing; nothing was written.
    #[error("{0}")]
    Unavailable(String),
    /// It is not known whether the commit took effect.
    #[error("{0}")]
    Unknown(String),
    /// The store refuses this content, whoever is beside it in the batch; nothing was written.
    #[error("refused by the store: {0}")]
    Refused(String),
}

impl From<WriteError> for RecordError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Unknown(text) => Self::Unknown(text),
            WriteError::Unavailable(text) => Self::Unavailable(text),
            refused @ WriteError::Refused(_) => Self::Unavailable(refused.to_string()),
        }
    }
}

impl From<WriteError> for StoreUnavailable {
    fn from(error: WriteError) -> Self {
        Self(error.to_string())
    }
}

/// Where the answer to one command waits for its commit.
#[derive(Debug)]
pub struct Reply<T> {
    value: Option<T>,
    to: oneshot::Sender<Result<T, WriteError>>,
}

impl<T> Reply<T> {
    fn pair() -> (Self, oneshot::Receiver<Result<T, WriteError>>) {
        let (to, from) = oneshot::channel();
        (Self { value: None, to }, from)
    }

    /// The answer, to be sent after the commit. A second call (a batch that was rolled back and is
    /// tried again) replaces the first.
    pub fn set(&mut self, value: T) {
        self.value = Some(value);
    }

    /// Sends what the commit allows. Who asked may be gone; that changes nothing.
    pub fn settle(self, outcome: Result<(), WriteError>) {
        let answer = outcome.and_then(|()| {
            self.value.ok_or_else(|| WriteError::Unknown("the store gave no answer to this command".into()))
        });
        self.to.send(answer).ok();
    }
}

/// One request to the store with the slot of its answer.
pub trait Command: Send + 'static {
    /// How many rows it is about, or are as large as it, for the size of a batch.
    fn weight(&self) -> usize;
    /// Sends its answer, or the error.
    fn settle(self, outcome: Result<(), WriteError>);
}

/// Brings to the disk what was committed before it was made; blocks. It runs beside the next commit.
/// After an error it is not known what the disk has.
pub type Flush = Box<dyn FnOnce() -> Result<(), WriteError> + Send>;

/// What the writer asks of a store.
pub trait Engine: Send + 'static {
    /// Its requests.
    type Command: Command;

    /// The first that it is asked, in the writer's thread: what belongs to the runtime there.
    fn begin(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Carries out all commands in one transaction and sets their replies. Once it returns they are
    /// durable, or will be by [`Engine::flush`]. After an error nothing of the batch took effect, but
    /// for [`WriteError::Unknown`].
    fn commit(&mut self, batch: &mut [Self::Command]) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// What makes all durable that was committed up to now; `None`: it is already. The writer runs
    /// one at a time, in order.
    fn flush(&mut self) -> Option<Flush>;

    /// Upkeep after a batch was written (checkpoints), off the way of its answers. `idle`: nothing was
    /// asked for a while.
    fn tend(&mut self, idle: bool) -> impl Future<Output = ()> + Send;

    /// A commit panicked: come back to a known state.
    fn reset(&mut self) -> impl Future<Output = ()> + Send;

    /// The last words.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// The limits of a writer.
#[derive(Debug, Clone, Copy)]
pub struct WriterLimits {
    /// Commands that may wait; past them, who submits waits, and its deadline decides.
    pub waiting: usize,
    /// Rows of one transaction. A single command may be larger.
    pub batch: usize,
    /// After this long without a command the engine is told that it is idle.
    pub idle: Duration,
}

impl Default for WriterLimits {
    fn default() -> Self {
        Self { waiting: 4096, batch: 512, idle: Duration::from_millis(250) }
    }
}

enum Message<C> {
    Do(C),
    Close,
}

/// A cheap handle; clones share one writer.
pub struct Writer<C> {
    to: mpsc::Sender<Message<C>>,
}

impl<C> Clone for Writer<C> {
    fn clone(&self) -> Self {
        Self { to: self.to.clone() }
    }
}

impl<C: Command> Writer<C> {
    /// Starts the writer on a thread of its own: on a busy runtime a task waits for its turn behind
    /// the requests, and the store with it.
    /// The receiver learns when it has ended.
    pub fn spawn<E: Engine<Command = C>>(engine: E, limits: WriterLimits) -> (Self, oneshot::Receiver<()>) {
        let (to, from) = mpsc::channel(limits.waiting);
        let (ending, ended) = oneshot::channel();
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().expect("the system has an epoll left");
        let work = move || {
            runtime.block_on(run(engine, from, limits));
            ending.send(()).ok();
        };
        thread("sluice-writer", work);
        (Self { to }, ended)
    }

    /// Hands a command in and waits for its commit. Dropped while it waits for its turn in a full
    /// channel, it was never handed in; dropped later, it is carried out all the same.
    pub async fn submit<T>(&self, command: impl FnOnce(Reply<T>) -> C) -> Result<T, WriteError> {
        let closed = |_| WriteError::Unavailable("the store is closed".into());
        let (reply, answer) = Reply::pair();
        self.to.send(Message::Do(command(reply))).await.map_err(closed)?;
        // Whoever drops a reply without an answer has panicked, before or after the commit.
        answer.await.unwrap_or_else(|_| Err(WriteError::Unknown("the store's writer is gone".into())))
    }

    /// Returns when the writer has ended: closed, or by a panic, after which only a new process helps.
    pub async fn ended(&self) {
        self.to.closed().await;
    }

    /// Asks the writer to carry out what was handed in before and then to end; its task ends when
    /// the engine is closed.
    pub async fn close(&self) {
        self.to.send(Message::Close).await.ok();
    }
}

async fn run<E: Engine>(mut engine: E, mut from: mpsc::Receiver<Message<E::Command>>, limits: WriterLimits) {
    let flusher = Flusher::start();
    engine.begin().await;
    let mut rested = true;
    let mut open = true;
    while open {
        let next = if rested {
            from.recv().await
        } else if let Ok(next) = timeout(limits.idle, from.recv()).await {
            next
        } else {
            engine.tend(true).await;
            rested = true;
            continue;
        };
        let Some(first) = next else { break };
        let batch;
        (batch, open) = gather(first, &mut from, limits.batch);
        if !batch.is_empty() {
            let written = write(&mut engine, batch).await;
            flusher.then(engine.flush(), written);
            engine.tend(false).await;
            rested = false;
        }
    }
    // Whoever submits from now on learns that the store is closed.
    from.close();
    while let Some(message) = from.recv().await {
        if let Message::Do(command) = message {
            command.settle(Err(WriteError::Unavailable("the store is closed".into())));
        }
    }
    flusher.end();
    engine.close().await;
}

/// Takes what waits, up to `limit` rows. `false`: the writer was asked to close.
fn gather<C: Command>(first: Message<C>, from: &mut mpsc::Receiver<Message<C>>, limit: usize) -> (Vec<C>, bool) {
    let mut batch = Vec::new();
    let mut rows = 0;
    let mut next = Some(first);
    while let Some(message) = next {
        match message {
            Message::Do(command) => {
                rows += command.weight();
                batch.push(command);
            }
            Message::Close => return (batch, false),
        }
        next = if rows < limit { from.try_recv().ok() } else { None };
    }
    (batch, true)
}

/// Commands with what became of them, to be told once that is durable.
type Written<C> = Vec<(C, Result<(), WriteError>)>;

async fn write<E: Engine>(engine: &mut E, mut batch: Vec<E::Command>) -> Written<E::Command> {
    let outcome = commit(engine, &mut batch).await;
    if matches!(outcome, Err(WriteError::Refused(_))) && batch.len() > 1 {
        // One of them is bad. It must not fail its neighbours, so each goes by itself.
        let mut written = Vec::with_capacity(batch.len());
        for command in batch {
            let mut alone = [command];
            let outcome = commit(engine, &mut alone).await;
            let [command] = alone;
            written.push((command, outcome));
        }
        return written;
    }
    if let Err(error) = &outcome {
        tracing::warn!(commands = batch.len(), %error, "batch not written");
    }
    batch.into_iter().map(|command| (command, outcome.clone())).collect()
}

/// Flushes one batch after the other and answers it: a thread of its own, so that nothing else that
/// blocks stands in its way.
struct Flusher {
    jobs: mpsc_of_threads::SyncSender<Box<dyn FnOnce() + Send>>,
    thread: JoinHandle<()>,
}

impl Flusher {
    fn start() -> Self {
        // Without a place to wait: the writer is at most one batch ahead of the disk.
        let (jobs, next) = mpsc_of_threads::sync_channel::<Box<dyn FnOnce() + Send>>(0);
        let thread = thread("sluice-flush", move || next.iter().for_each(|job| job()));
        Self { jobs, thread }
    }

    /// Flushes a batch and answers it, after the one before.
    fn then<C: Command>(&self, flush: Option<Flush>, written: Written<C>) {
        let Some(flush) = flush.filter(|_| written.iter().any(|(_, outcome)| outcome.is_ok())) else {
            settle(written, &Ok(()));
            return;
        };
        let job = move || {
            let flushed = catch_unwind(AssertUnwindSafe(flush))
                .unwrap_or_else(|_| Err(WriteError::Unknown("the store's flush panicked".into())));
            if let Err(error) = &flushed {
                tracing::warn!(commands = written.len(), %error, "batch not on the disk");
            }
            settle(written, &flushed);
        };
        // Its thread ends only with this sender.
        self.jobs.send(Box::new(job)).ok();
    }

    /// Waits until the last batch was answered.
    fn end(self) {
        drop(self.jobs);
        self.thread.join().ok();
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.into()).spawn(work).expect("the system has a thread left")
}

fn settle<C: Command>(written: Written<C>, flushed: &Result<(), WriteError>) {
    for (command, outcome) in written {
        command.settle(outcome.and_then(|()| flushed.clone()));
    }
}

async fn commit<E: Engine>(engine: &mut E, batch: &mut [E::Command]) -> Result<(), WriteError> {
    if let Ok(outcome) = AssertUnwindSafe(engine.commit(batch)).catch_unwind().await {
        return outcome;
    }
    // The panic's text is not told: it could carry a payload.
    engine.reset().await;
    Err(WriteError::Unknown("the store's engine panicked".into()))
}

#[cfg(test)]
mod tests;
