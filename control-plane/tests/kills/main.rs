//! The program killed as SIGKILL kills, at any moment, again and again: while it writes, while it migrates, while it copies. What it has
//! acknowledged is there, nothing is there by half, and no number stands for two things. And a disk that fails it.
//!
//! `SIGNALBOX_KILL_ROUNDS=10000` has it killed that often instead of [`ROUNDS`].
#![expect(clippy::expect_used, reason = "a story that fails says where")]

use std::{collections::BTreeMap, env, fs, path::Path, time::Duration};

use signalbox_proto::admin::v1::GetRouteRequest;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::time::{Instant, sleep};
use tonic::Code;

mod operator;
mod place;

use operator::{Operator, Signs, routes, target};
use place::{PATIENCE, Place};

/// How often a control plane is killed while it writes.
const ROUNDS: u64 = 200;

/// How often a migration is killed, and a backup.
const SHORT_ROUNDS: u64 = 25;

/// Operators at work at once.
const WRITERS: usize = 3;

fn rounds() -> u64 {
    env::var("SIGNALBOX_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"))
}

/// What is in the file, as the next process will find it.
async fn connect(database: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(database).connect().await.expect("the database opens")
}

/// Everything that must hold of the file, whenever its process died. `known` is what any earlier look has seen.
async fn inspect(database: &Path, operators: &[Operator], known: &mut BTreeMap<i64, Vec<u8>>) {
    let mut connection = connect(database).await;
    let integrity: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.expect("it can be checked");
    assert_eq!(integrity, "ok");
    let revisions: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT revision, digest FROM revisions ORDER BY revision")
        .fetch_all(&mut connection)
        .await
        .expect("it has revisions");
    for (expected, (revision, digest)) in (1..).zip(&revisions) {
        assert_eq!(*revision, expected, "a revision is missing");
        let before = known.entry(*revision).or_insert_with(|| digest.clone());
        assert_eq!(before, digest, "revision {revision} stands for two things");
    }
    assert!(known.len() <= revisions.len(), "a revision that was there is gone");
    let head: (i64, Vec<u8>) =
        sqlx::query_as("SELECT revision, digest FROM head").fetch_one(&mut connection).await.expect("it has a head");
    assert_eq!(revisions.last(), Some(&head));
    for operator in operators {
        let (count, revision) = operator.acknowledged;
        let stored: Option<(i64, String)> =
            sqlx::query_as("SELECT revision, spec ->> 'targetUrl' FROM routes WHERE 'routes/' || id = ?")
                .bind(&operator.name)
                .fetch_optional(&mut connection)
                .await
                .expect("it has routes");
        let Some((stored, found)) = stored else {
            assert_eq!(count, 0, "{} is lost", operator.name);
            continue;
        };
        let is_acknowledged = found == target(count) && stored.cast_unsigned() == revision;
        let is_open = operator.open.is_some() && found == target(count + 1) && stored.cast_unsigned() > revision;
        assert!(is_acknowledged || is_open, "{}: {found} at {stored}, not {count} at {revision}", operator.name);
    }
    connection.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_writes_it_loses_nothing_that_it_acknowledged_and_uses_no_revision_twice() {
    let place = Place::new();
    let mut operators: Vec<Operator> = (0..WRITERS).map(Operator::new).collect();
    let mut known = BTreeMap::new();
    for _ in 0..rounds() {
        let mut life = place.serve();
        let signs = Signs::default();
        let work = |operator: Operator| tokio::spawn(operator.work(place.admin, signs.clone()));
        let work: Vec<_> = operators.drain(..).map(work).collect();
        signs.moment().await;
        life.end();
        signs.killed.cancel();
        for work in work {
            operators.push(work.await.expect("what is answered is right"));
        }
        if place.database().exists() {
            inspect_if_founded(&place, &operators, &mut known).await;
        }
    }
    // Whatever was left open is answered in the end, and only once.
    let mut life = place.serve();
    let end = Instant::now() + PATIENCE;
    for operator in &mut operators {
        let mut client = routes(place.admin);
        while let Some(request) = operator.open.clone() {
            assert!(Instant::now() < end, "{} is never answered", operator.name);
            match client.update_route(request.clone()).await {
                Ok(answer) => {
                    let first = answer.into_inner();
                    let again = client.update_route(request).await.expect("it is answered again").into_inner();
                    assert_eq!(first.revision, again.revision);
                    (operator.acknowledged, operator.open) = ((operator.acknowledged.0 + 1, first.revision), None);
                }
                Err(_) => sleep(Duration::from_millis(2)).await,
            }
        }
    }
    life.end();
    inspect_if_founded(&place, &operators, &mut known).await;
}

#[tokio::test]
async fn a_disk_that_fails_costs_the_write_and_nothing_that_was_acknowledged() {
    let place = Place::new();
    let mut operators = [Operator::new(0)];
    let [operator] = &mut operators;
    let mut client = routes(place.admin);
    let mut life = place.serve_on_a_bad_disk(1000);
    let end = Instant::now() + PATIENCE;
    let refused = loop {
        assert!(Instant::now() < end, "the disk never fails");
        let count = operator.acknowledged.0 + 1;
        match client.update_route(operator.change(count)).await {
            Ok(answer) => operator.acknowledged = (count, answer.into_inner().revision),
            Err(error) if error.code() != Code::Unavailable => break error,
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    };
    assert!(matches!(refused.code(), Code::Internal | Code::ResourceExhausted), "{refused:?}");
    assert!(refused.message().contains("nothing has changed"), "{refused:?}");
    let read = client.get_route(GetRouteRequest { name: operator.name.clone() }).await.expect("it can be read");
    assert_eq!(read.into_inner().revision, operator.acknowledged.1);
    life.end();
    inspect(&place.database(), &operators, &mut BTreeMap::new()).await;

    let mut life = place.serve();
    let [operator] = &mut operators;
    let change = operator.change(operator.acknowledged.0 + 1);
    let revision = loop {
        assert!(Instant::now() < end, "it is never answered");
        match client.update_route(change.clone()).await {
            Ok(answer) => break answer.into_inner().revision,
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    };
    assert_eq!(revision, operator.acknowledged.1 + 1);
    life.end();
}

/// A process may die before there is a history; then nothing was acknowledged.
async fn inspect_if_founded(place: &Place, operators: &[Operator], known: &mut BTreeMap<i64, Vec<u8>>) {
    let mut connection = connect(&place.database()).await;
    let head = sqlx::query_scalar("SELECT revision FROM head").fetch_optional(&mut connection).await;
    // An error = not even the tables are there.
    let founded: Option<i64> = head.unwrap_or_default();
    connection.close().await.expect("it closes");
    match founded {
        Some(_) => inspect(&place.database(), operators, known).await,
        None => assert!(known.is_empty() && operators.iter().all(|operator| operator.acknowledged.0 == 0)),
    }
}

/// The database as the first schema had it, with a long life behind it.
async fn first_schema(database: &Path) {
    let options = SqliteConnectOptions::new().filename(database).create_if_missing(true);
    let mut connection = options.connect().await.expect("it can be made");
    let fixture = include_str!("../fixtures/schema-0001.sql");
    sqlx::raw_sql(fixture).execute(&mut connection).await.expect("the fixture is SQL");
    connection.close().await.expect("it closes");
}

#[tokio::test]
async fn killed_while_it_migrates_it_leaves_the_old_schema_or_the_new_one_and_a_whole_copy() {
    for _ in 0..SHORT_ROUNDS {
        let place = Place::new();
        first_schema(&place.database()).await;
        place.run(&["migrate"]).cut_short(Duration::from_millis(80)).await;
        assert!(place.succeeds(&["migrate"]).await, "it can be done again");
        assert!(place.succeeds(&["migrate", "--check"]).await);
        for entry in fs::read_dir(place.file("backups")).expect("copies were made").flatten() {
            if !entry.file_name().to_string_lossy().starts_with('.') {
                let from = entry.path().display().to_string();
                assert!(place.succeeds(&["restore", "--from", &from]).await, "{from} is no backup");
            }
        }
    }
}

#[tokio::test]
async fn killed_while_it_copies_it_leaves_a_whole_copy_or_none_of_that_name() {
    let place = Place::new();
    first_schema(&place.database()).await;
    assert!(place.succeeds(&["migrate"]).await);
    let mut made = 0;
    for round in 0..SHORT_ROUNDS {
        let copy = place.file(&format!("copy-{round}.db"));
        let out = copy.display().to_string();
        place.run(&["backup", "--out", &out]).cut_short(Duration::from_millis(80)).await;
        if copy.exists() {
            made += 1;
            assert!(place.succeeds(&["restore", "--from", &out]).await, "{out} is no backup");
        }
    }
    let last = place.file("last.db").display().to_string();
    assert!(place.succeeds(&["backup", "--out", &last]).await, "after {made} copies it still can");
}

#[tokio::test]
async fn killed_while_it_changes_the_master_key_it_leaves_a_database_that_opens_under_one_of_the_two() {
    let place = Place::new();
    first_schema(&place.database()).await;
    assert!(place.succeeds(&["migrate"]).await);
    let key = place.file("new.key").display().to_string();
    let rotate = ["rotate-master-key", "--new-master-key-file", &key];
    let thorough = [rotate.as_slice(), &["--data-key"]].concat();
    let fresh = fs::read(place.database()).expect("it can be read");
    for _ in 0..SHORT_ROUNDS {
        fs::write(place.database(), &fresh).expect("it can be put back");
        place.run(&thorough).cut_short(Duration::from_millis(80)).await;
        assert!(place.succeeds(&rotate).await, "it opens under neither key");
        assert!(place.succeeds(&thorough).await, "a secret does not open");
    }
}
