//! What the log says of what a replica made of an update. It decides nothing.

use signalbox_proto::sync::v1::{self as sync, ack};
use signalbox_routing::Revision;

/// A replica has answered an update to that revision.
pub(super) fn acknowledged(replica: &str, ack: &sync::Ack, revision: Revision) {
    let revision = revision.get();
    let first = ack.rejections.first().map_or("", |rejection| rejection.reason.as_str());
    match ack.outcome() {
        ack::Outcome::Applied => tracing::debug!(replica, revision, "revision in force"),
        ack::Outcome::AppliedPartially => {
            tracing::warn!(
                replica,
                revision,
                not_in_force = ack.rejection_count,
                reason = first,
                "revision in force in part"
            );
        }
        ack::Outcome::NeedFull => tracing::info!(replica, revision, "replica needs everything"),
        ack::Outcome::Rejected | ack::Outcome::Unspecified => {
            tracing::error!(replica, revision, reason = first, "replica refused the revision")
        }
    }
}
