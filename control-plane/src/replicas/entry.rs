//! What is known of one replica, and how it stands to the head.

use std::time::SystemTime;

use signalbox_proto::{
    admin::v1::{self as admin, replica::State},
    sync::v1 as sync,
};
use signalbox_routing::Position;
use tokio_util::sync::CancellationToken;

use super::Joining;

/// Rejections kept of one replica.
const MAX_REJECTIONS: usize = 100;

/// Longest text kept of one rejection, in characters; a replica that behaves sends no more.
const MAX_TEXT_CHARS: usize = 512;

#[derive(Debug)]
pub(super) struct Entry {
    /// Which stream is its newest.
    pub(super) stream: u64,
    pub(super) last_seen: SystemTime,
    /// Whether it holds what this control plane's history has not come to.
    pub(super) ahead: bool,
    replaced: CancellationToken,
    connected: bool,
    connect_time: SystemTime,
    boot_id: String,
    version: String,
    held: Option<Position>,
    serving_revision: u64,
    /// The update that this build of it refused last.
    refused: Option<Position>,
    rejections: Vec<sync::Rejection>,
    clock_skew: Option<prost_types::Duration>,
    source: sync::ConfigSource,
    in_flight: u32,
    draining: bool,
}

impl Entry {
    pub(super) fn new(joining: Joining, stream: u64, replaced: CancellationToken) -> Self {
        let now = SystemTime::now();
        let Joining { id: _, boot_id, version, have } = joining;
        Self {
            stream,
            last_seen: now,
            ahead: false,
            replaced,
            connected: true,
            connect_time: now,
            boot_id,
            version,
            held: have,
            serving_revision: 0,
            refused: None,
            rejections: Vec::new(),
            clock_skew: None,
            source: sync::ConfigSource::Unspecified,
            in_flight: 0,
            draining: false,
        }
    }

    /// Ends the stream from before and returns what must not be sent on the new one.
    pub(super) fn rejoin(&mut self, joining: Joining, stream: u64, replaced: CancellationToken) -> Option<Position> {
        self.replaced.cancel();
        let before = std::mem::replace(self, Self::new(joining, stream, replaced));
        if before.version == self.version {
            self.refused = before.refused;
        }
        if before.boot_id == self.boot_id && before.held == self.held {
            self.serving_revision = before.serving_revision;
            self.rejections = before.rejections;
        }
        self.refused.clone()
    }

    pub(super) fn leave(&mut self) {
        self.connected = false;
        self.in_flight = 0;
    }

    /// Since when it has been gone; `None` = it is connected.
    pub(super) fn gone_since(&self) -> Option<SystemTime> {
        (!self.connected).then_some(self.last_seen)
    }

    pub(super) fn acknowledge(&mut self, ack: sync::Ack, target: &Position) {
        use sync::ack::Outcome;
        self.refused = match ack.outcome() {
            Outcome::Applied | Outcome::AppliedPartially | Outcome::NeedFull => None,
            Outcome::Rejected | Outcome::Unspecified => Some(target.clone()),
        };
        self.held = ack.held.as_ref().and_then(|held| Position::from_wire(held).ok());
        self.serving_revision = ack.serving_revision;
        if ack.outcome() != Outcome::NeedFull {
            self.rejections = ack.rejections.into_iter().take(MAX_REJECTIONS).map(bounded).collect();
        }
    }

    pub(super) fn report(&mut self, status: &sync::ReplicaStatus) {
        let sync::ReplicaStatus { held, serving_revision, draining, in_flight, local_time, .. } = status;
        self.held = held.as_ref().and_then(|held| Position::from_wire(held).ok());
        self.serving_revision = *serving_revision;
        self.draining = *draining;
        self.in_flight = *in_flight;
        self.source = status.config_source();
        let local_time = local_time.and_then(|time| SystemTime::try_from(time).ok());
        self.clock_skew = local_time.and_then(|theirs| skew(theirs, self.last_seen));
    }

    pub(super) fn describe(&self, id: &str, head: &Position) -> admin::Replica {
        admin::Replica {
            name: format!("replicas/{id}"),
            version: self.version.clone(),
            state: self.state(head).into(),
            held_revision: self.held.as_ref().map_or(0, |held| held.revision.get()),
            serving_revision: self.serving_revision,
            rejections: self.rejections.clone(),
            connect_time: Some(self.connect_time.into()),
            last_seen_time: Some(self.last_seen.into()),
            clock_skew: self.clock_skew,
            config_source: self.source.into(),
            in_flight: self.in_flight,
            draining: self.draining,
            schema: 0,
            features: Vec::new(),
            epoch: self.held.as_ref().map_or_else(String::new, |held| held.epoch.to_string()),
            boot_id: self.boot_id.clone(),
            source_ip: String::new(),
        }
    }

    fn state(&self, head: &Position) -> State {
        if !self.connected {
            State::Disconnected
        } else if self.ahead {
            State::Ahead
        } else if self.refused.as_ref() == Some(head) {
            State::Rejecting
        } else if self.held.as_ref() != Some(head) || self.serving_revision != head.revision.get() {
            State::Lagging
        } else if self.rejections.is_empty() {
            State::Synced
        } else {
            State::Partial
        }
    }
}

fn bounded(rejection: sync::Rejection) -> sync::Rejection {
    let cut =
        |text: String| if text.len() > MAX_TEXT_CHARS { text.chars().take(MAX_TEXT_CHARS).collect() } else { text };
    let sync::Rejection { kind, name, reason, message, effect } = rejection;
    sync::Rejection { kind: cut(kind), name: cut(name), reason: cut(reason), message: cut(message), effect }
}

/// Theirs minus ours.
fn skew(theirs: SystemTime, ours: SystemTime) -> Option<prost_types::Duration> {
    let (size, sign): (_, i8) = match theirs.duration_since(ours) {
        Ok(ahead) => (ahead, 1),
        Err(error) => (error.duration(), -1),
    };
    let prost_types::Duration { seconds, nanos } = size.try_into().ok()?;
    Some(prost_types::Duration { seconds: i64::from(sign) * seconds, nanos: i32::from(sign) * nanos })
}
