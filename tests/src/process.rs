//! A plane as a process of its own: its tasks have a runtime to themselves, so that a story can kill it with all its connections, as
//! SIGKILL would.

use std::{fmt::Debug, future::Future, time::Duration};

use tokio::{
    runtime::{self, Runtime},
    sync::oneshot,
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

use crate::wait::soon;

/// How long a killed process may take to be gone.
const DEATH: Duration = Duration::from_secs(10);

/// A running plane. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    runtime: Option<Runtime>,
    stop: CancellationToken,
    ended: oneshot::Receiver<Result<(), String>>,
}

impl Process {
    /// Runs `build` on a runtime of its own, and then what it built until it is told to stop. Returns what `build` says besides.
    ///
    /// # Errors
    /// What `build` came to.
    pub(crate) async fn start<T, E, F, R, Error>(
        build: impl Future<Output = Result<(T, F), E>> + Send + 'static,
    ) -> Result<(Self, T), E>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(CancellationToken) -> R + Send + 'static,
        R: Future<Output = Result<(), Error>> + Send + 'static,
        Error: Debug,
    {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("there is a thread left");
        let (stop, (end, ended)) = (CancellationToken::new(), oneshot::channel());
        let (built, building) = oneshot::channel();
        let stopping = stop.clone();
        runtime.spawn(async move {
            match build.await {
                Ok((said, run)) => {
                    drop(built.send(Ok(said)));
                    drop(end.send(run(stopping).await.map_err(|error| format!("{error:?}"))));
                }
                Err(error) => drop(built.send(Err(error))),
            }
        });
        // Made first, so that a runtime whose build fails is taken down outside of it.
        let process = Self { runtime: Some(runtime), stop, ended };
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

    /// Ends it at once, connections, files and all.
    pub(crate) async fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            let gone = spawn_blocking(move || runtime.shutdown_timeout(DEATH));
            gone.await.expect("a runtime shuts down");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
