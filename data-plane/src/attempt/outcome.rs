//! What a request has come to so far that nobody has answered yet: of all that went wrong, what the client is told. Pure.

use tokio::time::Instant;

use super::failed::{Cause, Failed};

/// What a request has come to so far.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What weighs most; of what weighs the same, the last.
    worst: Option<(Weight, Failed)>,
    /// The earliest moment at which anything of it may go better.
    recovery: Option<Instant>,
}

/// How much of a reason a failure is for there being no answer. The last one is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// There is no credential for it now.
    NoCredential,
    /// There is no room for it now, or it is left alone.
    NoRoom,
    /// It was tried.
    Tried,
}

impl Weight {
    /// Of what a target came to, with something sent to it or without.
    pub(super) fn of(cause: &Cause, sent: bool) -> Self {
        match cause {
            _ if sent => Self::Tried,
            Cause::RateLimited | Cause::CredentialsExhausted { .. } => Self::NoCredential,
            Cause::Ejected | Cause::Busy => Self::NoRoom,
            Cause::Unreachable(_)
            | Cause::TimedOut(_)
            | Cause::Status(_)
            | Cause::ErrorInside
            | Cause::BrokenOff(_)
            | Cause::TooLarge { .. }
            | Cause::OverLimit { .. }
            | Cause::Unreadable
            | Cause::Upload(_)
            | Cause::Unsendable(_) => Self::Tried,
        }
    }
}

impl Outcome {
    /// Adds what an attempt came to that something else is tried after.
    pub(super) fn add(&mut self, weight: Weight, failed: Failed) {
        self.recovery = self.recovery.into_iter().chain(failed.recovery).min();
        if self.worst.as_ref().is_none_or(|(worst, _)| *worst <= weight) {
            self.worst = Some((weight, failed));
        }
    }

    /// What it all comes to, with what the last attempt did.
    pub(super) fn sum_up(&mut self, weight: Weight, last: Failed) -> Failed {
        let recovery = self.recovery.into_iter().chain(last.recovery).min();
        let worst = self.worst.take().filter(|(worst, _)| *worst > weight);
        Failed { recovery, ..worst.map_or(last, |(_, failed)| failed) }
    }
}
