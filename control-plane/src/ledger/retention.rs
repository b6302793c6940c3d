//! How much of the past is kept, and the forgetting of the rest: between writes, in pieces that no write waits for long.

use std::time::{Duration, SystemTime};

use clap::Args;
use jiff::{Span, SpanRelativeTo};
use signalbox_routing::Revision;
use sqlx::Connection as _;
use tokio::time::Instant;

use super::once;
use crate::store::{self, Store, retention};

/// Revisions that are kept where nobody says otherwise.
const KEEP: u64 = 10_000;

/// Between two looks for something that is past its time.
const ROUND: Duration = Duration::from_secs(60);

/// Between two pieces, which leaves the disk to the writes.
const PAUSE: Duration = Duration::from_millis(50);

/// How much of the past is kept; what is past either goes, and the current revision never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// So many revisions.
    pub revisions: u64,
    /// For so long.
    pub age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { revisions: KEEP, age: Duration::from_secs(90 * 24 * 60 * 60) }
    }
}

/// The flags that say how much of the past is kept, for every program that has them.
// A program may have other structs of flags by this name, and clap knows groups by the struct's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[group(skip)]
pub struct Flags {
    /// How many revisions are kept; older ones can no longer be looked at or gone back to
    #[arg(
        long,
        value_name = "COUNT",
        env = "SIGNALBOX_KEEP_REVISIONS",
        default_value_t = KEEP,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    keep_revisions: u64,
    /// For how long they are kept, such as 90d or 12h
    #[arg(long, value_name = "TIME", env = "SIGNALBOX_KEEP_REVISIONS_FOR", default_value = "90d", value_parser = length_of_time)]
    keep_revisions_for: Duration,
}

impl Flags {
    /// What they say.
    #[must_use]
    pub const fn options(self) -> Retention {
        Retention { revisions: self.keep_revisions, age: self.keep_revisions_for }
    }
}

/// Reads a length of time, in which a day has 24 hours.
pub(crate) fn length_of_time(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|_| "a time such as 90d, 12h or 30m is expected".to_owned())?;
    let time = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok().and_then(|time| time.try_into().ok());
    time.ok_or_else(|| "a time in days, hours, minutes or seconds is expected, and not a negative one".to_owned())
}

/// When the next piece of the past goes.
#[derive(Debug)]
pub(super) struct Tidying {
    retention: Retention,
    due: Instant,
}

impl Tidying {
    /// Begins at once.
    pub(super) fn new(retention: Retention) -> Self {
        Self { retention, due: Instant::now() }
    }

    /// When [`step`](Self::step) has something to do again.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Forgets one piece of what is past its time, if it is time for that.
    pub(super) async fn step(&mut self, store: &mut Store, current: Revision) {
        if Instant::now() < self.due {
            return;
        }
        let more = forget(store, self.retention, current).await.unwrap_or_else(|error| {
            // It is tried again; until then more is kept than was asked for.
            tracing::warn!(error = &error as &dyn std::error::Error, "the past could not be forgotten");
            store.give_up_writer();
            false
        });
        self.due = Instant::now() + if more { PAUSE } else { ROUND };
    }
}

async fn forget(store: &mut Store, keep: Retention, current: Revision) -> Result<bool, store::Error> {
    let now = SystemTime::now();
    let ago = |age| now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut transaction = store.writer().await?.begin_with("BEGIN IMMEDIATE").await?;
    let young = retention::first_since(&mut transaction, ago(keep.age)).await?.unwrap_or(current.get());
    let few = current.get().saturating_sub(keep.revisions).saturating_add(1);
    retention::hide(&mut transaction, young.max(few).min(current.get())).await?;
    let more = retention::forget(&mut transaction, ago(once::REMEMBERED)).await?;
    transaction.commit().await?;
    Ok(more)
}
