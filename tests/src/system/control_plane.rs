//! A control plane that can be killed, stopped and started again.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use signalbox_control_plane::{
    app::{App, BuildError, Options},
    audit,
    certificate::{self, Files, Outcome},
    files::{DATABASE, DataDir, MASTER_KEY},
    ledger::Retention,
    seal::MasterKey,
    source,
    tls::SyncTls,
};

use crate::process::Process;

/// The token of the operator.
pub const ADMIN_TOKEN: &str = "admin-token-of-the-stories";
/// The token that data planes join with.
pub const JOIN_TOKEN: &str = "join-token-of-the-stories";

/// A control plane on addresses and in a folder that it keeps.
#[derive(Debug)]
pub struct ControlPlane {
    dir: PathBuf,
    admin: SocketAddr,
    sync: SocketAddr,
    tls: Option<Files>,
    /// The file that its configuration comes from; a story may name one before it starts again.
    pub source: Option<source::Options>,
    process: Option<Process>,
}

/// What a data plane must know to join.
#[derive(Debug, Clone)]
pub struct Joining {
    /// The sync port's URL.
    pub url: String,
    /// The authority to trust.
    pub ca: Option<PathBuf>,
    /// The token to show.
    pub token: String,
}

impl ControlPlane {
    pub(super) async fn start_in(dir: PathBuf, host: IpAddr, tls: bool) -> Self {
        let any = SocketAddr::new(host, 0);
        let tls = tls.then(|| {
            let made = certificate::make(&dir.join("tls"), &[host.to_string()]).expect("certificates can be made");
            match made {
                Outcome::Made(files) | Outcome::AlreadyThere(files) => files,
            }
        });
        let mut plane = Self { dir, admin: any, sync: any, tls, source: None, process: None };
        plane.start().await;
        plane
    }

    /// Starts it on the addresses that it had.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn start(&mut self) {
        let (process, (admin, sync)) = run(self.options()).await.expect("the control plane starts");
        (self.admin, self.sync, self.process) = (admin, sync, Some(process));
    }

    /// Kills it, as SIGKILL would.
    ///
    /// # Panics
    /// Where it does not run.
    pub async fn kill(&mut self) {
        self.process.take().expect("the control plane runs").kill().await;
    }

    /// Stops it, as SIGTERM would, and waits until it has ended.
    ///
    /// # Panics
    /// Where it does not run, or fails.
    pub async fn stop(&mut self) {
        let process = self.process.take().expect("the control plane runs");
        process.ask_to_stop();
        process.ended().await;
    }

    /// The folder that it lives in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// From its next start on it lives in this folder.
    pub fn move_to(&mut self, dir: PathBuf) {
        self.dir = dir;
    }

    /// Where operators connect.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// What a data plane must know to join.
    pub fn joining(&self) -> Joining {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Joining {
            url: format!("{scheme}://{}", self.sync),
            ca: self.tls.as_ref().map(|files| files.ca.clone()),
            token: JOIN_TOKEN.to_owned(),
        }
    }

    /// How it is started; a story may start another one with it.
    ///
    /// # Panics
    /// Where its folder or master key cannot be made.
    pub fn options(&self) -> Options {
        let dir = DataDir::open(&self.dir).expect("the folder can be made");
        let master_key = dir.secret(MASTER_KEY, || MasterKey::generate().to_text()).expect("the key can be made");
        Options {
            database: dir.join(DATABASE),
            admin_listen: self.admin,
            sync_listen: self.sync,
            admin_tls: None,
            audit: audit::Keep::default(),
            sync_tls: self.tls.as_ref().map(|files| SyncTls { cert: files.cert.clone(), key: files.key.clone() }),
            admin_token: SecretString::from(ADMIN_TOKEN),
            join_token: SecretString::from(JOIN_TOKEN),
            master_key: MasterKey::parse(&master_key).expect("the key is one"),
            source: self.source.clone(),
            auto_migrate: true,
            retention: Retention::default(),
            max_database_bytes: None,
            backups: None,
        }
    }

    /// Why it does not start with these options.
    ///
    /// # Panics
    /// Where it does.
    pub async fn refusal(options: Options) -> BuildError {
        run(options).await.expect_err("the control plane refuses to start")
    }
}

async fn run(options: Options) -> Result<(Process, (SocketAddr, SocketAddr)), BuildError> {
    Process::start(async move || {
        let app = App::build(options).await?;
        let addresses = (app.admin_addr(), app.sync_addr());
        Ok((addresses, move |stop| app.run(stop)))
    })
    .await
}
