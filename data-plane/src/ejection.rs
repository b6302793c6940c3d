//! Targets that failed again and again, each left alone for a while. It is told the time and what came of attempts, and never sees
//! a request or an answer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use signalbox_routing::{Ejection, Id, Provider, Target};
use tokio::time::Instant;

/// Most targets that anything is known of. Clients may make up model names, and each that fails is a target of its own.
const MOST: usize = 4096;
/// When to ask again after a target that is just being tried out.
const SOON: Duration = Duration::from_secs(1);

/// What is known of the targets that failed. It outlives the revisions, but not a change of the provider in question.
#[derive(Debug, Default)]
pub(crate) struct Ejections {
    standings: Mutex<Standings>,
    /// How many of them there are: while there are none, nobody needs the lock.
    known: AtomicUsize,
    /// How often a target was ejected.
    total: AtomicU64,
}

/// What is known of each target: of a provider and a model.
type Standings = HashMap<(Id, Arc<str>), Standing>;

/// What is known of one target.
#[derive(Debug)]
struct Standing {
    /// Whose target it is, as it was when it first failed.
    provider: Arc<Provider>,
    /// Failures in a row.
    failures: u32,
    /// Ejections in a row.
    ejections: u32,
    /// Until when it is ejected, or was last.
    until: Option<Instant>,
    /// Whether a request is trying it out after its ejection.
    on_trial: bool,
}

/// An attempt that was let begin. What comes of it may be told; dropped without a word it says nothing about its target.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    ejections: &'a Ejections,
    target: &'a Target,
    /// Whether nobody else is let in before it is over.
    alone: bool,
}

impl Ejections {
    /// Lets an attempt at a target begin. After an ejection one at a time is let in, until one succeeds.
    ///
    /// # Errors
    /// The moment at which it is worth asking again.
    pub(crate) fn admit<'a>(&'a self, target: &'a Target, now: Instant) -> Result<Trial<'a>, Instant> {
        let alone = match self.lock_if_any().as_mut().and_then(|standings| standings.get_mut(&key(target))) {
            None | Some(Standing { until: None, .. }) => false,
            Some(Standing { until: Some(until), .. }) if now < *until => return Err(*until),
            Some(Standing { on_trial: true, .. }) => return Err(now + SOON),
            Some(standing) => {
                standing.on_trial = true;
                true
            }
        };
        Ok(Trial { ejections: self, target, alone })
    }

    /// Forgets the targets of providers that are gone or have changed.
    pub(crate) fn keep<'a>(&self, mut provider: impl FnMut(&Id) -> Option<&'a Arc<Provider>>) {
        let Some(mut standings) = self.lock_if_any() else { return };
        standings.retain(|(id, _), standing| provider(id).is_some_and(|provider| **provider == *standing.provider));
        self.known.store(standings.len(), Ordering::Release);
    }

    /// How many targets are left alone now.
    pub(crate) fn ejected(&self, now: Instant) -> usize {
        let is_out = |standing: &&Standing| standing.until.is_some_and(|until| now < until);
        self.lock_if_any().map_or(0, |standings| standings.values().filter(is_out).count())
    }

    /// How often a target was ejected.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    fn lock_if_any(&self) -> Option<MutexGuard<'_, Standings>> {
        (self.known.load(Ordering::Acquire) > 0).then(|| self.lock())
    }

    /// Every change is one step, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Standings> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trial<'_> {
    /// The target did what it is there for: whatever was held against it is over.
    pub(crate) fn succeeded(mut self) {
        self.alone = false;
        if let Some(mut standings) = self.ejections.lock_if_any() {
            standings.remove(&key(self.target));
            self.ejections.known.store(standings.len(), Ordering::Release);
        }
    }

    /// The target failed. Ejects it if that was once too often; returns for how long.
    pub(crate) fn failed(mut self, now: Instant) -> Option<Duration> {
        let provider = &self.target.provider;
        if provider.ejection.failures == 0 {
            return None;
        }
        let alone = std::mem::take(&mut self.alone);
        let mut standings = self.ejections.lock();
        if standings.len() >= MOST {
            standings.retain(|_, standing| standing.until.is_some_and(|until| now < until));
        }
        let mut ejected = None;
        if standings.len() < MOST {
            let standing = standings.entry(key(self.target)).or_insert_with(|| Standing::of(provider));
            ejected = standing.fail(now, alone);
        }
        self.ejections.known.store(standings.len(), Ordering::Release);
        self.ejections.total.fetch_add(ejected.is_some().into(), Ordering::Relaxed);
        ejected
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if self.alone
            && let Some(mut standings) = self.ejections.lock_if_any()
            && let Some(standing) = standings.get_mut(&key(self.target))
        {
            standing.on_trial = false;
        }
    }
}

impl Standing {
    fn of(provider: &Arc<Provider>) -> Self {
        Self { provider: Arc::clone(provider), failures: 0, ejections: 0, until: None, on_trial: false }
    }

