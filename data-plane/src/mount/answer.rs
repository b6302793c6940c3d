//! The answer of a route's target on its way to the client: passed as it comes, and broken off where it falls silent. It knows
//! nothing of what it says.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::{
    silence::Silence,
    upstream::{Body, Transport},
};

/// How long a route's target may keep a client waiting in the middle of its answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// The body of an answer. Dropping it cancels the target.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Body,
    silence: Silence,
}

/// Why an answer ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The target broke off.
    #[error("the route's target broke off its answer")]
    Transport(#[source] Transport),
    /// Nothing came for too long.
    #[error("the route's target sent nothing for {} s", PATIENCE.as_secs())]
    Silent,
}

impl From<Body> for Answer {
    fn from(body: Body) -> Self {
        Self { body, silence: Silence::new(PATIENCE) }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.silence.poll(cx));
            return Poll::Ready(Some(Err(Broken::Silent)));
        };
        self.silence.heard();
        Poll::Ready(frame.map(|frame| frame.map_err(Broken::Transport)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::{self, StreamExt as _};
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_counts_only_while_it_is_waited_in() {
        let piece = |text| Ok::<_, Infallible>(Frame::data(Bytes::from_static(text)));
        let said = stream::iter([b"a", b"b"].map(|text| piece(text))).chain(stream::pending());
        let mut answer = Answer::from(Body::boxed(StreamBody::new(said)));
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        advance(2 * PATIENCE).await;
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "b");
        advance(2 * PATIENCE).await;
        let waiting_since = Instant::now();
        assert!(matches!(answer.frame().await, Some(Err(Broken::Silent))));
        assert_eq!(waiting_since.elapsed().as_secs(), PATIENCE.as_secs());
    }
}
