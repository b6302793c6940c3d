//! Backups, the way back to them, and what keeps an older file from passing for the newest.

use std::{fs, time::SystemTime};

use super::*;
use crate::{
    backup,
    fence::Fence,
    high_water,
    restore::{self, Difference, Fate, Taking},
    store,
};

impl Place {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Backs the database up under this name, whether or not it is in use.
    async fn back_up(&self, name: &str) -> PathBuf {
        backup::make(&self.database(), &self.file(name)).await.unwrap().path
    }

    async fn restore(&self, from: &Path) -> restore::Restored {
        restore::restore(&self.database(), from, Taking::Fenced).await.unwrap()
    }
}

impl Place {
    /// What was done at the console, and the revision that it made.
    pub(super) async fn done_at_console(&self) -> Vec<(String, Option<i64>)> {
        let said =
            "SELECT method, revision FROM audit_entries WHERE actor = 'signalbox' AND code = 'OK' ORDER BY sequence";
        sqlx::query_as(said).fetch_all(&mut self.intrude().await).await.unwrap()
    }
}

impl Bench {
    /// As the running control plane does it: this is how far history has gone out.
    fn publish(&self, place: &Place) {
        let state = self.ledger.state();
        high_water::write(&place.database(), &state.position, SystemTime::now()).unwrap();
    }
}

fn difference(name: &str, fate: Fate) -> Difference {
    Difference { name: name.to_owned(), fate }
}

#[tokio::test]
async fn a_backup_of_a_database_in_use_is_what_was_committed_by_then() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(provider("a")).await.unwrap();
    bench.put(credential("a", "main", Some("s"))).await.unwrap();
    let then = content(&bench.ledger.state());
    let copy = place.back_up("backup.db").await;
    bench.put(route("r", "")).await.unwrap();
    bench.close().await;

    let again = backup::make(&place.database(), &copy).await.unwrap_err();
    assert!(matches!(again, backup::Error::Store(store::Error::Exists { .. })), "{again:?}");
    fs::remove_file(place.database()).unwrap();
    fs::rename(copy, place.database()).unwrap();
    assert_eq!(content(&place.open().await.ledger.state()), then);
    assert!(
        fs::read_dir(place.folder.path())
            .unwrap()
            .flatten()
            .all(|entry| { !entry.file_name().to_str().unwrap().starts_with(".unfinished") })
    );
}

#[tokio::test]
async fn there_is_no_backup_of_what_is_not_there_or_not_what_was_committed() {
    let place = Place::new();
    let to = place.file("backup.db");
    let missing = backup::make(&place.database(), &to).await.unwrap_err();
    assert!(matches!(missing, backup::Error::Missing { .. }), "{missing:?}");
    let bench = place.open().await;
    bench.put(route("a", "")).await.unwrap();
    bench.close().await;
    sqlx::raw_sql("DELETE FROM routes").execute(&mut place.intrude().await).await.unwrap();
    let changed = backup::make(&place.database(), &to).await.unwrap_err();
    assert!(matches!(changed, backup::Error::Store(store::Error::Changed { .. })), "{changed:?}");
    assert!(!to.exists());
}

