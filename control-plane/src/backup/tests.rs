//! Copies that are made by the clock: of what has changed, once, and no more of them than wanted.

use std::collections::BTreeSet;

use signalbox_proto::admin::v1 as admin;
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};

use super::*;
use crate::{
    ledger::{Edit, Entry, Options, Retention},
    message::Message,
    seal::MasterKey,
};

/// Nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

struct Place {
    folder: TempDir,
    ledger: Ledger,
    writing: JoinHandle<()>,
}

impl Place {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            database: folder.path().join("control.db"),
            master_key: MasterKey::generate(),
            auto_migrate: true,
            retention: Retention::default(),
            max_bytes: None,
        };
        let (ledger, writer) = Ledger::open(options).await.unwrap();
        Self { folder, ledger, writing: tokio::spawn(writer.run()) }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("control.db")
    }

    /// Makes a revision, and says which.
    async fn change(&self) -> u64 {
        let name = format!("routes/r{}", self.ledger.state().position.revision.get());
        let destination = Some(admin::route::Destination::TargetUrl("https://a.example/".to_owned()));
        let route = admin::Route { name, destination, ..admin::Route::default() };
        let entry = Entry {
            actor: "tester".to_owned(),
            source_ip: None,
            method: "Test/Write",
            comment: String::new(),
            validate_only: false,
            request: None,
            rollback_of: None,
        };
        let written = self.ledger.write(entry, move |_| Ok(vec![Edit::Put(Message::from(route))])).await;
        written.unwrap().revision.get()
    }

    /// The revisions of which there is a copy, and how many copies there are.
    fn copied(&self) -> (BTreeSet<u64>, usize) {
        let entries = fs::read_dir(self.folder.path().join(BACKUPS)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let copies: Vec<_> = names.filter_map(|name| read(name.strip_prefix("control-revision-")?)).collect();
        (copies.iter().map(|copy| copy.revision).collect(), copies.len())
    }

    async fn close(self) -> TempDir {
        drop(self.ledger);
        self.writing.await.unwrap();
        self.folder
    }
}

#[tokio::test]
async fn each_change_is_copied_once_until_it_is_told_to_stop() {
    let place = Place::open().await;
    let (stop, schedule) = (CancellationToken::new(), Schedule { every: Duration::from_millis(1), keep: 100 });
    let keeping = tokio::spawn(keep(schedule, place.database(), place.ledger.clone(), stop.clone()));
    let mut revision = 1;
    for _ in 0..3 {
        let copied = async {
            while latest(&place.database()).map(|copy| copy.revision) != Some(revision) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, copied).await.expect("it is copied in time");
        revision = place.change().await;
    }
    stop.cancel();
    timeout(PATIENCE, keeping).await.expect("it ends in time").unwrap();
    let (revisions, copies) = place.copied();
    assert!(revisions.is_superset(&[1, 2, 3].into()), "{revisions:?}");
    assert_eq!(revisions.len(), copies, "none is copied twice");
    place.close().await;
}

#[tokio::test]
async fn what_a_start_finds_copied_is_not_copied_again_and_only_the_latest_stay() {
    let place = Place::open().await;
    let (schedule, database) = (Schedule { every: Duration::from_secs(3_600), keep: 2 }, place.database());
    for _ in 0..3 {
        let revision = place.change().await;
        let copy = scheduled(schedule, &database, revision).await.unwrap().unwrap();
        assert_eq!(copy.revision, Some(revision), "it is of what was committed");
        assert_eq!(scheduled(schedule, &database, revision).await.unwrap(), None);
    }
    assert_eq!(place.copied(), ([3, 4].into(), 2));
    let named = latest(&database).unwrap();
    assert_eq!(named.revision, 4);
    assert!(Timestamp::now().duration_since(named.made).as_secs() < 60, "{named:?}");
    place.close().await;
}

#[test]
fn a_copy_says_of_which_revision_it_is_and_when_it_was_made() {
    let made = "2026-11-21T12:06:00.774429Z".parse().unwrap();
    assert_eq!(read("23-20261121T120600.774429Z.db"), Some(Latest { made, revision: 23 }));
    for other in ["23-20261121T120600.774429Z", "x-20261121T120600.774429Z.db", "23-yesterday.db", "23.db"] {
        assert_eq!(read(other), None, "{other}");
    }
}
