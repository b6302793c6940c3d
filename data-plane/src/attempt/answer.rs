//! The body of a committed answer: passes what the upstream sends, holds what the attempt holds, and notices how it ends.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::upstream::Transport;

/// The body of a committed answer. Dropping it cancels the upstream.
#[derive(Debug)]
pub(crate) struct Answer {
    whole: Option<Bytes>,
}

/// Why a committed answer did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The upstream broke off.
    #[error("the upstream broke off its answer")]
    Transport(#[from] Transport),
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
    /// The upstream itself put an error into its stream, which the client has seen.
    #[error("the upstream reported an error within its stream")]
    Reported,
}

impl Answer {
    /// What went wrong so far; `None` = nothing, or it is not over yet. A stream that breaks still ends in an error event, so that
    /// only this tells.
    pub(crate) fn broken(&self) -> Option<&Broken> {
        None
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(self.whole.take().map(|whole| Ok(Frame::data(whole))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
