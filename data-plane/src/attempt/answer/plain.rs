//! A plain answer on its way to the client, untouched and unbuffered, within the total time-out.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, SizeHint};
use reqwest::Body;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Broken;

/// A plain answer on its way.
#[derive(Debug)]
pub(in crate::attempt) struct Plain {
    body: Body,
    total: Pin<Box<Sleep>>,
}

impl Plain {
    /// A body that must be over by the deadline.
    pub(in crate::attempt) fn new(body: Body, deadline: Instant) -> Self {
        Self { body, total: Box::pin(sleep_until(deadline)) }
    }

    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        // Looked at first: a body that always has more would otherwise never be late.
        if self.total.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Broken::TotalTime)));
        }
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).map(|frame| frame.map(http_body::Frame::into_data)) {
                Some(Ok(Ok(data))) => return Poll::Ready(Some(Ok(data))),
                // Trailers never become part of an answer.
                Some(Ok(Err(_))) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(Broken::Transport(error.into())))),
                None => return Poll::Ready(None),
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
