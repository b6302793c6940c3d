//! A program under measurement: started from the folder that this one is in, asked for its address, watched through `/proc`, and
//! ended with its owner. It knows nothing of what the program does.

use std::{
    env, fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{figures::Sample, ward};

/// A running program. Dropped, it is killed.
#[derive(Debug)]
pub struct Program {
    child: Child,
    addr: SocketAddr,
    /// The line of its log that told the address.
    told: String,
}

/// What a process has taken so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Time of all its threads on a core, in user and kernel mode.
    pub cpu: Duration,
    /// Resident memory, in KiB.
    pub resident_kib: u64,
    /// The most that was ever resident, in KiB.
    pub peak_kib: u64,
}

/// How Linux counts time in `/proc`, on every architecture.
const TICK: Duration = Duration::from_millis(10);

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
        let missing = |source| Error::Missing { path: path.clone(), source };
        let mut command = ward::command(&path).map_err(missing)?;
        command.args(arguments).args(["--log-format", "json", "--log-level", "info,access=off"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(missing)?;
        let log = child.stderr.take().map(BufReader::new);
        let mut program = Self { child, addr: SocketAddr::from(([127, 0, 0, 1], 0)), told: String::new() };
        let (mut lines, mut last) = (log.into_iter().flat_map(BufRead::lines), String::new());
        while let Some(Ok(line)) = lines.next() {
            if let Some(addr) = address(&line, field) {
                program.addr = addr;
                program.told = line;
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

    /// Another address that it told in the same breath.
    #[must_use]
    pub fn other_addr(&self, field: &str) -> Option<SocketAddr> {
        address(&self.told, field)
    }

    /// What it has taken so far.
    ///
    /// # Errors
    /// [`Error::Unseen`]
    pub fn taken(&self) -> Result<Taken, Error> {
        let stat = self.read("stat")?;
        // The name, in parentheses, may hold anything; user and kernel time are the 12th and 13th word after it.
        let words = stat.rsplit_once(')').map_or("", |(_, after)| after).split_whitespace();
        let ticks = words.skip(11).take(2).filter_map(|word| word.parse::<u32>().ok()).sum::<u32>();
        let status = self.read("status")?;
        Ok(Taken {
            cpu: TICK * ticks,
            resident_kib: self.kib(&status, "VmRSS:")?,
            peak_kib: self.kib(&status, "VmHWM:")?,
        })
    }

    /// How it is doing after so many requests.
    ///
    /// # Errors
    /// [`Error::Unseen`]
    pub fn sample(&self, requests: u64) -> Result<Sample, Error> {
        let resident_kib = self.kib(&self.read("status")?, "VmRSS:")?;
        let descriptors = fs::read_dir(self.about("fd")).map_err(|source| self.unseen(source))?.count();
        Ok(Sample { requests, resident_kib, descriptors })
    }

    fn about(&self, what: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{what}", self.child.id()))
    }

    fn read(&self, what: &str) -> Result<String, Error> {
        fs::read_to_string(self.about(what)).map_err(|source| self.unseen(source))
    }

    fn kib(&self, status: &str, label: &str) -> Result<u64, Error> {
        let told = status.lines().find_map(|line| line.strip_prefix(label)?.split_whitespace().next());
        told.and_then(|kib| kib.parse().ok()).ok_or_else(|| self.unseen(io::Error::other(label.to_owned())))
    }

    fn unseen(&self, source: io::Error) -> Error {
        Error::Unseen { pid: self.child.id(), source }
    }
}

impl Program {
    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        // Where it is gone already, there is nothing to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
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
