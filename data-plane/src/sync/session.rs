//! One watch stream from welcome to end. Reading never waits for applying, and nothing said here waits for the other side.

use std::{
    convert::Infallible,
    future,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use signalbox_proto::sync::v1::{
    self as sync, WatchRequest, WatchResponse, watch_request, watch_response::Message, welcome::Resume,
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{
    ControlPlane, Replica, Timing,
    apply::{Applied, Failed},
    assembly::{Finished, Inbox, Violation},
    connect::{self, Unconnected},
    jitter,
    reload::Asking,
    report::{self, Refusal},
    retry::Retry,
};
use crate::live::ConfigSource;

/// Requests that may wait to be sent: far more than an orderly stream ever has.
const MAX_REQUESTS: usize = 16;

/// Clocks that differ by more than this are worth a warning: keys expire by the replica's own.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(30);

/// Faults logged for each update; the control plane gets more.
const MAX_LOGGED_FAULTS: usize = 10;

/// An open stream.
#[derive(Debug)]
pub(super) struct Session {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
    inbox: Inbox,
    applying: Option<Applying>,
    /// The source of configuration that the control plane was told of last.
    told: Option<ConfigSource>,
    /// Who waits for the answer to the last question, and its id.
    asking: Option<(String, Asking)>,
    questions: u64,
}

/// An update that is being brought into force. There is at most one.
#[derive(Debug)]
struct Applying {
    id: String,
    task: JoinHandle<Result<Applied, Failed>>,
}

/// How a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// As this process was told to.
    #[error("told to stop")]
    Stopped,
    /// As the control plane announced: connect again after this time.
    #[error("the control plane is going away")]
    Drained(Duration),
    /// Without a word.
    #[error("the control plane closed the stream")]
    Closed,
    /// Nothing was heard for too long.
    #[error("nothing was heard from the control plane")]
    Silent,
    /// What this replica says is not taken.
    #[error("the control plane takes nothing")]
    Stalled,
    /// With an error.
    #[error("the stream broke")]
    Status(#[source] Status),
    /// It could not be opened.
    #[error(transparent)]
    Unconnected(#[from] Unconnected),
    /// The control plane broke the protocol.
    #[error("the control plane broke the protocol")]
    Violation(#[from] Violation),
}

impl Session {
    /// Connects and says hello.
    pub(super) async fn open(to: &ControlPlane, hello: sync::Hello, timing: Timing) -> Result<Self, Ended> {
        let (requests, waiting) = mpsc::channel(MAX_REQUESTS);
        send(&requests, watch_request::Message::Hello(hello))?;
        let responses = connect::watch(to, waiting, timing).await?;
        Ok(Self {
            requests,
            responses,
            inbox: Inbox::default(),
            applying: None,
            told: None,
            asking: None,
            questions: 0,
        })
    }

    /// Follows the stream to its end.
    pub(super) async fn run(mut self, replica: &Replica, retry: &mut Retry, stop: &CancellationToken) -> Ended {
        let ended = tokio::select! {
            Err(ended) = self.converse(replica, retry) => ended,
            () = stop.cancelled() => Ended::Stopped,
        };
        // The next hello has to say what this makes of what is held.
        if let Some(Applying { task, .. }) = self.applying.take() {
            log(&flatten(task.await));
        }
        ended
    }

    async fn converse(&mut self, replica: &Replica, retry: &mut Retry) -> Result<Infallible, Ended> {
        let timing = replica.timing;
        let mut silence_ends = Instant::now() + timing.silence;
        self.welcome(silence_ends).await?;
        retry.reset();
        replica.vitals.connected.store(true, Ordering::Relaxed);
        let mut next_status = Instant::now();
        let mut told_draining = false;
        loop {
            tokio::select! {
                response = timeout_at(silence_ends, self.responses.message()) => {
                    silence_ends = Instant::now() + timing.silence;
                    self.take(heard(response)?, replica)?;
                }
                (id, result) = finished(&mut self.applying) => self.acknowledge(id, &result, replica)?,
                () = sleep_until(next_status) => {
                    next_status = Instant::now() + jitter(timing.status);
                    self.report(replica)?;
                    let live = Arc::clone(&replica.live);
                    spawn_blocking(move || live.sweep());
                }
                asking = replica.vitals.reloads.next() => self.ask(asking)?,
                () = replica.vitals.draining.cancelled(), if !told_draining => {
                    told_draining = true;
                    self.report(replica)?;
                }
            }
        }
    }

    async fn welcome(&mut self, deadline: Instant) -> Result<(), Ended> {
        let Some(Message::Welcome(welcome)) = heard(timeout_at(deadline, self.responses.message()).await)? else {
            return Err(Violation::Message.into());
        };
        let head = welcome.head.as_ref().map_or(0, |head| head.revision);
        let control_plane = welcome.control_plane_id.as_str();
        let reason = welcome.resume_reason.as_str();
        match welcome.resume() {
            Resume::Held => tracing::error!(
                control_plane,
                head,
                reason,
                "this replica is ahead of the control plane's history: serving what is held until an operator decides"
            ),
            resume => tracing::info!(
                control_plane,
                head,
                resume = resume.as_str_name(),
                reason,
                "following the control plane"
            ),
        }
        warn_of_skew(welcome.server_time);
        Ok(())
    }

    fn take(&mut self, message: Option<Message>, replica: &Replica) -> Result<(), Ended> {
        match message {
            Some(Message::Begin(begin)) => {
                if self.applying.is_some() {
                    return Err(Violation::Unacknowledged.into());
                }
                self.inbox.begin(begin)?;
            }
            Some(Message::Chunk(chunk)) => self.inbox.chunk(&chunk.data)?,
            Some(Message::End(end)) => {
                let Finished { id, update } = self.inbox.end(&end)?;
                match update {
                    Ok(encoded) => {
                        let applier = Arc::clone(&replica.applier);
                        let task = spawn_blocking(move || applier.receive(&encoded));
                        self.applying = Some(Applying { id, task });
                    }
                    Err(defect) => self.acknowledge(id, &Err(defect.into()), replica)?,
                }
            }
            Some(Message::Heartbeat(heartbeat)) => {
                tracing::debug!(head = heartbeat.head.map_or(0, |head| head.revision), "heartbeat");
            }
            Some(Message::Drain(drain)) => {
                let after = drain.reconnect_after.and_then(|after| after.try_into().ok());
                return Err(Ended::Drained(after.unwrap_or_default()));
            }
            Some(Message::Reloaded(reloaded)) => {
                let answered = self.asking.take_if(|(id, _)| *id == reloaded.request_id);
                // Whoever asked may have gone.
                answered.map(|(_, asking)| asking.send(reloaded));
            }
            Some(Message::Welcome(_)) => return Err(Violation::Message.into()),
            // A newer control plane says what this build has no word for.
            None => {}
        }
        Ok(())
    }

    fn acknowledge(&mut self, id: String, result: &Result<Applied, Refusal>, replica: &Replica) -> Result<(), Ended> {
        log(result);
        send(&self.requests, report::ack(id, result, replica.applier.position()))?;
        if self.told == replica.applier.source() { Ok(()) } else { self.report(replica) }
    }

    /// Asks that the file be read. A question that was not answered yet is given up for this one.
    fn ask(&mut self, asking: Asking) -> Result<(), Ended> {
        self.questions += 1;
        let request_id = self.questions.to_string();
        send(&self.requests, watch_request::Message::Reload(sync::Reload { request_id: request_id.clone() }))?;
        self.asking = Some((request_id, asking));
        Ok(())
    }

    fn report(&mut self, replica: &Replica) -> Result<(), Ended> {
        self.told = replica.applier.source();
        send(&self.requests, report::status(&replica.applier, &replica.vitals))
    }
}

type Timely<T> = Result<Result<Option<T>, Status>, tokio::time::error::Elapsed>;

fn heard(response: Timely<WatchResponse>) -> Result<Option<Message>, Ended> {
    let response = response.map_err(|_| Ended::Silent)?.map_err(Ended::Status)?;
    Ok(response.ok_or(Ended::Closed)?.message)
}

/// Never waits: a control plane that takes nothing must not keep this replica from reading.
fn send(requests: &mpsc::Sender<WatchRequest>, message: watch_request::Message) -> Result<(), Ended> {
    requests.try_send(WatchRequest { message: Some(message) }).map_err(|error| match error {
        TrySendError::Full(_) => Ended::Stalled,
        TrySendError::Closed(_) => Ended::Closed,
    })
}

/// The update that has been brought into force, or was refused. Waits forever where there is none.
async fn finished(applying: &mut Option<Applying>) -> (String, Result<Applied, Refusal>) {
    let Some(Applying { task, .. }) = applying else { return future::pending().await };
    let result = flatten(task.await);
    let id = applying.take().map(|applying| applying.id).unwrap_or_default();
    (id, result)
}

fn flatten(result: Result<Result<Applied, Failed>, tokio::task::JoinError>) -> Result<Applied, Refusal> {
    Ok(result.map_err(|_| Refusal::Crashed)??)
}

fn log(result: &Result<Applied, Refusal>) {
    match result {
        Ok(applied) => {
            for finding in applied.shortfall.findings.iter().take(MAX_LOGGED_FAULTS) {
                tracing::warn!(%finding, effect = ?finding.effect, "resource not in force");
            }
            for unusable in applied.shortfall.unusable.iter().take(MAX_LOGGED_FAULTS) {
                tracing::warn!(error = unusable as &dyn std::error::Error, "resource not usable here");
            }
            tracing::info!(
                revision = applied.position.revision.get(),
                not_in_force = applied.shortfall.count(),
                decode_us = micros(applied.decode_time),
                apply_us = micros(applied.apply_time),
                "configuration in force"
            );
        }
        Err(refusal) => {
            let error: &dyn std::error::Error = refusal;
            tracing::warn!(error, "update refused: serving what is held");
        }
    }
}

fn warn_of_skew(theirs: Option<prost_types::Timestamp>) {
    let Some(Ok(theirs)) = theirs.map(SystemTime::try_from) else { return };
    let ours = SystemTime::now();
    let skew = ours.duration_since(theirs).unwrap_or_else(|error| error.duration());
    if skew > MAX_CLOCK_SKEW {
        tracing::warn!(skew_ms = skew.as_millis(), "the control plane's clock differs: keys expire by this machine's");
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
