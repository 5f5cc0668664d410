//! Recording outlives the request that began it.
//!
//! A request's future is dropped when its client hangs up or its answer is due. What the store was
//! handed is committed all the same, and from the commit on its jobs must be woken and counted like
//! any other: a job that nobody was told of would wait for the next poll of its lane.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{runtime::Handle, sync::Semaphore};

/// How many recordings may go on without a request. As many as the store's writer lets wait; past
/// them a recording is dropped with its request, and the poll finds its jobs.
const SEATS: usize = 4096;

/// Where futures go on whose request was dropped.
#[derive(Debug, Clone)]
pub(super) struct Afterlife(Arc<Semaphore>);

impl Default for Afterlife {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SEATS)))
    }
}

impl Afterlife {
    /// `future`, which goes on in a task of its own if it is dropped before its end. While nothing
    /// goes wrong it costs one allocation and no task.
    pub(super) fn lend<T: 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Outliving<T> {
        Outliving { future: Some(Box::pin(future)), after: self.clone() }
    }
}

/// See [`Afterlife::lend`].
pub(super) struct Outliving<T: 'static> {
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    after: Afterlife,
}

impl<T> Future for Outliving<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let future = self.future.as_mut().expect("a future is not polled after its end");
        let outcome = future.as_mut().poll(cx);
        if outcome.is_ready() {
            self.future = None;
        }
        outcome
    }
}

impl<T> Drop for Outliving<T> {
    fn drop(&mut self) {
        // A panic of the future itself ends here too: it must not be polled again.
        let Some(future) = self.future.take().filter(|_| !std::thread::panicking()) else { return };
        if let (Ok(seat), Ok(runtime)) = (self.after.0.clone().try_acquire_owned(), Handle::try_current()) {
            runtime.spawn(async move {
                future.await;
                drop(seat);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_dropped_future_goes_on_to_its_end() {
        let (go, gone) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let mut lent = Afterlife::default().lend(async move {
            gone.await.expect("told to go on");
            tell.send(()).expect("still listening");
        });
        assert!(futures_util::poll!(&mut lent).is_pending());
        drop(lent);
        go.send(()).expect("still there");
        told.await.expect("carried out");
    }

    #[tokio::test]
    async fn no_more_go_on_than_there_are_seats() {
        let after = Afterlife(Arc::new(Semaphore::new(1)));
        let alive = Arc::new(());
        for _ in 0..3 {
            let held = alive.clone();
            drop(after.lend(async move {
                std::future::pending::<()>().await;
                drop(held);
            }));
        }
        assert_eq!(Arc::strong_count(&alive), 2);
    }
}
