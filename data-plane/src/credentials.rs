//! A provider's keys: which one the next attempt takes, and what became of the last ones. It is told the time and never sees a
//! request or an answer.
//!
//! What is known of a key outlives the revisions that keep it, and belongs to one version of it: a replaced key starts anew.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use signalbox_routing::{Credential, CredentialChoice};
use tokio::time::Instant;

use crate::{redact::Mask, upstream::Key};

mod choice;
mod pace;
mod report;

pub(crate) use pace::retry_after;
pub(crate) use report::Report;

/// How long a key that was refused is set aside.
const SET_ASIDE: Duration = Duration::from_secs(10 * 60);
/// How long a key cools that was limited without saying for how long.
const COOLING: Duration = Duration::from_secs(10);

/// Identifies one version of one credential.
type Version = [u8; 32];

/// The usable keys of one provider.
#[derive(Debug)]
pub(crate) struct Pool {
    choice: CredentialChoice,
    members: Vec<Arc<Member>>,
    ledger: Arc<Mutex<Ledger>>,
}

/// A key that can be sent.
#[derive(Debug)]
pub(crate) struct Member {
    /// What is configured.
    pub(crate) credential: Arc<Credential>,
    /// The header that carries it.
    pub(crate) key: Key,
    /// Takes it out where it must not be.
    pub(crate) mask: Mask,
}

/// What is known of the keys, by version.
#[derive(Debug, Default)]
struct Ledger {
    /// Counts the attempts begun with any of them.
    turn: u64,
    records: BTreeMap<Version, Record>,
}

impl Ledger {
    fn record(&self, member: &Member) -> Record {
        self.records.get(&member.credential.version).copied().unwrap_or_default()
    }
}

/// What is known of one key.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    /// Attempts under way.
    in_flight: u32,
    /// Attempts begun.
    uses: u64,
    /// The turn of the last one.
    last_turn: u64,
    /// Attempts that failed, whatever the reason.
    failures: u64,
    /// Those of them that failed in a row for a reason that was not the key's, as far as one could tell.
    streak: u32,
    trouble: Option<Trouble>,
    /// The pool's turn when that was learnt.
    trouble_turn: u64,
}

impl Record {
    fn meet(&mut self, trouble: Trouble, turn: u64) {
        self.failures += 1;
        self.streak = 0;
        self.trouble = Some(trouble);
        self.trouble_turn = turn;
    }
}

/// Why a key is not to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Refused: its recovery is a guess.
    Refused { until: Instant },
    /// Limited: until then it would be limited again.
    Cooling { until: Instant },
}

/// Why there is no key for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// Every key is refused, or there is none that can be sent.
    Refused,
    /// Every key is refused or cools; the first thaws then.
    Cooling {
        /// When.
        until: Instant,
    },
    /// Those that could be taken have as many attempts under way as they may.
    Busy,
}

/// A key that is in use. Counts as under way until it is dropped, which is when the answer's body is.
#[derive(Debug)]
pub(crate) struct Lease {
    member: Arc<Member>,
    ledger: Arc<Mutex<Ledger>>,
    turn: u64,
}

impl Pool {
    /// A pool of these keys. What `previous` knows of them stays known, to both.
    pub(crate) fn new(choice: CredentialChoice, members: Vec<Arc<Member>>, previous: Option<&Self>) -> Self {
        let ledger = previous.map_or_else(Arc::default, |pool| Arc::clone(&pool.ledger));
        {
            let mut known = lock(&ledger);
            // A record with attempts under way stays for them to end in; the next revision takes it out.
            let kept = |version: &Version| members.iter().any(|member| member.credential.version == *version);
            known.records.retain(|version, record| record.in_flight > 0 || kept(version));
            for member in &members {
                known.records.entry(member.credential.version).or_default();
            }
        }
        Self { choice, members, ledger }
    }

    /// Takes a key for one attempt. `refused` are those that this very request was already refused with.
    ///
    /// # Errors
    /// [`Unavailable`] where none is to be had now.
    pub(crate) fn take(&self, now: Instant, refused: &[Arc<str>]) -> Result<Lease, Unavailable> {
        let mut ledger = lock(&self.ledger);
        let candidates = self.untried(&ledger, refused);
        let member = Arc::clone(choice::choose(self.choice, candidates, now)?);
        Ok(self.begin(&mut ledger, member))
    }

