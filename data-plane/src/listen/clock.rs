//! A clock that is set anew for every request and seldom runs out. It does not know what it is set for.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Runs out when it is due. The runtime's timer is told as little as possible: an alarm that rings too early is set anew when it
/// does, which costs less than moving it every time.
#[derive(Debug)]
pub(super) struct Clock {
    due: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Clock {
    /// Due in that time.
    pub(super) fn new(time: Duration) -> Self {
        let alarm = Box::pin(sleep(time));
        Self { due: alarm.deadline(), alarm }
    }

    /// Due in that time instead.
    pub(super) fn set(&mut self, time: Duration) {
        self.due = Instant::now() + time;
    }

    /// Waits until it is due.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.due < self.alarm.deadline() {
            self.alarm.as_mut().reset(self.due);
        }
        ready!(self.alarm.as_mut().poll(cx));
        if self.alarm.deadline() < self.due {
            self.alarm.as_mut().reset(self.due);
            return self.alarm.as_mut().poll(cx);
        }
        Poll::Ready(())
    }

    /// Whether it is due.
    pub(super) fn has_run_out(&self) -> bool {
        self.due <= Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_runs_out_when_it_was_last_set_to_whether_sooner_or_later() {
        for (first, then) in [(10, 75), (75, 10), (10, 10)] {
            let (mut clock, started) = (Clock::new(first * SECOND), Instant::now());
            clock.set(then * SECOND);
            poll_fn(|cx| clock.poll(cx)).await;
            assert_eq!((started.elapsed(), clock.has_run_out()), (then * SECOND, true));
            clock.set(SECOND);
            assert!(!clock.has_run_out());
            poll_fn(|cx| clock.poll(cx)).await;
            assert_eq!(started.elapsed(), (then + 1) * SECOND, "set anew after it has run out");
        }
    }
}
