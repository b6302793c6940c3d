//! Who did what, and who was refused. A change is written down in its own transaction; what changed nothing is counted together and
//! written in batches, off its caller's path. It is never told what was sent.

use std::{
    borrow::Cow,
    collections::HashMap,
    mem,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::FutureExt as _;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    ledger::{self, Ledger},
    store::{self, revisions::ITSELF},
};

mod flags;

pub use flags::Flags;

/// How long a refusal may be in memory only.
const BATCH: Duration = Duration::from_secs(1);

/// Batches from one look at what is too old to the next.
const BATCHES_A_PRUNE: u32 = 60;

/// Different refusals that are told apart within one batch; the rest are counted by their reason alone.
const MAX_DIFFERENT: usize = 256;

/// The code of what was done.
pub(crate) const DONE: &str = "OK";

/// What audit lines are logged under.
const TARGET: &str = "audit";

/// What an entry says, apart from when and how often.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct What {
    /// Who; empty = nobody that is known.
    pub(crate) actor: Arc<str>,
    /// Where from; `None` = from the control plane itself.
    pub(crate) source_ip: Option<IpAddr>,
    /// The call, such as `ProviderService/CreateProvider`.
    pub(crate) method: Cow<'static, str>,
    /// What it was about; empty = several, or it never came to that.
    pub(crate) resource: String,
    /// The status code's name.
    pub(crate) code: Cow<'static, str>,
    /// The error's reason; empty = it was done.
    pub(crate) reason: Cow<'static, str>,
    /// The caller's id of the call; empty = none.
    pub(crate) request_id: String,
}

impl What {
    /// It stands for every refusal of its reason that there was no room to tell apart.
    fn blurred(&self) -> Self {
        Self {
            actor: Arc::from(""),
            source_ip: None,
            method: Cow::Borrowed(""),
            resource: String::new(),
            code: self.code.clone(),
            reason: self.reason.clone(),
            request_id: String::new(),
        }
    }
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deed {
    /// When it was decided.
    pub(crate) time: SystemTime,
    /// What it says.
    pub(crate) what: What,
    /// The revision that it made.
    pub(crate) revision: Option<u64>,
    /// How many like it came in the same second.
    pub(crate) repeated: u32,
}

impl Deed {
    /// What was done at the console, with no control plane running. Whoever may do that is known to the machine alone.
    pub(crate) fn at_console(command: &str, revision: Option<u64>, time: SystemTime) -> Self {
        let what = What {
            actor: Arc::from(ITSELF),
            source_ip: None,
            method: Cow::Owned(command.to_owned()),
            resource: String::new(),
            code: Cow::Borrowed(DONE),
            reason: Cow::Borrowed(""),
            request_id: String::new(),
        };
        Self { time, what, revision, repeated: 0 }
    }

    /// Says it in the log too, where it can be had away from the machine that it speaks of.
    pub(crate) fn log(&self) {
        let Self { time: _, what, revision, repeated } = self;
        let What { actor, source_ip, method, resource, code, reason, request_id } = what;
        let source_ip = source_ip.map(tracing::field::display);
        tracing::info!(target: TARGET, %actor, source_ip, %method, resource, %code, %reason, revision, request_id, repeated);
    }
}

/// How much of the audit is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// At most so many entries.
    pub entries: u64,
    /// None that is older.
    pub age: Duration,
}

/// Takes down what changed nothing. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Audit {
    pending: Arc<Mutex<Pending>>,
}

/// Refusals by the second that they came in: when the first came, and how many like it followed.
type Pending = HashMap<(u64, What), (SystemTime, u32)>;

impl Audit {
    /// Takes down a refusal.
    pub(crate) fn refused(&self, what: What) {
        self.refused_at(what, SystemTime::now());
    }

