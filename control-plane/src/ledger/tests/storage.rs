//! The disk is full, locked, read-only or lies; the key changes. Nothing is lost, and what is said is so.

use sqlx::Connection as _;

use super::*;
use crate::{
    ledger::Once,
    migrate,
    rekey::{self, Depth, Done},
    seal, store,
};

fn large(id: &str) -> admin::Route {
    let labels = (0..64).map(|label| (format!("l{label}"), "x".repeat(256))).collect();
    admin::Route { labels, ..route(id, "") }
}

#[tokio::test]
async fn a_database_at_its_limit_refuses_writes_and_serves_on() {
    let place = Place::new();
    place.open().await.close().await;
    let size = std::fs::metadata(place.database()).unwrap().len();
    let (ledger, writer) = Ledger::open(Options { max_bytes: Some(size + 65_536), ..place.options() }).await.unwrap();
    let bench = Bench { ledger, writing: tokio::spawn(writer.run()) };
    let mut written = 0;
    let error = loop {
        match bench.put(large(&format!("r{written}"))).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Storage(store::Error::Full(_))), "{error:?}");
    assert!((1..8).contains(&written), "{written} were written");
    assert_eq!(bench.revision(), 1 + written);
    let before = content(&bench.ledger.state());
    bench.close().await;
    let bench = place.open().await;
    assert_eq!(content(&bench.ledger.state()), before);
    bench.put(large("more")).await.unwrap();
}

#[tokio::test]
async fn while_another_program_holds_the_lock_writes_are_refused_and_reads_go_on() {
    let place = Place::new();
    let bench = place.open().await;
    let mut intruder = place.intrude().await;
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut intruder).await.unwrap();
    let error = bench.put(route("a", "")).await.unwrap_err();
    assert!(matches!(error, Error::Storage(store::Error::Busy(_))), "{error:?}");
    assert_eq!(bench.revision(), 1);
    sqlx::raw_sql("ROLLBACK").execute(&mut intruder).await.unwrap();
    assert_eq!(bench.put(route("a", "")).await.unwrap().revision.get(), 2);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_said_to_be_read_only() {
    let place = Place::new();
    place.open().await.close().await;
    let mut reader = store::copy::reader(&place.database()).await.unwrap();
    let error = sqlx::raw_sql("DELETE FROM routes").execute(&mut reader).await.unwrap_err();
    assert!(matches!(store::Error::from(error), store::Error::ReadOnly(_)));
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let place = Place::new();
    let bench = place.open().await;
    for number in 0..40 {
        bench.put(large(&format!("r{number}"))).await.unwrap();
    }
    bench.close().await;
    let mut bytes = std::fs::read(place.database()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0x5a);
    std::fs::write(place.database(), &bytes).unwrap();
    let error = place.try_open().await.err().unwrap();
    assert!(
        matches!(
            error,
            OpenError::Store(store::Error::Damaged(_))
                | OpenError::StateDigestMismatch { .. }
                | OpenError::Unreadable { .. }
                | OpenError::Name(_)
        ),
        "{error:?}"
    );
    assert_eq!(std::fs::read(place.database()).unwrap(), bytes);
}

fn one_route(_: &State) -> Result<Vec<Edit>, Refused> {
    Ok(vec![Edit::Put(route("a", "").into())])
}

#[tokio::test]
async fn a_commit_that_failed_and_is_there_all_the_same_counts() {
    let place = Place::new();
    let (ledger, mut writer) = Ledger::open(place.options()).await.unwrap();
    let base = ledger.state();
    // It reached the disk, and the writer did not hear of it.
    let written = writer.transact(&base, &entry(), Box::new(one_route), Box::new(|_| bytes::Bytes::new())).await;
    let Ok(Once::Done(written, _)) = written else { panic!("{written:?}") };
    writer.doubtful = Some(written.state);
    assert_eq!(ledger.state().position.revision.get(), 1);
    let bench = Bench { ledger, writing: tokio::spawn(writer.run()) };
    assert_eq!(bench.put(route("b", "")).await.unwrap().revision.get(), 3);
    assert!(bench.ledger.state().get(&name("routes/a")).is_some());
    let before = content(&bench.ledger.state());
    bench.close().await;
    assert_eq!(content(&place.open().await.ledger.state()), before);
}

#[tokio::test]
async fn a_commit_that_failed_and_is_not_there_does_not_count() {
    let place = Place::new();
    let (ledger, mut writer) = Ledger::open(place.options()).await.unwrap();
    let base = ledger.state();
    let dry = Entry { validate_only: true, ..entry() };
    let written = writer.transact(&base, &dry, Box::new(one_route), Box::new(|_| bytes::Bytes::new())).await;
    let Ok(Once::Done(written, _)) = written else { panic!("{written:?}") };
    writer.doubtful = Some(written.state);
    let bench = Bench { ledger, writing: tokio::spawn(writer.run()) };
    assert_eq!(bench.put(route("b", "")).await.unwrap().revision.get(), 2);
    assert!(bench.ledger.state().get(&name("routes/a")).is_none());
}

