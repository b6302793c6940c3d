//! The command line and the environment: flags over environment over defaults. It turns words into typed options and does nothing
//! with them.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand};
use http::Uri;
use secrecy::SecretString;
use signalbox_control_plane::{
    app::Options,
    audit,
    files::{self, ADMIN_TOKEN, DATABASE, DataDir, JOIN_TOKEN, MASTER_KEY},
    key,
    ledger::RetentionFlags,
    migrate,
    seal::{InvalidMasterKey, MasterKey},
    source,
    tls::{AdminTls, SyncTls},
};
use signalbox_logs::Logs;

pub(crate) mod storage;

use storage::{AdoptHistory, Backup, Restore, RotateMasterKey, Upkeep};

/// Signalbox's control plane: keeps the configuration, takes changes over gRPC, and pushes each revision to the data planes.
#[derive(Debug, Parser)]
#[command(name = "signalbox-control-plane", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) logs: Logs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve operators and data planes
    Serve(Box<Serve>),
    /// Bring the database to this build's schema
    Migrate(Migrate),
    /// Copy the database to a file, verified, whether or not a control plane is running
    Backup(Backup),
    /// Put a backup in the database's place, while no control plane is running
    Restore(Restore),
    /// Have data planes take a restored history whatever they hold, while no control plane is running
    AdoptHistory(AdoptHistory),
    /// Have the database open under another master key, while no control plane is running
    RotateMasterKey(RotateMasterKey),
    /// Make a certificate for the ports, and the authority that data planes trust; or certificates for operators
    Certificate(Certificate),
    /// Ask a control plane whether it serves: exit with 0 if it does, 1 if not
    Healthcheck(Healthcheck),
}

