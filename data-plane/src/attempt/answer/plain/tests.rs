//! What leaves of a plain answer, and when, by scripts of what its upstream does.

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::advance;

use super::*;

const LARGE: usize = 8 * 1024;
const SMALL: usize = 100;
const TOTAL: Duration = Duration::from_secs(60);

/// How often an answer may ask to be looked at again before something of it leaves.
const MOST_LOOKS: usize = 8;

/// What an upstream's body does when it is asked. When there is no more to do, it is silent.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Gives that many bytes.
    Gives(usize),
    /// Has its connection take its turn first.
    Turns,
    Breaks,
    Ends,
}
use Does::{Breaks, Ends, Gives, Turns};

/// An answer, and what can be seen of it from outside.
struct Stage {
    plain: Plain,
    given: Arc<AtomicUsize>,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Stage {
    fn of(script: impl IntoIterator<Item = Does, IntoIter: Send + Sync + 'static>) -> Self {
        let (mut script, given) = (script.into_iter(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&given);
        let frames = stream::poll_fn(move |cx| match script.next() {
            Some(Gives(bytes)) => {
                count.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(Some(Ok(Frame::data(vec![b'x'; bytes].into()))))
            }
            Some(Turns) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Breaks) => Poll::Ready(Some(Err("reset"))),
            Some(Ends) => Poll::Ready(None),
            None => Poll::Pending,
        });
        let body = Body::boxed(StreamBody::new(frames));
        let plain = Plain::new(Some(body), Instant::now() + TOTAL, None, Mask::default());
        Self { plain, given, bell: Arc::default() }
    }

    /// How many pieces were taken from the upstream.
    fn taken(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }

    /// Looks once: how many bytes leave.
    fn look(&mut self) -> Poll<Option<Result<usize, Broken>>> {
        let waker = Waker::from(Arc::clone(&self.bell));
        self.plain.poll_data(&mut Context::from_waker(&waker)).map_ok(|data| data.len())
    }

    /// Looks again whenever it was woken to, as a runtime does.
    fn wait(&mut self) -> Poll<Option<Result<usize, Broken>>> {
        for _ in 0..MOST_LOOKS {
            let looked = self.look();
            if !self.bell.0.swap(false, Ordering::Relaxed) || looked.is_ready() {
                return looked;
            }
        }
        panic!("it has asked to be looked at {MOST_LOOKS} times, and nothing leaves");
    }

    #[track_caller]
    fn assert_leaves(&mut self, bytes: usize) {
        let left = self.wait();
        assert!(matches!(left, Poll::Ready(Some(Ok(left))) if left == bytes), "{left:?} is not {bytes} bytes");
    }
}

#[tokio::test]
async fn what_comes_at_once_of_a_large_answer_is_taken_before_any_of_it_leaves() {
    for script in [vec![Gives(LARGE), Gives(LARGE)], vec![Gives(LARGE), Turns, Gives(LARGE)]] {
        let mut stage = Stage::of(script.clone());
        stage.assert_leaves(LARGE);
        assert_eq!(stage.taken(), 2, "{script:?}");
        let second = stage.look();
        assert!(matches!(second, Poll::Ready(Some(Ok(LARGE)))), "{script:?}: {second:?}");
        assert!(stage.wait().is_pending());
    }
}

#[tokio::test]
async fn an_answer_that_always_has_more_leaves_by_and_by() {
    let mut stage = Stage::of(iter::repeat(Gives(LARGE)));
    stage.assert_leaves(LARGE);
    assert_eq!(stage.taken(), MAX_GATHERED_BYTES / LARGE);
    for _ in 1..MAX_GATHERED_BYTES / LARGE {
        stage.assert_leaves(LARGE);
    }
    assert_eq!(stage.taken(), MAX_GATHERED_BYTES / LARGE, "all that was taken leaves before more is");
}

#[tokio::test]
async fn a_small_piece_waits_for_nothing() {
    let mut stage = Stage::of([Gives(SMALL), Turns, Gives(SMALL)]);
    for piece in 1..=2 {
        let left = stage.look();
        assert!(matches!(left, Poll::Ready(Some(Ok(SMALL)))), "{left:?}");
        assert_eq!(stage.taken(), piece);
    }
}

#[tokio::test]
async fn small_pieces_that_come_at_once_leave_as_one_and_large_ones_as_they_are() {
    let few = [Gives(SMALL), Gives(SMALL), Gives(LARGE), Gives(SMALL), Gives(SMALL)];
    let mut stage = Stage::of(few);
    for bytes in [2 * SMALL, LARGE, 2 * SMALL] {
        stage.assert_leaves(bytes);
    }
    let mut stage = Stage::of(iter::repeat_n(Gives(SMALL), 1 + MAX_JOINED_BYTES / SMALL));
    for bytes in [MAX_JOINED_BYTES / SMALL * SMALL, SMALL] {
        stage.assert_leaves(bytes);
    }
}

#[tokio::test]
async fn an_end_and_an_error_come_after_what_came_before() {
    for last in [Breaks, Ends] {
        for (script, leaving) in [
            (vec![Gives(LARGE), Gives(LARGE), last], vec![LARGE, LARGE]),
            (vec![Gives(LARGE), Turns, Gives(SMALL), last], vec![LARGE, SMALL]),
            (vec![Gives(SMALL), last], vec![SMALL]),
            (vec![last], vec![]),
        ] {
            let mut stage = Stage::of(script.clone());
            for bytes in leaving {
                assert!(!stage.plain.is_end_stream(), "{script:?}");
                stage.assert_leaves(bytes);
            }
            let over = stage.wait();
            let as_it_was = match last {
                Ends => matches!(over, Poll::Ready(None)) && stage.plain.is_end_stream(),
                _ => matches!(over, Poll::Ready(Some(Err(Broken::Transport(_))))),
            };
            assert!(as_it_was, "{script:?}: {over:?}");
        }
    }
}

#[tokio::test]
async fn the_key_is_masked_and_what_only_begins_like_it_is_not_lost() {
    let ends = |body: Option<&'static str>, read_before: &'static str| {
        let body = body.map(|text| Body::from(text.to_owned()));
        let mut plain = Plain::new(body, Instant::now() + TOTAL, None, Mask::new("sk-12345"));
        plain.push(Bytes::from_static(read_before.as_bytes()));
        let (hint, mut told) = (plain.size_hint().exact(), Vec::new());
        while let Poll::Ready(Some(data)) = plain.poll_data(&mut Context::from_waker(Waker::noop())) {
            told.extend_from_slice(&data.unwrap());
        }
        assert!(plain.is_end_stream());
        assert_eq!(hint, Some(told.len() as u64));
        String::from_utf8(told).unwrap()
    };
    for (body, read_before, told) in [
        (None, "no such class", "no such class"),
        (None, "no sk-12345, sk-1234", "no ********, sk-1234"),
        (Some("2345, no sk-1234"), "no sk-1", "no ********, no sk-1234"),
        (Some("234"), "no sk-1", "no sk-1234"),
    ] {
        assert_eq!(ends(body, read_before), told, "{read_before} {body:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_after_the_deadline() {
    for script in [Vec::new(), vec![Gives(SMALL)], vec![Gives(LARGE)], vec![Gives(LARGE), Turns, Gives(LARGE)]] {
        let mut stage = Stage::of(script.clone());
        while stage.wait().is_ready() {}
        advance(TOTAL - Duration::from_millis(1)).await;
        assert!(!stage.bell.0.load(Ordering::Relaxed), "{script:?}: it is woken too early");
        advance(Duration::from_millis(2)).await;
        assert!(stage.bell.0.load(Ordering::Relaxed), "{script:?}: it is not woken");
        let over = stage.wait();
        assert!(matches!(over, Poll::Ready(Some(Err(Broken::TotalTime)))), "{script:?}: {over:?}");
    }
    let mut stage = Stage::of(iter::repeat(Gives(LARGE)));
    stage.assert_leaves(LARGE);
    let taken = stage.taken();
    advance(TOTAL).await;
    for _ in 1..taken {
        stage.assert_leaves(LARGE);
    }
    let over = stage.wait();
    assert!(matches!(over, Poll::Ready(Some(Err(Broken::TotalTime)))), "{over:?}");
    assert_eq!(stage.taken(), taken);
}
