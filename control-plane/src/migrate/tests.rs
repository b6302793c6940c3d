//! What a migration that fails leaves behind, and what one that succeeds does.

use std::{fs, os::unix::fs::PermissionsExt as _};

use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType},
};

use super::*;
use crate::files::BACKUPS;

/// This build's steps and one more.
fn and(sql: &'static str) -> Migrator {
    let next = known() + 1;
    let further = Migration::new(next, "one more".into(), MigrationType::Simple, sql.into_sql_str(), false);
    let steps = STEPS.iter().cloned().chain([further]).collect();
    Migrator::with_migrations(steps)
}

fn copies(database: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(shelf(database)) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn shelf(database: &Path) -> PathBuf {
    database.parent().unwrap().join(BACKUPS)
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_file_as_it_was_and_says_where_the_copy_is() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("control.db");
    run(&database).await.unwrap();
    assert!(copies(&database).is_empty(), "there was nothing to copy");
    let before = fs::read(&database).unwrap();

    let bad = and("CREATE TABLE half (a); INSERT INTO nowhere VALUES (1)");
    let error = advance_by(&bad, &database).await.unwrap_err();
    let Error::Step { copy: Some(copy), .. } = &error else { panic!("{error:?}") };
    assert!(error.to_string().ends_with(&format!("a copy from before is {}", copy.display())), "{error}");
    assert_eq!(copies(&database), std::slice::from_ref(copy));
    assert_eq!(check(copy).await.unwrap(), Standing::Current);
    assert_eq!(fs::read(&database).unwrap(), before);
    assert_eq!(check(&database).await.unwrap(), Standing::Current);
}

#[tokio::test]
async fn a_new_database_and_its_logs_are_its_owners_only() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("control.db");
    run(&database).await.unwrap();
    let mut writer = store::options(&database).connect().await.unwrap();
    sqlx::raw_sql("PRAGMA user_version = 7").execute(&mut writer).await.unwrap();
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()).collect();
    let logs = files.iter().filter(|file| file.file_name().to_str().unwrap().starts_with("control.db-")).count();
    assert!(logs > 0, "{files:?}");
    for file in files.iter().filter(|file| !file.file_name().to_str().unwrap().ends_with(".lock")) {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn a_step_that_leaves_loose_ends_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("control.db");
    run(&database).await.unwrap();
    let loose = and("INSERT INTO credentials VALUES ('nobody', 'main', '{}', 1, 0, 0)");
    let error = advance_by(&loose, &database).await.unwrap_err();
    let Error::NotWhole { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().ends_with("a row of credentials refers to nothing in providers"), "{source}");
    assert_eq!(check(&database).await.unwrap(), Standing::Current);
    require_whole(&database, &mut reader(&database).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn of_the_copies_made_before_migrations_the_newest_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("control.db");
    run(&database).await.unwrap();
    let bad = and("INSERT INTO nowhere VALUES (1)");
    let mut last = None;
    for _ in 0..7 {
        let Error::Step { copy, .. } = advance_by(&bad, &database).await.unwrap_err() else { panic!("it succeeded") };
        last = copy;
    }
    let kept = copies(&database);
    assert_eq!(kept.len(), 5);
    assert!(kept.contains(&last.unwrap()));
}

#[tokio::test]
async fn without_a_copy_nothing_is_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("control.db");
    run(&database).await.unwrap();
    fs::write(shelf(&database), "in the way").unwrap();
    let error = advance_by(&and("CREATE TABLE further (a)"), &database).await.unwrap_err();
    assert!(matches!(error, Error::Copy { .. }), "{error:?}");
    assert_eq!(check(&database).await.unwrap(), Standing::Current);
}
