//! The rest of a body that is still on its way from the client. It goes out as it comes, and so only once: an attempt that took
//! nothing of it leaves it for the next one.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::CancellationToken;

use super::payload::Parts;
use crate::form::{self, Passing};

/// The rest of a body.
#[derive(Debug, Clone)]
pub(crate) struct Upload(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None` once an attempt has begun to take it.
    rest: Mutex<Option<Passing>>,
    size: SizeHint,
    /// Why it did not come to its end.
    fault: Mutex<Option<form::Error>>,
    /// Nothing more will go out.
    over: CancellationToken,
}

/// Why an upload goes out no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Aborted {
    /// Another attempt has taken it.
    #[error("the body is spent")]
    Spent,
    /// The client's part of it is at fault.
    #[error("the client's body is at fault")]
    Fault,
}

impl Upload {
    /// A body of which nothing has gone out.
    pub(crate) fn new(rest: Passing) -> Self {
        let size = rest.size_hint();
        let (fault, over) = (Mutex::default(), CancellationToken::new());
        Self(Arc::new(Shared { rest: Mutex::new(Some(rest)), size, fault, over }))
    }

    /// It as the end of one attempt's body, after its beginning.
    pub(super) fn after(&self, beginning: Parts) -> Outgoing {
        Outgoing { beginning, upload: self.clone(), rest: None }
    }

    /// Whether an attempt has taken it, or a part of it.
    pub(crate) fn is_spent(&self) -> bool {
        self.0.rest.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Waits until nothing more of it will go out.
    pub(crate) async fn over(&self) {
        self.0.over.cancelled().await;
    }

    /// What was wrong with it on the client's side, to be told once.
    pub(crate) fn take_fault(&self) -> Option<form::Error> {
        self.0.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn take(&self) -> Option<Passing> {
        self.0.rest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fail(&self, fault: form::Error) -> Aborted {
        *self.0.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        self.0.over.cancel();
        Aborted::Fault
    }
}

/// One attempt's body: a beginning, and the upload.
#[derive(Debug)]
pub(crate) struct Outgoing {
    beginning: Parts,
    upload: Upload,
    /// There once something was asked for.
    rest: Option<Passing>,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.rest.is_some() {
            self.upload.0.over.cancel();
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let Self { beginning, upload, rest } = self.get_mut();
        if rest.is_none() {
            *rest = upload.take();
        }
        let Some(rest) = rest else { return Poll::Ready(Some(Err(Aborted::Spent))) };
        if let Some(part) = beginning.next() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        let frame = ready!(Pin::new(rest).poll_frame(cx));
        if frame.is_none() {
            upload.0.over.cancel();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|fault| upload.fail(fault))))
    }

    fn is_end_stream(&self) -> bool {
        self.beginning.left() == 0 && self.rest.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or_else(|| self.upload.0.size, Body::size_hint);
        rest.exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(self.beginning.left() + rest))
    }
}
