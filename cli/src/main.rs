//! The program `signalbox`: reads its options, does what they say, and turns what happens into an exit code.

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use signalbox::{
    accounts,
    arguments::{
        Arguments, Command, Demo as DemoArguments, Import as ImportArguments, InvalidSecret, MASTER_KEY_VARIABLE,
        Up as UpArguments, secret,
    },
    demo::Demo,
    faults::Table,
    import, operate, signals,
    up::{self, Block, Up},
};
use signalbox_control_plane::{files, import::Format};
use signalbox_data_plane::readiness;
use signalbox_logs::Log;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit codes besides clap's 2 for wrong usage; 78 is `EX_CONFIG` of sysexits.h.
const FAILED: u8 = 1;
const BAD_CONFIGURATION: u8 = 78;

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { command, logs } = Arguments::parse();
    let log = logs.start::<Arguments>();
    let code = run(command, &log).await;
    log.flush();
    code
}

async fn run(command: Command, log: &Log) -> ExitCode {
    let done = match command {
        Command::Operate(command) => return operate::run::<Arguments>(command).await,
        Command::Up(arguments) => Box::pin(run_up(arguments, log)).await,
        Command::Import(arguments) => run_import(&arguments).await,
        Command::Demo(arguments) => run_demo(arguments, log).await,
        Command::Faults => io::stdout().write_all(Table.to_string().as_bytes()).map_err(Into::into),
        Command::Healthcheck(arguments) => readiness::check(&arguments.url).await.map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(if is_configuration(&error) { BAD_CONFIGURATION } else { FAILED })
        }
    }
}

async fn run_up(arguments: UpArguments, log: &Log) -> anyhow::Result<()> {
    let stop = signals::stop(log)?;
    let options = up::Options {
        data_dir: arguments.data_dir,
        listen: arguments.listen,
        admin_listen: arguments.admin_listen,
        sync_listen: arguments.sync_listen,
        master_key: secret(MASTER_KEY_VARIABLE, arguments.master_key_file.as_deref())?,
        source: arguments.source.options(),
        retention: arguments.retention.options(),
        audit: arguments.audit.keep(),
        demo: !arguments.no_demo,
        log_level: Some(log.level()),
        accounts: accounts::find(|name| env::var(name).ok()),
    };
    let Some(up) = stop.run_until_cancelled(Box::pin(Up::start(options))).await.transpose()? else { return Ok(()) };
    if !up.summary().admin.ip().is_loopback() {
        tracing::warn!(
            "the admin port is not on loopback, and `up` has no TLS, so that tokens travel in the clear: put a proxy with TLS in front \
             of it, or run the planes apart and give `signalbox-control-plane serve` --admin-tls-cert"
        );
    }
    // In one write, so that a script that waits for a line of it finds all of it.
    io::stdout().write_all(Block(up.summary()).to_string().as_bytes())?;
    Ok(up.run(stop).await?)
}

async fn run_import(arguments: &ImportArguments) -> anyhow::Result<()> {
    if arguments.from_env && !matches!(arguments.format, Format::Leaflet | Format::Pool) {
        let message = "--from-env is for leaflet and pool: the others have a file";
        Arguments::command().error(ErrorKind::ArgumentConflict, message).exit();
    }
    let report = Box::pin(import::run(arguments)).await?;
    Ok(io::stdout().write_all(report.to_string().as_bytes())?)
}

async fn run_demo(arguments: DemoArguments, log: &Log) -> anyhow::Result<()> {
    let stop = signals::stop(log)?;
    let key = files::read_secret(&arguments.key_file)?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}: choose another address with --listen", arguments.listen))?;
    let demo = Demo::start(listener, &key)?;
    tracing::info!(base_url = demo.base_url(), "demo upstream serving");
    stop.cancelled().await;
    demo.stop().await;
    Ok(())
}

/// Whether trying again with the same options is of no use.
fn is_configuration(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(up::Error::is_configuration)
        || error.downcast_ref().is_some_and(import::Error::is_configuration)
        || error.is::<files::Error>()
        || error.is::<InvalidSecret>()
}
