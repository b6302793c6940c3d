//! The requests under way on a connection: those who carry it and those who answer them know of each other by this alone.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};

/// The requests under way on a connection.
#[derive(Debug)]
pub(super) struct Requests {
    count: AtomicUsize,
    idle: AtomicWaker,
    /// How many there were so far.
    begun: AtomicUsize,
    /// The first one whose head can be understood in two ways, counted from 0; the greatest number = none yet.
    ambiguous: AtomicUsize,
    /// Whether the connection goes on with another protocol, in which both sides may end by themselves.
    switched: AtomicBool,
}

/// One request under way.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Requests>);

impl Default for Requests {
    fn default() -> Self {
        let (count, begun, ambiguous) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        Self { count, idle: AtomicWaker::new(), begun, ambiguous, switched: AtomicBool::new(false) }
    }
}

impl Requests {
    /// One more.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.count.fetch_add(1, Ordering::AcqRel);
        UnderWay(Arc::clone(self))
    }

    /// The connection goes on with another protocol.
    pub(super) fn switch(&self) {
        self.switched.store(true, Ordering::Release);
    }

    /// Whether it does.
    pub(super) fn have_switched(&self) -> bool {
        self.switched.load(Ordering::Acquire)
    }

    /// How many have begun so far.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Acquire)
    }

    /// Whether there is any.
    pub(super) fn are_any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Wakes whoever asked last when there is none any more.
    pub(super) fn wake_when_none(&self, waker: &Waker) {
        self.idle.register(waker);
    }

    /// The head of this one, counted from 0, can be understood in two ways.
    pub(super) fn mark_ambiguous(&self, number: usize) {
        self.ambiguous.fetch_min(number, Ordering::AcqRel);
    }

    /// Whether the head of the request that began last can be understood in two ways.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.begun.load(Ordering::Acquire) > self.ambiguous.load(Ordering::Acquire)
    }
}

impl UnderWay {
    /// It is until the body of its answer is gone.
    pub(super) fn until_end_of<B>(self, body: B) -> Tied<B> {
        Tied { body, _under_way: self }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.wake();
        }
    }
}

/// A body during which a request is under way.
#[derive(Debug)]
pub(super) struct Tied<B> {
    body: B,
    _under_way: UnderWay,
}

impl<B: Body + Unpin> Body for Tied<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
