//! What a client key may use on this replica: requests and tokens in a minute, and requests under way at once. It knows neither who
//! holds a key nor what is asked for.

use std::{
    collections::HashMap,
    num::{NonZeroU32, NonZeroU64},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::HeaderMap;
use signalbox_routing::{ClientKey, Id, Limits};
use tokio::time::Instant;

use crate::headers;

mod bucket;
mod header;

use bucket::Bucket;

/// Fewest meters at which those are looked for that nobody needs any more.
const MIN_SWEPT: usize = 64;

/// What the keys with limits have used lately. Kept over revisions, as no limit is part of it.
#[derive(Debug, Default)]
pub(crate) struct Meters(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    meters: HashMap<Id, Arc<Meter>>,
    /// How many there may be before the idle ones are forgotten.
    most: usize,
}

/// What one key has used lately, shared by all its exchanges.
#[derive(Debug)]
struct Meter(Mutex<Used>);

#[derive(Debug)]
struct Used {
    /// Those of the latest request, by which what was used is forgotten.
    limits: Limits,
    requests: Bucket,
    tokens: Bucket,
    in_flight: u32,
}

/// One exchange's share in what its key uses. When it is dropped, the request is no longer under way.
#[derive(Debug)]
pub(crate) struct Share {
    meter: Arc<Meter>,
    limits: Limits,
    /// Whether the request counts as being under way.
    admitted: bool,
    /// The tokens that it was thought to take.
    reserved: u64,
}

/// Which limit of a key is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// Of requests in a minute.
    #[error("the key may begin {limit} requests a minute")]
    Requests {
        /// The limit.
        limit: NonZeroU32,
        /// Until one more may begin.
        wait: Duration,
    },
    /// Of tokens in a minute.
    #[error("the key may use {limit} tokens a minute")]
    Tokens {
        /// The limit.
        limit: NonZeroU64,
        /// Until some are left.
        wait: Duration,
    },
    /// Of requests under way.
    #[error("the key may have {limit} requests under way at once")]
    InFlight {
        /// The limit.
        limit: NonZeroU32,
    },
}

impl Meters {
    /// A share for one exchange of a key; `None` = the key has no limits.
    pub(crate) fn share(&self, key: &ClientKey) -> Option<Share> {
        let limits = key.limits;
        (limits != Limits::default()).then(|| Share { meter: self.meter(key), limits, admitted: false, reserved: 0 })
    }

    fn meter(&self, key: &ClientKey) -> Arc<Meter> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = known.meters.get(&key.id) {
            return Arc::clone(meter);
        }
        if known.meters.len() >= known.most {
            let now = Instant::now();
            known.meters.retain(|_, meter| Arc::strong_count(meter) > 1 || !meter.is_idle(now));
            known.most = MIN_SWEPT.max(2 * known.meters.len());
        }
        let meter = Arc::new(Meter::new(key.limits, Instant::now()));
        known.meters.insert(key.id.clone(), Arc::clone(&meter));
        meter
    }
}

impl Meter {
    fn new(limits: Limits, now: Instant) -> Self {
        let (requests, tokens) = (Bucket::new(now), Bucket::new(now));
        Self(Mutex::new(Used { limits, requests, tokens, in_flight: 0 }))
    }

    /// What is used now, by these limits.
    fn used(&self, limits: Limits, now: Instant) -> MutexGuard<'_, Used> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.limits = limits;
        used.forget(now);
        used
    }

    /// Whether a new one would know as much.
    fn is_idle(&self, now: Instant) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.forget(now);
        used.requests.used() == 0 && used.tokens.used() == 0 && used.in_flight == 0
    }
}

impl Used {
    fn forget(&mut self, now: Instant) {
        let Limits { requests_per_minute, tokens_per_minute, .. } = self.limits;
        self.requests.leak(requests_per_minute.map(NonZeroU64::from), now);
        self.tokens.leak(tokens_per_minute, now);
    }

    fn admit(&mut self, now: Instant) -> Result<(), Denied> {
        let Limits { requests_per_minute, tokens_per_minute, max_in_flight } = self.limits;
        if let Some(limit) = max_in_flight.filter(|limit| self.in_flight >= limit.get()) {
            return Err(Denied::InFlight { limit });
        }
        if let Some(limit) = requests_per_minute
            && let Some(wait) = self.requests.wait(limit.into(), now)
        {
            return Err(Denied::Requests { limit, wait });
        }
        if let Some(limit) = tokens_per_minute
            && let Some(wait) = self.tokens.wait(limit, now)
        {
            return Err(Denied::Tokens { limit, wait });
        }
        self.in_flight += 1;
        self.requests.add(1);
        Ok(())
    }
}

impl Share {
    /// Begins a request.
    ///
    /// # Errors
    /// [`Denied`] names the limit that is reached.
    pub(crate) fn admit(&mut self) -> Result<(), Denied> {
        let now = Instant::now();
        self.meter.used(self.limits, now).admit(now)?;
        self.admitted = true;
        Ok(())
    }

    /// Sets tokens aside for an answer that is yet to come, a minute's worth at most, so that requests made at one moment do not all
    /// find the same tokens.
    pub(crate) fn reserve(&mut self, tokens: u64) {
        if let Some(limit) = self.limits.tokens_per_minute {
            self.reserved = tokens.min(limit.get());
            self.meter.used(self.limits, Instant::now()).tokens.add(self.reserved);
        }
    }

    /// Counts what was really used in place of what was set aside. May leave a debt.
    pub(crate) fn settle(&mut self, tokens: u64) {
        if self.limits.tokens_per_minute.is_some() {
            let mut used = self.meter.used(self.limits, Instant::now());
            used.tokens.take(std::mem::take(&mut self.reserved));
            used.tokens.add(tokens);
        }
    }

    /// What was set aside.
    pub(crate) fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Tells the limits and what is left of them, as OpenAI does of its own, in place of anybody else's.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers::remove_prefixed(headers, "x-ratelimit-");
        let now = Instant::now();
        let used = self.meter.used(self.limits, now);
        let Limits { requests_per_minute, tokens_per_minute, .. } = self.limits;
        if let Some(limit) = requests_per_minute {
            header::write(headers, &header::REQUESTS, (limit.into(), &used.requests), now);
        }
        if let Some(limit) = tokens_per_minute {
            header::write(headers, &header::TOKENS, (limit, &used.tokens), now);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.admitted {
            let mut used = self.meter.0.lock().unwrap_or_else(PoisonError::into_inner);
            used.in_flight = used.in_flight.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests;
