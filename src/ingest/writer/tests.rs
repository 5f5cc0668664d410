use std::sync::{Arc, Mutex};

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

    async fn tend(&mut self, _idle: bool) {}

    async fn reset(&mut self) {
        *self.resets.lock().unwrap() += 1;
    }

    async fn close(self) {}
}

fn writer(permits: usize) -> (Fake, Writer<Asked>, JoinHandle<()>) {
    let commits = Arc::new(Semaphore::new(permits));
    let fake = Fake { batches: Arc::default(), written: Arc::default(), resets: Arc::default(), commits };
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
