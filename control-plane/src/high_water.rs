//! How far history has gone out into the world, kept beside the database and not in it: a file that was put back by hand is found out
//! even while no data plane is there to tell.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use signalbox_routing::{Digest, Position, Revision};
use tokio::{sync::watch, task::spawn_blocking, time::sleep};

use crate::{files, state::State, store::lock::beside};

/// The file is written no more often than this: after a crash it is behind by no more.
const PACE: Duration = Duration::from_secs(1);

/// Why the mark cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("{} cannot be written", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not say what it should.
    #[error(
        "{} does not say how far history was published: remove it if you know that the database is the newest one, \
         else restore a backup",
        .path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
}

/// What is in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    epoch: String,
    revision: u64,
    digest: String,
    commit_time: String,
}

/// Beside the database.
fn path(database: &Path) -> PathBuf {
    beside(database, ".published")
}

/// How far history was published from this database; `None` = nobody has kept it yet.
pub(crate) fn read(database: &Path) -> Result<Option<Position>, Error> {
    let path = path(database);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Read { path, source }),
    };
    parse(&text).map(Some).ok_or(Error::Unreadable { path })
}

fn parse(text: &[u8]) -> Option<Position> {
    let Mark { epoch, revision, digest, commit_time: _ } = serde_json::from_slice(text).ok()?;
    let digest = <[u8; 32]>::try_from(BASE64.decode(digest).ok()?).ok()?;
    Some(Position { epoch: epoch.as_str().into(), revision: Revision::new(revision)?, digest: Digest::from(digest) })
}

/// Keeps how far history was published, in place of what was kept before.
pub(crate) fn write(database: &Path, position: &Position, commit_time: SystemTime) -> Result<(), Error> {
    let path = path(database);
    let written = || {
        let mark = Mark {
            epoch: position.epoch.to_string(),
            revision: position.revision.get(),
            digest: BASE64.encode(position.digest.as_bytes()),
            commit_time: Timestamp::try_from(commit_time).map_err(io::Error::other)?.to_string(),
        };
        files::replace(&path, &serde_json::to_vec(&mark)?)
    };
    written().map_err(|source| Error::Write { path: path.clone(), source })
}

/// Keeps how far history is published, at its pace, until the writer ends, and then once more.
pub(crate) async fn follow(database: PathBuf, mut head: watch::Receiver<Arc<State>>) {
    loop {
        let state = Arc::clone(&head.borrow_and_update());
        keep(database.clone(), state).await;
        sleep(PACE).await;
        if head.changed().await.is_err() {
            return;
        }
    }
}

async fn keep(database: PathBuf, state: Arc<State>) {
    let kept = spawn_blocking(move || write(&database, &state.position, state.commit_time)).await;
    match kept {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "not kept how far history is published: an older database put in its place would not be noticed"
        ),
        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the keeper of the mark crashed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(revision: u64) -> Position {
        Position { epoch: "e".into(), revision: Revision::new(revision).unwrap(), digest: Digest::from([7; 32]) }
    }

    #[test]
    fn what_is_kept_is_read_again_and_the_last_one_counts() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("control.db");
        assert_eq!(read(&database).unwrap(), None);
        for revision in [9, 10] {
            write(&database, &position(revision), SystemTime::now()).unwrap();
            assert_eq!(read(&database).unwrap(), Some(position(revision)));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn a_mark_that_says_nothing_is_no_mark_of_a_new_database() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("control.db");
        for bad in ["", "{}", r#"{"epoch":"e","revision":0,"digest":"","commit_time":"2026-01-01T00:00:00Z"}"#] {
            fs::write(path(&database), bad).unwrap();
            assert!(matches!(read(&database), Err(Error::Unreadable { .. })), "{bad:?} was taken");
        }
    }
}