/// Where the database is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The folder for everything that is kept; made if missing
    #[arg(long, value_name = "DIR", env = "SIGNALBOX_DATA_DIR", default_value = "./signalbox-data")]
    pub(crate) data_dir: PathBuf,
    /// The database file [default: control.db in the data folder]
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_DATABASE")]
    database: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Where operators connect: PORT or ADDRESS:PORT; a bare port means loopback, 0 any free one
    #[arg(long, value_name = "ADDRESS", env = "SIGNALBOX_ADMIN_LISTEN", default_value = "9090", value_parser = address)]
    admin_listen: SocketAddr,
    /// Where data planes connect; off loopback it needs --sync-tls-cert and --sync-tls-key
    #[arg(long, value_name = "ADDRESS", env = "SIGNALBOX_SYNC_LISTEN", default_value = "9091", value_parser = address)]
    sync_listen: SocketAddr,
    /// The admin port's certificate chain, PEM
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_ADMIN_TLS_CERT", requires = "admin_tls_key")]
    admin_tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_ADMIN_TLS_KEY", requires = "admin_tls_cert")]
    admin_tls_key: Option<PathBuf>,
    /// The authority that signs operators' certificates, PEM: whoever has one needs no token
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_ADMIN_CLIENT_CA", requires = "admin_tls_cert")]
    admin_client_ca: Option<PathBuf>,
    /// The sync port's certificate chain, PEM
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_SYNC_TLS_CERT", requires = "sync_tls_key")]
    sync_tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_SYNC_TLS_KEY", requires = "sync_tls_cert")]
    sync_tls_key: Option<PathBuf>,
    /// The file with the token that data planes join with, or SIGNALBOX_JOIN_TOKEN [default: join-token in the data folder, made if missing]
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_JOIN_TOKEN_FILE")]
    join_token_file: Option<PathBuf>,
    /// The file with the token that admin calls carry, or SIGNALBOX_ADMIN_TOKEN [default: admin-token in the data folder, made if missing]
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
    /// The file with the key that stored secrets are sealed under, or SIGNALBOX_MASTER_KEY [default: master.key in the data folder, made if missing]
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_MASTER_KEY_FILE")]
    master_key_file: Option<PathBuf>,
    #[command(flatten)]
    source: source::Flags,
    #[command(flatten)]
    retention: RetentionFlags,
    #[command(flatten)]
    audit: audit::Flags,
    /// Run pending migrations of an existing database; a new one is always made
    #[arg(long, env = "SIGNALBOX_AUTO_MIGRATE")]
    auto_migrate: bool,
    #[command(flatten)]
    upkeep: Upkeep,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Change nothing; exit with 1 if there is something to do
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Certificate {
    /// The folder that the files are written to: ca.pem, sync.pem and sync.key, or operators-ca.pem and a certificate and key each
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// A host name or IP address that data planes or operators connect to; may be given several times
    #[arg(long = "host", value_name = "NAME", required_unless_present = "clients")]
    pub(crate) hosts: Vec<String>,
    /// An operator who is to have a certificate instead of a token, by a DNS-like name; may be given several times
    #[arg(long = "client", value_name = "NAME")]
    pub(crate) clients: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Healthcheck {
    /// Where operators connect
    #[arg(long, value_name = "URL", env = "SIGNALBOX_HEALTHCHECK_URL", default_value = "http://127.0.0.1:9090")]
    pub(crate) url: Uri,
    /// The authority that signed the admin port's certificate, PEM, for an https URL
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_HEALTHCHECK_CA")]
    pub(crate) ca: Option<PathBuf>,
}

/// Why the options cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A secret file cannot be used.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A secret is given in two ways.
    #[error("{variable} and {file} ({flag}) are both given: choose one", file = file.display())]
    Twice {
        /// The variable that holds it.
        variable: &'static str,
        /// The file that holds it.
        file: PathBuf,
        /// The flag that names that file.
        flag: &'static str,
    },
    /// A secret in the environment that holds nothing.
    #[error("{variable} is empty: put the secret into it, or unset it")]
    Empty {
        /// The variable.
        variable: &'static str,
    },
    /// A secret in the environment that is no text.
    #[error("{variable} is not UTF-8")]
    NotText {
        /// The variable.
        variable: &'static str,
    },
    /// A database is there, and the key that it was made under is not.
    #[error(
        "the database {} is there, but not the master key that its secrets are sealed under: put {} back, \
         or give the key with --master-key-file or SIGNALBOX_MASTER_KEY",
        database.display(),
        key.display()
    )]
    MasterKeyMissing {
        /// The database file.
        database: PathBuf,
        /// Where its key is expected.
        key: PathBuf,
    },
    /// The master key is none.
    #[error("{from}: {source}")]
    MasterKey {
        /// Where it comes from.
        from: String,
        /// What one looks like.
        source: InvalidMasterKey,
    },
}

/// What a server is made of, and what there is to say about it.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What the server is made of.
    pub(crate) options: Options,
    /// Where the admin token is, for people.
    pub(crate) admin_token_in: String,
}

impl Place {
    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.database.clone().unwrap_or_else(|| self.data_dir.join(DATABASE))
    }

    /// The database file, in a folder where it can be made.
    ///
    /// # Errors
    /// [`files::Error`] where the data folder cannot be made.
    pub(crate) fn prepare(&self) -> Result<PathBuf, files::Error> {
        if self.database.is_none() {
            DataDir::open(&self.data_dir)?;
        }
        Ok(self.database())
    }
}

