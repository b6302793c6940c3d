//! The command line and the environment: flags over environment over defaults. It turns words into typed options, and makes what is
//! missing in the data folder.

use std::{
    env,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use http::Uri;
use secrecy::SecretString;
use signalbox_data_plane::{
    CacheOptions, Drain, Limits, Options, Tls,
    cache::{CacheKey, InvalidKey},
};
use signalbox_logs::{Level, Logs};
use uuid::Uuid;
use zeroize::Zeroizing;

const JOIN_TOKEN: &str = "SIGNALBOX_JOIN_TOKEN";

/// Signalbox's data plane: takes clients' OpenAI-compatible traffic to the providers that the control plane names.
#[derive(Debug, Parser)]
#[command(name = "signalbox-data-plane", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) logs: Logs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve clients
    Serve(Box<Serve>),
    /// Ask a data plane whether it is ready: exit with 0 if it is, 1 if not
    Healthcheck(Healthcheck),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The control plane's sync address; off loopback it must be https://
    #[arg(long, value_name = "URL", env = "SIGNALBOX_CONTROL_PLANE")]
    control_plane: Uri,
    /// The authorities that the control plane's certificate is checked against, PEM [default: the public ones]
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_SYNC_CA")]
    sync_ca: Option<PathBuf>,
    /// The file with the token to join with, or SIGNALBOX_JOIN_TOKEN [default: join-token in the data folder]
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_JOIN_TOKEN_FILE")]
    join_token_file: Option<PathBuf>,
    /// The folder for everything that is kept, of this data plane alone; made if missing
    #[arg(long, value_name = "DIR", env = "SIGNALBOX_DATA_DIR", default_value = "./signalbox-data")]
    data_dir: PathBuf,
    /// The name that the control plane knows this data plane by [default: replica-id in the data folder, made if missing]
    #[arg(long, value_name = "NAME", env = "SIGNALBOX_REPLICA_ID")]
    replica_id: Option<String>,
    /// Where clients connect: PORT or ADDRESS:PORT; a bare port means loopback, 0 any free one
    #[arg(long, value_name = "ADDRESS", env = "SIGNALBOX_LISTEN", default_value = "8080", value_parser = address)]
    listen: SocketAddr,
    /// The certificate chain that clients are shown, PEM; without it they are served plain HTTP
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Threads that carry connections, each with its own connections to the providers [default: one a core]
    #[arg(long, value_name = "COUNT", env = "SIGNALBOX_WORKERS")]
    workers: Option<NonZeroUsize>,
    /// Client connections at once; more wait [default: 10000]
    #[arg(long, value_name = "COUNT", env = "SIGNALBOX_MAX_CONNECTIONS")]
    max_connections: Option<NonZeroUsize>,
    /// Requests under way at once; more are answered 503 [default: 10000]
    #[arg(long, value_name = "COUNT", env = "SIGNALBOX_MAX_REQUESTS")]
    max_requests: Option<NonZeroUsize>,
    /// From a stop signal to the listener's end, for load balancers to notice [default: 1]
    #[arg(long, value_name = "SECONDS", env = "SIGNALBOX_DRAIN_DELAY")]
    drain_delay: Option<u64>,
    /// After that, for requests under way to finish [default: 300]
    #[arg(long, value_name = "SECONDS", env = "SIGNALBOX_DRAIN_GRACE")]
    drain_grace: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Healthcheck {
    /// Where the data plane listens
    #[arg(long, value_name = "URL", env = "SIGNALBOX_HEALTHCHECK_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
}

/// Why the options cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no token to join with.
    #[error("no join token: name its file with --join-token-file, set {JOIN_TOKEN}, or put it into {}", default.display())]
    NoJoinToken {
        /// Where it is looked for last.
        default: PathBuf,
    },
    /// The token is given in two ways.
    #[error("{JOIN_TOKEN} and --join-token-file are both given: choose one")]
    TwoJoinTokens,
    /// What should hold a secret or a name holds nothing.
    #[error("{0} is empty")]
    Empty(String),
    /// A file or folder cannot be used.
    #[error("{} can be neither read nor made", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cache's key cannot be used.
    #[error(transparent)]
    CacheKey(#[from] InvalidKey),
}

impl Serve {
    /// Reads what the options name, and makes what may be made.
    ///
    /// # Errors
    /// [`Error`] says which variable or file is wrong.
    pub(crate) fn prepare(self, log_level: Option<Level>) -> Result<Options, Error> {
        let dir = &self.data_dir;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| Error::File { path: dir.clone(), source })?;
        let defaults = (Limits::default(), Drain::default());
        Ok(Options {
            listen: self.listen,
            tls: self.tls_cert.zip(self.tls_key).map(|(cert, key)| Tls { cert, key }),
            control_plane: self.control_plane,
            sync_ca: self.sync_ca,
            join_token: join_token(self.join_token_file, env::var(JOIN_TOKEN).ok(), dir)?,
            cache: Some(CacheOptions {
                dir: dir.join("cache"),
                key: CacheKey::load_or_create(&dir.join("cache.key"))?,
            }),
            replica_id: self.replica_id.map_or_else(|| replica_id(&dir.join("replica-id")), Ok)?,
            workers: self.workers,
            limits: Limits {
                max_connections: self.max_connections.map_or(defaults.0.max_connections, NonZeroUsize::get),
                max_requests: self.max_requests.map_or(defaults.0.max_requests, NonZeroUsize::get),
                ..defaults.0
            },
            drain: Drain {
                delay: self.drain_delay.map_or(defaults.1.delay, Duration::from_secs),
                grace: self.drain_grace.map_or(defaults.1.grace, Duration::from_secs),
                ..defaults.1
            },
            log_level,
        })
    }
}

