//! What the demo upstream has been asked lately, for tests and for the curious. Bounded in number and size.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, request::Parts};

/// Requests remembered; the oldest goes first.
const MAX_SEEN: usize = 256;

/// Bytes of each body remembered.
const MAX_SEEN_BODY: usize = 16 * 1024;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Counts from 0 in the order of arrival.
    pub number: u64,
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub uri: Uri,
    /// Its headers, the key included.
    pub headers: HeaderMap,
    /// Its body, at most the first 16 KiB.
    pub body: Bytes,
    /// What became of the answer.
    pub outcome: Outcome,
    /// The connection it came on; connections count from 0 in the order of their making.
    pub connection: u64,
    /// Whether that connection is open.
    pub open: bool,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has not ended.
    UnderWay,
    /// It was handed over up to its intended end, be that a fault.
    Finished,
    /// The client went away first, or the upstream was stopped.
    Abandoned,
}

#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    latest: VecDeque<Seen>,
    connections: u64,
    open: BTreeSet<u64>,
}

impl Log {
    /// Remembers a request. What becomes of its answer is told through the mark.
    pub(super) fn record(self: &Arc<Self>, connection: u64, parts: &Parts, body: &[u8]) -> Mark {
        let mut entries = self.lock();
        let number = entries.next;
        entries.next += 1;
        if entries.latest.len() == MAX_SEEN {
            entries.latest.pop_front();
        }
        entries.latest.push_back(Seen {
            number,
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            body: Bytes::copy_from_slice(body.get(..MAX_SEEN_BODY).unwrap_or(body)),
            outcome: Outcome::UnderWay,
            connection,
            open: true,
        });
        drop(entries);
        Mark { log: Arc::clone(self), number, outcome: Outcome::Abandoned }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        let entries = self.lock();
        let now = |seen: &Seen| Seen { open: entries.open.contains(&seen.connection), ..seen.clone() };
        entries.latest.iter().map(now).collect()
    }

    /// Takes note of a connection, for as long as what is returned lives.
    pub(super) fn connected(self: &Arc<Self>) -> Connection {
        let mut entries = self.lock();
        let number = entries.connections;
        entries.connections += 1;
        entries.open.insert(number);
        drop(entries);
        Connection { log: Arc::clone(self), number }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    log: Arc<Log>,
    number: u64,
}

impl Connection {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.log.lock().open.remove(&self.number);
    }
}

/// Rides in an answer and tells the log how it ended.
#[derive(Debug)]
pub(super) struct Mark {
    log: Arc<Log>,
    number: u64,
    outcome: Outcome,
}

impl Mark {
    /// The number of the request.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn finish(&mut self) {
        self.outcome = Outcome::Finished;
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let mut entries = self.log.lock();
        if let Some(seen) = entries.latest.iter_mut().rev().find(|seen| seen.number == self.number) {
            seen.outcome = self.outcome;
        }
    }
}
