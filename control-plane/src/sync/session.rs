//! One replica's stream: at most one update under way, always to the newest revision, until one side ends it.

use std::{
    convert::Infallible,
    future,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use signalbox_proto::sync::v1::{
    self as sync, WatchRequest, WatchResponse, ack, reloaded::Outcome as Wire, watch_request, watch_response::Message,
    welcome::Resume,
};
use signalbox_routing::{Position, SCHEMA};
use tokio::{
    sync::{SemaphorePermit, mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};
use tonic::{Status, Streaming};

use super::{
    Hub,
    encode::{Encoded, MAX_CHUNK_BYTES},
    refusal::Refusal,
};
use crate::{history::Since, replicas::Membership, source::Outcome, state::State};

mod log;

/// Longest wait for an acknowledgement, however slow the replica has said it is.
const MAX_PATIENCE: Duration = Duration::from_secs(600);

/// How a stream ends.
enum Ended {
    /// The replica left, or its connection broke.
    Gone,
    /// This control plane goes away.
    Stopping,
    /// With an error.
    Refused(Refusal),
}

/// What a replica is owed.
enum Due {
    /// Nothing: it holds the head.
    Nothing,
    /// Nothing until the next revision: it has answered this one, or its build refused it before.
    Answered,
    /// Nothing until an operator decides: it holds what this history has not come to.
    Held(&'static str),
    /// What differs.
    Delta(Arc<Encoded>),
    /// Everything, for this reason.
    Full(&'static str),
}

/// The server's side of one stream.
pub(super) struct Session {
    hub: Arc<Hub>,
    head: watch::Receiver<Arc<State>>,
    membership: Membership,
    responses: mpsc::Sender<Result<WatchResponse, Status>>,
    /// What the replica holds, as far as it has said.
    have: Option<Position>,
    /// The target that it answered last, and that is not sent again.
    answered: Option<Position>,
    /// Nothing is sent on this stream: see [`Due::Held`].
    held: Option<&'static str>,
    awaited: Option<Awaited>,
    asked: Option<Asked>,
    updates: u64,
    not_before: Instant,
    next_heartbeat: Instant,
    last_apply: Duration,
}

/// An update that has been sent and not yet acknowledged.
struct Awaited {
    id: String,
    update: Arc<Encoded>,
    deadline: Instant,
}

/// A question that the replica has put to the source.
struct Asked {
    id: String,
    answer: oneshot::Receiver<Outcome>,
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Session {
    pub(super) fn new(
        hub: Arc<Hub>,
        membership: Membership,
        have: Option<Position>,
        responses: mpsc::Sender<Result<WatchResponse, Status>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            head: hub.followed.head.clone(),
            have,
            answered: membership.refused.clone(),
            held: None,
            awaited: None,
            asked: None,
            updates: 0,
            not_before: now,
            next_heartbeat: now + jitter(hub.timing.heartbeat),
            last_apply: Duration::ZERO,
            hub,
            membership,
            responses,
        }
    }

    /// Serves the replica until one side ends the stream.
    pub(super) async fn run(mut self, requests: Streaming<WatchRequest>) {
        let stop = self.hub.stop.clone();
        let replaced = self.membership.replaced.clone();
        let responses = self.responses.clone();
        let ended = tokio::select! {
            Err(ended) = self.converse(requests) => ended,
            () = stop.cancelled() => Ended::Stopping,
            () = replaced.cancelled() => Refusal::Replaced.into(),
            () = responses.closed() => Ended::Gone,
        };
        self.say_farewell(ended).await;
    }

    async fn converse(&mut self, mut requests: Streaming<WatchRequest>) -> Result<Infallible, Ended> {
        self.welcome().await?;
        loop {
            self.bring_up_to_date().await?;
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(WatchRequest { message })) => self.take(message)?,
                    Ok(None) | Err(_) => return Err(Ended::Gone),
                },
                changed = self.head.changed() => changed.map_err(|_| Ended::Stopping)?,
                () = sleep_until(self.next_heartbeat) => self.heartbeat().await?,
                (id, outcome) = answered(&mut self.asked) => self.answer(id, outcome).await?,
                () = overdue(self.awaited.as_ref()) => return Err(Refusal::Overdue.into()),
            }
        }
    }

    async fn welcome(&mut self) -> Result<(), Ended> {
        let (resume, reason) = match self.due().await? {
            Due::Nothing => (Resume::Current, ""),
            Due::Answered if self.have.is_some() => {
                (Resume::Delta, "this build refused the head: the next revision follows")
            }
            Due::Answered => (Resume::Full, "this build refused the head: the next revision follows"),
            Due::Held(reason) => (Resume::Held, reason),
            Due::Delta(_) => (Resume::Delta, ""),
            Due::Full(reason) => (Resume::Full, reason),
        };
        let head = self.head.borrow().position.to_wire();
        let have = self.have.as_ref().map_or(0, |have| have.revision.get());
        let (replica, resumed) = (self.membership.id(), resume.as_str_name());
        if resume == Resume::Held {
            tracing::error!(
                replica,
                have,
                head = head.revision,
                reason,
                "replica goes on with what it holds, until an operator decides"
            );
        } else {
            tracing::info!(replica, have, head = head.revision, resume = resumed, reason, "replica joined");
        }
        self.say(Message::Welcome(sync::Welcome {
            control_plane_id: self.hub.control_plane_id.clone(),
            schema: SCHEMA,
            head: Some(head),
            resume: resume.into(),
            resume_reason: reason.to_owned(),
            server_time: Some(SystemTime::now().into()),
        }))
        .await
    }

    /// Sends what is due, if nothing is under way.
    async fn bring_up_to_date(&mut self) -> Result<(), Ended> {
        if self.awaited.is_some() || self.is_settled() {
            return Ok(());
        }
        sleep_until(self.not_before).await;
        match self.due().await? {
            Due::Nothing | Due::Answered | Due::Held(_) => Ok(()),
            Due::Delta(update) => self.send(update).await,
            Due::Full(_) => {
                let hub = Arc::clone(&self.hub);
                let _permit = self.turn(&hub).await?;
                // It may have been a long wait: the newest is what is sent.
                let newest = Arc::clone(&self.head.borrow_and_update());
                let update = hub.encoder.full(&newest).await?;
                self.send(update).await
            }
        }
    }

    /// Whether nothing can be due, told without looking closely.
    fn is_settled(&self) -> bool {
        let head = self.head.borrow();
        self.held.is_some()
            || [&self.have, &self.answered].into_iter().flatten().any(|position| *position == head.position)
    }

    async fn due(&mut self) -> Result<Due, Ended> {
        let state = Arc::clone(&self.head.borrow_and_update());
        if let Some(reason) = self.held.or_else(|| self.fenced(&state.position)) {
            self.held = Some(reason);
            return Ok(Due::Held(reason));
        }
        if self.answered.as_ref() == Some(&state.position) {
            return Ok(Due::Answered);
        }
        let Some(have) = &self.have else { return Ok(Due::Full("nothing is held")) };
        Ok(match state.since(have) {
            Since::Current => Due::Nothing,
            Since::Ahead => {
                let reason = "replica ahead of head";
                self.held = Some(reason);
                self.membership.is_ahead();
                Due::Held(reason)
            }
            Since::Unknown(reason) => Due::Full(reason),
            Since::Names(names) => match self.hub.encoder.delta(&state, have, names).await? {
                Some(update) => Due::Delta(update),
                None => Due::Full("most of it changed"),
            },
        })
    }

    /// Why the replica must not be sent this history, if it must not.
    fn fenced(&self, head: &Position) -> Option<&'static str> {
        let fence = self.hub.followed.fence.as_deref().filter(|fence| fence.holds(self.have.as_ref(), &head.epoch))?;
        if self.have.is_some() {
            self.membership.is_ahead();
        }
        Some(fence.reason())
    }

    /// Waits for a place among the full transfers.
    async fn turn<'h>(&mut self, hub: &'h Hub) -> Result<SemaphorePermit<'h>, Ended> {
        let mut place = pin!(hub.full_transfers.acquire());
        loop {
            tokio::select! {
                permit = &mut place => return permit.map_err(|_| Ended::Stopping),
                () = sleep_until(self.next_heartbeat) => self.heartbeat().await?,
            }
        }
    }

    async fn send(&mut self, update: Arc<Encoded>) -> Result<(), Ended> {
        let timing = self.hub.timing;
        self.not_before = Instant::now() + timing.coalesce;
        self.updates += 1;
        let id = self.updates.to_string();
        self.say(Message::Begin(sync::UpdateBegin { update_id: id.clone(), ..update.begin.clone() })).await?;
        let mut rest = update.bytes.clone();
        while !rest.is_empty() {
            let data = rest.split_to(rest.len().min(MAX_CHUNK_BYTES));
            self.say(Message::Chunk(sync::UpdateChunk { data })).await?;
        }
        self.say(Message::End(sync::UpdateEnd { update_id: id.clone(), sha256: update.sha256.clone() })).await?;
        let patience = (self.last_apply * 4).clamp(timing.patience, timing.patience.max(MAX_PATIENCE));
        self.awaited = Some(Awaited { id, update, deadline: Instant::now() + patience });
        Ok(())
    }

    fn take(&mut self, message: Option<watch_request::Message>) -> Result<(), Ended> {
        match message {
            Some(watch_request::Message::Hello(_)) => Err(Refusal::SecondHello.into()),
            Some(watch_request::Message::Ack(ack)) => self.acknowledge(ack),
            Some(watch_request::Message::Status(status)) => {
                self.membership.reported(&status);
                Ok(())
            }
            Some(watch_request::Message::Reload(sync::Reload { request_id: id })) => {
                // A replica has one question at a time, so that the one before is answered no more.
                self.asked = Some(Asked { id, answer: self.hub.followed.reloads.ask() });
                Ok(())
            }
            // A newer replica says what this build has no word for.
            None => Ok(()),
        }
    }

    fn acknowledge(&mut self, ack: sync::Ack) -> Result<(), Ended> {
        let Some(Awaited { update, .. }) = self.awaited.take_if(|awaited| awaited.id == ack.update_id) else {
            tracing::warn!(replica = self.membership.id(), "replica acknowledged what was not sent");
            return Ok(());
        };
        let held = ack.held.as_ref().map(Position::from_wire).transpose().map_err(Refusal::Acknowledgement)?;
        self.last_apply = duration(ack.decode_time) + duration(ack.apply_time);
        log::acknowledged(self.membership.id(), &ack, update.target.revision);
        if ack.outcome() == ack::Outcome::NeedFull && update.base.is_some() {
            self.have = None;
        } else {
            self.have = held;
            self.answered = Some(update.target.clone());
        }
        self.membership.acknowledged(ack, &update.target);
        Ok(())
    }

    async fn answer(&mut self, request_id: String, outcome: Outcome) -> Result<(), Ended> {
        let (outcome, message) = match outcome {
            Outcome::NoFile => (Wire::NoFile, String::new()),
            Outcome::Unchanged => (Wire::Unchanged, String::new()),
            Outcome::Applied => (Wire::Applied, String::new()),
            Outcome::Refused(reason) => (Wire::Refused, reason),
        };
        let head = Some(self.head.borrow().position.to_wire());
        self.say(Message::Reloaded(sync::Reloaded { request_id, outcome: outcome.into(), message, head })).await
    }

    async fn heartbeat(&mut self) -> Result<(), Ended> {
        self.next_heartbeat = Instant::now() + jitter(self.hub.timing.heartbeat);
        let head = self.head.borrow().position.to_wire();
        self.say(Message::Heartbeat(sync::Heartbeat { head: Some(head), server_time: Some(SystemTime::now().into()) }))
            .await
    }

    async fn say(&self, message: Message) -> Result<(), Ended> {
        let said = self.responses.send(Ok(WatchResponse { message: Some(message) }));
        match timeout(self.hub.timing.patience, said).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Gone),
            Err(_) => Err(Refusal::Overdue.into()),
        }
    }

    async fn say_farewell(self, ended: Ended) {
        let replica = self.membership.id();
        let timing = self.hub.timing;
        let last = match ended {
            Ended::Gone => {
                tracing::info!(replica, "replica left");
                return;
            }
            Ended::Stopping => {
                // Spread by this side, so that a fleet does not come back as one.
                let after = timing.return_spread.mul_f64(fastrand::f64());
                let drain = sync::Drain { reconnect_after: after.try_into().ok() };
                Ok(WatchResponse { message: Some(Message::Drain(drain)) })
            }
            Ended::Refused(refusal) => {
                tracing::warn!(replica, error = &refusal as &dyn std::error::Error, "watch stream ended");
                Err(refusal.into())
            }
        };
        // A replica that does not take it sees the end of the stream all the same.
        let _ = timeout(timing.farewell, self.responses.send(last)).await;
    }
}

/// The answer to the replica's question; never where there is none.
async fn answered(asked: &mut Option<Asked>) -> (String, Outcome) {
    let Some(Asked { answer, .. }) = asked else { return future::pending().await };
    let answer = answer.await;
    match (asked.take(), answer) {
        (Some(Asked { id, .. }), Ok(outcome)) => (id, outcome),
        // The source is gone: the replica waits no longer than it wants to.
        _ => future::pending().await,
    }
}

/// Ends when the acknowledgement is overdue; never where none is awaited.
async fn overdue(awaited: Option<&Awaited>) {
    match awaited {
        Some(awaited) => sleep_until(awaited.deadline).await,
        None => future::pending().await,
    }
}

/// Give or take a fifth, so that a fleet does not fall into step.
fn jitter(around: Duration) -> Duration {
    around.mul_f64(0.8 + 0.4 * fastrand::f64())
}

fn duration(wire: Option<prost_types::Duration>) -> Duration {
    wire.and_then(|wire| Duration::try_from(wire).ok()).unwrap_or_default().min(MAX_PATIENCE)
}
