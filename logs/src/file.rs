//! A log file that others may move away: it is opened anew when they say so.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::signal::unix::{SignalKind, signal};

use crate::Error;

/// An open log file. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: Arc<ArcSwap<File>>,
}

impl LogFile {
    /// Opens it for appending, and makes it where it is not there, for this user alone.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        match open(&path) {
            Ok(file) => Ok(Self { path, file: Arc::new(ArcSwap::from_pointee(file)) }),
            Err(source) => Err(Error::File { path, source }),
        }
    }

    /// Writes into whichever file is open.
    pub(crate) fn write(&self, text: &[u8]) -> io::Result<()> {
        (&**self.file.load()).write_all(text)
    }

    /// Opens it anew on each SIGHUP. Where that fails, the old one is written on.
    pub(crate) fn reopen_on_hangup(&self) -> io::Result<()> {
        let mut hangups = signal(SignalKind::hangup())?;
        let log = self.clone();
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                match log.reopen() {
                    Ok(()) => tracing::info!(path = %log.path.display(), "log file opened anew"),
                    Err(error) => {
                        tracing::error!(path = %log.path.display(), %error, "the log file cannot be opened anew")
                    }
                }
            }
        });
        Ok(())
    }

    fn reopen(&self) -> io::Result<()> {
        self.file.store(Arc::new(open(&self.path)?));
        Ok(())
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_when_asked_to() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
        fs::write(&path, "before\n").unwrap();
        let log = LogFile::open(path.clone()).unwrap();
        let write = |line: &str| log.write(line.as_bytes()).unwrap();
        write("first\n");
        fs::rename(&path, &moved).unwrap();
        write("second\n");
        log.reopen().unwrap();
        write("third\n");
        assert_eq!(fs::read_to_string(&moved).unwrap(), "before\nfirst\nsecond\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\n");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = LogFile::open(dir.path().join("no/log")).unwrap_err();
        assert!(error.to_string().contains("no/log") && error.to_string().contains("--log-file"), "{error}");
    }
}
