//! A request on its way out: its head and its body leave together. It never waits for an answer.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use hyper::rt::Write;

/// Most pieces that are written at once.
const MAX_SLICES: usize = 16;

/// A request on its way out.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// What has not been written.
    left: VecDeque<Bytes>,
    /// Whether any of it has been written.
    begun: bool,
    /// Whether what was written may still be held back by TLS.
    unflushed: bool,
}

impl Outgoing {
    /// Begins a request, of which nothing else is on its way.
    pub(super) fn begin(&mut self, head: Bytes, body: impl IntoIterator<Item = Bytes>) {
        self.left.clear();
        self.left.push_back(head);
        self.left.extend(body.into_iter().filter(|piece| !piece.is_empty()));
        (self.begun, self.unflushed) = (false, true);
    }

    /// Whether all of it has left.
    pub(super) fn is_over(&self) -> bool {
        self.left.is_empty() && !self.unflushed
    }

    /// Whether any of it has left.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Gives up what has not been written.
    pub(super) fn give_up(&mut self) {
        (self.left, self.unflushed) = (VecDeque::new(), false);
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn poll<W: Write + Unpin>(&mut self, wire: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.left.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            slices.iter_mut().zip(&self.left).for_each(|(slice, piece)| *slice = IoSlice::new(piece));
            let (slices, _) = slices.split_at(self.left.len().min(MAX_SLICES));
            let written = ready!(Pin::new(&mut *wire).poll_write_vectored(cx, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.begun = true;
            self.written(written);
        }
        if self.unflushed {
            ready!(Pin::new(wire).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn written(&mut self, mut written: usize) {
        while let Some(piece) = self.left.front_mut() {
            if piece.len() > written {
                piece.advance(written);
                return;
            }
            written -= piece.len();
            self.left.pop_front();
        }
    }
}
