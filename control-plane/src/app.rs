//! The control plane as a running thing: binds both ports, opens the store, serves, and stops in bounded time. What is served is the
//! business of the rooms that it puts together.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt as _, TryFutureExt as _};
use rustls::ServerConfig;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    admin::{self, Auth, Fleet, Front, Informed},
    audit::{self, Audit},
    backup::{self, Schedule},
    fence::Fence,
    high_water,
    import::Import,
    ledger::{self, Ledger, Retention, Writer},
    replicas::Replicas,
    seal::MasterKey,
    source::{self, Source},
    sync::{ConfigSync, Followed, KEEP_ALIVE},
    tls::{self, AdminTls, SyncTls},
    tokens::Tokens,
};

mod error;

pub use error::{BuildError, RunError};

/// From the stop signal to the end, whoever is still connected by then.
pub const DRAIN: Duration = Duration::from_secs(10);

/// From the notice that the end is near until probes that watch are let go.
const FAREWELL: Duration = Duration::from_secs(1);

/// From the end of the servers until the database is closed; a crash at this point loses nothing.
const CLOSING: Duration = Duration::from_secs(2);

/// What the health service calls the server as a whole.
const OVERALL: &str = "";

/// What a control plane is made of.
#[derive(Debug)]
pub struct Options {
    /// The database file.
    pub database: PathBuf,
    /// Where operators connect; port 0 = any that is free.
    pub admin_listen: SocketAddr,
    /// Where data planes connect; port 0 = any that is free.
    pub sync_listen: SocketAddr,
    /// Certificate and key of the sync port. Absent = no TLS, which is for loopback only.
    pub sync_tls: Option<SyncTls>,
    /// Certificate and key of the admin port. Absent = no TLS, which is for loopback only.
    pub admin_tls: Option<AdminTls>,
    /// What admin calls carry, besides the tokens that are made in the admin API. It can do everything and is always there.
    pub admin_token: SecretString,
    /// How much of the audit is kept.
    pub audit: audit::Keep,
    /// What data planes join with.
    pub join_token: SecretString,
    /// What stored secrets are sealed under.
    pub master_key: MasterKey,
    /// The file that the configuration comes from; `None` = from operators only.
    pub source: Option<source::Options>,
    /// Whether pending migrations of an existing database are run; a new database is always made.
    pub auto_migrate: bool,
    /// How much of the past is kept.
    pub retention: Retention,
    /// Most that the database may grow to, in bytes; `None` = as far as the disk goes.
    pub max_database_bytes: Option<u64>,
    /// How often copies of the database are made; `None` = never by themselves.
    pub backups: Option<Schedule>,
}

/// A control plane that is bound and loaded, and does not serve yet.
#[derive(Debug)]
pub struct App {
    admin: Bound,
    sync: Bound,
    sync_server: Server,
    operators: Operators,
    join_token: SecretString,
    ledger: Ledger,
    writing: JoinHandle<()>,
    replicas: Replicas,
    source: Option<Source>,
    backups: Option<(Schedule, PathBuf)>,
}

/// What the admin port needs to know of who calls.
#[derive(Debug)]
struct Operators {
    tls: Option<Arc<ServerConfig>>,
    root: SecretString,
    tokens: Tokens,
    keep: audit::Keep,
}

