//! Work on what is stored beside the configuration: one transaction on the writer's connection, and no revision.

use futures_util::{FutureExt as _, future::BoxFuture};
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::oneshot;

use super::Error;
use crate::store::{self, Store};

type Job = Box<dyn for<'s> FnOnce(&'s mut Store) -> BoxFuture<'s, ()> + Send>;

/// A piece of work on its way to the writer.
pub(super) struct Maintenance(Job);

impl Maintenance {
    /// Work, what follows from its commit, and who wants to know what came of it.
    pub(super) fn new<T, E, W, C>(work: W, committed: C, reply: oneshot::Sender<Result<T, E>>) -> Self
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        C: FnOnce(&T) + Send + 'static,
    {
        Self(Box::new(move |store| {
            async move {
                let done = transact(store, work).await;
                if let Ok(done) = &done {
                    committed(done);
                }
                // Whoever asked may have gone; what was done stands.
                let _ = reply.send(done);
            }
            .boxed()
        }))
    }

    /// Does it.
    pub(super) async fn run(self, store: &mut Store) {
        (self.0)(store).await;
    }
}

async fn transact<T, E, W>(store: &mut Store, work: W) -> Result<T, E>
where
    E: From<Error>,
    W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>>,
{
    let done = match attempt(store, work).await {
        Ok(done) => done,
        Err(error) => Err(E::from(Error::Storage(error))),
    };
    if done.is_err() {
        // Dropped with its transaction, which SQLite may or may not have rolled back by itself.
        store.give_up_writer();
    }
    done
}

/// What the work says, unless the transaction around it fails.
async fn attempt<T, E, W>(store: &mut Store, work: W) -> Result<Result<T, E>, store::Error>
where
    W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>>,
{
    let mut transaction = store.writer().await?.begin_with("BEGIN IMMEDIATE").await?;
    let done = work(&mut transaction).await;
    if done.is_ok() {
        transaction.commit().await?;
    }
    Ok(done)
}
