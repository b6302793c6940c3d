//! How long somebody has been silent. Only time in which they are waited for counts, so that a slow reader is not taken for a
//! silent sender.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// A clock that runs while something is waited for.
#[derive(Debug)]
pub(crate) struct Silence {
    patience: Duration,
    waiting: bool,
    alarm: Pin<Box<Sleep>>,
}

impl Silence {
    /// One that rings after that long.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, waiting: false, alarm: Box::pin(sleep(patience)) }
    }

    /// Something was heard: the next wait begins anew.
    pub(crate) const fn heard(&mut self) {
        self.waiting = false;
    }

    /// From the next wait on it rings after that long.
    pub(crate) const fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Ready once the wait has lasted too long. The first call of a wait sets the alarm.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.waiting, true) {
            self.alarm.as_mut().reset(Instant::now() + self.patience);
        }
        self.alarm.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_time_that_is_waited_counts() {
        let mut silence = Silence::new(Duration::from_secs(10));
        advance(Duration::from_secs(60)).await;
        assert!(poll_fn(|cx| Poll::Ready(silence.poll(cx))).await.is_pending());
        advance(Duration::from_secs(9)).await;
        assert!(poll_fn(|cx| Poll::Ready(silence.poll(cx))).await.is_pending());
        silence.heard();
        advance(Duration::from_secs(60)).await;
        assert!(poll_fn(|cx| Poll::Ready(silence.poll(cx))).await.is_pending());
        advance(Duration::from_secs(11)).await;
        assert!(poll_fn(|cx| Poll::Ready(silence.poll(cx))).await.is_ready());
    }
}
