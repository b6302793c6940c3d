//! A cache file is what was sealed, or it is set aside.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::received::history::{History, update};

/// A folder and its key, as they outlive the process.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("cache").join(name)
    }

    /// A process starts.
    fn open(&self) -> Cache {
        let key = CacheKey::load_or_create(&self.0.path().join("cache.key")).unwrap();
        Cache::open(self.path(""), key).unwrap()
    }

    /// A process starts and stores these, one after the other.
    fn store(&self, histories: &[&History]) {
        let mut cache = self.open();
        cache.restore(Ok);
        for history in histories {
            cache.store(&history.full()).unwrap();
        }
    }

    /// What a process that starts now gets.
    fn restored(&self) -> Option<Update> {
        self.open().restore(Ok)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn histories() -> [History; 4] {
    let first = History::new("e").key("a", "one");
    let second = first.clone().key("b", "two");
    let third = second.clone().remove("clientKeys/a");
    [first, second, third, History::new("other").key("c", "three")]
}

#[test]
fn the_newest_is_restored_and_the_last_two_are_kept() {
    let disk = Disk::new();
    assert_eq!(disk.restored(), None);
    let [first, second, third, _] = histories();
    disk.store(&[&first, &second, &third]);
    assert_eq!(disk.names(), ["config-3.bin", "config-4.bin"]);
    assert_eq!(disk.restored(), Some(update(&third.full())));
}

#[test]
fn the_newest_is_the_one_written_last_whatever_its_revision() {
    let disk = Disk::new();
    let [_, _, third, other] = histories();
    disk.store(&[&third]);
    disk.store(&[&other]);
    assert!(other.position().revision < third.position().revision);
    assert_eq!(disk.restored(), Some(update(&other.full())));
}

#[test]
fn a_file_is_sealed_and_only_its_owner_can_read_it() {
    let disk = Disk::new();
    let secret = "sk-a-very-secret-upstream-key";
    disk.store(&[&History::new("e").put("providers/p/credentials/c", secret)]);
    let file = disk.path("config-2.bin");
    let bytes = fs::read(&file).unwrap();
    assert!(!bytes.windows(8).any(|window| secret.as_bytes().windows(8).any(|part| part == window)));
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(disk.path("")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_change_of_any_byte_sets_the_file_aside() {
    let disk = Disk::new();
    disk.store(&[&histories()[0]]);
    let file = disk.path("config-2.bin");
    let good = fs::read(&file).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&file, bad).unwrap();
        assert_eq!(disk.restored(), None, "byte {at}");
        assert_eq!(disk.names(), ["config-2.bin.corrupt"], "byte {at}");
    }
    fs::write(&file, good).unwrap();
    assert!(disk.restored().is_some());
}

#[test]
fn a_file_of_any_other_length_is_set_aside() {
    let disk = Disk::new();
    disk.store(&[&histories()[0]]);
    let file = disk.path("config-2.bin");
    let good = fs::read(&file).unwrap();
    let longer = [good.as_slice(), b"x"].concat();
    for bad in (0..good.len()).map(|length| &good[..length]).chain([longer.as_slice()]) {
        fs::write(&file, bad).unwrap();
        assert_eq!(disk.restored(), None, "{} bytes", bad.len());
        assert!(!file.exists());
    }
}

#[test]
fn the_one_before_stands_in_for_a_file_that_is_set_aside() {
    let disk = Disk::new();
    let [first, second, third, _] = histories();
    disk.store(&[&first, &second]);
    fs::write(disk.path("config-3.bin"), "no cache file").unwrap();
    assert_eq!(disk.restored(), Some(update(&first.full())));
    disk.store(&[&third]);
    assert_eq!(disk.names(), ["config-2.bin", "config-3.bin.corrupt", "config-4.bin"]);
    assert_eq!(disk.restored(), Some(update(&third.full())));
}

#[test]
fn what_is_not_accepted_is_set_aside_too() {
    let disk = Disk::new();
    let [first, second, ..] = histories();
    disk.store(&[&first, &second]);
    let refuse_second = |update: Update| {
        if update.target == second.position() {
            Err(Refused::Base { base: update.target.revision })
        } else {
            Ok(update)
        }
    };
    assert_eq!(disk.open().restore(refuse_second), Some(update(&first.full())));
    assert_eq!(disk.names(), ["config-2.bin", "config-3.bin.corrupt"]);
}

#[test]
fn a_file_sealed_under_another_key_is_set_aside() {
    let disk = Disk::new();
    disk.store(&[&histories()[0]]);
    fs::remove_file(disk.0.path().join("cache.key")).unwrap();
    assert_eq!(disk.restored(), None);
    assert_eq!(disk.names(), ["config-2.bin.corrupt"]);
}

#[test]
fn a_file_of_another_format_or_schema_is_told_apart() {
    let disk = Disk::new();
    disk.store(&[&histories()[0]]);
    let good = fs::read(disk.path("config-2.bin")).unwrap();
    let with = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] = 9;
        Sealed::parse(bytes).err().unwrap()
    };
    assert!(matches!(with(0), Corrupt::Magic));
    assert!(matches!(with(11), Corrupt::Format(9)));
    assert!(matches!(with(15), Corrupt::Schema(9)));
}

#[test]
fn only_a_few_files_that_were_set_aside_are_kept() {
    let disk = Disk::new();
    disk.store(&[]);
    for revision in 1..9 {
        fs::write(disk.path(&format!("config-{revision}.bin")), "no cache file").unwrap();
    }
    assert_eq!(disk.restored(), None);
    assert_eq!(disk.names().len(), SET_ASIDE_KEPT);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_and_one_that_vanished_only_a_warning() {
    let root = tempfile::tempdir().unwrap();
    let key = CacheKey::load_or_create(&root.path().join("keys/cache.key")).unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    assert!(Cache::open(root.path().join("file/cache"), key.clone()).is_err());
    let mut cache = Cache::open(root.path().join("cache"), key).unwrap();
    fs::remove_dir(root.path().join("cache")).unwrap();
    assert_eq!(cache.restore(Ok), None);
    assert!(matches!(cache.store(&histories()[0].full()), Err(Unwritten::Write { .. })));
}

#[test]
fn a_key_is_made_once_and_its_file_is_its_owners_only() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("cache.key");
    let first = CacheKey::load_or_create(&path).unwrap();
    let second = CacheKey::load_or_create(&path).unwrap();
    assert_eq!(first.as_bytes(), second.as_bytes());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "nothing else is left behind");
}

#[test]
fn a_key_file_with_something_else_in_it_is_named_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("cache.key");
    for bad in ["", "short", "AAAA", &"A".repeat(80), "not base64 at all, but long enough to be taken for it"] {
        fs::write(&path, bad).unwrap();
        let error = CacheKey::load_or_create(&path).unwrap_err();
        assert!(matches!(error, InvalidKey::Shape { .. }), "{bad:?}");
        assert!(error.to_string().contains("cache.key"));
        assert_eq!(fs::read_to_string(&path).unwrap(), bad);
    }
}