impl Serve {
    /// Reads the secrets that the options name, and makes those that may be made.
    ///
    /// # Errors
    /// [`Error`] says which variable or file is wrong.
    pub(crate) async fn prepare(self, env: impl Fn(&str) -> Option<OsString>) -> Result<Prepared, Error> {
        let database = self.place.database();
        let dir = DataDir::open(&self.place.data_dir)?;
        let secret = |variable, flag, file| Secret { variable, flag, file }.find(&env);
        let admin = secret("SIGNALBOX_ADMIN_TOKEN", "--admin-token-file", self.admin_token_file)?;
        let join = secret("SIGNALBOX_JOIN_TOKEN", "--join-token-file", self.join_token_file)?;
        let master = secret("SIGNALBOX_MASTER_KEY", "--master-key-file", self.master_key_file)?;
        let (admin_token, admin_token_in) = admin.or_made(&dir, ADMIN_TOKEN, key::token)?;
        let (join_token, _) = join.or_made(&dir, JOIN_TOKEN, key::token)?;
        let key = dir.join(MASTER_KEY);
        if matches!(master, Found::Nowhere) && !key.exists() && migrate::is_sealed(&database).await {
            return Err(Error::MasterKeyMissing { database, key });
        }
        let (text, from) = master.or_made(&dir, MASTER_KEY, || MasterKey::generate().to_text())?;
        let master_key = MasterKey::parse(&text).map_err(|source| Error::MasterKey { from, source })?;
        let sync_tls = self.sync_tls_cert.zip(self.sync_tls_key).map(|(cert, key)| SyncTls { cert, key });
        let client_ca = self.admin_client_ca;
        let admin_tls = self.admin_tls_cert.zip(self.admin_tls_key);
        let admin_tls = admin_tls.map(|(cert, key)| AdminTls { cert, key, client_ca });
        let options = Options {
            database,
            admin_listen: self.admin_listen,
            sync_listen: self.sync_listen,
            sync_tls,
            admin_tls,
            audit: self.audit.keep(),
            admin_token,
            join_token,
            master_key,
            source: self.source.options(),
            auto_migrate: self.auto_migrate,
            retention: self.retention.options(),
            max_database_bytes: self.upkeep.max_database_bytes,
            backups: self.upkeep.schedule(),
        };
        Ok(Prepared { options, admin_token_in })
    }
}

