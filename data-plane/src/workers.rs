//! The threads that carry connections, each with a runtime of its own, so that a request never changes threads. A connection goes
//! to the one that has the fewest; what connections carry is never looked into.

use std::{
    cell::Cell,
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// The number of the worker whose thread this is, from 1 on; 0 on every other thread. What is made once a worker, such as a pool
/// of connections, is found by it.
pub(crate) fn current() -> usize {
    CURRENT.get()
}

/// The workers of a data plane. When they are dropped they end, and with them everything that they carry.
#[derive(Debug)]
pub(crate) struct Workers {
    roster: Roster,
    threads: Vec<JoinHandle<()>>,
    /// Those that have not come to their end.
    running: TaskTracker,
    ending: CancellationToken,
    broken: CancellationToken,
}

/// Those that something can be given to.
#[derive(Debug, Clone)]
pub(crate) struct Roster(Vec<Worker>);

#[derive(Debug, Clone)]
struct Worker {
    runtime: Handle,
    posts: Arc<AtomicUsize>,
}

/// A place at a worker, which counts for as long as it is held.
#[derive(Debug)]
pub(crate) struct Post(Worker);

impl Workers {
    /// Starts so many; `None` = one a core.
    ///
    /// # Errors
    /// Where the system has no thread left, or nothing for it to wait with.
    pub(crate) fn start(count: Option<NonZeroUsize>) -> io::Result<Self> {
        let count = count.map_or_else(thread::available_parallelism, Ok)?.get();
        let mut workers = Self {
            roster: Roster(Vec::with_capacity(count)),
            threads: Vec::with_capacity(count),
            running: TaskTracker::new(),
            ending: CancellationToken::new(),
            broken: CancellationToken::new(),
        };
        workers.running.close();
        for number in 1..=count {
            workers.add(number)?;
        }
        Ok(workers)
    }

    fn add(&mut self, number: usize) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        self.roster.0.push(Worker { runtime: runtime.handle().clone(), posts: Arc::default() });
        let (running, ending) = (self.running.token(), self.ending.clone());
        let broken = self.broken.clone().drop_guard();
        let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let _running = running;
            work(number, runtime, &ending);
            broken.disarm();
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// For whoever hands out connections.
    pub(crate) fn roster(&self) -> Roster {
        self.roster.clone()
    }

    /// Returns when one of them has come to its end without having been told to.
    pub(crate) async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Ends them, and with them everything that they still carry. One that does not yield in time is left behind.
    pub(crate) async fn end(mut self, patience: Duration) {
        self.ending.cancel();
        if timeout(patience, self.running.wait()).await.is_err() {
            tracing::warn!("left a worker behind that does not yield");
            return;
        }
        for thread in self.threads.drain(..) {
            // That it panicked was told when it did.
            drop(thread.join());
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

/// What a worker's thread does.
fn work(number: usize, runtime: Runtime, ending: &CancellationToken) {
    CURRENT.set(number);
    runtime.block_on(ending.cancelled());
    // A name that is being looked up holds nobody up.
    runtime.shutdown_background();
}

impl Roster {
    /// A place at the one that has given out the fewest.
    pub(crate) fn post(&self) -> Post {
        let idlest = self.0.iter().min_by_key(|worker| worker.posts.load(Ordering::Relaxed));
        #[expect(clippy::expect_used, reason = "workers are counted by a number that is not zero")]
        let worker = idlest.expect("there is a worker").clone();
        worker.posts.fetch_add(1, Ordering::Relaxed);
        Post(worker)
    }
}

impl Post {
    /// Where it is.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.0.posts.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::panic;

    use tokio::sync::oneshot;

    use super::*;

    const PROMPTLY: Duration = Duration::from_secs(10);

    fn start(count: usize) -> Workers {
        Workers::start(NonZeroUsize::new(count)).unwrap()
    }

    async fn number_at(post: &Post) -> usize {
        post.runtime().spawn(async { current() }).await.unwrap()
    }

    #[tokio::test]
    async fn a_connection_goes_to_the_worker_that_has_the_fewest() {
        let workers = start(3);
        let roster = workers.roster();
        let mut posts = [roster.post(), roster.post(), roster.post(), roster.post()].map(Some);
        let mut numbers = Vec::new();
        for post in posts.iter().flatten() {
            numbers.push(number_at(post).await);
        }
        assert_eq!(numbers, [1, 2, 3, 1]);
        posts[1] = None;
        assert_eq!(number_at(&roster.post()).await, 2, "where one has gone there is room");
        workers.end(PROMPTLY).await;
    }

    #[tokio::test]
    async fn whoever_is_no_worker_has_a_number_of_their_own() {
        assert_eq!(current(), 0);
        assert_eq!(thread::spawn(current).join().unwrap(), 0);
    }

    #[tokio::test]
    async fn what_a_worker_carries_ends_with_it() {
        let workers = start(1);
        let (held, gone) = oneshot::channel::<()>();
        let (begun, beginning) = oneshot::channel();
        workers.roster().post().runtime().spawn(async move {
            begun.send(()).unwrap();
            std::future::pending::<()>().await;
            drop(held);
        });
        beginning.await.unwrap();
        workers.end(PROMPTLY).await;
        assert!(timeout(PROMPTLY, gone).await.unwrap().is_err(), "it is dropped");
    }

    #[tokio::test]
    async fn a_worker_that_does_not_yield_holds_up_nobody() {
        let workers = start(1);
        let (go_on, until_told) = std::sync::mpsc::channel();
        let (begun, beginning) = oneshot::channel();
        workers.roster().post().runtime().spawn(async move {
            begun.send(()).unwrap();
            until_told.recv().unwrap();
        });
        beginning.await.unwrap();
        timeout(PROMPTLY, workers.end(Duration::from_millis(50))).await.unwrap();
        go_on.send(()).unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_panics_takes_nobody_with_it_and_a_worker_that_does_is_noticed() {
        let mut workers = start(1);
        let post = workers.roster().post();
        assert!(post.runtime().spawn(async { panic::panic_any("a connection") }).await.unwrap_err().is_panic());
        assert_eq!(number_at(&post).await, 1, "it carries on");
        assert!(!workers.broken.is_cancelled());

        let broken = workers.broken.clone().drop_guard();
        workers.threads.push(thread::spawn(move || {
            let _broken = broken;
            panic::panic_any("a worker");
        }));
        timeout(PROMPTLY, workers.broken()).await.unwrap();
        workers.end(PROMPTLY).await;
    }
}
