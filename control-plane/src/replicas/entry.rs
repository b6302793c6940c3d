//! What is known of one replica, and how it stands to the head.

use std::{mem, net::IpAddr, time::SystemTime};

use signalbox_proto::{
    admin::v1::{self as admin, replica::State},
    sync::v1 as sync,
};
use signalbox_routing::Position;
use tokio_util::sync::CancellationToken;

use super::{Joining, rollout::Standing, served::Served};

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
    schema: u32,
    features: Vec<String>,
    source_ip: Option<IpAddr>,
    held: Option<Position>,
    serving_revision: u64,
    served: Served,
    /// The update that this build of it refused last.
    refused: Option<Refused>,
    /// What of that which it holds is not in force.
    rejections: Vec<sync::Rejection>,
    clock_skew: Option<prost_types::Duration>,
    source: sync::ConfigSource,
    in_flight: u32,
    draining: bool,
}

/// An update that was refused as a whole.
#[derive(Debug)]
struct Refused {
    target: Position,
    reasons: Vec<sync::Rejection>,
}

impl Entry {
    pub(super) fn new(joining: Joining, stream: u64, replaced: CancellationToken) -> Self {
        let now = SystemTime::now();
        let Joining { id: _, boot_id, version, schema, features, source_ip, have, rejections, current } = joining;
        Self {
            stream,
            last_seen: now,
            ahead: false,
            replaced,
            connected: true,
            connect_time: now,
            boot_id,
            version,
            schema,
            features,
            source_ip,
            held: have,
            serving_revision: 0,
            served: Served::since(current),
            refused: None,
            rejections: kept(rejections),
            clock_skew: None,
            source: sync::ConfigSource::Unspecified,
            in_flight: 0,
            draining: false,
        }
    }

    /// Ends the stream from before and returns what must not be sent on the new one.
    pub(super) fn rejoin(&mut self, joining: Joining, stream: u64, replaced: CancellationToken) -> Option<Position> {
        self.replaced.cancel();
        let before = mem::replace(self, Self::new(joining, stream, replaced));
        if before.version == self.version {
            self.refused = before.refused;
        }
        if before.boot_id == self.boot_id {
            self.served = before.served;
            if before.held == self.held {
                self.serving_revision = before.serving_revision;
            }
        }
        self.refused.as_ref().map(|refused| refused.target.clone())
    }

    pub(super) const fn leave(&mut self) {
        self.connected = false;
        self.in_flight = 0;
        self.source_ip = None;
    }

    /// Since when it has been gone; `None` = it is connected.
    pub(super) fn gone_since(&self) -> Option<SystemTime> {
        (!self.connected).then_some(self.last_seen)
    }

    pub(super) fn acknowledge(&mut self, ack: sync::Ack, target: &Position) {
        use sync::ack::Outcome;
        let outcome = ack.outcome();
        let sync::Ack { held, serving_revision, rejections, .. } = ack;
        self.holds(held.as_ref(), serving_revision);
        match outcome {
            Outcome::Applied | Outcome::AppliedPartially => {
                self.refused = None;
                self.rejections = kept(rejections);
            }
            // What it holds is as it was, and so is what of it is not in force.
            Outcome::NeedFull => self.refused = None,
            Outcome::Rejected | Outcome::Unspecified => {
                self.refused = Some(Refused { target: target.clone(), reasons: kept(rejections) });
            }
        }
    }

    pub(super) fn report(&mut self, status: &sync::ReplicaStatus) {
        let sync::ReplicaStatus { held, serving_revision, draining, in_flight, local_time, .. } = status;
        self.holds(held.as_ref(), *serving_revision);
        self.draining = *draining;
        self.in_flight = *in_flight;
        self.source = status.config_source();
        let local_time = local_time.and_then(|time| SystemTime::try_from(time).ok());
        self.clock_skew = local_time.and_then(|theirs| skew(theirs, self.last_seen));
    }

    fn holds(&mut self, held: Option<&sync::Position>, serving_revision: u64) {
        self.held = held.and_then(|held| Position::from_wire(held).ok());
        self.serving_revision = serving_revision;
        if let (Some(held), false) = (&self.held, self.ahead) {
            self.served.note(held, serving_revision, self.last_seen);
        }
    }

    /// How it stands to a revision of the head's history.
    pub(super) fn standing(&self, revision: u64, head: &Position) -> Standing {
        let refused =
            |refused: &Refused| refused.target.epoch == head.epoch && refused.target.revision.get() >= revision;
        if !self.connected {
            Standing::Disconnected
        } else if self.draining {
            Standing::Draining
        } else if self.serves(revision, head) {
            if self.rejections.is_empty() { Standing::Applied } else { Standing::Partial }
        } else if self.refused.as_ref().is_some_and(refused) {
            Standing::Rejected
        } else {
            Standing::Pending
        }
    }

    /// Since when it has served this revision or a later one of the head's history, as far as that is known.
    pub(super) fn served_since(&self, revision: u64, head: &Position) -> Option<SystemTime> {
        self.served.when(revision).filter(|_| self.serves(revision, head))
    }

    fn serves(&self, revision: u64, head: &Position) -> bool {
        let same_history = self.held.as_ref().is_some_and(|held| held.epoch == head.epoch) && !self.ahead;
        same_history && self.serving_revision >= revision
    }

    pub(super) fn describe(&self, id: &str, head: &Position) -> admin::Replica {
        admin::Replica {
            name: format!("replicas/{id}"),
            version: self.version.clone(),
            state: self.state(head).into(),
            held_revision: self.held.as_ref().map_or(0, |held| held.revision.get()),
            serving_revision: self.serving_revision,
            rejections: self.amiss(head),
            connect_time: Some(self.connect_time.into()),
            last_seen_time: Some(self.last_seen.into()),
            clock_skew: self.clock_skew,
            config_source: self.source.into(),
            in_flight: self.in_flight,
            draining: self.draining,
            schema: self.schema,
            features: self.features.clone(),
            epoch: self.held.as_ref().map_or_else(String::new, |held| held.epoch.to_string()),
            boot_id: self.boot_id.clone(),
            source_ip: self.source_ip.map_or_else(String::new, |ip| ip.to_string()),
        }
    }

    /// Why the head is not in force, where it was refused; and what of that which it holds is not.
    fn amiss(&self, head: &Position) -> Vec<sync::Rejection> {
        let refused = self.refused.iter().filter(|refused| refused.target == *head);
        let reasons = refused.flat_map(|refused| &refused.reasons);
        reasons.chain(&self.rejections).take(MAX_REJECTIONS).cloned().collect()
    }

    fn state(&self, head: &Position) -> State {
        if !self.connected {
            State::Disconnected
        } else if self.ahead {
            State::Ahead
        } else if self.refused.as_ref().is_some_and(|refused| refused.target == *head) {
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

fn kept(rejections: Vec<sync::Rejection>) -> Vec<sync::Rejection> {
    rejections.into_iter().take(MAX_REJECTIONS).map(bounded).collect()
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