    /// Takes the key of this name once more, if it can be taken still; else as [`Self::take`] does.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn take_again(&self, name: &str, now: Instant, refused: &[Arc<str>]) -> Result<Lease, Unavailable> {
        let mut ledger = lock(&self.ledger);
        let is_same = |(member, record): &(&Arc<Member>, Record)| {
            *member.credential.name == *name && record.trouble_at(now).is_none()
        };
        let same = self.untried(&ledger, refused).filter(is_same);
        let member = choice::choose(self.choice, same, now)
            .or_else(|_| choice::choose(self.choice, self.untried(&ledger, refused), now));
        let member = Arc::clone(member?);
        Ok(self.begin(&mut ledger, member))
    }

    /// Whether there is a key that can be taken now, of those that are not `refused`.
    pub(crate) fn has_usable(&self, now: Instant, refused: &[Arc<str>]) -> bool {
        let ledger = lock(&self.ledger);
        self.untried(&ledger, refused).any(|(_, record)| record.trouble_at(now).is_none())
    }

    fn untried<'a>(
        &'a self,
        ledger: &'a Ledger,
        refused: &'a [Arc<str>],
    ) -> impl Iterator<Item = (&'a Arc<Member>, Record)> + Clone {
        let untried = self.members.iter().filter(|member| !refused.contains(&member.credential.name));
        untried.map(|member| (member, ledger.record(member)))
    }

    fn begin(&self, ledger: &mut Ledger, member: Arc<Member>) -> Lease {
        ledger.turn += 1;
        let turn = ledger.turn;
        let record = ledger.records.entry(member.credential.version).or_default();
        record.in_flight += 1;
        record.uses += 1;
        record.last_turn = turn;
        Lease { member, ledger: Arc::clone(&self.ledger), turn }
    }

    /// How the pool and each of its keys are.
    pub(crate) fn report(&self, now: Instant) -> Report {
        let ledger = lock(&self.ledger);
        Report::of(self.members.iter().map(|member| (member, ledger.record(member))), now)
    }
}

impl Lease {
    /// The credential's full name, for the log.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.member.credential.name
    }

    /// The header that carries the key.
    pub(crate) fn key(&self) -> &Key {
        &self.member.key
    }

    /// What takes the key out where it must not be.
    pub(crate) fn mask(&self) -> &Mask {
        &self.member.mask
    }

    /// The upstream answered: what was held against the key is over, unless that was learnt after this attempt began.
    pub(crate) fn accepted(&self) {
        self.settle(|record, _| {
            record.streak = 0;
            if record.trouble_turn < self.turn {
                record.trouble = None;
            }
        });
    }

    /// The upstream refused the key.
    pub(crate) fn refused(&self, now: Instant) {
        self.trouble(Trouble::Refused { until: now + SET_ASIDE });
    }

    /// The upstream limited the key. Returns until when it cools.
    pub(crate) fn limited(&self, now: Instant, retry_after: Option<Duration>) -> Instant {
        let until = now + retry_after.unwrap_or(COOLING);
        self.trouble(Trouble::Cooling { until });
        until
    }

    /// The attempt failed, and nobody said that it is the key's fault. Returns whether it is set aside now, as it is after `most`
    /// of these in a row.
    pub(crate) fn failed(&self, now: Instant, most: Option<NonZeroU32>) -> bool {
        let mut set_aside = false;
        self.settle(|record, turn| {
            record.streak = record.streak.saturating_add(1);
            set_aside = most.is_some_and(|most| record.streak >= most.get());
            if set_aside {
                record.meet(Trouble::Refused { until: now + SET_ASIDE }, turn);
            } else {
                record.failures += 1;
            }
        });
        set_aside
    }

    fn trouble(&self, trouble: Trouble) {
        self.settle(|record, turn| record.meet(trouble, turn));
    }

    fn settle(&self, change: impl FnOnce(&mut Record, u64)) {
        let mut ledger = lock(&self.ledger);
        let turn = ledger.turn;
        if let Some(record) = ledger.records.get_mut(&self.member.credential.version) {
            change(record, turn);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.settle(|record, _| record.in_flight = record.in_flight.saturating_sub(1));
    }
}

/// Every change to the ledger is one step, so that a panic elsewhere leaves it whole.
fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
