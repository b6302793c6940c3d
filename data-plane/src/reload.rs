//! `POST /v1/reload`: asks that the file which is the configuration's source be read at once, and says what came of it. It knows neither
//! the file nor the stream that carries the question.

use std::{
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use http::{
    HeaderName, Method,
    header::{FORWARDED, ORIGIN},
};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::{
    errors::Error as Failure,
    exchange::Exchange,
    http::{Asked, Door},
    reply::{self, Reply},
    sync::{ReloadOutcome, Reloaded},
};

/// Least time between two questions.
const PAUSE: Duration = Duration::from_secs(5);

/// For the file to be read, and for what is in it to be in force here.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a proxy on this machine adds, so that it is not taken for its clients.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// When the file was asked for last.
#[derive(Debug, Default)]
pub(crate) struct Reloader(Mutex<Option<Instant>>);

/// Why nothing was read again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Somebody has asked a moment ago.
    #[error("the configuration was asked for a moment ago")]
    TooSoon {
        /// When to ask again.
        after: Duration,
    },
    /// There is no control plane to ask.
    #[error("no control plane is connected")]
    NotConnected,
    /// The control plane has not answered in time.
    #[error("the control plane has not answered in time")]
    Unanswered,
    /// What the file says cannot be in force.
    #[error("the file was refused: {reason}")]
    Refused {
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Serialize)]
struct Answer {
    message: &'static str,
    providers_count: usize,
}

/// Asks, and waits for the answer.
///
/// # Errors
/// [`Error`], and where the method is another or the caller is neither on this machine nor known.
pub(crate) async fn ask(door: &Door, asked: &Asked, exchange: &mut Exchange) -> Result<Reply, Failure> {
    if asked.head.method != Method::POST {
        return Err(Failure::Method { allow: "POST" });
    }
    if !is_from_here(asked) {
        asked.caller(exchange)?.known()?;
    }
    if !door.vitals.connected.load(Ordering::Relaxed) {
        return Err(Error::NotConnected.into());
    }
    door.reloader.admit(Instant::now())?;
    let answer = timeout(PATIENCE, door.vitals.reloads.ask(&door.live)).await;
    let Reloaded { outcome, providers_count } = answer.map_err(|_| Error::Unanswered)?.ok_or(Error::NotConnected)?;
    let message = match outcome {
        ReloadOutcome::NoFile => "The configuration does not come from a file: what is changed is in force at once.",
        ReloadOutcome::Unchanged => "The configuration was read again. Nothing has changed.",
        ReloadOutcome::Applied => "The configuration was read again, and is in force.",
        ReloadOutcome::Refused(reason) => return Err(Error::Refused { reason }.into()),
    };
    Ok(reply::json(&Answer { message, providers_count }))
}

/// Whether somebody on this machine asks: neither a proxy for others, nor a web page in a browser.
fn is_from_here(asked: &Asked) -> bool {
    let elsewhere = [FORWARDED, X_FORWARDED_FOR, ORIGIN].iter().any(|name| asked.head.headers.contains_key(name));
    asked.peer.to_canonical().is_loopback() && !elsewhere
}

impl Reloader {
    fn admit(&self, now: Instant) -> Result<(), Error> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let after = latest.map_or(Duration::ZERO, |latest| (latest + PAUSE).saturating_duration_since(now));
        if !after.is_zero() {
            return Err(Error::TooSoon { after });
        }
        *latest = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_asked_for_once_in_five_seconds() {
        let (reloader, start) = (Reloader::default(), Instant::now());
        assert!(reloader.admit(start).is_ok());
        for (at, expected) in [(0, 5), (4, 1)] {
            match reloader.admit(start + Duration::from_secs(at)) {
                Err(Error::TooSoon { after }) => assert_eq!(after, Duration::from_secs(expected)),
                other => panic!("{other:?}"),
            }
        }
        assert!(reloader.admit(start + PAUSE).is_ok());
    }
}
