//! Whoever carries the traffic: nobody, nginx, Envoy, or the gateway; each started as it would be run, on a port of its own. What is
//! sent through it is not its business.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    processor::{Taken, taken},
    upstream,
};
use crate::{
    program,
    ward::{self, Ward},
};

mod plain;

/// Until a program takes connections.
const PATIENCE: Duration = Duration::from_secs(15);

/// How much of the end of a log is looked at, and how many lines of that are told.
const LAST_BYTES: u64 = 4096;
const LAST_LINES: usize = 5;

/// A contender that serves.
#[derive(Debug)]
pub struct Contender {
    /// What the report calls it.
    pub name: &'static str,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether it is the gateway, which has client keys and model names of its own.
    pub is_gateway: bool,
    /// Which version it is, where it has told.
    pub version: Option<String>,
    command: Command,
    log: PathBuf,
    process: Option<Ward>,
}

/// Why a contender does not take part.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not installed.
    #[error("{program} is not installed")]
    Missing {
        /// The program.
        program: String,
    },
    /// It is the gateway, and is not built.
    #[error(transparent)]
    NotBuilt(program::Error),
    /// Its files cannot be written, or it cannot be started.
    #[error("{program} cannot be started")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended before it took connections.
    #[error("{program} ended ({status}) instead of listening on {addr}; its last words: {words}")]
    Ended {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// Where it should listen.
        addr: SocketAddr,
        /// The end of its log.
        words: String,
    },
    /// It takes no connections.
    #[error("{program} does not serve on {addr}; its last words: {words}")]
    Deaf {
        /// The program.
        program: String,
        /// Where it should.
        addr: SocketAddr,
        /// The end of its log.
        words: String,
    },
}

impl Contender {
    /// Nobody: the scripted upstream, to which clients talk themselves.
    ///
    /// # Errors
    /// [`Error`]
    pub fn upstream() -> Result<Self, Error> {
        let start = |source| Error::Start { program: "the upstream".to_owned(), source };
        let mut command = Command::new(env::current_exe().map_err(start)?);
        command.arg("--upstream").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Ward(command.spawn().map_err(start)?);
        let mut line = String::new();
        if let Some(said) = process.0.stdout.take() {
            BufReader::new(said).read_line(&mut line).map_err(start)?;
        }
        let addr = upstream::told(&line).map_err(start)?;
        Ok(Self { process: Some(process), ..Self::new("upstream itself", command, addr, PathBuf::new()) })
    }

    /// This gateway's data plane, with these arguments besides where it listens; it serves as soon as it says that it is ready.
    ///
    /// # Errors
    /// [`Error`]
    pub fn gateway(name: &'static str, arguments: &[String], dir: &Path) -> Result<Self, Error> {
        let addr = free_address("signalbox-data-plane")?;
        let path = env::current_exe().unwrap_or_default().with_file_name("signalbox-data-plane");
        let missing = |source| Error::NotBuilt(program::Error::Missing { path: path.clone(), source });
        let mut command = ward::command(&path).map_err(missing)?;
        command.arg("serve").args(["--listen", &addr.to_string()]).args(arguments);
        let mut gateway = Self { is_gateway: true, ..Self::new(name, command, addr, dir.join("gateway.log")) };
        gateway.start_again()?;
        Ok(gateway)
    }

    /// What it has taken so far.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn taken(&self) -> io::Result<Taken> {
        self.process.as_ref().map_or_else(|| Err(io::ErrorKind::NotFound.into()), |Ward(child)| taken(child.id()))
    }

    /// Ends it, where it runs, and starts it where it was: how long it takes until it serves.
    ///
    /// # Errors
    /// [`Error`]
    pub fn start_again(&mut self) -> Result<Duration, Error> {
        // One after the other: they share a port and a folder.
        self.process = None;
        let (program, addr) = (self.name.to_owned(), self.addr);
        let failed = |source| Error::Start { program: program.clone(), source };
        let said = OpenOptions::new().create(true).append(true).open(&self.log).map_err(failed)?;
        let command = self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let begun = Instant::now();
        let mut process = Ward(command.spawn().map_err(failed)?);
        loop {
            let (serves, took) = (self.serves(), begun.elapsed());
            // Asked afterwards: who has ended does not serve, whoever else answers on its port.
            if let Some(status) = process.0.try_wait().map_err(failed)? {
                return Err(Error::Ended { program, status, addr, words: last_words(&self.log) });
            }
            if serves {
                self.process = Some(process);
                return Ok(took);
            }
            if took > PATIENCE {
                return Err(Error::Deaf { program, addr, words: last_words(&self.log) });
            }
            sleep(Duration::from_millis(1));
        }
    }

    fn start(name: &'static str, command: Command, addr: SocketAddr, log: PathBuf) -> Result<Self, Error> {
        let mut contender = Self::new(name, command, addr, log);
        contender.start_again()?;
        Ok(contender)
    }

    const fn new(name: &'static str, command: Command, addr: SocketAddr, log: PathBuf) -> Self {
        Self { name, addr, is_gateway: false, version: None, command, log, process: None }
    }

    fn serves(&self) -> bool {
        if self.is_gateway { is_ready(self.addr).unwrap_or(false) } else { TcpStream::connect(self.addr).is_ok() }
    }
}

/// Whether a gateway says that it is ready.
fn is_ready(addr: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}

/// The last lines of a log, which is gone when somebody could look for it.
fn last_words(log: &Path) -> String {
    let end = || {
        let mut file = File::open(log)?;
        let from = file.metadata()?.len().saturating_sub(LAST_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    match end() {
        Ok(text) if text.trim().is_empty() => "none".to_owned(),
        Ok(text) => {
            let lines: Vec<_> = text.trim_end().lines().collect();
            lines.split_at(lines.len().saturating_sub(LAST_LINES)).1.join("\n")
        }
        Err(error) => format!("none ({error})"),
    }
}

/// What starts a program that ends with this one.
fn command(program: &Path) -> Result<Command, Error> {
    ward::command(program).map_err(|source| Error::Start { program: program.display().to_string(), source })
}

/// A port that was free a moment ago: the programs cannot all be asked for any, and told apart afterwards.
fn free_address(program: &str) -> Result<SocketAddr, Error> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    bound.map_err(|source| Error::Start { program: program.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_is_not_waited_for_and_its_last_words_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "for word in 1 2 3 4 5 6; do echo \"word $word\" >&2; done; exit 3"]);
        let started = Contender::start("sh", command, free_address("sh").unwrap(), dir.path().join("sh.log"));
        let error = started.unwrap_err().to_string();
        assert!(error.starts_with("sh ended (exit status: 3) instead of listening on 127.0.0.1:"), "{error}");
        assert!(error.ends_with("its last words: word 2\nword 3\nword 4\nword 5\nword 6"), "{error}");
    }

    #[test]
    fn a_gateway_that_is_not_built_is_told_how_to_build() {
        let dir = tempfile::tempdir().unwrap();
        // Beside the tests there is none.
        let error = Contender::gateway("Signalbox", &[], dir.path()).unwrap_err().to_string();
        assert!(error.contains("build it with `cargo build --release"), "{error}");
    }
}
