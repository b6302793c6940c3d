//! Whoever carries the traffic: nobody, nginx, Envoy, or the gateway; each started as it would be run, on a port of its own. What is
//! sent through it is not its business.

use std::{
    env, fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    processor::{Taken, taken},
    report::Started,
    upstream,
};
use crate::ward::{self, Ward};

/// Until a program takes connections.
const PATIENCE: Duration = Duration::from_secs(15);

/// A contender that serves.
#[derive(Debug)]
pub struct Contender {
    /// What the report calls it.
    pub name: &'static str,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether it is the gateway, which has client keys and model names of its own.
    pub is_gateway: bool,
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
    /// Its files cannot be written, or it cannot be started.
    #[error("{program} cannot be started")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It takes no connections.
    #[error("{program} does not listen on {addr}: see {log}")]
    Deaf {
        /// The program.
        program: String,
        /// Where it should.
        addr: SocketAddr,
        /// Where it says why.
        log: PathBuf,
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
        Ok(Self { name: "upstream itself", addr, is_gateway: false, process: Some(process) })
    }

    /// nginx as a plain proxy with a worker a core, connections kept alive, events passed on as they come, and a buffer that a whole
    /// answer fits in: with its own of 4 KiB, an answer of 32 KiB would cost it twice as much.
    ///
    /// # Errors
    /// [`Error`]
    pub fn nginx(upstream: SocketAddr, dir: &Path) -> Result<Self, Error> {
        let addr = free_address("nginx")?;
        let place = dir.display();
        let config = format!(
            "daemon off; master_process on; worker_processes auto; pid {place}/nginx.pid; error_log {place}/nginx.log warn;\n\
             worker_rlimit_nofile 65536; events {{ worker_connections 16384; }}\n\
             http {{\n\
             access_log {place}/nginx-access.log combined buffer=64k; client_max_body_size 64m; client_body_buffer_size 256k;\n\
             client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;\n\
             uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi; keepalive_requests 1000000;\n\
             upstream api {{ server {upstream}; keepalive 512; keepalive_requests 1000000; }}\n\
             server {{ listen {addr} backlog=4096 reuseport; location / {{ proxy_pass http://api; proxy_http_version 1.1;\n\
             proxy_set_header Connection ''; proxy_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k;\n\
             proxy_busy_buffers_size 128k; proxy_read_timeout 3600s; }} }}\n\
             }}\n"
        );
        let path = dir.join("nginx.conf");
        fs::write(&path, config).map_err(|source| Error::Start { program: "nginx".to_owned(), source })?;
        let mut command = command(&find("nginx")?)?;
        command.arg("-p").arg(dir).arg("-c").arg(&path).arg("-e").arg(dir.join("nginx.log"));
        Self::start("nginx", command, addr, dir.join("nginx.log"))
    }