#[tokio::test]
async fn a_restored_history_is_another_one_and_says_what_is_not_as_it_was() {
    let place = Place::new();
    let bench = place.open().await;
    for message in [client_key("leaked", 1), route("a", "").into(), route("same", "").into()] {
        bench.put(message).await.unwrap();
    }
    let (then, resources) = content(&bench.ledger.state());
    let copy = place.back_up("backup.db").await;
    bench.delete("clientKeys/leaked").await.unwrap();
    bench.put(route("a", "elsewhere")).await.unwrap();
    bench.put(route("later", "")).await.unwrap();
    let last = bench.ledger.state().position.clone();
    bench.publish(&place);
    bench.close().await;

    let restored = place.restore(&copy).await;
    assert_eq!((restored.from, restored.revision), (then.revision.get(), then.revision.get() + 1));
    let differences = [
        difference("clientKeys/leaked", Fate::Back),
        difference("routes/a", Fate::Older),
        difference("routes/later", Fate::Gone),
    ];
    assert_eq!(restored.differences.unwrap(), differences);
    let bench = place.open().await;
    let (now, same) = content(&bench.ledger.state());
    assert_eq!(same, resources);
    assert_ne!(now.epoch, then.epoch);
    let fence = bench.ledger.fence().unwrap();
    assert_eq!(**fence, Fence::Restored { cut: then.clone() });
    assert!(fence.holds(Some(&last), &now.epoch) && !fence.holds(Some(&then), &now.epoch));
    bench.delete("clientKeys/leaked").await.unwrap();
    bench.close().await;

    let replaced = restored.replaced.unwrap();
    fs::copy(replaced, place.file("before.db")).unwrap();
    let before = Options { database: place.file("before.db"), ..place.options() };
    let (before, _) = Ledger::open(before).await.unwrap();
    assert_eq!(before.state().position, last, "the replaced file is whole");
}

#[tokio::test]
async fn an_adopted_history_is_held_back_from_nobody() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(client_key("leaked", 1)).await.unwrap();
    let token = "INSERT INTO admin_tokens VALUES ('old', zeroblob(32), NULL, 'sb_admin', '{}', 1, 0, 0)";
    sqlx::raw_sql(token).execute(&mut place.intrude().await).await.unwrap();
    let copy = place.back_up("backup.db").await;
    bench.delete("clientKeys/leaked").await.unwrap();
    sqlx::raw_sql("DELETE FROM admin_tokens").execute(&mut place.intrude().await).await.unwrap();
    bench.close().await;
    place.restore(&copy).await;

    let standing = restore::standing(&place.database()).await.unwrap();
    assert!(matches!(standing.fence, Some(Fence::Restored { .. })));
    let back = [difference("adminTokens/old", Fate::Back), difference("clientKeys/leaked", Fate::Back)];
    assert_eq!(standing.differences.unwrap(), back);
    let adopted = restore::adopt(&place.database()).await.unwrap();
    assert_eq!(adopted, standing.revision + 1);
    let told = |command: &str, revision: u64| (command.to_owned(), Some(revision.cast_signed()));
    assert_eq!(place.done_at_console().await, [told("restore", standing.revision), told("adopt-history", adopted)]);
    assert_eq!(restore::standing(&place.database()).await.unwrap().fence, None);
    let bench = place.open().await;
    assert_eq!((bench.revision(), bench.ledger.fence()), (adopted, None));
    assert_eq!(bench.put(route("a", "")).await.unwrap().revision.get(), adopted + 1);
}

#[tokio::test]
async fn a_backup_that_is_taken_at_once_has_no_fence() {
    let place = Place::new();
    place.open().await.close().await;
    let copy = place.back_up("backup.db").await;
    fs::remove_file(place.database()).unwrap();
    let restored = restore::restore(&place.database(), &copy, Taking::AtOnce).await.unwrap();
    assert_eq!((restored.replaced, restored.differences), (None, None));
    assert_eq!(place.open().await.ledger.fence(), None);
}

#[tokio::test]
async fn a_database_in_use_is_not_restored_and_not_adopted() {
    let place = Place::new();
    let bench = place.open().await;
    let copy = place.back_up("backup.db").await;
    let in_use = |error: &restore::Error| matches!(error, restore::Error::Store(store::Error::InUse { .. }));
    let error = restore::restore(&place.database(), &copy, Taking::Fenced).await.unwrap_err();
    assert!(in_use(&error), "{error:?}");
    let error = restore::adopt(&place.database()).await.unwrap_err();
    assert!(in_use(&error), "{error:?}");
    assert_eq!(bench.revision(), 1);
}