    /// Counts a failure; returns for how long it ejects the target, if it does.
    fn fail(&mut self, now: Instant, alone: bool) -> Option<Duration> {
        let Ejection { failures: most, base, cap } = self.provider.ejection;
        if alone {
            self.on_trial = false;
        }
        self.failures = self.failures.saturating_add(1);
        // An attempt that began before its target was ejected tells nothing new.
        let is_out = self.until.is_some_and(|until| now < until);
        if is_out || self.failures < most {
            return None;
        }
        let time = base.saturating_mul(2_u32.saturating_pow(self.ejections)).min(cap);
        self.ejections = self.ejections.saturating_add(1);
        self.until = Some(now + time);
        Some(time)
    }
}

fn key(target: &Target) -> (Id, Arc<str>) {
    (target.provider.id.clone(), Arc::clone(&target.model))
}

#[cfg(test)]
mod tests {
    use signalbox_routing::Endpoint;

    use super::*;
    use crate::attempt::tests::provider;

    const SECOND: Duration = Duration::from_secs(1);

    fn target(model: &str) -> Target {
        let mut provider = provider("p", ([127, 0, 0, 1], 9).into(), &[]);
        provider.ejection = Ejection { failures: 3, base: 10 * SECOND, cap: 35 * SECOND };
        let url = provider.url(Endpoint::ChatCompletions, model).expect("it has chats");
        Target { provider: Arc::new(provider), url, model: model.into() }
    }

    fn fail(ejections: &Ejections, target: &Target, times: usize, now: Instant) {
        for _ in 0..times {
            ejections.admit(target, now).expect("it is let in").failed(now);
        }
    }

    #[test]
    fn a_target_is_ejected_after_failures_in_a_row_and_no_other_with_it() {
        let (ejections, now) = (Ejections::default(), Instant::now());
        let (bad, good) = (target("bad"), target("good"));
        fail(&ejections, &bad, 2, now);
        ejections.admit(&bad, now).unwrap().succeeded();
        fail(&ejections, &bad, 2, now);
        drop(ejections.admit(&bad, now).expect("a departure counts for nothing"));
        fail(&ejections, &bad, 1, now);
        assert_eq!(ejections.admit(&bad, now).unwrap_err(), now + 10 * SECOND);
        assert!(ejections.admit(&good, now).is_ok());
        assert_eq!((ejections.ejected(now), ejections.total()), (1, 1));
    }

    #[test]
    fn the_time_doubles_up_to_its_cap_and_begins_anew_after_a_success() {
        let (ejections, mut now, bad) = (Ejections::default(), Instant::now(), target("bad"));
        fail(&ejections, &bad, 2, now);
        for time in [10, 20, 35, 35] {
            fail(&ejections, &bad, 1, now);
            let until = ejections.admit(&bad, now).unwrap_err();
            assert_eq!(until - now, time * SECOND);
            now = until;
        }
        ejections.admit(&bad, now).unwrap().succeeded();
        fail(&ejections, &bad, 3, now);
        assert_eq!(ejections.admit(&bad, now).unwrap_err() - now, 10 * SECOND);
    }

    #[test]
    fn one_request_at_a_time_tries_a_target_out() {
        let (ejections, bad) = (Ejections::default(), target("bad"));
        let begun = Instant::now();
        let (late, later) = (ejections.admit(&bad, begun).unwrap(), ejections.admit(&bad, begun).unwrap());
        fail(&ejections, &bad, 3, begun);
        late.failed(begun);
        let now = begun + 10 * SECOND;
        let trial = ejections.admit(&bad, now).expect("the time is over, and was not lengthened");
        assert_eq!(ejections.admit(&bad, now).unwrap_err(), now + SOON);
        drop(trial);
        ejections.admit(&bad, now).expect("whoever left made way").succeeded();
        let both = (ejections.admit(&bad, now), ejections.admit(&bad, now));
        assert!(both.0.is_ok() && both.1.is_ok());
        later.failed(now);
        assert!(ejections.admit(&bad, now).is_ok());
    }

    #[test]
    fn nothing_is_ejected_where_the_provider_says_never() {
        let (ejections, now) = (Ejections::default(), Instant::now());
        let mut never = target("m");
        Arc::make_mut(&mut never.provider).ejection.failures = 0;
        fail(&ejections, &never, 100, now);
        assert!(ejections.admit(&never, now).is_ok());
    }

    #[test]
    fn a_change_of_the_provider_is_a_new_beginning() {
        let (ejections, now, bad) = (Ejections::default(), Instant::now(), target("bad"));
        fail(&ejections, &bad, 3, now);
        let same = Arc::new(Provider::clone(&bad.provider));
        ejections.keep(|_| Some(&same));
        assert!(ejections.admit(&bad, now).is_err());
        let mut repaired = same;
        Arc::make_mut(&mut repaired).priority += 1;
        ejections.keep(|_| Some(&repaired));
        assert!(ejections.admit(&bad, now).is_ok());
    }

    #[test]
    fn made_up_names_do_not_add_up() {
        let (ejections, now, bad) = (Ejections::default(), Instant::now(), target("bad"));
        fail(&ejections, &bad, 3, now);
        let mut made_up = target("");
        for number in 0..2 * MOST {
            made_up.model = number.to_string().into();
            fail(&ejections, &made_up, 1, now);
        }
        assert!(ejections.lock().len() <= MOST);
        assert!(ejections.admit(&bad, now).is_err(), "who is out stays out");
    }
}