    /// Envoy as a plain proxy.
    ///
    /// # Errors
    /// [`Error`]
    pub fn envoy(upstream: SocketAddr, dir: &Path) -> Result<Self, Error> {
        let addr = free_address("envoy")?;
        let socket = |addr: SocketAddr| serde_json::json!({ "socket_address": { "address": addr.ip().to_string(), "port_value": addr.port() } });
        let manager = serde_json::json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "bench", "stream_idle_timeout": "0s",
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "api", "timeout": "0s" } }] }] },
            "http_filters": [{ "name": "envoy.filters.http.router", "typed_config":
                { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }],
        });
        let unlimited = serde_json::json!([{ "max_connections": 100_000, "max_requests": 100_000, "max_pending_requests": 100_000 }]);
        let config = serde_json::json!({ "static_resources": {
            "listeners": [{ "name": "bench", "address": socket(addr), "filter_chains": [{ "filters": [
                { "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] }] }],
            "clusters": [{ "name": "api", "type": "STATIC", "connect_timeout": "5s",
                "circuit_breakers": { "thresholds": unlimited },
                "load_assignment": { "cluster_name": "api", "endpoints": [{ "lb_endpoints": [
                    { "endpoint": { "address": socket(upstream) } }] }] } }],
        } });
        let path = dir.join("envoy.json");
        let written = fs::write(&path, config.to_string());
        written.map_err(|source| Error::Start { program: "envoy".to_owned(), source })?;
        let mut command = command(&find("envoy")?)?;
        command.args(["--concurrency", "2", "--log-level", "error", "--disable-hot-restart", "-c"]).arg(&path);
        Self::start("Envoy", command, addr, dir.join("envoy.log"))
    }

    /// This gateway's data plane, with these arguments besides where it listens.
    ///
    /// # Errors
    /// [`Error`]
    pub fn gateway(name: &'static str, arguments: &[String], dir: &Path) -> Result<Self, Error> {
        let (command, addr) = gateway(arguments)?;
        Ok(Self { is_gateway: true, ..Self::start(name, command, addr, dir.join("gateway.log"))? })
    }

    /// What it has taken so far.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn taken(&self) -> io::Result<Taken> {
        self.process.as_ref().map_or_else(|| Err(io::ErrorKind::NotFound.into()), |Ward(child)| taken(child.id()))
    }

    /// Ends the gateway and starts it with these arguments: how long it takes until it is ready, and what it has taken then.
    ///
    /// # Errors
    /// [`Error`]
    pub fn start_again(&mut self, arguments: &[String]) -> Result<Started, Error> {
        // One after the other: they share a folder.
        self.process = None;
        let (command, addr) = gateway(arguments)?;
        let begun = Instant::now();
        let (program, process) = (self.name.to_owned(), spawn(self.name, command)?);
        (self.addr, self.process) = (addr, Some(process));
        while !is_ready(addr).unwrap_or(false) {
            if begun.elapsed() > PATIENCE {
                return Err(Error::Deaf { program, addr, log: PathBuf::from("the one that it was given") });
            }
            sleep(Duration::from_millis(1));
        }
        let ready = begun.elapsed();
        sleep(Duration::from_secs(1));
        let resident_kib = self.taken().map_err(|source| Error::Start { program, source })?.resident_kib;
        Ok(Started { ready, resident_kib })
    }

    fn start(name: &'static str, command: Command, addr: SocketAddr, log: PathBuf) -> Result<Self, Error> {
        let process = spawn(name, command)?;
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(addr).is_err() {
            if Instant::now() > until {
                return Err(Error::Deaf { program: name.to_owned(), addr, log });
            }
            sleep(Duration::from_millis(20));
        }
        Ok(Self { name, addr, is_gateway: false, process: Some(process) })
    }
}

/// Whether a gateway says that it is ready.
fn is_ready(addr: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(addr)?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}

fn spawn(name: &str, mut command: Command) -> Result<Ward, Error> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.map(Ward).map_err(|source| Error::Start { program: name.to_owned(), source })
}

/// What starts a program that ends with this one.
fn command(program: &Path) -> Result<Command, Error> {
    ward::command(program).map_err(|source| Error::Start { program: program.display().to_string(), source })
}

/// The data plane beside this program, and where it will listen.
fn gateway(arguments: &[String]) -> Result<(Command, SocketAddr), Error> {
    let addr = free_address("signalbox-data-plane")?;
    let mut command = command(&env::current_exe().unwrap_or_default().with_file_name("signalbox-data-plane"))?;
    command.arg("serve").args(["--listen", &addr.to_string()]).args(arguments);
    Ok((command, addr))
}

/// A port that was free a moment ago: the programs cannot all be asked for any, and told apart afterwards.
fn free_address(program: &str) -> Result<SocketAddr, Error> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    bound.map_err(|source| Error::Start { program: program.to_owned(), source })
}

fn find(program: &str) -> Result<PathBuf, Error> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian keeps nginx where only root looks.
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut files = folders.map(|folder| folder.join(program));
    files.find(|file| file.is_file()).ok_or_else(|| Error::Missing { program: program.to_owned() })
}
