//! A plain answer on its way to the client as it comes, within the total time-out: what is to be said otherwise is changed, and the
//! key that the upstream was sent is masked.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Broken, burst::Turns};
use crate::{
    redact::{Mask, Masking},
    splice::{Rewriter, Tag, Tagger},
    upstream::Body,
    usage::Usage,
};

/// Most bytes that are taken before any goes out, unless the last piece is larger.
const MAX_GATHERED_BYTES: usize = 64 * 1024;

/// Most bytes of pieces that are copied to go out together.
const MAX_JOINED_BYTES: usize = 4 * 1024;

/// A plain answer on its way.
#[derive(Debug)]
pub(in crate::attempt) struct Plain {
    /// `None` once it has ended.
    body: Option<Body>,
    /// When it must be over.
    deadline: Instant,
    /// Set once something is waited for.
    alarm: Option<Pin<Box<Sleep>>>,
    rewriter: Option<Rewriter>,
    tagger: Option<Tagger>,
    masking: Masking,
    /// What can go out.
    ready: VecDeque<Bytes>,
    turns: Turns,
    /// All that is ready goes out before more is asked for.
    leaving: bool,
    /// Why there is no more, once what is ready has gone out.
    broken: Option<Broken>,
}

impl Plain {
    /// A body that must be over by the deadline.
    pub(in crate::attempt) fn new(
        body: Option<Body>,
        deadline: Instant,
        rewriter: Option<Rewriter>,
        mask: Mask,
    ) -> Self {
        Self {
            body,
            deadline,
            alarm: None,
            rewriter,
            tagger: None,
            masking: Masking::new(mask),
            ready: VecDeque::new(),
            turns: Turns::default(),
            leaving: false,
            broken: None,
        }
    }

    /// It with its ids told so.
    pub(in crate::attempt) fn tagged(self, tag: Option<Tag>) -> Self {
        Self { tagger: tag.map(Tagger::new), ..self }
    }

    /// Takes what comes next, or what was read before.
    pub(in crate::attempt) fn push(&mut self, data: Bytes) {
        match (&mut self.rewriter, &mut self.tagger) {
            (_, Some(tagger)) => {
                tagger.push(data, |piece| self.masking.push(piece, |piece| self.ready.push_back(piece)));
            }
            (Some(rewriter), None) => {
                rewriter.push(data, |piece| self.masking.push(piece, |piece| self.ready.push_back(piece)));
            }
            (None, None) => self.masking.push(data, |piece| self.ready.push_back(piece)),
        }
    }

    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if !self.leaving {
            ready!(self.poll_ready(cx));
            self.turns = Turns::default();
        }
        let data = self.together();
        self.leaving = !self.ready.is_empty();
        Poll::Ready(data.map(Ok).or_else(|| self.broken.take().map(Err)))
    }

    /// Takes what the upstream sends, as long as more comes at once.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.broken.is_none() && self.ready_bytes() < MAX_GATHERED_BYTES {
            let Some(body) = &mut self.body else { break };
            // Looked at first: a body that always has more would otherwise never be late.
            if self.deadline <= Instant::now() {
                self.broken = Some(Broken::TotalTime);
                break;
            }
            let handed_over = body.is_handed_over();
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                // What is short is, as a rule, all there is: it goes out with the head.
                let there = self.ready_bytes();
                if handed_over && there >= MAX_JOINED_BYTES && self.turns.may_go_on(there) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if !self.ready.is_empty() {
                    break;
                }
                let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(self.deadline)));
                ready!(alarm.as_mut().poll(cx));
                continue;
            };
            match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    let is_last = body.is_end_stream();
                    self.push(data);
                    if is_last {
                        self.end();
                    }
                }
                // Trailers never become part of an answer.
                Some(Ok(Err(_))) => {}
                Some(Err(error)) => self.broken = Some(error.into()),
                None => self.end(),
            }
        }
        Poll::Ready(())
    }

    fn end(&mut self) {
        self.body = None;
        self.ready.extend(self.masking.finish());
    }

    /// What goes out next: small pieces in one, which costs less than to write each.
    fn together(&mut self) -> Option<Bytes> {
        let first = self.ready.pop_front()?;
        let mut length = first.len();
        let joined = self.ready.iter().take_while(|piece| {
            length += piece.len();
            length <= MAX_JOINED_BYTES
        });
        let joined = joined.count();
        if joined == 0 {
            return Some(first);
        }
        let pieces: Vec<Bytes> = [first].into_iter().chain(self.ready.drain(..joined)).collect();
        Some(pieces.concat().into())
    }

    /// What the answer has taken, once it has said so.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.rewriter.as_ref()?.usage()
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.pending() == 0 && self.broken.is_none() && self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    /// What is said otherwise may be of another length; a mask never is.
    pub(super) fn size_hint(&self) -> SizeHint {
        let left = self.body.as_ref().map_or(Some(0), |body| body.size_hint().exact());
        let left = left.filter(|_| self.rewriter.as_ref().is_none_or(Rewriter::keeps_length) && self.tagger.is_none());
        left.map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + self.pending()))
    }

    /// How many bytes were taken and have not gone out.
    fn pending(&self) -> u64 {
        (self.ready_bytes() + self.masking.held()) as u64
    }

    fn ready_bytes(&self) -> usize {
        self.ready.iter().map(Bytes::len).sum()
    }
}
