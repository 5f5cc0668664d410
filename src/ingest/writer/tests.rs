use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::Semaphore;

use super::*;

/// What a command asks of the engine under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Good(u32),
    Bad,
    Panic,
}

struct Asked {
    ask: Ask,
    reply: Reply<u32>,
}

impl Command for Asked {
    fn weight(&self) -> usize {
        1
    }

    fn settle(self, outcome: Result<(), WriteError>) {
        self.reply.settle(outcome);
    }
}

/// Notes its batches; a test holds its commits by their permits.
#[derive(Clone)]
struct Fake {
    batches: Arc<Mutex<Vec<Vec<Ask>>>>,
    written: Arc<Mutex<Vec<u32>>>,
    resets: Arc<Mutex<usize>>,
    commits: Arc<Semaphore>,
    disk: Arc<Slow>,
}

/// Holds flushes until a test lets them go, one at a time.
#[derive(Default)]
struct Slow {
    holds: AtomicBool,
    flushed: Mutex<Vec<usize>>,
    outcomes: Mutex<VecDeque<Result<(), WriteError>>>,
    more: Condvar,
}

impl Slow {
    fn let_go(&self, outcome: Result<(), WriteError>) {
        self.outcomes.lock().unwrap().push_back(outcome);
        self.more.notify_all();
    }
}

impl Engine for Fake {
    type Command = Asked;

    async fn commit(&mut self, batch: &mut [Asked]) -> Result<(), WriteError> {
        self.commits.acquire().await.expect("open").forget();
        self.batches.lock().unwrap().push(batch.iter().map(|command| command.ask).collect());
        let mut numbers = Vec::new();
        for command in batch.iter_mut() {
            match command.ask {
                Ask::Good(number) => {
                    numbers.push(number);
                    command.reply.set(number);
                }
                Ask::Bad => return Err(WriteError::Refused("on purpose".into())),
                Ask::Panic => panic!("on purpose"),
            }
        }
        self.written.lock().unwrap().extend(numbers);
        Ok(())
    }

    fn flush(&mut self) -> Option<Flush> {
        let (disk, batches) = (self.disk.clone(), self.batches.lock().unwrap().len());
        let flush = move || {
            let outcomes = disk.more.wait_while(disk.outcomes.lock().unwrap(), |outcomes| outcomes.is_empty());
            let outcome = outcomes.unwrap().pop_front().expect("not empty");
            disk.flushed.lock().unwrap().push(batches);
            outcome
        };
        self.disk.holds.load(Relaxed).then(|| Box::new(flush) as Flush)
    }

    async fn tend(&mut self, _idle: bool) {}

    async fn reset(&mut self) {
        *self.resets.lock().unwrap() += 1;
    }

    async fn close(self) {}
}

fn writer(permits: usize) -> (Fake, Writer<Asked>, oneshot::Receiver<()>) {
    let commits = Arc::new(Semaphore::new(permits));
    let fake = Fake {
        batches: Arc::default(),
        written: Arc::default(),
        resets: Arc::default(),
        commits,
        disk: Arc::default(),
    };
    let (writer, task) = Writer::spawn(fake.clone(), WriterLimits { waiting: 8, batch: 4, ..Default::default() });
    (fake, writer, task)
}

async fn submit(writer: &Writer<Asked>, ask: Ask) -> Result<u32, WriteError> {
    writer.submit(|reply| Asked { ask, reply }).await
}

#[tokio::test]
async fn what_arrives_during_a_commit_is_the_next_batch_up_to_its_limit() {
    let (fake, writer, _task) = writer(0);
    let all = futures_util::future::join_all((0..6).map(|number| submit(&writer, Ask::Good(number))));
    let go_on = async {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        fake.commits.add_permits(10);
    };
    let (answers, ()) = tokio::join!(all, go_on);
    assert_eq!(answers, (0..6).map(Ok).collect::<Vec<_>>());
    let sizes: Vec<usize> = fake.batches.lock().unwrap().iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|size| *size <= 4) && sizes.len() < 6, "{sizes:?}");
}

