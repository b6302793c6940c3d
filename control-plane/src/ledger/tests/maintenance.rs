//! Work beside the configuration.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use futures_util::{FutureExt as _, future::BoxFuture};

use super::*;

async fn rows(connection: &mut SqliteConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM admin_tokens").fetch_one(connection).await.unwrap()
}

fn add(connection: &mut SqliteConnection) -> BoxFuture<'_, Result<i64, Error>> {
    async move {
        let add = "INSERT INTO admin_tokens VALUES ('a', NULL, 'a.test', '', '{}', 1, 1, 1)";
        sqlx::query(add).execute(&mut *connection).await.unwrap();
        Ok(rows(connection).await)
    }
    .boxed()
}

#[tokio::test]
async fn work_beside_the_configuration_is_in_memory_before_anybody_is_told() {
    let place = Place::new();
    let bench = place.open().await;
    let seen = Arc::new(AtomicI64::new(0));
    let memory = Arc::clone(&seen);
    let revision = bench.ledger.state().position.revision;
    let done = bench.ledger.maintain(add, move |rows| memory.store(*rows, Ordering::SeqCst)).await.unwrap();
    assert_eq!((done, seen.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(bench.ledger.state().position.revision, revision, "it is no revision");
    bench.close().await;
}

#[tokio::test]
async fn work_beside_the_configuration_that_fails_leaves_nothing_behind() {
    let place = Place::new();
    let bench = place.open().await;
    let half = bench.ledger.maintain(
        |connection| {
            async move {
                add(connection).await?;
                Err::<i64, _>(Error::Closed)
            }
            .boxed()
        },
        |_| panic!("nothing was committed"),
    );
    let failed = half.await;
    assert!(matches!(failed, Err(Error::Closed)));
    assert_eq!(rows(&mut bench.ledger.reader().await.unwrap()).await, 0);
    assert_eq!(bench.ledger.maintain(add, |_| ()).await.unwrap(), 1, "the writer goes on");
    bench.close().await;
}