#[derive(Debug)]
struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl App {
    /// Binds both ports and loads the configuration.
    ///
    /// # Errors
    /// [`BuildError`] names the address and the flag, or what is wrong with the files.
    pub async fn build(options: Options) -> Result<Self, BuildError> {
        let Options {
            database,
            admin_listen,
            sync_listen,
            sync_tls,
            admin_tls,
            admin_token,
            audit,
            join_token,
            master_key,
            source,
            auto_migrate,
            retention,
            max_database_bytes: max_bytes,
            backups,
        } = options;
        require_token(&admin_token, "the admin token", "--admin-token-file")?;
        require_token(&join_token, "the join token", "--join-token-file")?;
        let admin_tls = admin_tls.as_ref().map(tls::for_operators).transpose()?;
        let sync_server = match &sync_tls {
            Some(tls) => tls::secured(server(), tls)?,
            None if sync_listen.ip().is_loopback() => server(),
            None => return Err(BuildError::SyncWithoutTls { address: sync_listen }),
        };
        let mut source = match source {
            Some(source) => Some(Source::open(source).await?),
            None => None,
        };
        let admin = bind(admin_listen, "--admin-listen").await?;
        let sync = bind(sync_listen, "--sync-listen").await?;
        let kept = ledger::Options { database: database.clone(), master_key, auto_migrate, retention, max_bytes };
        let (ledger, writer) = Ledger::open(kept).await?;
        // It ends with the last handle on the ledger.
        let writing = tokio::spawn(write(writer, high_water(&ledger, &database)));
        if let Some(source) = &mut source {
            source.begin(&ledger).await?;
        }
        let tokens = Tokens::open(&ledger).await?;
        let operators = Operators { tls: admin_tls, root: admin_token, tokens, keep: audit };
        let backups = backups.map(|schedule| (schedule, database));
        let replicas = Replicas::default();
        Ok(Self { admin, sync, sync_server, operators, join_token, ledger, writing, replicas, source, backups })
    }

    /// Where operators connect.
    #[must_use]
    pub const fn admin_addr(&self) -> SocketAddr {
        self.admin.address
    }

    /// Where data planes connect.
    #[must_use]
    pub const fn sync_addr(&self) -> SocketAddr {
        self.sync.address
    }

    /// The configuration, for whoever runs in the same process.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What is known of the data planes.
    #[cfg(test)]
    pub(crate) const fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// What the file says that the configuration comes from; `None` = there is none.
    #[must_use]
    pub fn imported(&self) -> Option<&Import> {
        self.source.as_ref().map(Source::import)
    }

    /// Serves until `stop`, then lets what is under way finish, for [`DRAIN`] at most.
    ///
    /// # Errors
    /// [`RunError`] where it cannot go on.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        let Self {
            admin: admin_port,
            sync,
            mut sync_server,
            operators,
            join_token,
            ledger,
            mut writing,
            replicas,
            source,
            backups,
        } = self;
        let Operators { tls, root, tokens, keep } = operators;
        // Whatever ends this function ends the streams too, and with them the last handles on the ledger.
        let stop = stop.child_token();
        let _stopped = stop.clone().drop_guard();
        let health = HealthReporter::new();
        // Held until the servers have ended: with the last handle the writer ends too, and that is to mean that it failed.
        let in_use = ledger.clone();
        let reloads = source.as_ref().map(Source::reloads).unwrap_or_default();
        let followed = Followed { head: ledger.subscribe(), reloads, fence: ledger.fence().cloned() };
        let watch = ConfigSync::new(followed, &join_token, replicas.clone(), stop.clone());
        let following = Box::pin(follow(source, ledger.clone(), stop.clone()));
        let copying = Box::pin(back_up(backups, ledger.clone(), stop.clone()));
        let audit = Audit::default();
        let auth = Auth::new(&root, tokens.clone(), audit.clone());
        let fleet = Fleet::new(ledger.clone(), replicas, stop.clone());
        let routes = admin::routes(ledger, tokens, fleet, health.clone());
        let servers = Box::pin(async {
            let admin = server().accept_http1(true).layer(Front).layer(auth).layer(Informed).add_routes(routes);
            let stopped = stop.cancelled();
            let admin = match tls {
                None => admin.serve_with_incoming_shutdown(admin_port.incoming(), stopped).boxed(),
                Some(tls) => {
                    let secured = tls::accepted(admin_port.incoming(), tls);
                    admin.serve_with_incoming_shutdown(secured, stopped).boxed()
                }
            };
            let sync = sync_server
                .add_service(watch.service())
                .serve_with_incoming_shutdown(sync.incoming(), stop.cancelled());
            let lost = |port| move |source| RunError::Port { port, source };
            tokio::try_join!(
                admin.map_err(lost("admin")),
                sync.map_err(lost("sync")),
                following.map(Ok),
                copying.map(Ok)
            )?;
            watch.ended().await;
            Ok(())
        });
        tokio::select! {
            served = servers => served?,
            () = audit.run(&in_use, keep) => {}
            ended = &mut writing => return Err(RunError::Writer(ended.err())),
            () = overdue(&stop, health) => {
                tracing::warn!(after_s = DRAIN.as_secs(), "stopped while connections were still open");
                return Ok(());
            }
        };
        audit.flush(&in_use).await;
        drop(in_use);
        match timeout(CLOSING, writing).await {
            Ok(ended) => ended.map_err(|error| RunError::Writer(Some(error))),
            Err(_) => {
                tracing::warn!("stopped while somebody in this process still held the ledger");
                Ok(())
            }
        }
    }
}

/// Follows the file that is the source, if there is one.
async fn follow(source: Option<Source>, ledger: Ledger, stop: CancellationToken) {
    if let Some(source) = source {
        source.run(ledger, stop).await;
    }
}

/// Makes copies of the database, if anybody wants them.
async fn back_up(backups: Option<(Schedule, PathBuf)>, ledger: Ledger, stop: CancellationToken) {
    if let Some((schedule, database)) = backups {
        backup::keep(schedule, database, ledger, stop).await;
    }
}

/// What keeps how far history is published; nothing where the file is known to be an older one.
fn high_water(ledger: &Ledger, database: &Path) -> Option<impl Future<Output = ()> + use<>> {
    let is_fork = ledger.fence().is_some_and(|fence| matches!(**fence, Fence::Forked { .. }));
    (!is_fork).then(|| high_water::follow(database.to_owned(), ledger.subscribe()))
}

/// Writes until nobody can ask for it any more, and keeps how far that went.
async fn write(writer: Writer, keeping: Option<impl Future<Output = ()>>) {
    match keeping {
        Some(keeping) => drop(tokio::join!(writer.run(), keeping)),
        None => writer.run().await,
    }
}

impl Bound {
    fn incoming(self) -> TcpIncoming {
        TcpIncoming::from(self.listener).with_nodelay(Some(true))
    }
}

/// Tells probes that the end is near, and returns when it has come.
async fn overdue(stop: &CancellationToken, mut health: HealthReporter) {
    stop.cancelled().await;
    health.set_service_status(OVERALL, ServingStatus::NotServing).await;
    sleep(FAREWELL).await;
    // A watch ends with what it watches; else a probe's would hold the door open until the last moment.
    health.clear_service_status(OVERALL).await;
    sleep(DRAIN - FAREWELL).await;
}

fn server() -> Server {
    Server::builder().http2_keepalive_interval(Some(KEEP_ALIVE)).http2_keepalive_timeout(Some(KEEP_ALIVE))
}

fn require_token(token: &SecretString, what: &'static str, flag: &'static str) -> Result<(), BuildError> {
    if token.expose_secret().trim().is_empty() { Err(BuildError::EmptyToken { what, flag }) } else { Ok(()) }
}

async fn bind(address: SocketAddr, flag: &'static str) -> Result<Bound, BuildError> {
    let error = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BuildError::InUse { address, flag },
        _ => BuildError::Listen { address, flag, source },
    };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    Ok(Bound { listener, address })
}
