//! The body of a committed answer: passes what the upstream sends, holds what the attempt holds, and notices how it ends.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    credentials::Lease,
    upstream::{Place, Transport},
    usage::Usage,
};

mod burst;
mod events;
mod plain;

pub(super) use events::{Events, Terms};
pub(super) use plain::Plain;

/// The body of a committed answer. Dropping it cancels the upstream and frees the credential and the place at the provider.
#[derive(Debug)]
pub(crate) struct Answer {
    content: Content,
    lease: Option<Lease>,
    _place: Option<Place>,
}

/// The forms of an answer's body.
#[derive(Debug)]
pub(super) enum Content {
    /// Passed on as it comes.
    Plain(Box<Plain>),
    /// Passed on event by event.
    Events(Box<Events>),
}

impl From<Plain> for Content {
    fn from(plain: Plain) -> Self {
        Self::Plain(Box::new(plain))
    }
}

impl From<Events> for Content {
    fn from(events: Events) -> Self {
        Self::Events(Box::new(events))
    }
}

/// Why a committed answer did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The upstream broke off.
    #[error("the upstream broke off its answer")]
    Transport(#[source] Transport),
    /// A stream ended without saying that it is complete.
    #[error("the upstream's stream ended before it was complete")]
    Incomplete,
    /// Nothing came for the stream's idle time.
    #[error("the upstream's stream fell silent")]
    Idle,
    /// A plain answer took longer than the total time-out.
    #[error("the upstream's answer took longer than the total time-out")]
    TotalTime,
    /// One event of a stream is larger than may be held.
    #[error("an event of the upstream's stream is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The answer is larger than the provider's answers may be.
    #[error("the upstream's answer is larger than its limit")]
    OverLimit,
    /// The upstream itself put an error into its stream, which the client has seen.
    #[error("the upstream reported an error within its stream")]
    Reported,
}

impl From<Transport> for Broken {
    fn from(error: Transport) -> Self {
        if error.is_over_limit() { Self::OverLimit } else { Self::Transport(error) }
    }
}

impl Answer {
    pub(super) fn new(content: Content, lease: Option<Lease>, place: Option<Place>) -> Self {
        Self { content, lease, _place: place }
    }

    /// What went wrong with a stream; `None` = nothing, or it is not over yet. A stream that breaks tells the client so in its last
    /// event, and then ends well as a body: only this tells the gateway. A plain answer breaks with an error.
    pub(crate) fn broken(&self) -> Option<&Broken> {
        match &self.content {
            Content::Events(events) => events.broken(),
            Content::Plain(_) => None,
        }
    }

    /// What the answer has taken, as far as it has said so.
    pub(crate) fn usage(&self) -> Option<Usage> {
        match &self.content {
            Content::Events(events) => events.usage(),
            Content::Plain(plain) => plain.usage(),
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Self { content, lease, .. } = self.get_mut();
        let data = match content {
            Content::Plain(plain) => ready!(plain.poll_data(cx)),
            Content::Events(events) => {
                let event = ready!(events.poll_data(cx));
                event.map(|event| Ok(if let Some(lease) = lease { lease.mask().whole(event) } else { event }))
            }
        };
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Plain(plain) => plain.is_end_stream(),
            Content::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Plain(plain) => plain.size_hint(),
            Content::Events(_) => SizeHint::default(),
        }
    }
}
