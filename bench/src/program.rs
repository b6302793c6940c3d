//! A program under measurement: started from the folder that this one is in, asked for its address, watched through `/proc`, and
//! ended with its owner. It knows nothing of what the program does.

use std::{
    env, fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;

use crate::figures::Sample;

/// A running program. Dropped, it is killed.
#[derive(Debug)]
pub struct Program {
    child: Child,
    addr: SocketAddr,
}

/// Why there is nothing to measure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not there.
    #[error("{path} does not start: build it with `cargo build --release --workspace --bins`")]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// Why it does not start.
        source: io::Error,
    },
    /// It ended before it said where it listens.
    #[error("{path} ended without having said where it listens; its last words: {last}")]
    Silent {
        /// The program.
        path: PathBuf,
        /// The last line of its log.
        last: String,
    },
    /// The system does not say how it is doing.
    #[error("/proc/{pid} says nothing of it")]
    Unseen {
        /// The process.
        pid: u32,
        /// Why.
        source: io::Error,
    },
}

impl Program {
    /// Starts a program of this workspace, and reads its address from this field of its log, which it must be told to write as JSON.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Silent`]
    pub fn start(name: &str, arguments: &[&str], field: &str) -> Result<Self, Error> {
        let path = env::current_exe().unwrap_or_default().with_file_name(name);
        let mut command = Command::new(&path);
        command.args(arguments).args(["--log-format", "json", "--log-level", "info,access=off"]);
        let missing = |source| Error::Missing { path: path.clone(), source };
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(missing)?;
        let log = child.stderr.take().map(BufReader::new);
        let mut program = Self { child, addr: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let (mut lines, mut last) = (log.into_iter().flat_map(BufRead::lines), String::new());
        while let Some(Ok(line)) = lines.next() {
            if let Some(addr) = address(&line, field) {
                program.addr = addr;
                // It must not stop for a pipe that nobody empties.
                thread::spawn(move || lines.for_each(drop));
                return Ok(program);
            }
            last = line;
        }
        Err(Error::Silent { path, last })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How it is doing after so many requests.
    ///
    /// # Errors
    /// [`Error::Unseen`]
    pub fn sample(&self, requests: u64) -> Result<Sample, Error> {
        let pid = self.child.id();
        let unseen = |source| Error::Unseen { pid, source };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(unseen)?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        let resident = resident.and_then(|kib| kib.parse().ok());
        let resident_kib = resident.ok_or_else(|| unseen(io::Error::other("no VmRSS")))?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_err(unseen)?.count();
        Ok(Sample { requests, resident_kib, descriptors })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Where it is gone already, there is nothing to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The address, bare or in a URL, that a line of a log tells in this field.
fn address(line: &str, field: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    let told = line.pointer(&format!("/fields/{field}"))?.as_str()?;
    told.trim_start_matches("http://").split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_bare_and_in_a_url() {
        let expected = "127.0.0.1:80".parse().ok();
        assert_eq!(address(r#"{"fields":{"clients":"127.0.0.1:80"}}"#, "clients"), expected);
        assert_eq!(address(r#"{"fields":{"base_url":"http://127.0.0.1:80/v1"}}"#, "base_url"), expected);
        assert_eq!(address("starting", "clients"), None);
    }
}