#[tokio::test]
async fn a_commit_of_which_nothing_can_be_told_is_undecided_until_something_can() {
    let place = Place::new();
    let (ledger, mut writer) = Ledger::open(place.options()).await.unwrap();
    let base = ledger.state();
    let written = writer.transact(&base, &entry(), Box::new(one_route), Box::new(|_| bytes::Bytes::new())).await;
    let Ok(Once::Done(written, _)) = written else { panic!("{written:?}") };
    let away = place.folder.path().join("away.db");
    std::fs::rename(place.database(), &away).unwrap();
    let failed = store::Error::Disk(sqlx::Error::WorkerCrashed);
    let error = writer.decide(failed, &written).await.unwrap_err();
    let Error::Undecided { revision, source: store::Error::Disk(_) } = error else { panic!("{error:?}") };
    assert_eq!((revision, ledger.state().position.revision.get()), (written.revision, 1));

    let bench = Bench { ledger, writing: tokio::spawn(writer.run()) };
    let error = bench.put(route("b", "")).await.unwrap_err();
    assert!(matches!(error, Error::Storage(store::Error::Open { .. })), "{error:?}");
    assert_eq!(bench.revision(), 1, "nothing goes on top of what is not known");
    std::fs::rename(&away, place.database()).unwrap();
    assert_eq!(bench.put(route("b", "")).await.unwrap().revision.get(), 3);
    assert!(bench.ledger.state().get(&name("routes/a")).is_some());
}

/// A place with a secret, closed again.
async fn with_secret() -> Place {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(provider("a")).await.unwrap();
    bench.put(credential("a", "main", Some("s3cret-before"))).await.unwrap();
    bench.put(credential("a", "main", Some("s3cret"))).await.unwrap();
    bench.close().await;
    place
}

fn text(key: &MasterKey) -> String {
    use ::secrecy::ExposeSecret as _;
    key.to_text().expose_secret().to_owned()
}

async fn served_secret(place: &Place) -> Vec<u8> {
    let bench = place.open().await;
    let body = bench.ledger.state().get(&name("providers/a/credentials/main")).unwrap().resource.body.to_vec();
    bench.close().await;
    body
}

#[tokio::test]
async fn under_another_master_key_everything_is_as_it_was_and_the_old_one_opens_nothing() {
    for (depth, secrets) in [(Depth::MasterKey, 0), (Depth::DataKey, 2)] {
        let mut place = with_secret().await;
        let before = served_secret(&place).await;
        let (old, new) = (place.options().master_key, MasterKey::generate());
        let done = rekey::rotate(&place.database(), &old, &new, depth).await.unwrap();
        assert_eq!(done, Done::Rotated { secrets });
        assert_eq!(place.done_at_console().await, [("rotate-master-key".to_owned(), None)]);
        let error = place.try_open().await.err().unwrap();
        let OpenError::Seal(seal::Error::WrongMasterKey { sealed_under, .. }) = &error else { panic!("{error:?}") };
        assert_eq!(*sealed_under, new.id());
        place.master_key = text(&new);
        assert_eq!(served_secret(&place).await, before);
        let again = rekey::rotate(&place.database(), &old, &new, Depth::MasterKey).await.unwrap();
        assert_eq!(again, Done::Already);
    }
}

#[tokio::test]
async fn nothing_of_the_old_data_key_stays_in_the_file() {
    let place = with_secret().await;
    let stored = |mut connection: SqliteConnection| async move {
        let row: (Vec<u8>, Vec<u8>) = sqlx::query_as("SELECT wrapped, sealed FROM data_keys, past_secrets")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        row
    };
    let (wrapped, sealed) = stored(place.intrude().await).await;
    let found = |bytes: &[u8]| {
        let file = std::fs::read(place.database()).unwrap();
        file.windows(bytes.len()).any(|window| window == bytes)
    };
    assert!(found(&wrapped) && found(&sealed));
    let old = place.options().master_key;
    rekey::rotate(&place.database(), &old, &MasterKey::generate(), Depth::DataKey).await.unwrap();
    assert!(!found(&wrapped) && !found(&sealed));
}

#[tokio::test]
async fn a_rotation_that_cannot_be_finished_leaves_the_old_key_in_force() {
    let place = with_secret().await;
    let before = served_secret(&place).await;
    let (old, wrong, new) = (place.options().master_key, MasterKey::generate(), MasterKey::generate());
    let error = rekey::rotate(&place.database(), &wrong, &new, Depth::DataKey).await.unwrap_err();
    assert!(matches!(error, rekey::Error::Seal(seal::Error::WrongMasterKey { .. })), "{error:?}");

    let bench = place.open().await;
    let error = rekey::rotate(&place.database(), &old, &new, Depth::DataKey).await.unwrap_err();
    assert!(matches!(error, rekey::Error::Store(store::Error::InUse { .. })), "{error:?}");
    bench.close().await;

    let mut intruder = place.intrude().await;
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut intruder).await.unwrap();
    assert!(rekey::rotate(&place.database(), &old, &new, Depth::DataKey).await.is_err());
    drop(intruder);
    assert_eq!(served_secret(&place).await, before);
}

#[tokio::test]
async fn there_is_no_key_to_change_of_what_is_not_there() {
    let place = Place::new();
    let (old, new) = (place.options().master_key, MasterKey::generate());
    let error = rekey::rotate(&place.database(), &old, &new, Depth::MasterKey).await.unwrap_err();
    assert!(matches!(error, rekey::Error::Missing { .. }), "{error:?}");
    assert!(!place.database().exists());
    migrate::run(&place.database()).await.unwrap();
    let error = rekey::rotate(&place.database(), &old, &new, Depth::MasterKey).await.unwrap_err();
    assert!(matches!(error, rekey::Error::Empty { .. }), "{error:?}");
}
