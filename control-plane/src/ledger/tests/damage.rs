//! What happens to the file from outside, and in the middle of a write.

use sqlx::Connection as _;

use super::*;
use crate::{migrate, migrate::Standing, store};

async fn run(connection: &mut SqliteConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(connection).await.unwrap();
}

#[tokio::test]
async fn reopened_it_is_as_it_was() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(provider("a")).await.unwrap();
    bench.put(credential("a", "main", Some("s"))).await.unwrap();
    bench.put(client_key("k", 1)).await.unwrap();
    bench.put(redirect("r", "fast", "a")).await.unwrap();
    bench.put(route("manual", "Manual")).await.unwrap();
    bench.put(settings("a")).await.unwrap();
    let before = content(&bench.ledger.state());
    bench.close().await;
    let again = place.open().await;
    assert_eq!(content(&again.ledger.state()), before);
    assert_eq!(again.put(route("b", "")).await.unwrap().revision.get(), 8);
}

#[tokio::test]
async fn killed_between_writes_it_is_as_after_the_last() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(route("a", "")).await.unwrap();
    let before = content(&bench.ledger.state());
    bench.kill().await;
    assert_eq!(content(&place.open().await.ledger.state()), before);
}

#[tokio::test]
async fn killed_in_the_middle_of_a_write_it_is_as_before() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(route("a", "")).await.unwrap();
    let before = content(&bench.ledger.state());
    let (in_the_middle, reached) = tokio::sync::oneshot::channel();
    let ledger = bench.ledger.clone();
    let write = tokio::spawn(async move {
        let edit = move |_: &State| {
            let _ = in_the_middle.send(());
            let many = (0..2000).map(|number| Edit::Put(route(&format!("r{number}"), "").into()));
            Ok(many.collect())
        };
        ledger.write(entry(), edit).await
    });
    reached.await.unwrap();
    bench.kill().await;
    assert!(matches!(write.await.unwrap(), Err(Error::Closed)));
    assert_eq!(content(&place.open().await.ledger.state()), before);
}

#[tokio::test]
async fn a_second_control_plane_on_the_same_file_is_refused() {
    let place = Place::new();
    let bench = place.open().await;
    let error = place.try_open().await.err().unwrap();
    assert!(matches!(error, OpenError::Schema(migrate::Error::Store(store::Error::InUse { .. }))), "{error:?}");
    assert!(matches!(migrate::run(&place.database()).await, Err(migrate::Error::Store(store::Error::InUse { .. }))));
    bench.close().await;
    place.open().await.close().await;
}

#[tokio::test]
async fn a_write_by_another_program_is_not_overwritten() {
    let place = Place::new();
    let bench = place.open().await;
    let mut intruder = place.intrude().await;
    run(
        &mut intruder,
        "BEGIN; INSERT INTO revisions (revision, epoch, digest, commit_time_us, actor, method, comment)
             SELECT 2, epoch, digest, commit_time_us, 'x', 'x', '' FROM revisions;
         UPDATE head SET revision = 2; COMMIT",
    )
    .await;
    let error = bench.put(route("a", "")).await.unwrap_err();
    assert!(matches!(error, Error::ForeignWriter { file: 2, memory: 1 }), "{error:?}");
    bench.close().await;
    assert_eq!(place.open().await.revision(), 2, "started anew, it goes on from what is there");
}

#[tokio::test]
async fn what_the_tables_hold_must_be_what_was_committed() {
    let damages: [&'static str; 4] = [
        "UPDATE routes SET spec = json_set(spec, '$.targetUrl', 'https://evil.example')",
        "DELETE FROM client_keys",
        "DELETE FROM secrets",
        "UPDATE head SET content = zeroblob(32)",
    ];
    for damage in damages {
        let place = Place::new();
        let bench = place.open().await;
        bench.put(route("a", "")).await.unwrap();
        bench.put(client_key("k", 1)).await.unwrap();
        bench.put(provider("a")).await.unwrap();
        bench.put(credential("a", "main", Some("s"))).await.unwrap();
        bench.close().await;
        run(&mut place.intrude().await, damage).await;
        let error = place.try_open().await.err().unwrap();
        assert!(matches!(error, OpenError::StateDigestMismatch { .. }), "{damage}: {error:?}");
    }
}

#[tokio::test]
async fn a_build_that_tells_data_planes_the_same_in_other_bytes_begins_another_history() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(provider("a")).await.unwrap();
    bench.put(credential("a", "main", Some("s"))).await.unwrap();
    let (before, resources) = content(&bench.ledger.state());
    bench.close().await;
    // As an earlier build would have left it, whose bytes were other ones.
    run(&mut place.intrude().await, "UPDATE head SET digest = zeroblob(32)").await;
    let again = place.open().await;
    let (after, same) = content(&again.ledger.state());
    assert_eq!(same, resources, "nothing was lost");
    assert_eq!(after.revision.get(), before.revision.get() + 1);
    assert_eq!(after.digest, before.digest, "it is what this build makes of it");
    assert_ne!(after.epoch, before.epoch, "no position from before means anything");
    again.put(route("r", "")).await.unwrap();
    again.close().await;
    let third = place.open().await;
    assert_eq!(third.ledger.state().position.epoch, after.epoch, "that was that");
    assert_eq!(third.revision(), after.revision.get() + 1);
}

