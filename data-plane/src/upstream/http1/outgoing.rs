//! A request on its way out: its head and as much of its body as is there leave together. It never waits for an answer.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http_body::Body as _;
use hyper::rt::Write;

use super::{super::Body, Error};

/// Most pieces that are written at once.
const MAX_SLICES: usize = 16;

/// A request on its way out.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// What was taken of it and has not been written.
    unwritten: VecDeque<Bytes>,
    /// Whether what was written may still be held back by TLS.
    unflushed: bool,
    /// What is still to be taken; `None` = nothing.
    body: Option<Body>,
    /// How many bytes are still to be taken; `None` = nobody knows, so that they go out in chunks.
    left: Option<u64>,
}

impl Outgoing {
    /// Begins a request, of which nothing else is on its way.
    pub(super) fn begin(&mut self, head: Bytes, body: Body) {
        self.unwritten.clear();
        self.unwritten.push_back(head);
        self.unflushed = true;
        self.left = body.size_hint().exact();
        self.body = (self.left != Some(0)).then_some(body);
    }

    /// Whether all of it has left.
    pub(super) fn is_over(&self) -> bool {
        self.unwritten.is_empty() && self.body.is_none() && !self.unflushed
    }

    /// Gives up what has not been written.
    pub(super) fn give_up(&mut self) {
        (self.unwritten, self.body, self.unflushed) = (VecDeque::new(), None, false);
    }

    /// Writes what is there.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Body`] or [`Error::BodyLength`].
    pub(super) fn poll<W: Write + Unpin>(&mut self, wire: &mut W, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.is_over() {
            let waits = self.fill(cx)?.is_pending();
            if self.unwritten.is_empty() {
                if mem::take(&mut self.unflushed)
                    && Pin::new(&mut *wire).poll_flush(cx).map_err(Error::Write)?.is_pending()
                {
                    self.unflushed = true;
                    return Poll::Pending;
                }
                if waits {
                    return Poll::Pending;
                }
                continue;
            }
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            slices.iter_mut().zip(&self.unwritten).for_each(|(slice, piece)| *slice = IoSlice::new(piece));
            let (slices, _) = slices.split_at(self.unwritten.len().min(MAX_SLICES));
            let written = ready!(Pin::new(&mut *wire).poll_write_vectored(cx, slices)).map_err(Error::Write)?;
            if written == 0 {
                return Poll::Ready(Err(Error::Write(io::ErrorKind::WriteZero.into())));
            }
            self.written(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes of the body what is there.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // A chunk has three pieces.
        while self.unwritten.len() + 3 <= MAX_SLICES
            && let Some(body) = &mut self.body
        {
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // A request's trailers go nowhere.
                    if let Ok(data) = frame.into_data() {
                        self.push(data)?;
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(Error::Body(error.into()))),
                None => self.end()?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn push(&mut self, data: Bytes) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        self.unflushed = true;
        match &mut self.left {
            Some(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Error::BodyLength)?;
                self.unwritten.push_back(data);
                if *left == 0 {
                    self.body = None;
                }
            }
            None => {
                let size = format!("{:x}\r\n", data.len());
                self.unwritten.extend([size.into(), data, Bytes::from_static(b"\r\n")]);
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        self.body = None;
        match self.left {
            Some(0) => Ok(()),
            Some(_) => Err(Error::BodyLength),
            None => {
                self.unwritten.push_back(Bytes::from_static(b"0\r\n\r\n"));
                Ok(())
            }
        }
    }

    fn written(&mut self, mut written: usize) {
        while let Some(piece) = self.unwritten.front_mut() {
            if piece.len() > written {
                piece.advance(written);
                return;
            }
            written -= piece.len();
            self.unwritten.pop_front();
        }
    }
}
