//! What the operating system asks of the process: the first SIGINT or SIGTERM stops it in order, the second one at once.

use std::{io, process};

use signalbox_logs::Log;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first signal to stop.
///
/// # Errors
/// Where signals cannot be listened to.
pub fn stop(log: &Log) -> io::Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let (stopping, log) = (stop.clone(), log.clone());
    tokio::spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        tracing::info!("stopping: requests under way are finished; a second signal stops at once");
        stopping.cancel();
        either(&mut interrupt, &mut terminate).await;
        tracing::warn!("stopped at once");
        log.flush();
        process::exit(1);
    });
    Ok(stop)
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
