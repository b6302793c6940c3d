//! The whole system in one process, as far apart as in several: a control plane on SQLite, a data plane joined to it by the watch stream
//! on loopback, and the demo upstream. It says what is run and configured, and knows nothing of how.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use http::uri::InvalidUri;
use secrecy::{ExposeSecret as _, SecretString};
use signalbox_control_plane::{
    app as control_plane, audit,
    files::{DATABASE, DataDir},
    import::Import,
    ledger::Retention,
    source,
};
use signalbox_data_plane::{
    self as data_plane, CacheOptions, Drain, Limits,
    cache::{CacheKey, InvalidKey},
};
use signalbox_logs::Level;
use signalbox_routing::Revision;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::{
    accounts::Account,
    admin::{self, Admin},
    demo::Demo,
};

mod block;
mod configure;
mod planes;
mod secrets;
mod wanted;

pub use block::{Block, Mount, Summary};
use configure::{Configured, Goal};
use planes::Planes;
use secrets::Secrets;

/// How long the data plane may take to serve the configuration.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where clients connect, where nobody says otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// What `up` is told.
#[derive(Debug)]
pub struct Options {
    /// The folder with everything that is kept; made if it is not there.
    pub data_dir: PathBuf,
    /// Where clients connect; port 0 = any that is free, here and below. `None` = where the configuration's file says, else port 8080 on loopback.
    pub listen: Option<SocketAddr>,
    /// Where operators connect.
    pub admin_listen: SocketAddr,
    /// Where data planes join.
    pub sync_listen: SocketAddr,
    /// The key that stored secrets are sealed under, as text; `None` = the one in the data folder, made where there is none.
    pub master_key: Option<SecretString>,
    /// The file that the configuration comes from, besides what is brought about here.
    pub source: Option<source::Options>,
    /// How much of the past is kept.
    pub retention: Retention,
    /// How much of the audit is kept.
    pub audit: audit::Keep,
    /// Whether the demo upstream is there.
    pub demo: bool,
    /// Accounts that become providers.
    pub accounts: Vec<Account>,
    /// What follows the configuration's log level; `None` = nothing does.
    pub log_level: Option<Level>,
}

