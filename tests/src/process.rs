//! A plane as a process of its own: its tasks have a runtime to themselves, so that a story can kill it with all its connections, as
//! SIGKILL would.

use std::{
    fmt::Debug,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{runtime, sync::oneshot, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::wait::soon;

/// How long what a killed process had under way may take to be gone.
const DEATH: Duration = Duration::from_secs(10);

/// A running plane. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    stop: CancellationToken,
    kill: CancellationToken,
    ended: oneshot::Receiver<Result<(), String>>,
    thread: Option<JoinHandle<()>>,
}

impl Process {
    /// Builds something on a runtime of its own, and then runs it until it is told to stop. Returns what `build` says besides.
    ///
    /// # Errors
    /// What `build` came to.
    pub(crate) async fn start<T, E, F, Built, R, Running, Error>(build: F) -> Result<(Self, T), E>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce() -> Built + Send + 'static,
        Built: Future<Output = Result<(T, R), E>>,
        R: FnOnce(CancellationToken) -> Running,
        Running: Future<Output = Result<(), Error>>,
        Error: Debug,
    {
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let ((built, building), (end, ended)) = (oneshot::channel(), oneshot::channel());
        let (stopping, killed) = (stop.clone(), kill.clone());
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let runtime = runtime.expect("there is a thread left");
            runtime.block_on(killed.run_until_cancelled(async move {
                // Whoever does not listen any more has failed for a reason of its own.
                match build().await {
                    Ok((said, run)) => {
                        drop(built.send(Ok(said)));
                        drop(end.send(run(stopping).await.map_err(|error| format!("{error:?}"))));
                    }
                    Err(error) => drop(built.send(Err(error))),
                }
            }));
            runtime.shutdown_timeout(DEATH);
        });
        let process = Self { stop, kill, ended, thread: Some(thread) };
        let said = soon("a plane to start", building).await.expect("the build does not panic")?;
        Ok((process, said))
    }

    /// Tells it to stop, as SIGTERM would. It goes on until it is done.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// Where it ended in an error, or does not end.
    pub(crate) async fn ended(mut self) {
        let ended = soon("a plane to stop", &mut self.ended).await.expect("the plane does not panic");
        assert_eq!(ended, Ok(()), "the plane failed");
        self.kill().await;
    }

    /// Ends it at once, and waits until all its connections and files are closed.
    pub(crate) async fn kill(mut self) {
        self.kill.cancel();
        if let Some(thread) = self.thread.take() {
            let gone = spawn_blocking(move || thread.join());
            gone.await.expect("joining does not panic").expect("the plane does not panic");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill.cancel();
        // Its folder goes next: nothing may be written there any more. What it came to is of no interest by now.
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
