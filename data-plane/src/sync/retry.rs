//! When to connect again, and what to tell the operator meanwhile. It never gives up.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tonic::Code;

use super::{Timing, connect::Unconnected, jitter, session::Ended};

/// The waits between attempts, since the last one that was welcomed.
#[derive(Debug)]
pub(super) struct Retry {
    timing: Timing,
    ceilings: ExponentialBackoff,
}

impl Retry {
    pub(super) fn new(timing: Timing) -> Self {
        Self { timing, ceilings: ceilings(timing) }
    }

    /// A control plane answered: the next failure is a first one again.
    pub(super) fn reset(&mut self) {
        self.ceilings = ceilings(self.timing);
    }

    /// How long to wait, given how the last stream ended. Logs it once, here.
    pub(super) fn after(&mut self, ended: &Ended) -> Duration {
        let error: &dyn std::error::Error = ended;
        match (ended, ended.remedy()) {
            (Ended::Drained(after), _) => {
                let wait = (*after).min(self.timing.terminal);
                tracing::info!(wait_ms = millis(wait), "control plane is going away: reconnecting");
                wait
            }
            (_, Some(remedy)) => {
                let wait = jitter(self.timing.terminal);
                tracing::error!(error, remedy, wait_ms = millis(wait), "control plane refuses this replica");
                wait
            }
            (_, None) => {
                // Full jitter: a fleet that lost its control plane at one moment does not come back at one moment.
                let ceiling = self.ceilings.next().unwrap_or(self.timing.backoff_max);
                let wait = ceiling.mul_f64(fastrand::f64());
                tracing::warn!(error, wait_ms = millis(wait), "control plane lost: serving what is held");
                wait
            }
        }
    }
}

impl Ended {
    /// What an operator must do before another attempt can succeed; `None` = nothing, it may pass by itself.
    fn remedy(&self) -> Option<&'static str> {
        let (Self::Status(status) | Self::Unconnected(Unconnected::Refused(status))) = self else { return None };
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => {
                Some("give this data plane the control plane's join token (--join-token-file)")
            }
            Code::FailedPrecondition => {
                Some("run versions of both planes that overlap: upgrade the control plane first")
            }
            Code::InvalidArgument => Some("check the replica id (--replica-id) and that both planes are Signalbox"),
            Code::AlreadyExists => Some("give each data plane a replica id of its own (--replica-id)"),
            Code::Unimplemented => {
                Some("point --control-plane at the control plane's sync address, not its admin address")
            }
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => None,
        }
    }
}

fn ceilings(timing: Timing) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(timing.backoff_min)
        .with_max_delay(timing.backoff_max)
        .without_max_times()
        .build()
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
