//! How long somebody has been silent. Only time in which they are waited for counts, so that a slow reader is not taken for a
//! silent sender.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A clock that runs while something is waited for.
#[derive(Debug)]
pub(crate) struct Silence {
    patience: Duration,
    /// Since when somebody has been waited for; `None` = nobody is.
    since: Option<Instant>,
    /// Set in the first wait, and not anew in each: one that rings too early is set again then.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    /// One that rings after that long.
    pub(crate) const fn new(patience: Duration) -> Self {
        Self { patience, since: None, alarm: None }
    }

    /// Something was heard: the next wait begins anew.
    pub(crate) const fn heard(&mut self) {
        self.since = None;
    }

    /// From the next wait on it rings after that long.
    pub(crate) const fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Ready once the wait has lasted too long. The first call of a wait begins it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = *self.since.get_or_insert_with(Instant::now) + self.patience;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if alarm.deadline() > due {
            alarm.as_mut().reset(due);
        }
        while alarm.as_mut().poll(cx).is_ready() {
            if alarm.deadline() == due {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
        Poll::Pending
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

    #[tokio::test(start_paused = true)]
    async fn a_shorter_patience_does_not_wait_for_the_alarm_of_a_longer_one() {
        let mut silence = Silence::new(Duration::from_secs(60));
        assert!(poll_fn(|cx| Poll::Ready(silence.poll(cx))).await.is_pending());
        silence.heard();
        silence.set_patience(Duration::from_secs(1));
        assert!(poll_fn(|cx| Poll::Ready(silence.poll(cx))).await.is_pending());
        advance(Duration::from_secs(2)).await;
        assert!(poll_fn(|cx| Poll::Ready(silence.poll(cx))).await.is_ready());
    }
}