#[tokio::test]
async fn what_is_no_sound_backup_replaces_nothing() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(route("a", "")).await.unwrap();
    let before = content(&bench.ledger.state());
    let good = fs::read(place.back_up("backup.db").await).unwrap();
    bench.close().await;
    let mut torn = good.clone();
    let half = torn.len() / 2;
    torn[half..].fill(0x5a);
    for (name, bytes) in [("torn.db", torn.as_slice()), ("short.db", &good[..half]), ("text.db", b"no database")] {
        fs::write(place.file(name), bytes).unwrap();
        assert!(restore::restore(&place.database(), &place.file(name), Taking::Fenced).await.is_err(), "{name}");
    }
    assert!(restore::restore(&place.database(), &place.file("nowhere.db"), Taking::Fenced).await.is_err());
    crate::migrate::run(&place.file("empty.db")).await.unwrap();
    let empty = restore::restore(&place.database(), &place.file("empty.db"), Taking::Fenced).await.unwrap_err();
    assert!(matches!(empty, restore::Error::Empty { .. }), "{empty:?}");
    assert!(
        fs::read_dir(place.folder.path())
            .unwrap()
            .flatten()
            .all(|entry| { !entry.file_name().to_str().unwrap().starts_with(".unfinished") })
    );
    assert_eq!(content(&place.open().await.ledger.state()), before);
}

#[tokio::test]
async fn an_older_file_put_back_by_hand_is_found_out_and_not_written_to() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(client_key("leaked", 1)).await.unwrap();
    let copy = place.back_up("copy.db").await;
    let older = content(&bench.ledger.state());
    bench.delete("clientKeys/leaked").await.unwrap();
    bench.publish(&place);
    let published = bench.ledger.state().position.clone();
    bench.close().await;
    fs::copy(copy, place.database()).unwrap();

    let bench = place.open().await;
    assert_eq!(content(&bench.ledger.state()), older, "it can be read");
    assert_eq!(**bench.ledger.fence().unwrap(), Fence::Forked { published: published.clone() });
    let refused = bench.put(route("a", "")).await.unwrap_err();
    assert!(matches!(refused, Error::HistoryForked { published: at } if at == published.revision), "{refused:?}");
    assert_eq!(bench.revision(), older.0.revision.get());
    bench.close().await;

    restore::adopt(&place.database()).await.unwrap();
    let bench = place.open().await;
    assert_eq!(bench.ledger.fence(), None);
    assert_ne!(bench.ledger.state().position.epoch, older.0.epoch, "no number is used again in the same history");
    bench.put(route("a", "")).await.unwrap();
}

#[tokio::test]
async fn a_lost_write_ahead_log_is_found_out() {
    let place = Place::new();
    // Closed, so that the beginning is in the one file and what comes later only in the log.
    place.open().await.close().await;
    let bench = place.open().await;
    bench.put(route("a", "")).await.unwrap();
    bench.publish(&place);
    let without_log = fs::read(place.database()).unwrap();
    bench.close().await;
    fs::write(place.database(), without_log).unwrap();
    let bench = place.open().await;
    assert_eq!(bench.revision(), 1);
    let fence = bench.ledger.fence().unwrap();
    assert!(matches!(&**fence, Fence::Forked { published } if published.revision.get() == 2), "{fence:?}");
}

#[tokio::test]
async fn a_new_database_where_another_one_was_published_from_is_not_taken_for_it() {
    let place = Place::new();
    let bench = place.open().await;
    bench.publish(&place);
    bench.close().await;
    fs::remove_file(place.database()).unwrap();
    let bench = place.open().await;
    assert!(matches!(bench.put(route("a", "")).await.unwrap_err(), Error::HistoryForked { .. }));
}

#[tokio::test]
async fn what_is_published_is_kept_as_history_goes_on() {
    let place = Place::new();
    let bench = place.open().await;
    let keeping = tokio::spawn(high_water::follow(place.database(), bench.ledger.subscribe()));
    bench.put(route("a", "")).await.unwrap();
    let last = bench.ledger.state().position.clone();
    bench.close().await;
    keeping.await.unwrap();
    assert_eq!(high_water::read(&place.database()).unwrap(), Some(last));
    assert_eq!(place.open().await.ledger.fence(), None);
}
