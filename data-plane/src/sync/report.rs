//! What the control plane is told: acknowledgements with reasons, and how this replica is. It decides nothing.

use std::{
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use signalbox_proto::sync::v1::{self as sync, ack::Outcome, watch_request::Message};
use signalbox_routing::{Effect, Finding, Position};

use super::{
    Vitals,
    apply::{Applied, Applier, Failed, Shortfall},
    assembly::Defect,
};
use crate::{
    live::ConfigSource,
    received::Refused,
    upstream::{Unusable, UnusableCause},
};

/// Rejections listed in one acknowledgement; the count says how many there are.
const MAX_REJECTIONS: usize = 100;

/// Longest text of one rejection, in characters.
const MAX_MESSAGE_CHARS: usize = 512;

/// Why an update is answered with a refusal.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It did not arrive whole.
    #[error(transparent)]
    Defect(#[from] Defect),
    /// It cannot be brought into force.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// This build cannot compile it.
    #[error("this build failed while it compiled the update")]
    Crashed,
}

/// The acknowledgement of an update.
pub(super) fn ack(update_id: String, result: &Result<Applied, Refusal>, held: Option<Position>) -> Message {
    let serving_revision = revision(held.as_ref());
    let ack =
        sync::Ack { update_id, held: held.as_ref().map(Position::to_wire), serving_revision, ..sync::Ack::default() };
    Message::Ack(match result {
        Ok(applied) => {
            let (rejections, rejection_count) = rejections(&applied.shortfall);
            sync::Ack {
                outcome: if rejection_count == 0 { Outcome::Applied } else { Outcome::AppliedPartially }.into(),
                rejections,
                rejection_count,
                decode_time: Some(duration(applied.decode_time)),
                apply_time: Some(duration(applied.apply_time)),
                ..ack
            }
        }
        Err(Refusal::Failed(Failed::Refused(Refused::Base { .. }))) => {
            sync::Ack { outcome: Outcome::NeedFull.into(), ..ack }
        }
        Err(refusal) => {
            sync::Ack { outcome: Outcome::Rejected.into(), rejections: vec![whole(refusal)], rejection_count: 1, ..ack }
        }
    })
}

/// Why what is held is not in force, as much of it as is listed, and how much there is.
pub(super) fn rejections(shortfall: &Shortfall) -> (Vec<sync::Rejection>, u32) {
    let Shortfall { findings, unusable } = shortfall;
    let all = findings.iter().map(finding).chain(unusable.iter().map(self::unusable));
    (all.take(MAX_REJECTIONS).collect(), u32::try_from(shortfall.count()).unwrap_or(u32::MAX))
}

/// How this replica is right now.
pub(super) fn status(applier: &Applier, vitals: &Vitals) -> Message {
    let held = applier.position();
    let source = match applier.source() {
        None => sync::ConfigSource::Unspecified,
        Some(ConfigSource::Stream) => sync::ConfigSource::Stream,
        Some(ConfigSource::DiskCache) => sync::ConfigSource::DiskCache,
    };
    Message::Status(sync::ReplicaStatus {
        held: held.as_ref().map(Position::to_wire),
        serving_revision: revision(held.as_ref()),
        draining: vitals.draining.is_cancelled(),
        in_flight: vitals.in_flight.load(Ordering::Relaxed),
        local_time: Some(SystemTime::now().into()),
        config_source: source.into(),
    })
}

fn revision(held: Option<&Position>) -> u64 {
    held.map_or(0, |held| held.revision.get())
}

fn finding(finding: &Finding) -> sync::Rejection {
    let Finding { resource, field, fault, effect } = finding;
    let effect = match effect {
        Effect::KeptPrevious => sync::rejection::Effect::KeptPrevious,
        Effect::Absent => sync::rejection::Effect::Absent,
        Effect::Deny => sync::rejection::Effect::Deny,
    };
    let message = if field.is_empty() { fault.to_string() } else { format!("{field}: {fault}") };
    sync::Rejection {
        kind: resource.kind().as_str().to_owned(),
        name: resource.as_str().to_owned(),
        reason: fault.reason().to_owned(),
        message: cut(&message),
        effect: effect.into(),
    }
}

fn unusable(unusable: &Unusable) -> sync::Rejection {
    let reason = match unusable.cause {
        UnusableCause::Variable(_) | UnusableCause::File { .. } => "SECRET_UNAVAILABLE",
        UnusableCause::Header => "INVALID_SECRET",
        UnusableCause::Client(_) | UnusableCause::Guarded(_) => "CONNECTION_UNAVAILABLE",
    };

    sync::Rejection {
        kind: unusable.name.kind().as_str().to_owned(),
        name: unusable.name.as_str().to_owned(),
        reason: reason.to_owned(),
        message: cut(&unusable.cause.to_string()),
        effect: sync::rejection::Effect::Absent.into(),
    }
}

fn whole(refusal: &Refusal) -> sync::Rejection {
    let reason = match refusal {
        Refusal::Defect(Defect::TooLarge { .. }) => "TOO_LARGE",
        Refusal::Defect(Defect::Hash | Defect::Length { .. }) => "DAMAGED",
        Refusal::Defect(Defect::Encoding | Defect::Target | Defect::Position(_)) => "INVALID_UPDATE",
        Refusal::Failed(Failed::Undecodable(_) | Failed::Mismatch) => "UNDECODABLE",
        Refusal::Failed(Failed::Refused(Refused::Base { .. })) => "BASE_MISMATCH",
        Refusal::Failed(Failed::Refused(Refused::Older { .. })) => "OLDER",
        Refusal::Failed(Failed::Refused(Refused::Repeated(_))) => "INVALID_UPDATE",
        Refusal::Failed(Failed::Refused(Refused::Digest { .. })) => "DIGEST_MISMATCH",
        Refusal::Crashed => "CRASHED",
    };
    sync::Rejection {
        kind: String::new(),
        name: String::new(),
        reason: reason.to_owned(),
        message: cut(&refusal.to_string()),
        effect: sync::rejection::Effect::KeptPrevious.into(),
    }
}

fn cut(message: &str) -> String {
    message.chars().take(MAX_MESSAGE_CHARS).collect()
}

fn duration(duration: Duration) -> prost_types::Duration {
    // Out of range only past 292 billion years.
    duration.try_into().unwrap_or_default()
}
