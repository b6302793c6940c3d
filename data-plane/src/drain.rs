//! Knows every connection, so that a stop disturbs none that can still finish. It knows nothing of what they carry.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::{
    runtime::Handle,
    sync::{Notify, futures::OwnedNotified},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use crate::options::Drain;

/// The connections open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    tasks: TaskTracker,
    winding_down: Arc<Signal>,
    cut: Arc<Signal>,
}

/// What all connections are told, once.
#[derive(Debug, Default)]
struct Signal {
    given: AtomicBool,
    notify: Arc<Notify>,
}

impl Signal {
    fn give(&self) {
        self.given.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }
}

/// Tells a connection what all are told, once. Asking costs next to nothing, however often it is done: what takes a lock that all
/// connections share is done once for each who asks.
#[derive(Debug)]
pub(crate) struct Bell {
    signal: Arc<Signal>,
    /// It remembers what is told from here on, whether or not anybody has asked yet.
    waiting: Pin<Box<OwnedNotified>>,
    /// Whom it wakes.
    asking: Waker,
}

impl Bell {
    fn of(signal: &Arc<Signal>) -> Self {
        let waiting = Box::pin(Arc::clone(&signal.notify).notified_owned());
        Self { signal: Arc::clone(signal), waiting, asking: Waker::noop().clone() }
    }

    /// Waits for it.
    pub(crate) async fn rung(&mut self) {
        poll_fn(|cx| self.poll_rung(cx)).await;
    }

    fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.signal.given.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if self.asking.will_wake(cx.waker()) {
            return Poll::Pending;
        }
        self.asking.clone_from(cx.waker());
        self.waiting.as_mut().poll(cx)
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
        self.winding_down.give();
        self.tasks.close();
        if timeout(drain.grace, self.tasks.wait()).await.is_ok() {
            return 0;
        }
        let left = self.tasks.len();
        self.cut.give();
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

    #[tokio::test]
    async fn a_bell_wakes_whoever_asked_last_and_remembers_that_it_has_rung() {
        let signal = Arc::<Signal>::default();
        let (mut bell, mut late) = (Bell::of(&signal), Bell::of(&signal));
        assert!(bell.poll_rung(&mut Context::from_waker(Waker::noop())).is_pending());
        let asking = tokio::spawn(async move {
            bell.rung().await;
            bell.rung().await;
        });
        tokio::task::yield_now().await;
        signal.give();
        timeout(Duration::from_secs(10), asking).await.unwrap().unwrap();
        late.rung().await;
        Bell::of(&signal).rung().await;
    }
}
