//! A request's body on its way to a route's target, and whose turn it is meanwhile: the route's time-out is for the target alone. It
//! knows nothing of what the body means.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::inbound::{self, Inbound};

/// Who is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The client, who has a clock of its own.
    Clients,
    /// The target: to take more, or to answer.
    Targets,
}

/// A body that tells whose turn it is.
#[derive(Debug)]
pub(super) struct Upload {
    body: Inbound,
    turn: watch::Sender<Turn>,
}

/// Runs while it is the target's turn.
#[derive(Debug)]
pub(super) struct Clock(watch::Receiver<Turn>);

impl Upload {
    /// A body, and the clock that it sets.
    pub(super) fn new(body: Inbound) -> (Self, Clock) {
        let (turn, seen) = watch::channel(Turn::Targets);
        (Self { body, turn }, Clock(seen))
    }
}

impl Clock {
    /// Waits until the target has kept everybody waiting for that long, in the middle of the body or behind it.
    pub(super) async fn run_out(mut self, patience: Duration) {
        loop {
            let turn = *self.0.borrow_and_update();
            let moved = match turn {
                Turn::Clients => self.0.changed().await,
                Turn::Targets => match timeout(patience, self.0.changed()).await {
                    Ok(moved) => moved,
                    Err(_) => return,
                },
            };
            // The body is gone, as it has been sent.
            if moved.is_err() {
                return sleep(patience).await;
            }
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = inbound::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, inbound::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.turn.send_replace(if frame.is_pending() { Turn::Clients } else { Turn::Targets });
        frame
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
    use std::io;

    use futures_util::stream::{self, StreamExt as _};
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::Instant;

    use super::*;
    use crate::inbound::{Pace, RequestBody};

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A body whose client takes a minute before each of its pieces.
    fn slow_client(pieces: usize) -> (Upload, Clock) {
        let pieces = stream::iter(0..pieces).then(|_| async {
            sleep(Duration::from_secs(60)).await;
            Ok::<_, io::Error>(Frame::data(Bytes::from_static(b"x")))
        });
        let pace = Pace { base: Duration::from_secs(3600), bytes_per_second: 1 };
        Upload::new(Inbound::new(RequestBody::made(StreamBody::new(Box::pin(pieces))), 99, pace).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_clients_time_is_not_the_targets() {
        let (upload, clock) = slow_client(3);
        let started = Instant::now();
        let ((), sent) = tokio::join!(clock.run_out(PATIENCE), upload.collect());
        assert_eq!(sent.unwrap().to_bytes(), "xxx");
        assert_eq!(started.elapsed(), 3 * Duration::from_secs(60) + PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_takes_no_more_is_timed_too() {
        let (mut upload, clock) = slow_client(3);
        let started = Instant::now();
        let taking = async {
            upload.frame().await.unwrap().unwrap();
            sleep(10 * PATIENCE).await;
        };
        tokio::select! { () = clock.run_out(PATIENCE) => {}, () = taking => panic!("it was given all the time") }
        assert_eq!(started.elapsed(), Duration::from_secs(60) + PATIENCE);
    }
}
