//! The program `signalbox-data-plane`: reads its options, starts what they say, and turns what happens into an exit code.

use std::{io, process::ExitCode};

use clap::Parser as _;
use signalbox_data_plane::{App, BuildError, readiness};
use signalbox_logs::Log;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

mod config;

use config::{Cli, Command, Serve};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit codes besides clap's 2 for wrong usage; 78 is `EX_CONFIG` of sysexits.h.
const FAILED: u8 = 1;
const BAD_CONFIGURATION: u8 = 78;

// What carries connections has threads of its own.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let Cli { logs, command } = Cli::parse();
    let log = logs.start::<Cli>();
    let done = match command {
        Command::Serve(options) => serve(*options, &log).await,
        Command::Healthcheck(options) => readiness::check(&options.url).await.map_err(Into::into),
    };
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(if is_configuration(&error) { BAD_CONFIGURATION } else { FAILED })
        }
    };
    log.flush();
    code
}

async fn serve(options: Serve, log: &Log) -> anyhow::Result<()> {
    let options = options.prepare(Some(log.level()))?;
    let (replica_id, control_plane, tls) =
        (options.replica_id.clone(), options.control_plane.clone(), options.tls.is_some());
    let app = App::build(options).await?;
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone(), log.clone())?;
    tracing::info!(clients = %app.local_addr(), tls, %control_plane, replica_id, "serving");
    Ok(app.run(stop).await?)
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
    error.downcast_ref().is_some_and(BuildError::is_configuration) || error.is::<config::Error>()
}