/// The master key of a database that is there, and where it comes from. None is made.
///
/// # Errors
/// [`Error`] says which variable or file is wrong.
pub(crate) fn master_key(
    place: &Place,
    file: Option<PathBuf>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<(MasterKey, String), Error> {
    let secret = Secret { variable: "SIGNALBOX_MASTER_KEY", flag: "--master-key-file", file };
    let (text, from) = match secret.find(&env)? {
        Found::Here(text, from) => (text, from),
        Found::Nowhere => {
            let file = place.data_dir.join(MASTER_KEY);
            (files::read_secret(&file)?, path(&file))
        }
    };
    match MasterKey::parse(&text) {
        Ok(key) => Ok((key, from)),
        Err(source) => Err(Error::MasterKey { from, source }),
    }
}

/// A secret that may be in a variable, or in a file that a flag names.
struct Secret {
    variable: &'static str,
    flag: &'static str,
    file: Option<PathBuf>,
}

enum Found {
    /// Here, and where it comes from.
    Here(SecretString, String),
    /// Nobody said.
    Nowhere,
}

impl Secret {
    fn find(self, env: impl Fn(&str) -> Option<OsString>) -> Result<Found, Error> {
        let Self { variable, flag, file } = self;
        match (env(variable), file) {
            (Some(_), Some(file)) => Err(Error::Twice { variable, file, flag }),
            (None, Some(file)) => Ok(Found::Here(files::read_secret(&file)?, path(&file))),
            (None, None) => Ok(Found::Nowhere),
            (Some(value), None) => {
                let text = value.into_string().map_err(|_| Error::NotText { variable })?;
                let text = text.trim();
                if text.is_empty() {
                    Err(Error::Empty { variable })
                } else {
                    Ok(Found::Here(text.into(), variable.to_owned()))
                }
            }
        }
    }
}

impl Found {
    /// The secret, else the one in the data folder, which is made where it is not there.
    fn or_made(
        self,
        dir: &DataDir,
        name: &str,
        make: impl FnOnce() -> SecretString,
    ) -> Result<(SecretString, String), Error> {
        match self {
            Self::Here(secret, from) => Ok((secret, from)),
            Self::Nowhere => Ok((dir.secret(name, make)?, path(&dir.join(name)))),
        }
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// Reads `PORT` or `ADDRESS:PORT`.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| "neither PORT nor ADDRESS:PORT, such as 9090, 0.0.0.0:9090 or [::]:9090".to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use secrecy::ExposeSecret as _;

    use super::*;

    fn serve(dir: &Path, flags: &[&str]) -> Serve {
        let words = ["signalbox-control-plane", "serve", "--data-dir", dir.to_str().unwrap()];
        match Cli::try_parse_from(words.iter().chain(flags)).unwrap().command {
            Command::Serve(serve) => *serve,
            other => panic!("{other:?}"),
        }
    }

    fn nothing(_: &str) -> Option<OsString> {
        None
    }

    #[test]
    fn a_bare_port_means_loopback() {
        assert_eq!(address("9090").unwrap(), "127.0.0.1:9090".parse().unwrap());
        assert_eq!(address("0.0.0.0:0").unwrap(), "0.0.0.0:0".parse().unwrap());
        assert_eq!(address("[::1]:9091").unwrap(), "[::1]:9091".parse().unwrap());
        for bad in ["", "65536", "localhost:9090", "9090:", ":9090", "-1"] {
            assert!(address(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[tokio::test]
    async fn a_new_folder_gets_its_secrets_and_keeps_them() {
        let root = tempfile::tempdir().unwrap();
        let first = serve(root.path(), &[]).prepare(nothing).await.unwrap();
        let second = serve(root.path(), &[]).prepare(nothing).await.unwrap();
        assert_eq!(first.options.admin_token.expose_secret(), second.options.admin_token.expose_secret());
        assert_eq!(first.options.master_key.id(), second.options.master_key.id());
        assert_eq!(first.options.database, root.path().join("control.db"));
        assert!(first.admin_token_in.ends_with("admin-token"));
    }

    #[tokio::test]
    async fn a_secret_comes_from_a_file_or_the_environment_but_not_from_both() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("given");
        fs::write(&file, "from-file\n").unwrap();
        let flags = ["--admin-token-file", file.to_str().unwrap()];
        let env = |name: &str| (name == "SIGNALBOX_ADMIN_TOKEN").then(|| "from-env".into());

        let by_file = serve(root.path(), &flags).prepare(nothing).await.unwrap();
        assert_eq!(by_file.options.admin_token.expose_secret(), "from-file");
        let by_env = serve(root.path(), &[]).prepare(env).await.unwrap();
        assert_eq!(by_env.options.admin_token.expose_secret(), "from-env");
        assert_eq!(by_env.admin_token_in, "SIGNALBOX_ADMIN_TOKEN");
        assert!(matches!(serve(root.path(), &flags).prepare(env).await, Err(Error::Twice { .. })));
        let empty = |name: &str| (name == "SIGNALBOX_JOIN_TOKEN").then(|| " ".into());
        assert!(matches!(
            serve(root.path(), &[]).prepare(empty).await,
            Err(Error::Empty { variable: "SIGNALBOX_JOIN_TOKEN" })
        ));
    }

    #[tokio::test]
    async fn a_database_without_its_master_key_is_not_given_another() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("control.db"), "whatever this is").unwrap();
        assert!(matches!(serve(root.path(), &[]).prepare(nothing).await, Err(Error::MasterKeyMissing { .. })));
        assert!(!root.path().join("master.key").exists());
        let bad = |name: &str| (name == "SIGNALBOX_MASTER_KEY").then(|| "too short".into());
        assert!(matches!(serve(root.path(), &[]).prepare(bad).await, Err(Error::MasterKey { .. })));
    }

    #[tokio::test]
    async fn a_database_that_was_only_migrated_is_given_a_master_key() {
        let root = tempfile::tempdir().unwrap();
        migrate::run(&root.path().join("control.db")).await.unwrap();
        serve(root.path(), &[]).prepare(nothing).await.unwrap();
        assert!(root.path().join("master.key").exists());
    }

    #[test]
    fn half_of_a_certificate_is_a_usage_error() {
        let words = ["signalbox-control-plane", "serve", "--sync-tls-cert", "a.pem"];
        assert_eq!(Cli::try_parse_from(words).unwrap_err().exit_code(), 2);
    }
}