#[tokio::test]
async fn a_database_from_before_the_tables_had_a_digest_is_given_one() {
    let place = Place::new();
    place.open().await.close().await;
    run(&mut place.intrude().await, "UPDATE head SET content = NULL").await;
    let bench = place.open().await;
    assert_eq!(bench.revision(), 1, "it takes no revision");
    bench.close().await;
    let mut intruder = place.intrude().await;
    run(&mut intruder, "UPDATE settings SET spec = '{\"defaultProvider\":\"\"}'").await;
    intruder.close().await.unwrap();
    assert!(matches!(place.try_open().await.err().unwrap(), OpenError::StateDigestMismatch { .. }));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(route("a", "")).await.unwrap();
    bench.close().await;
    run(&mut place.intrude().await, r#"UPDATE routes SET spec = '{"fromTheFuture":1}'"#).await;
    let error = place.try_open().await.err().unwrap();
    assert!(matches!(&error, OpenError::Unreadable { name, .. } if name.as_str() == "routes/a"), "{error:?}");
    run(&mut place.intrude().await, "UPDATE routes SET id = 'Not an id'").await;
    assert!(matches!(place.try_open().await.err().unwrap(), OpenError::Name(_)));
}

#[tokio::test]
async fn a_database_without_its_data_key_is_said_to_be_without() {
    let place = Place::new();
    place.open().await.close().await;
    run(&mut place.intrude().await, "DELETE FROM data_keys").await;
    assert!(matches!(place.try_open().await.err().unwrap(), OpenError::Incomplete("data key")));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let place = Place::new();
    let text = "not a database, but longer than its header would be, and dear to somebody ".repeat(20);
    std::fs::write(place.database(), &text).unwrap();
    assert!(place.try_open().await.is_err());
    assert_eq!(std::fs::read_to_string(place.database()).unwrap(), text);
}

#[tokio::test]
async fn a_full_disk_costs_the_write_and_nothing_else() {
    let place = Place::new();
    let (ledger, mut writer) = Ledger::open(place.options()).await.unwrap();
    let connection = writer.store.writer().await.unwrap();
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *connection).await.unwrap();
    // This connection finds the disk full at the next page; the one made after it does not.
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    sqlx::raw_sql(limit).execute(connection).await.unwrap();
    let bench = Bench { ledger, writing: tokio::spawn(writer.run()) };
    let before = content(&bench.ledger.state());

    let labels = (0..64).map(|label| (format!("l{label}"), "x".repeat(256))).collect();
    let large = admin::Route { labels, ..route("a", "") };
    let error = bench.put(large.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Storage(store::Error::Full(_))), "{error:?}");
    assert_eq!(content(&bench.ledger.state()), before);
    assert_eq!(bench.put(large).await.unwrap().revision.get(), 2);
}

#[tokio::test]
async fn a_database_of_a_later_build_is_refused_by_everything() {
    let place = Place::new();
    place.open().await.close().await;
    let mut intruder = place.intrude().await;
    run(
        &mut intruder,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', TRUE, x'00', 0)",
    )
    .await;
    intruder.close().await.unwrap();
    assert_eq!(migrate::check(&place.database()).await.unwrap(), Standing::Newer(9999));
    for error in [migrate::run(&place.database()).await.err(), None].into_iter().flatten() {
        assert!(matches!(error, migrate::Error::Newer { found: 9999, .. }), "{error:?}");
    }
    for auto_migrate in [false, true] {
        let error = Ledger::open(Options { auto_migrate, ..place.options() }).await.err().unwrap();
        assert!(matches!(error, OpenError::Schema(migrate::Error::Newer { found: 9999, .. })), "{error:?}");
    }
}

#[tokio::test]
async fn the_database_itself_enforces_what_it_can() {
    let place = Place::new();
    place.open().await.close().await;
    let mut intruder = place.intrude().await;
    let bad: [&'static str; 6] = [
        "INSERT INTO providers VALUES ('a', 'a', 'not json', 1, 0, 0)",
        "INSERT INTO client_keys VALUES ('k', x'00', '', '{}', 1, 0, 0)",
        "INSERT INTO credentials VALUES ('nobody', 'main', '{}', 1, 0, 0)",
        "INSERT INTO redirect_targets VALUES ('nothing', 0, 'nobody')",
        "INSERT INTO settings VALUES (2, NULL, '{}', 1, 0)",
        "INSERT INTO routes VALUES ('a', '', '{}', 1, 0, 0)",
    ];
    for statement in bad {
        assert!(sqlx::raw_sql(statement).execute(&mut intruder).await.is_err(), "{statement}");
    }
}
