//! A plain answer on its way to the client as it comes, within the total time-out: what is to be said otherwise is changed, and the
//! key that the upstream was sent is masked.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
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
    ready: Pieces,
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
            ready: Pieces::default(),
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
        let Self { masking, rewriter, tagger, ready, .. } = self;
        masking.push(data, |piece| retell(piece, rewriter.as_mut(), tagger.as_mut(), ready));
    }

    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if !self.leaving {
            ready!(self.poll_ready(cx));
            self.turns = Turns::default();
        }
        let data = self.ready.leave();
        self.leaving = self.ready.bytes > 0;
        Poll::Ready(data.map(Ok).or_else(|| self.broken.take().map(Err)))
    }

    /// Takes what the upstream sends, as long as more comes at once.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.broken.is_none() && self.ready.bytes < MAX_GATHERED_BYTES {
            let Some(body) = &mut self.body else {
                self.end();
                break;
            };
            // Looked at first: a body that always has more would otherwise never be late.
            if self.deadline <= Instant::now() {
                self.broken = Some(Broken::TotalTime);
                break;
            }
            let handed_over = body.is_handed_over();
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                // What is short is, as a rule, all there is: it goes out with the head.
                let there = self.ready.bytes;
                if handed_over && there >= MAX_JOINED_BYTES && self.turns.may_go_on(there) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if there > 0 {
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
                        self.body = None;
                    }
                }
                // Trailers never become part of an answer.
                Some(Ok(Err(_))) => {}
                Some(Err(error)) => self.broken = Some(error.into()),
                None => self.body = None,
            }
        }
        Poll::Ready(())
    }

    /// Lets go what may have been the beginning of the key, and was not.
    fn end(&mut self) {
        if let Some(held) = self.masking.finish() {
            retell(held, self.rewriter.as_mut(), self.tagger.as_mut(), &mut self.ready);
        }
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
        (self.ready.bytes + self.masking.held()) as u64
    }
}

/// Says a piece as it is to be said.
fn retell(piece: Bytes, rewriter: Option<&mut Rewriter>, tagger: Option<&mut Tagger>, ready: &mut Pieces) {
    match (rewriter, tagger) {
        (_, Some(tagger)) => tagger.push(piece, |piece| ready.push(piece)),
        (Some(rewriter), None) => rewriter.push(piece, |piece| ready.push(piece)),
        (None, None) => ready.push(piece),
    }
}

/// What was taken and can go out.
#[derive(Debug, Default)]
struct Pieces {
    /// None of them is empty.
    pieces: VecDeque<Bytes>,
    /// How many they have together.
    bytes: usize,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// What goes out next: small pieces in one, which costs less than to write each.
    fn leave(&mut self) -> Option<Bytes> {
        let first = self.pieces.pop_front()?;
        let fits = |length: usize, next: &Bytes| length + next.len() <= MAX_JOINED_BYTES;
        let leaving = if self.pieces.front().is_some_and(|next| fits(first.len(), next)) {
            let mut together = BytesMut::with_capacity(self.bytes.min(MAX_JOINED_BYTES));
            together.extend_from_slice(&first);
            while let Some(next) = self.pieces.pop_front_if(|next| fits(together.len(), next)) {
                together.extend_from_slice(&next);
            }
            together.freeze()
        } else {
            first
        };
        self.bytes -= leaving.len();
        Some(leaving)
    }
}

#[cfg(test)]
mod tests;