#[tokio::test]
async fn one_bad_command_does_not_fail_its_neighbours() {
    let (fake, writer, _task) = writer(0);
    // The first keeps the writer busy while the others gather.
    let asks = [Ask::Good(1), Ask::Good(2), Ask::Bad, Ask::Good(3)];
    let all = futures_util::future::join_all(asks.map(|ask| submit(&writer, ask)));
    let go_on = async {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        fake.commits.add_permits(20);
    };
    let (answers, ()) = tokio::join!(all, go_on);
    assert_eq!(answers, [Ok(1), Ok(2), Err(WriteError::Refused("on purpose".into())), Ok(3)]);
    assert_eq!(*fake.written.lock().unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn after_a_panic_the_outcome_is_unknown_and_the_writer_goes_on() {
    let (fake, writer, _task) = writer(10);
    assert!(matches!(submit(&writer, Ask::Panic).await, Err(WriteError::Unknown(_))));
    assert_eq!(*fake.resets.lock().unwrap(), 1);
    assert_eq!(submit(&writer, Ask::Good(7)).await, Ok(7));
}

#[tokio::test]
async fn what_was_handed_in_is_carried_out_though_nobody_waits() {
    let (fake, writer, _task) = writer(0);
    {
        let mut waiting = std::pin::pin!(submit(&writer, Ask::Good(1)));
        assert!(futures_util::poll!(&mut waiting).is_pending());
    }
    fake.commits.add_permits(10);
    assert_eq!(submit(&writer, Ask::Good(2)).await, Ok(2));
    assert_eq!(*fake.written.lock().unwrap(), [1, 2]);
}

#[tokio::test]
async fn a_closed_writer_carries_out_what_came_before_and_refuses_what_comes_after() {
    let (fake, writer, task) = writer(10);
    let (before, ()) = tokio::join!(submit(&writer, Ask::Good(1)), writer.close());
    assert_eq!(before, Ok(1));
    task.await.expect("no panic");
    assert!(matches!(submit(&writer, Ask::Good(2)).await, Err(WriteError::Unavailable(_))));
    assert_eq!(*fake.written.lock().unwrap(), [1]);
}

#[tokio::test]
async fn no_answer_leaves_before_its_batch_is_on_the_disk_and_the_next_is_written_meanwhile() {
    let (fake, writer, _ended) = writer(10);
    fake.disk.holds.store(true, Relaxed);
    let mut first = tokio::spawn({
        let writer = writer.clone();
        async move { submit(&writer, Ask::Good(1)).await }
    });
    until(|| fake.written.lock().unwrap().len() == 1).await;
    let second = tokio::spawn(async move { submit(&writer, Ask::Good(2)).await });
    // Written while the first is on its way to the disk; neither is answered.
    until(|| fake.written.lock().unwrap().len() == 2).await;
    assert!(futures_util::poll!(&mut first).is_pending() && !second.is_finished());
    assert!(fake.disk.flushed.lock().unwrap().is_empty());
    fake.disk.let_go(Ok(()));
    assert_eq!(first.await.unwrap(), Ok(1));
    assert!(!second.is_finished(), "a batch is not answered by the flush of the one before");
    fake.disk.let_go(Ok(()));
    assert_eq!(second.await.unwrap(), Ok(2));
    assert_eq!(*fake.disk.flushed.lock().unwrap(), [1, 2]);
}

#[tokio::test]
async fn a_batch_that_did_not_reach_the_disk_is_unknown() {
    let (fake, writer, _ended) = writer(10);
    fake.disk.holds.store(true, Relaxed);
    let lost = WriteError::Unknown("no disk".into());
    fake.disk.let_go(Err(lost.clone()));
    assert_eq!(submit(&writer, Ask::Good(1)).await, Err(lost));
}

/// Yields until it is so; the writer has a thread of its own.
async fn until(so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), waiting).await.expect("it comes about");
}
