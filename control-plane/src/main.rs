//! The program `signalbox-control-plane`: reads its options, starts what they say, and turns what happens into an exit code.

use std::{env, fs, io, path::Path, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser as _;
use signalbox_control_plane::{
    app::{App, BuildError},
    certificate::{self, ClientFiles, Files, Outcome},
    files,
    migrate::{self, Standing},
};
use signalbox_logs::Log;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate as Pem, ClientTlsConfig, Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

mod config;
mod offline;

use config::{Certificate, Cli, Command, Healthcheck, Migrate, Prepared, Serve};

/// Exit codes besides clap's 2 for wrong usage; 78 is `EX_CONFIG` of sysexits.h.
const FAILED: u8 = 1;
const BAD_CONFIGURATION: u8 = 78;

/// How long each step of a health check may take: less than whoever runs it waits.
const HEALTHCHECK_PATIENCE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { logs, command } = Cli::parse();
    let log = logs.start::<Cli>();
    let done = match command {
        Command::Serve(options) => Box::pin(serve(*options, &log)).await,
        Command::Migrate(options) => migrate(options).await,
        Command::Backup(options) => offline::back_up(options).await,
        Command::Restore(options) => Box::pin(offline::restore(options)).await,
        Command::AdoptHistory(options) => Box::pin(offline::adopt(options)).await,
        Command::RotateMasterKey(options) => Box::pin(offline::rotate_master_key(options)).await,
        Command::Certificate(options) => make_certificate(&options),
        Command::Healthcheck(options) => healthcheck(options).await,
    };
    let code = done.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::from(if is_configuration(&error) { BAD_CONFIGURATION } else { FAILED })
    });
    log.flush();
    code
}

async fn serve(options: Serve, log: &Log) -> anyhow::Result<ExitCode> {
    let Prepared { options, admin_token_in } = options.prepare(|name| env::var_os(name)).await?;
    let (database, tls) = (options.database.display().to_string(), options.sync_tls.is_some());
    let admin_tls = options.admin_tls.is_some();
    let app = App::build(options).await?;
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone(), log.clone())?;
    let revision = app.ledger().state().position.revision.get();
    tracing::info!(admin = %app.admin_addr(), sync = %app.sync_addr(), admin_tls, tls, database, revision, admin_token_in, "serving");
    if !admin_tls && !app.admin_addr().ip().is_loopback() {
        tracing::warn!(
            "the admin port is not on loopback and has no TLS, so that tokens travel in the clear: give --admin-tls-cert and \
             --admin-tls-key, or put a proxy with TLS in front of it"
        );
    }
    Box::pin(app.run(stop)).await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn migrate(options: Migrate) -> anyhow::Result<ExitCode> {
    if options.check {
        let database = options.place.database();
        let standing = migrate::check(&database).await?;
        tracing::info!(database = %database.display(), ?standing, "checked, nothing changed");
        return Ok(ExitCode::from(if standing == Standing::Current { 0 } else { FAILED }));
    }
    let database = options.place.prepare()?;
    let before = migrate::run(&database).await?;
    tracing::info!(database = %database.display(), ?before, "migrated");
    Ok(ExitCode::SUCCESS)
}

fn make_certificate(options: &Certificate) -> anyhow::Result<ExitCode> {
    let Certificate { out, hosts, clients } = options;
    if !hosts.is_empty() {
        make_server_certificate(out, hosts)?;
    }
    if !clients.is_empty() {
        for files in certificate::make_clients(out, clients)? {
            let ClientFiles { ca, cert, key } = &files;
            tracing::info!("operator: certificate {}, its key {}", cert.display(), key.display());
            tracing::info!("control plane: --admin-client-ca {}", ca.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn make_server_certificate(out: &Path, hosts: &[String]) -> Result<(), certificate::Error> {
    let files = match certificate::make(out, hosts)? {
        Outcome::Made(files) => files,
        Outcome::AlreadyThere(files) => {
            tracing::info!("the files are there already, and stay as they are");
            files
        }
    };
    let Files { ca, cert, key } = &files;
    tracing::info!("control plane: --sync-tls-cert {} --sync-tls-key {}", cert.display(), key.display());
    tracing::info!("data planes: --sync-ca {}", ca.display());
    tracing::info!("and for operators: --admin-tls-cert {} --admin-tls-key {}", cert.display(), key.display());
    Ok(())
}

async fn healthcheck(options: Healthcheck) -> anyhow::Result<ExitCode> {
    let Healthcheck { url, ca } = options;
    let secured = url.scheme_str() == Some("https");
    let mut endpoint = Endpoint::from(url).connect_timeout(HEALTHCHECK_PATIENCE).timeout(HEALTHCHECK_PATIENCE);
    if secured || ca.is_some() {
        endpoint = endpoint.tls_config(trusting(ca.as_deref())?)?;
    }
    let mut health = HealthClient::new(endpoint.connect().await.context("no control plane answers there")?);
    let answer = health.check(HealthCheckRequest::default()).await;
    let answer = answer.map_err(|status| anyhow::anyhow!("no control plane answers there: {}", status.message()));
    let status = answer?.into_inner().status();
    anyhow::ensure!(status == ServingStatus::Serving, "the control plane says {}", status.as_str_name());
    Ok(ExitCode::SUCCESS)
}

/// TLS with whoever this authority has signed for, or an authority of this machine.
fn trusting(ca: Option<&Path>) -> anyhow::Result<ClientTlsConfig> {
    let Some(path) = ca else { return Ok(ClientTlsConfig::new().with_native_roots()) };
    let pem = fs::read(path).with_context(|| format!("{} cannot be read (--ca)", path.display()))?;
    Ok(ClientTlsConfig::new().ca_certificate(Pem::from_pem(pem)))
}

/// The first SIGTERM or SIGINT drains, the second does not wait.
fn stop_on_signal(stop: CancellationToken, log: Log) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            if stop.is_cancelled() {
                log.flush();
                std::process::exit(FAILED.into());
            }
            tracing::info!("draining; a second signal stops at once");
            stop.cancel();
        }
    });
    Ok(())
}

/// Whether trying again with the same options is of no use.
fn is_configuration(error: &anyhow::Error) -> bool {
    if let Some(error) = error.downcast_ref::<BuildError>() {
        return error.is_configuration();
    }
    if let Some(error) = error.downcast_ref::<certificate::Error>() {
        return match error {
            certificate::Error::Host { .. }
            | certificate::Error::Client { .. }
            | certificate::Error::There { .. }
            | certificate::Error::Partial { .. } => true,
            certificate::Error::Write { .. } | certificate::Error::Sign(_) => false,
        };
    }
    error.is::<config::Error>()
        || error.is::<files::Error>()
        || matches!(error.downcast_ref(), Some(migrate::Error::Newer { .. }))
}