/// Why the system does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The secrets in the data folder cannot be used.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// The key of the data plane's cache cannot be used.
    #[error(transparent)]
    CacheKey(#[from] InvalidKey),
    /// The sync port's address makes no URL.
    #[error("the sync port has no URL")]
    SyncUrl(#[from] InvalidUri),
    /// The control plane cannot be made.
    #[error(transparent)]
    ControlPlane(#[from] control_plane::BuildError),
    /// The data plane cannot be made.
    #[error(transparent)]
    DataPlane(#[from] data_plane::BuildError),
    /// The configuration cannot be brought about.
    #[error(transparent)]
    Configure(#[from] configure::Error),
    /// The configuration did not reach the data plane.
    #[error("the data plane did not serve revision {revision} within {} s", PATIENCE.as_secs())]
    NotServing {
        /// The revision.
        revision: u64,
    },
    /// The planes run no more.
    #[error(transparent)]
    Planes(#[from] planes::Error),
}

impl Error {
    /// Whether trying again with the same options is of no use.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Secrets(_) | Self::CacheKey(_) => true,
            Self::ControlPlane(error) => error.is_configuration(),
            Self::DataPlane(error) => error.is_configuration(),
            Self::Configure(configure::Error::Admin(admin::Error::Refused(status))) => {
                status.code() == Code::InvalidArgument
            }
            Self::Configure(_) | Self::SyncUrl(_) | Self::NotServing { .. } | Self::Planes(_) => false,
        }
    }
}

/// The system, running and configured.
#[derive(Debug)]
pub struct Up {
    planes: Planes,
    demo: Option<Demo>,
    summary: Summary,
}

impl Up {
    /// Starts everything, and returns once requests are answered from the configuration that was asked for.
    ///
    /// # Errors
    /// [`Error`] names the file, the address and its flag, or the field.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let dir = DataDir::open(&options.data_dir).map_err(secrets::Error::from)?;
        let secrets = Secrets::open(&dir)?;
        let had_database = dir.join(DATABASE).exists();
        let control_plane = control_plane(&options, &dir, &secrets).await?;
        let imported = control_plane.imported();
        let listen = options.listen.or_else(|| imported?.listen).unwrap_or(LISTEN);
        let routes = imported.map(mounts).unwrap_or_default();
        let to = Towards { listen, sync: control_plane.sync_addr(), log_level: options.log_level.clone() };
        let data_plane = data_plane(to, &dir, &secrets).await?;
        let mut summary = Summary {
            gateway: data_plane.local_addr(),
            admin: control_plane.admin_addr(),
            sync: control_plane.sync_addr(),
            admin_token: secrets.admin_token.clone(),
            client_key: None,
            data_dir: options.data_dir.clone(),
            database: dir.join(DATABASE),
            demo: options.demo,
            routes,
        };
        let fenced = control_plane.ledger().fence().is_some();
        let is_new = !had_database || control_plane.ledger().state().position.revision == Revision::FIRST;
        let mut planes = Planes::run(control_plane, data_plane);

        let admin = Admin::new(summary.admin, &secrets.admin_token).map_err(configure::Error::from)?;
        let client_key_may_be_removed = secrets.client_key_is_old && !is_new;
        let goal =
            Goal { accounts: &options.accounts, demo: options.demo, secrets: &secrets, client_key_may_be_removed };
        let Configured { revision, demo, client_key } = configure::bring_about(&admin, goal).await?;
        summary.client_key = client_key;

        // Before a restored history is adopted, the data plane goes on with what it holds, and operators look around meanwhile.
        if !fenced {
            timeout(PATIENCE, planes.serve(revision)).await.map_err(|_| Error::NotServing { revision })??;
        }
        Ok(Self { planes, demo, summary })
    }

    /// What there is to know about it.
    #[must_use]
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Serves until `stop`. Then the data plane finishes what it has begun, and after it the control plane and the demo upstream end.
    ///
    /// # Errors
    /// [`Error::Planes`] where a plane gave up, or something was cut off at the end.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Self { planes, demo, .. } = self;
        let outcome = planes.until(stop).await;
        if let Some(demo) = demo {
            demo.stop().await;
        }
        Ok(outcome?)
    }
}

/// The routes of a file, as they are listed.
fn mounts(imported: &Import) -> Vec<Mount> {
    let base_path = imported.config.settings.as_ref().map_or("", |settings| &settings.base_path);
    imported.config.routes.iter().map(|route| Mount::of(route, base_path)).collect()
}

/// Where a data plane listens, where it joins, and how much it logs.
struct Towards {
    listen: SocketAddr,
    sync: SocketAddr,
    log_level: Option<Level>,
}

async fn control_plane(options: &Options, dir: &DataDir, secrets: &Secrets) -> Result<control_plane::App, Error> {
    let options = control_plane::Options {
        database: dir.join(DATABASE),
        admin_listen: options.admin_listen,
        sync_listen: options.sync_listen,
        sync_tls: None,
        admin_tls: None,
        admin_token: secrets.admin_token.clone(),
        join_token: secrets.join_token.clone(),
        master_key: secrets::master_key(dir, options.master_key.as_ref())?,
        source: options.source.clone(),
        auto_migrate: true,
        retention: options.retention,
        audit: options.audit,
        max_database_bytes: None,
        backups: None,
    };
    Ok(control_plane::App::build(options).await?)
}

async fn data_plane(to: Towards, dir: &DataDir, secrets: &Secrets) -> Result<data_plane::App, Error> {
    let Towards { listen, sync, log_level } = to;
    let options = data_plane::Options {
        listen,
        tls: None,
        control_plane: format!("http://{sync}").parse()?,
        sync_ca: None,
        join_token: secrets.join_token.clone(),
        cache: Some(CacheOptions { dir: dir.join("cache"), key: CacheKey::load_or_create(&dir.join("cache.key"))? }),
        replica_id: secrets.replica_id.expose_secret().to_owned(),
        workers: None,
        limits: Limits::default(),
        // No load balancer has to notice that it stops.
        drain: Drain { delay: Duration::ZERO, ..Drain::default() },
        log_level,
    };
    Ok(data_plane::App::build(options).await?)
}

#[cfg(test)]
mod tests;
