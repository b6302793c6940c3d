//! What is kept of the past, what comes back of it, and what goes.

use std::time::{Duration, Instant};

use super::*;
use crate::{ledger::PastError, store};

/// Nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Place {
    async fn keeping(&self, revisions: u64, age: Duration) -> Bench {
        let options = Options { retention: Retention { revisions, age }, ..self.options() };
        let (ledger, writer) = Ledger::open(options).await.unwrap();
        Bench { ledger, writing: tokio::spawn(writer.run()) }
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&mut self.intrude().await).await.unwrap()
    }
}

impl Bench {
    async fn rename(&self, display_name: &str) {
        let renamed = admin::Route { display_name: display_name.to_owned(), ..route("a", "") };
        self.put(renamed).await.unwrap();
    }

    async fn display_name(&self, revision: u64) -> String {
        let state = self.ledger.at(revision).await.unwrap();
        state.get(&name("routes/a")).unwrap().message().display_name().to_owned()
    }
}

async fn oldest(ledger: &Ledger) -> u64 {
    match ledger.at(u64::MAX).await {
        Err(PastError::NotKept { oldest, .. }) => oldest,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn more_revisions_than_are_to_be_kept_are_forgotten_oldest_first() {
    let place = Place::new();
    let bench = place.open().await;
    for turn in 2..=9 {
        bench.rename(&turn.to_string()).await;
    }
    bench.close().await;
    let bench = place.keeping(3, DAY).await;
    // A write comes after the first piece has gone.
    bench.rename("10").await;
    assert_eq!(oldest(&bench.ledger).await, 7);
    for kept in 7..=10 {
        assert_eq!(bench.display_name(kept).await, kept.to_string());
    }
    assert!(matches!(bench.ledger.at(6).await, Err(PastError::NotKept { revision: 6, oldest: 7, .. })));
    let before = content(&bench.ledger.state());
    bench.close().await;
    assert_eq!(place.count("SELECT min(revision) FROM changes").await, 7);
    assert_eq!(content(&place.open().await.ledger.state()), before, "what is in force is as it was");
}

#[tokio::test]
async fn revisions_are_forgotten_once_they_are_too_old_but_never_the_current_one() {
    let place = Place::new();
    let bench = place.open().await;
    bench.rename("2").await;
    bench.rename("3").await;
    bench.close().await;
    let ago = "UPDATE revisions SET commit_time_us = commit_time_us - 2 * 86400000000";
    sqlx::query(ago).execute(&mut place.intrude().await).await.unwrap();
    let bench = place.keeping(100, DAY).await;
    bench.rename("4").await;
    assert_eq!((oldest(&bench.ledger).await, bench.display_name(3).await), (3, "3".to_owned()));
}

#[tokio::test]
async fn a_large_revision_is_forgotten_in_pieces_and_is_there_for_nobody_meanwhile() {
    let place = Place::new();
    let bench = place.open().await;
    let many = (0..1300).map(|number| Edit::Put(route(&format!("r{number}"), "").into()));
    bench.edit(many.collect()).await.unwrap();
    bench.rename("3").await;
    bench.rename("4").await;
    bench.close().await;

    let options = Options { retention: Retention { revisions: 2, age: DAY }, ..place.options() };
    let (ledger, mut writer) = Ledger::open(options).await.unwrap();
    writer.tidying.step(&mut writer.store, ledger.state().position.revision).await;
    let left = "SELECT count(*) FROM changes WHERE revision = 2";
    assert_eq!((oldest(&ledger).await, place.count(left).await), (3, 801), "a piece is not all of it");
    drop((ledger, writer));
    let bench = place.keeping(100, DAY).await;
    assert_eq!(oldest(&bench.ledger).await, 3, "what is half gone does not come back where more may be kept");
    let begun = Instant::now();
    while place.count(left).await > 0 {
        assert!(begun.elapsed() < PATIENCE);
        bench.rename(&format!("{:?}", begun.elapsed())).await;
    }
}

#[tokio::test]
async fn an_old_secret_can_be_had_back_as_long_as_its_revision_is_kept_and_no_longer() {
    const MAIN: &str = "providers/a/credentials/main";
    let place = Place::new();
    let bench = place.open().await;
    bench.put(provider("a")).await.unwrap();
    let then = bench.put(credential("a", "main", Some("s3cret-1"))).await.unwrap().revision;
    bench.put(credential("a", "main", Some("s3cret-2"))).await.unwrap();
    bench.delete(MAIN).await.unwrap();
    bench.put(credential("a", "main", Some("s3cret-3"))).await.unwrap();
    assert_eq!(bench.ledger.secrets_replaced_since(then).await.unwrap(), [(MAIN.to_owned(), "secret".to_owned())]);

    let past = bench.ledger.at(then.get()).await.unwrap();
    let message = past.get(&name(MAIN)).unwrap().message();
    assert!(!format!("{past:?}").contains("s3cret"));
    bench.edit(vec![Edit::Restore(message, then)]).await.unwrap();
    let served: config::Credential = bench.served(MAIN);
    assert!(served.source == Some(config::credential::Source::Secret("s3cret-1".to_owned())));
    bench.close().await;

    let bench = place.keeping(1, DAY).await;
    bench.rename("").await;
    bench.close().await;
    let bench = place.keeping(1, DAY).await;
    bench.rename("x").await;
    bench.close().await;
    assert_eq!(place.count("SELECT count(*) FROM past_secrets").await, 0);
}

#[tokio::test]
async fn a_call_is_remembered_for_a_day() {
    use crate::ledger::{Once, RequestId};
    let place = Place::new();
    let id = uuid::Uuid::new_v4();
    let call = |bench: &Bench, display_name: &'static str| {
        let ledger = bench.ledger.clone();
        let entry = Entry { request: Some(RequestId::new(id, b"the same")), ..entry() };
        async move {
            let named = admin::Route { display_name: display_name.to_owned(), ..route("a", "") };
            let answer = |written: &Written| written.revision.to_string().into();
            ledger.write_once(entry, move |_| Ok(vec![Edit::Put(named.into())]), answer).await.unwrap()
        }
    };
    let bench = place.open().await;
    assert!(matches!(call(&bench, "first").await, Once::Done(written, _) if written.committed));
    assert!(matches!(call(&bench, "second").await, Once::Repeated(answer) if answer == "2"));
    bench.close().await;
    let ago = "UPDATE requests SET commit_time_us = commit_time_us - 86400000000";
    sqlx::query(ago).execute(&mut place.intrude().await).await.unwrap();
    let bench = place.open().await;
    assert!(matches!(call(&bench, "third").await, Once::Done(written, _) if written.committed));
    assert_eq!(place.count("SELECT count(*) FROM requests").await, 1);
    assert_eq!((bench.display_name(2).await, bench.display_name(3).await), ("first".to_owned(), "third".to_owned()));
}

/// The schema before there was a way back, and a history in it.
async fn of_the_first_schema(place: &Place) {
    let mut connection = store::options(&place.database()).create_if_missing(true).connect().await.unwrap();
    let first = include_str!("../../../../migrations/0001_configuration.sql");
    sqlx::raw_sql(first).execute(&mut connection).await.unwrap();
    let history = r#"
        BEGIN;
        INSERT INTO revisions (revision, epoch, digest, commit_time_us, actor, method, comment)
            SELECT value, 'e', zeroblob(32), value * 1000000, 'x', 'x', '' FROM json_each('[1, 2, 3, 4, 5]');
        INSERT INTO changes VALUES (1, 'settings', '{}'), (2, 'routes/a', '{"displayName":"two"}'),
            (3, 'routes/a', '{"displayName":"three"}'), (4, 'routes/a', NULL), (5, 'routes/a', '{"displayName":"five"}');
        COMMIT"#;
    sqlx::raw_sql(history).execute(&mut connection).await.unwrap();
    let second = include_str!("../../../../migrations/0002_history.sql");
    sqlx::raw_sql(second).execute(&mut connection).await.unwrap();
}

/// Revision, then spec, revision, update time and create time before it.
type Before = (i64, Option<String>, Option<i64>, Option<i64>, Option<i64>);

#[tokio::test]
async fn what_was_before_is_filled_in_for_the_revisions_that_there_were() {
    let place = Place::new();
    of_the_first_schema(&place).await;
    let rows: Vec<Before> = sqlx::query_as(
        "SELECT revision, before_spec, before_revision, before_update_time_us, before_create_time_us FROM changes
         WHERE name = 'routes/a' ORDER BY revision",
    )
    .fetch_all(&mut place.intrude().await)
    .await
    .unwrap();
    let named = |name: &str| Some(format!("{{\"displayName\":\"{name}\"}}"));
    assert_eq!(
        rows,
        [
            (2, None, None, None, None),
            (3, named("two"), Some(2), Some(2_000_000), Some(2_000_000)),
            (4, named("three"), Some(3), Some(3_000_000), Some(2_000_000)),
            (5, None, None, None, None),
        ]
    );
    assert_eq!(place.count("SELECT sum(change_count) FROM revisions").await, 5);
}
