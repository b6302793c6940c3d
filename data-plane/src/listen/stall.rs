//! The stall clock of HTTP/2: a client that does not widen a stream's window holds that stream only, so the connection's writes tell
//! nothing. What the answer holds is given back when it was asked for nothing for too long; the other streams go on.

use std::{
    error::Error as StdError,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep_until},
};

/// The client took nothing of the answer for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client took nothing of the answer for too long")]
pub(super) struct Stalled;

/// The body of an answer that nobody may leave lying.
#[derive(Debug)]
pub(super) struct Watched<B> {
    shared: Arc<Mutex<Shared<B>>>,
    size: SizeHint,
    clock: AbortHandle,
}

#[derive(Debug)]
struct Shared<B> {
    /// Gone once it was given back.
    body: Option<B>,
    /// Since when more of it could have been asked for; `None` = it has been asked, and it is its turn.
    offered: Option<Instant>,
}

impl<B: Body + Send + 'static> Watched<B> {
    /// A body that is given back when it is not asked for that long.
    pub(super) fn new(body: B, patience: Duration) -> Self {
        let size = body.size_hint();
        let shared = Arc::new(Mutex::new(Shared { body: Some(body), offered: Some(Instant::now()) }));
        let clock = tokio::spawn(watch(Arc::clone(&shared), patience)).abort_handle();
        Self { shared, size, clock }
    }
}

async fn watch<B>(shared: Arc<Mutex<Shared<B>>>, patience: Duration) {
    loop {
        let offered = lock(&shared).offered.unwrap_or_else(Instant::now);
        sleep_until(offered + patience).await;
        let mut shared = lock(&shared);
        if shared.offered.is_some_and(|offered| offered.elapsed() >= patience) {
            tracing::debug!(patience_s = patience.as_secs(), "stream stalled");
            shared.body = None;
            return;
        }
    }
}

fn lock<B>(shared: &Mutex<Shared<B>>) -> MutexGuard<'_, Shared<B>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Body for Watched<B>
where
    B: Body + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Data = B::Data;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let this = &mut *self;
        let mut shared = lock(&this.shared);
        let Some(body) = &mut shared.body else { return Poll::Ready(Some(Err(Stalled.into()))) };
        let frame = Pin::new(&mut *body).poll_frame(cx);
        this.size = body.size_hint();
        shared.offered = frame.is_ready().then(Instant::now);
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.shared).body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        self.clock.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Weak};

    use bytes::Bytes;
    use futures_util::stream::{self, StreamExt as _};
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::sleep;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(300);

    /// A body whose end takes an hour, and what is gone once it is.
    fn slow() -> (impl Body<Data = Bytes, Error = Infallible> + Unpin + Send + 'static, Weak<()>) {
        let held = Arc::new(());
        let gone = Arc::downgrade(&held);
        let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"x")))]);
        let last = stream::once(async move {
            sleep(Duration::from_secs(3600)).await;
            drop(held);
            Ok(Frame::data(Bytes::from_static(b"y")))
        });
        (StreamBody::new(Box::pin(first.chain(last))), gone)
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_is_given_back() {
        let (body, gone) = slow();
        let mut watched = Watched::new(body, PATIENCE);
        sleep(PATIENCE - Duration::from_secs(1)).await;
        assert_eq!(watched.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
        sleep(PATIENCE - Duration::from_secs(1)).await;
        assert!(gone.upgrade().is_some(), "the clock begins anew");
        sleep(Duration::from_secs(2)).await;
        assert!(gone.upgrade().is_none(), "it is given back");
        assert!(watched.frame().await.unwrap().unwrap_err().is::<Stalled>());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_takes_its_time_is_no_stall() {
        let (body, _gone) = slow();
        assert_eq!(Watched::new(body, PATIENCE).collect().await.unwrap().to_bytes(), "xy");
    }
}
