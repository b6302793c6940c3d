//! Databases of every schema there was, brought to this build's. Each `schema-NNNN.sql` in `control-plane/tests/fixtures` has lived
//! through the [`story`], those of 2 and 3 while they were still of schema 1; the one of this build's schema is written by
//! `SIGNALBOX_FIXTURE=/tmp/control.db cargo test -p signalbox-control-plane --lib fixtures` and `sqlite3 /tmp/control.db .dump`.

use std::{env, fs};

use sqlx::Connection as _;

use super::{story::REVISIONS, *};
use crate::{files::BACKUPS, migrate, migrate::Standing, store::copy};

/// Every schema before this build's, by its last step.
const FIXTURES: [(i64, &str); 3] = [
    (1, include_str!("../../../tests/fixtures/schema-0001.sql")),
    (2, include_str!("../../../tests/fixtures/schema-0002.sql")),
    (3, include_str!("../../../tests/fixtures/schema-0003.sql")),
];

/// What this build's steps make, as SQLite tells it.
const SCHEMA: &str = include_str!("../../../tests/fixtures/schema.sql");

async fn load(place: &Place, fixture: &'static str) {
    let options = SqliteConnectOptions::new().filename(place.database()).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(fixture).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// The names of the copies that were made.
fn copies(place: &Place) -> Vec<String> {
    let copies = fs::read_dir(place.folder.path().join(BACKUPS)).into_iter().flatten().flatten();
    copies.map(|copy| copy.file_name().into_string().unwrap()).collect()
}

/// A ledger that has just lived through the story.
async fn fresh() -> (Place, Bench) {
    let place = Place::of_fixtures();
    let bench = place.open().await;
    bench.live_through().await;
    (place, bench)
}

/// What data planes are told, by name.
fn served(state: &State) -> Vec<(String, Vec<u8>)> {
    state.resources().map(|stored| (stored.resource.name.to_string(), stored.resource.body.to_vec())).collect()
}

#[tokio::test]
async fn a_database_of_any_earlier_schema_is_what_it_would_be_had_it_begun_with_this_one() {
    let (_place, now) = fresh().await;
    for (schema, fixture) in FIXTURES {
        let place = Place::of_fixtures();
        load(&place, fixture).await;
        let missing = FIXTURES.len() + 1 - usize::try_from(schema).unwrap();
        assert_eq!(migrate::run(&place.database()).await.unwrap(), Standing::Pending(missing), "schema {schema}");
        copy::require_whole(&place.database(), &mut place.intrude().await).await.unwrap();
        let copies = copies(&place);
        assert_eq!(copies.len(), 1, "schema {schema}: {copies:?}");
        assert!(copies.iter().all(|name| name.starts_with(&format!("control-schema-{schema}-"))), "{copies:?}");

        let bench = place.open().await;
        let (then, now) = (bench.ledger.state(), now.ledger.state());
        assert_eq!(served(&then), served(&now), "schema {schema}");
        assert_eq!(then.position.digest, now.position.digest);
        assert!(then.position.revision.get() >= REVISIONS);
        let next = bench.put(route("after", "")).await.unwrap();
        assert_eq!(next.revision, then.position.revision.next());
        let before = content(&bench.ledger.state());
        bench.close().await;
        copy::verify(&place.database()).await.unwrap();
        assert_eq!(content(&place.open().await.ledger.state()), before, "schema {schema}");
    }
}

#[tokio::test]
async fn an_unmigrated_database_is_refused_unless_asked_for() {
    for (schema, fixture) in FIXTURES {
        let place = Place::of_fixtures();
        let strict = || Options { auto_migrate: false, ..place.options() };
        load(&place, fixture).await;
        let before = fs::read(place.database()).unwrap();
        assert!(matches!(migrate::check(&place.database()).await.unwrap(), Standing::Pending(1..)), "schema {schema}");
        let error = Ledger::open(strict()).await.err().unwrap();
        assert!(matches!(error, OpenError::Schema(migrate::Error::Pending { .. })), "schema {schema}: {error:?}");
        assert!(fs::read(place.database()).unwrap() == before, "schema {schema}: a refusal changes nothing");

        assert!(matches!(migrate::run(&place.database()).await.unwrap(), Standing::Pending(1..)), "schema {schema}");
        assert_eq!(migrate::check(&place.database()).await.unwrap(), Standing::Current);
        assert_eq!(migrate::run(&place.database()).await.unwrap(), Standing::Current);
        let (ledger, _) = Ledger::open(strict()).await.unwrap();
        assert!(ledger.state().position.revision.get() >= REVISIONS);
    }
}

#[tokio::test]
async fn a_new_database_is_made_unasked_and_none_by_looking_for_it() {
    let place = Place::new();
    let strict = || Options { auto_migrate: false, ..place.options() };
    assert!(matches!(migrate::check(&place.database()).await.unwrap(), Standing::Pending(1..)));
    assert!(!place.database().exists(), "checking makes no file");
    let (ledger, _) = Ledger::open(strict()).await.unwrap();
    assert_eq!(ledger.state().position.revision.get(), 1);
    assert_eq!(migrate::check(&place.database()).await.unwrap(), Standing::Current);
}

#[tokio::test]
async fn a_copy_made_before_a_migration_can_be_restored() {
    let place = Place::of_fixtures();
    let [(_, fixture), ..] = FIXTURES;
    load(&place, fixture).await;
    migrate::run(&place.database()).await.unwrap();
    let copy = fs::read_dir(place.folder.path().join(BACKUPS)).unwrap().next().unwrap().unwrap().path();
    let restored = crate::restore::restore(&place.database(), &copy, crate::restore::Taking::AtOnce).await.unwrap();
    assert_eq!((restored.from, restored.revision), (REVISIONS, REVISIONS + 1));
    let (_place, now) = fresh().await;
    assert_eq!(served(&place.open().await.ledger.state()), served(&now.ledger.state()));
}

#[tokio::test]
async fn a_shipped_migration_does_not_change_and_a_new_one_is_seen() {
    let place = Place::new();
    migrate::run(&place.database()).await.unwrap();
    let made: Vec<String> = sqlx::query_scalar(
        "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'
             AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type DESC, name",
    )
    .fetch_all(&mut place.intrude().await)
    .await
    .unwrap();
    let made: String = made.iter().map(|sql| format!("{sql};\n\n")).collect();
    if let Some(path) = env::var_os("SIGNALBOX_SCHEMA") {
        fs::write(path, &made).unwrap();
    }
    assert_eq!(made, SCHEMA, "with SIGNALBOX_SCHEMA=FILE this test writes down what the steps make now");
}

#[tokio::test]
async fn the_story_can_be_written_down_for_the_schema_after_this_one() {
    let (place, bench) = fresh().await;
    bench.close().await;
    let copy = crate::backup::make(&place.database(), &place.folder.path().join("fixture.db")).await.unwrap();
    assert_eq!(copy.revision, Some(REVISIONS));
    if let Some(path) = env::var_os("SIGNALBOX_FIXTURE") {
        fs::copy(copy.path, path).unwrap();
    }
}