fn join_token(file: Option<PathBuf>, variable: Option<String>, dir: &Path) -> Result<SecretString, Error> {
    match (file, variable) {
        (Some(_), Some(_)) => Err(Error::TwoJoinTokens),
        (Some(file), None) => secret(&file),
        (None, Some(token)) if token.trim().is_empty() => Err(Error::Empty(JOIN_TOKEN.to_owned())),
        (None, Some(token)) => Ok(token.trim().into()),
        (None, None) => {
            let default = dir.join("join-token");
            if default.exists() { secret(&default) } else { Err(Error::NoJoinToken { default }) }
        }
    }
}

fn secret(path: &Path) -> Result<SecretString, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let text = Zeroizing::new(text);
    if text.trim().is_empty() { Err(Error::Empty(path.display().to_string())) } else { Ok(text.trim().into()) }
}

/// The name in the file; a file that is missing is made with a new one.
fn replica_id(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => file.write_all(format!("replica-{}\n", Uuid::new_v4().simple()).as_bytes()).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let id = fs::read_to_string(path).map_err(failed)?;
    if id.trim().is_empty() { Err(Error::Empty(path.display().to_string())) } else { Ok(id.trim().to_owned()) }
}

/// Reads `PORT` or `ADDRESS:PORT`.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| "neither PORT nor ADDRESS:PORT, such as 8080, 0.0.0.0:8080 or [::]:8080".to_owned())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn serve(dir: &Path, flags: &[&str]) -> Result<Options, Error> {
        let fixed = ["signalbox-data-plane", "serve", "--control-plane", "http://127.0.0.1:9091", "--data-dir"];
        let words = fixed.into_iter().chain([dir.to_str().unwrap()]).chain(flags.iter().copied());
        match Cli::try_parse_from(words).unwrap().command {
            Command::Serve(serve) => serve.prepare(None),
            Command::Healthcheck(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bare_port_means_loopback() {
        assert_eq!(address("8080").unwrap(), "127.0.0.1:8080".parse().unwrap());
        assert_eq!(address("0.0.0.0:0").unwrap(), "0.0.0.0:0".parse().unwrap());
        assert_eq!(address("[::1]:80").unwrap(), "[::1]:80".parse().unwrap());
        for bad in ["", "65536", "localhost:80", "80:", ":80", "-1"] {
            assert!(address(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_new_folder_gets_a_name_and_a_key_and_keeps_them() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("join-token"), "token\n").unwrap();
        let (first, second) = (serve(&dir, &[]).unwrap(), serve(&dir, &[]).unwrap());
        assert_eq!(first.replica_id, second.replica_id);
        assert_eq!(first.join_token.expose_secret(), "token");
        assert!(dir.join("cache.key").exists());
        assert_eq!(serve(&dir, &["--replica-id", "mine"]).unwrap().replica_id, "mine");
    }

    #[test]
    fn the_join_token_comes_from_one_place() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("given");
        let given = || Some(file.clone());
        let found = |file, variable: Option<&str>| join_token(file, variable.map(str::to_owned), root.path());
        assert!(matches!(found(None, None), Err(Error::NoJoinToken { .. })));
        assert!(matches!(found(given(), None), Err(Error::File { .. })));
        fs::write(&file, " \n").unwrap();
        assert!(matches!(found(given(), None), Err(Error::Empty(_))));
        fs::write(&file, "from-file\n").unwrap();
        assert_eq!(found(given(), None).unwrap().expose_secret(), "from-file");
        assert_eq!(found(None, Some(" from-env ")).unwrap().expose_secret(), "from-env");
        assert!(matches!(found(None, Some("")), Err(Error::Empty(_))));
        assert!(matches!(found(given(), Some("from-env")), Err(Error::TwoJoinTokens)));
    }

    #[test]
    fn what_an_operator_sets_is_in_force_and_the_rest_keeps_its_default() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("join-token"), "token").unwrap();
        let flags = ["--max-connections", "5", "--drain-grace", "7", "--workers", "3"];
        let Options { limits, drain, workers, .. } = serve(root.path(), &flags).unwrap();
        assert_eq!(workers, NonZeroUsize::new(3));
        assert_eq!((limits.max_connections, limits.max_requests), (5, 10_000));
        assert_eq!((drain.delay, drain.grace), (Duration::from_secs(1), Duration::from_secs(7)));
    }

    #[test]
    fn wrong_usage_is_told_from_wrong_configuration() {
        for words in [
            &["signalbox-data-plane"][..],
            &["signalbox-data-plane", "serve"],
            &["signalbox-data-plane", "serve", "--control-plane", "http://a", "--tls-cert", "a.pem"],
            &["signalbox-data-plane", "serve", "--control-plane", "http://a", "--max-connections", "0"],
        ] {
            assert_eq!(Cli::try_parse_from(words).unwrap_err().exit_code(), 2, "{words:?}");
        }
    }
}
