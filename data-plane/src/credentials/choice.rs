//! Which of a pool's keys is taken. Pure, but for the draw by weight.

use std::sync::Arc;

use signalbox_routing::CredentialChoice;
use tokio::time::Instant;

use super::{Member, Record, Trouble, Unavailable};

type Candidate<'a> = (&'a Arc<Member>, Record);

/// Chooses among the keys that can be taken; if all are refused, the one closest to recovery, so that nobody is locked out by one
/// bad answer.
pub(super) fn choose<'a>(
    choice: CredentialChoice,
    candidates: impl Iterator<Item = Candidate<'a>> + Clone,
    now: Instant,
) -> Result<&'a Arc<Member>, Unavailable> {
    let mut ready = candidates.clone().filter(|(_, record)| record.trouble_at(now).is_none());
    let free = ready.clone().filter(has_room);
    if let Some(member) = by_choice(choice, free) {
        return Ok(member);
    }
    if ready.next().is_some() {
        return Err(Unavailable::Busy);
    }
    let thaw = candidates.clone().filter_map(|(_, record)| match record.trouble_at(now) {
        Some(Trouble::Cooling { until }) => Some(until),
        Some(Trouble::Refused { .. }) | None => None,
    });
    match thaw.min() {
        Some(until) => Err(Unavailable::Cooling { until }),
        None => closest_to_recovery(candidates, now),
    }
}

fn by_choice<'a>(
    choice: CredentialChoice,
    free: impl Iterator<Item = Candidate<'a>> + Clone,
) -> Option<&'a Arc<Member>> {
    let mut preferred = free.clone().filter(|candidate| weight(candidate) > 0).peekable();
    let chosen = match (choice, preferred.peek().is_some()) {
        (CredentialChoice::Weighted, true) => drawn(preferred),
        (_, true) => least(choice, preferred),
        (_, false) => least(choice, free),
    };
    chosen.map(|(member, _)| member)
}

/// The smallest by what the choice looks at; of several, the one that rested longest.
fn least<'a>(choice: CredentialChoice, free: impl Iterator<Item = Candidate<'a>>) -> Option<Candidate<'a>> {
    free.min_by_key(|(_, record)| match choice {
        CredentialChoice::LeastUsed => (record.uses, record.last_turn),
        CredentialChoice::LeastInFlight => (record.in_flight.into(), record.last_turn),
        CredentialChoice::LeastRecentlyUsed | CredentialChoice::Weighted => (0, record.last_turn),
    })
}

/// One drawn in proportion to its weight. None may weigh nothing.
fn drawn<'a>(mut free: impl Iterator<Item = Candidate<'a>> + Clone) -> Option<Candidate<'a>> {
    let total: u64 = free.clone().map(|candidate| weight(&candidate)).sum();
    let mut mark = fastrand::u64(..total.max(1));
    free.find(|candidate| {
        let reached = mark < weight(candidate);
        mark = mark.saturating_sub(weight(candidate));
        reached
    })
}

fn closest_to_recovery<'a>(
    mut candidates: impl Iterator<Item = Candidate<'a>> + Clone,
    now: Instant,
) -> Result<&'a Arc<Member>, Unavailable> {
    let recoveries = candidates.clone().filter(has_room).filter_map(|(member, record)| match record.trouble_at(now) {
        Some(Trouble::Refused { until }) => Some((until, member)),
        Some(Trouble::Cooling { .. }) | None => None,
    });
    let none = || if candidates.next().is_some() { Unavailable::Busy } else { Unavailable::Refused };
    recoveries.min_by_key(|(until, _)| *until).map(|(_, member)| member).ok_or_else(none)
}

fn weight((member, _): &Candidate<'_>) -> u64 {
    member.credential.weight.into()
}

fn has_room((member, record): &Candidate<'_>) -> bool {
    member.credential.max_in_flight.is_none_or(|most| record.in_flight < most)
}

impl Record {
    pub(super) fn trouble_at(&self, now: Instant) -> Option<Trouble> {
        self.trouble.filter(|trouble| match trouble {
            Trouble::Refused { until } | Trouble::Cooling { until } => now < *until,
        })
    }
}
