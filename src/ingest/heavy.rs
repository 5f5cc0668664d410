//! Work over large bodies, off the threads that answer everyone.
//!
//! Hashing, parsing and redacting take time in proportion to a body, and nothing else runs on their
//! thread meanwhile: as many bodies of 25 MiB as the runtime has threads would hold up every other
//! answer. So from a size on the work goes to threads of its own, a few at a time.

use std::sync::Arc;

use tokio::{sync::Semaphore, task::spawn_blocking};

/// From this size on a body is heavy: below it the work is done sooner than a thread is woken.
pub(super) const HEAVY: usize = 64 * 1024;

/// The threads for heavy work: half of the processors, so that the other half answers.
#[derive(Debug, Clone)]
pub(crate) struct Heavy(Arc<Semaphore>);

impl Default for Heavy {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }
}

impl Heavy {
    /// Does `work` over a body of `bytes` bytes: at once, or if it is heavy in its turn on another
    /// thread. Dropping the future gives up the turn; work that began is done to its end.
    pub(crate) async fn run<T: Send + 'static>(&self, bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
        if bytes < HEAVY {
            return work();
        }
        let seat = self.0.clone().acquire_owned().await.expect("the semaphore is never closed");
        let done = spawn_blocking(move || {
            let result = work();
            drop(seat);
            result
        });
        match done.await {
            Ok(result) => result,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going down, and this future with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn heavy_work_leaves_the_thread_and_light_work_does_not() {
        let here = thread::current().id();
        let heavy = Heavy::default();
        assert_eq!(heavy.run(HEAVY - 1, || thread::current().id()).await, here);
        assert_ne!(heavy.run(HEAVY, || thread::current().id()).await, here);
    }

    #[tokio::test]
    async fn a_panic_of_heavy_work_is_the_callers() {
        let heavy = Heavy::default();
        let caller = tokio::spawn({
            let heavy = heavy.clone();
            async move { heavy.run(HEAVY, || panic!("on purpose")).await }
        });
        assert!(caller.await.expect_err("a panic").is_panic());
        assert_eq!(heavy.run(HEAVY, || 1).await, 1, "its seat is free again");
    }
}
