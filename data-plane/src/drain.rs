//! Knows every connection, so that a stop disturbs none that can still finish. It knows nothing of what they carry.

use std::{
    future::{Future, poll_fn},
    task::{Context, Poll},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{runtime::Handle, time::timeout};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::TaskTracker,
};

use crate::options::Drain;

/// The connections open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    tasks: TaskTracker,
    winding_down: CancellationToken,
    cut: CancellationToken,
}

/// Tells a connection what all are told, once. Asking costs next to nothing, however often it is done: the future in it, which
/// takes a lock that all connections share, is not polled before it is woken.
#[derive(Debug)]
pub(crate) struct Bell(FuturesUnordered<WaitForCancellationFutureOwned>);

impl Bell {
    fn of(token: &CancellationToken) -> Self {
        Self(FuturesUnordered::from_iter([token.clone().cancelled_owned()]))
    }

    /// Waits for it.
    pub(crate) async fn rung(&mut self) {
        poll_fn(|cx| self.poll_rung(cx)).await;
    }

    fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_next_unpin(cx).map(drop)
    }
}

impl Connections {
    /// Carries a connection there to its end, or until it is cut. It is told when to finish what it has begun and begin nothing new.
    pub(crate) fn spawn_on<F>(&self, runtime: &Handle, carry: impl FnOnce(Bell) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // In a box: whatever else would hold it has room for it twice, once for before it is first polled.
        let mut connection = Box::pin(carry(Bell::of(&self.winding_down)));
        let mut cut = Bell::of(&self.cut);
        let carrying = poll_fn(move |cx| match connection.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => cut.poll_rung(cx),
        });
        self.tasks.spawn_on(carrying, runtime);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Lets every connection finish within the grace time, then cuts those that are left. Returns how many were.
    pub(crate) async fn finish(&self, drain: Drain) -> usize {
        self.winding_down.cancel();
        self.tasks.close();
        if timeout(drain.grace, self.tasks.wait()).await.is_ok() {
            return 0;
        }
        let left = self.tasks.len();
        self.cut.cancel();
        // Nothing waits for a task that does not yield.
        drop(timeout(drain.hard_stop, self.tasks.wait()).await);
        left
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::oneshot, time::Instant};

    use super::*;

    const DRAIN: Drain =
        Drain { delay: Duration::ZERO, grace: Duration::from_secs(300), hard_stop: Duration::from_secs(10) };

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_finishes_in_time_is_not_cut() {
        let connections = Connections::default();
        let (finished, was_finished) = oneshot::channel();
        connections.spawn_on(&Handle::current(), |mut winding_down| async move {
            winding_down.rung().await;
            tokio::time::sleep(Duration::from_secs(299)).await;
            finished.send(()).unwrap();
        });
        assert_eq!(connections.count(), 1);
        assert_eq!(connections.finish(DRAIN).await, 0);
        was_finished.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_finish_is_cut_after_the_grace_time() {
        let connections = Connections::default();
        connections.spawn_on(&Handle::current(), |_| std::future::pending());
        let started = Instant::now();
        assert_eq!(connections.finish(DRAIN).await, 1);
        assert_eq!(started.elapsed().as_secs(), 300);
        assert_eq!(connections.count(), 0);
    }
}