    fn refused_at(&self, what: What, now: SystemTime) {
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (second, what);
        if pending.len() >= MAX_DIFFERENT && !pending.contains_key(&key) {
            key.1 = key.1.blurred();
        }
        pending.entry(key).and_modify(|(_, repeated)| *repeated = repeated.saturating_add(1)).or_insert((now, 0));
    }

    /// Writes down what was refused and removes what is too old, until it is dropped.
    pub(crate) async fn run(&self, ledger: &Ledger, keep: Keep) {
        let mut batches = interval(BATCH);
        batches.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for batch in (0..BATCHES_A_PRUNE).cycle() {
            batches.tick().await;
            self.flush(ledger).await;
            if batch == 0 {
                prune(ledger, keep).await;
            }
        }
    }

    /// Writes down what was refused so far.
    pub(crate) async fn flush(&self, ledger: &Ledger) {
        let deeds = self.take();
        if deeds.is_empty() {
            return;
        }
        for deed in &deeds {
            deed.log();
        }
        let lost = deeds.len();
        let work = ledger.maintain::<_, ledger::Error, _, _>(
            |connection| {
                async move {
                    for deed in &deeds {
                        store::audit::add(connection, deed).await.map_err(ledger::Error::from)?;
                    }
                    Ok(())
                }
                .boxed()
            },
            |()| (),
        );
        if let Err(error) = work.await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, lost, "audit entries of refusals are in the log only");
        }
    }

    /// What is pending, in order.
    fn take(&self) -> Vec<Deed> {
        let pending = mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        let deed = |((_, what), (time, repeated))| Deed { time, what, revision: None, repeated };
        let mut deeds: Vec<_> = pending.into_iter().map(deed).collect();
        deeds.sort_by_key(|deed| deed.time);
        deeds
    }
}

async fn prune(ledger: &Ledger, keep: Keep) {
    let since = SystemTime::now().checked_sub(keep.age).unwrap_or(UNIX_EPOCH);
    let pruned = ledger.maintain::<_, ledger::Error, _, _>(
        move |connection| async move { Ok(store::audit::prune(connection, keep.entries, since).await?) }.boxed(),
        |_| (),
    );
    match pruned.await {
        Ok(0) => {}
        Ok(entries) => tracing::debug!(entries, "audit entries are past what is kept"),
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "old audit entries were not removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong_token(from: [u8; 4]) -> What {
        What {
            actor: Arc::from(""),
            source_ip: Some(from.into()),
            method: Cow::Borrowed("ProviderService/ListProviders"),
            resource: String::new(),
            code: Cow::Borrowed("UNAUTHENTICATED"),
            reason: Cow::Borrowed("ADMIN_TOKEN_WRONG"),
            request_id: String::new(),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn refusals_that_are_alike_are_one_entry_a_second() {
        let audit = Audit::default();
        for second in [7, 7, 7, 8] {
            audit.refused_at(wrong_token([10, 0, 0, 1]), at(second));
        }
        audit.refused_at(wrong_token([10, 0, 0, 2]), at(9));
        let seen: Vec<_> = audit.take().into_iter().map(|deed| (deed.time, deed.repeated)).collect();
        assert_eq!(seen, [(at(7), 2), (at(8), 0), (at(9), 0)]);
        assert_eq!(audit.take(), []);
    }

    #[test]
    fn a_flood_from_everywhere_is_counted_and_fills_nothing() {
        let audit = Audit::default();
        for high in 0..40 {
            for low in 0..=255 {
                audit.refused_at(wrong_token([10, 0, high, low]), at(7));
            }
        }
        let deeds = audit.take();
        assert_eq!(deeds.len(), MAX_DIFFERENT + 1);
        let blurred = deeds.iter().find(|deed| deed.what.source_ip.is_none()).unwrap();
        assert_eq!(blurred.repeated as usize + 1, 40 * 256 - MAX_DIFFERENT);
        assert_eq!(blurred.what.reason, "ADMIN_TOKEN_WRONG");
    }
}
