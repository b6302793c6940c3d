//! An upstream's body as a source of events. It notices how the body ends, not what it says.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Body as _;
use serde::de::IgnoredAny;

use super::{
    answer::Broken,
    failed::{Cause, Loss, Next},
};
use crate::{
    sse::{self, Framer, MAX_EVENT_BYTES, TooLong},
    upstream::{Body, Transport},
};

/// An upstream's body, cut into events.
#[derive(Debug)]
pub(super) struct Source {
    /// `None` once it has ended.
    body: Option<Body>,
    framer: Framer,
}

/// Why no further event will come.
#[derive(Debug)]
pub(super) enum Interrupted {
    /// The body broke off.
    Transport(Transport),
    /// The body ended, but not where an event does, or before there was any answer.
    Early,
    /// An event is too large.
    TooLong,
}

impl Source {
    pub(super) fn new(body: Body) -> Self {
        Self { body: Some(body), framer: Framer::default() }
    }

    /// Whether a task elsewhere reads the body.
    pub(super) fn is_handed_over(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_handed_over)
    }

    /// The next event; `None` at the body's end.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<sse::Event>, Interrupted>> {
        loop {
            if let Some(event) = self.framer.next()? {
                return Poll::Ready(Ok(Some(event)));
            }
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(None)) };
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.framer.push(data);
                    }
                }
                Some(Err(error)) => {
                    self.body = None;
                    return Poll::Ready(Err(Interrupted::Transport(error)));
                }
                None => {
                    self.body = None;
                    return Poll::Ready(self.last());
                }
            }
        }
    }

    /// Lets the upstream go.
    pub(super) fn close(&mut self) {
        self.body = None;
    }

    /// What was left without a final blank line: an event if it is whole.
    fn last(&mut self) -> Result<Option<sse::Event>, Interrupted> {
        let Some(event) = self.framer.finish() else { return Ok(None) };
        let whole = |data: &Bytes| data.trim_ascii() == b"[DONE]" || serde_json::from_slice::<IgnoredAny>(data).is_ok();
        if event.data().is_none_or(whole) { Ok(Some(event)) } else { Err(Interrupted::Early) }
    }
}

impl From<TooLong> for Interrupted {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

impl From<Interrupted> for Broken {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Transport(error) => error.into(),
            Interrupted::Early => Self::Incomplete,
            Interrupted::TooLong => Self::TooLarge { limit: MAX_EVENT_BYTES },
        }
    }
}

impl From<Interrupted> for Loss {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Transport(error) => Cause::BrokenOff(Some(error)).then(Next::OtherTargetOrAgain),
            Interrupted::Early => Cause::BrokenOff(None).then(Next::OtherTargetOrAgain),
            Interrupted::TooLong => Cause::TooLarge { limit: MAX_EVENT_BYTES }.then(Next::Nothing),
        }
    }
}
