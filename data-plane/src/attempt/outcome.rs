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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;
    use crate::attempt::tests::provider;

    fn failed(cause: Cause, recovery: Option<Instant>) -> Failed {
        Failed { provider: provider("p", ([127, 0, 0, 1], 9).into(), &[]).into(), cause, recovery }
    }

    /// What these come to, each with something sent to the target or without.
    fn come_to(causes: Vec<(Cause, bool)>) -> String {
        let mut outcome = Outcome::default();
        let mut last = None;
        for (cause, sent) in causes {
            if let Some((weight, earlier)) = last.replace((Weight::of(&cause, sent), failed(cause, None))) {
                outcome.add(weight, earlier);
            }
        }
        let (weight, last) = last.expect("there is a cause");
        outcome.sum_up(weight, last).cause.to_string()
    }

    #[test]
    fn what_was_tried_tells_more_than_what_was_not() {
        let status = |code| Cause::Status(StatusCode::from_u16(code).unwrap());
        for (causes, told) in [
            (vec![(status(500), true)], status(500)),
            (vec![(status(500), true), (status(503), true)], status(503)),
            (vec![(status(500), true), (Cause::Ejected, false)], status(500)),
            (vec![(status(500), true), (Cause::RateLimited, false)], status(500)),
            (vec![(status(401), true), (Cause::RateLimited, true)], Cause::RateLimited),
            (vec![(Cause::RateLimited, false), (Cause::RateLimited, false)], Cause::RateLimited),
            (vec![(Cause::RateLimited, false), (Cause::Ejected, false)], Cause::Ejected),
            (vec![(Cause::Ejected, false), (Cause::RateLimited, false)], Cause::Ejected),
            (vec![(Cause::Busy, false), (Cause::CredentialsExhausted { status: None }, false)], Cause::Busy),
        ] {
            assert_eq!(come_to(causes), told.to_string());
        }
    }

    #[test]
    fn the_earliest_recovery_is_told_whoever_it_is_of() {
        let now = Instant::now();
        let [soon, late] = [1, 60].map(|seconds| Some(now + Duration::from_secs(seconds)));
        for (first, second, told) in [(soon, late, soon), (late, soon, soon), (None, late, late), (None, None, None)] {
            let mut outcome = Outcome::default();
            outcome.add(Weight::Tried, failed(Cause::ErrorInside, first));
            assert_eq!(outcome.sum_up(Weight::NoRoom, failed(Cause::Ejected, second)).recovery, told);
        }
    }
}
