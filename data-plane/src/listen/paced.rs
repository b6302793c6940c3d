//! A connection's clocks, and a close that lets the last answer arrive. It sees bytes come and go and knows when requests are
//! under way, nothing more.
//!
//! hyper's own header clock also runs while a kept connection is idle, and its closing drops what the client still sends, which
//! can take the answer with it.

use std::{
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{clock::Clock, head::Heads, protocol::Protocol, refusal, requests::Requests};
use crate::{errors::unread, options::Limits};

mod leaving;

/// How much is read at first: more than most heads take, and half of what hyper has room for, which it makes greater by doubling.
const BEGINNING_BYTES: usize = 4 * 1024;

/// How long a closed connection goes on swallowing what the client still sends.
const LINGER: Duration = Duration::from_secs(2);

/// What the connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The rest of a request's head, or of the beginning of the connection.
    Head,
    /// The next request.
    Idle,
    /// Nothing: a request is under way.
    Busy,
}

/// A connection that is closed where a request's head comes too slowly, nothing comes for too long, or nothing is taken.
#[derive(Debug)]
pub(super) struct Paced<IO> {
    io: IO,
    requests: Arc<Requests>,
    limits: Limits,
    waiting: Waiting,
    /// How many requests had begun when they were last looked at: one may have begun and ended since.
    seen: usize,
    clock: Clock,
    /// Bytes of a request's head have come.
    begun: bool,
    heads: Heads,
    protocol: Protocol,
    /// What has been read and not handed out.
    ahead: Bytes,
    /// Whoever carries the connection waits for more by itself, as far as is known since it last wrote.
    read_on: bool,
    /// The client has said that nothing more will come.
    ended: bool,
    lingering: bool,
    /// Rings when the client has not taken what was written for too long.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What is left to be written in place of hyper's own refusal.
    instead: Option<Bytes>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Paced<IO> {
    pub(super) fn new(io: IO, requests: Arc<Requests>, limits: Limits) -> Self {
        Self {
            io,
            requests,
            limits,
            waiting: Waiting::Head,
            seen: 0,
            clock: Clock::new(limits.header_time),
            begun: false,
            heads: Heads::default(),
            protocol: Protocol::Unknown(0),
            ahead: Bytes::new(),
            read_on: false,
            ended: false,
            lingering: false,
            stalled: None,
            instead: None,
        }
    }

    fn wait(&mut self, waiting: Waiting) {
        self.waiting = waiting;
        match waiting {
            Waiting::Head => self.clock.set(self.limits.header_time),
            Waiting::Idle => self.clock.set(self.limits.idle_time),
            Waiting::Busy => {}
        }
    }

    /// Notices what the requests are doing.
    fn observe_requests(&mut self, cx: &mut Context<'_>) {
        if self.protocol == Protocol::Http2 {
            // They end elsewhere. Those of HTTP/1 end before the last of their answer is written here.
            self.requests.wake_when_none(cx.waker());
        }
        let begun = self.requests.begun();
        let begun_since = begun > mem::replace(&mut self.seen, begun);
        if self.requests.are_any() {
            self.waiting = Waiting::Busy;
        } else if self.waiting == Waiting::Busy || begun_since {
            self.begun = false;
            self.wait(Waiting::Idle);
            // It was set just now, and wakes whoever asks from here on.
            let _ = self.clock.poll(cx);
        }
    }

    /// Reads on from the client.
    fn poll_more(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.observe_requests(cx);
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                self.observe_bytes(buffer.filled().get(before..).unwrap_or_default());
                Poll::Ready(read)
            }
            Poll::Pending if self.waiting == Waiting::Busy => Poll::Pending,
            Poll::Pending => {
                ready!(self.clock.poll(cx));
                Poll::Ready(self.give_up(cx))
            }
        }
    }

    /// Which HTTP is spoken: not known only where nothing more comes. What is read for it is handed out again, all at once where it
    /// came at once, so that hyper finds room for it in its first buffer.
    pub(super) fn poll_protocol(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Protocol>> {
        let mut bytes = [0; BEGINNING_BYTES];
        while matches!(self.protocol, Protocol::Unknown(_)) {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(self.poll_more(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            self.ahead = [&self.ahead, buffer.filled()].concat().into();
        }
        Poll::Ready(Ok(self.protocol))
    }

    /// Notices that bytes have come.
    fn observe_bytes(&mut self, bytes: &[u8]) {
        let before = self.protocol;
        self.protocol = before.after(bytes);
        self.ended = bytes.is_empty();
        self.begun = true;
        if self.protocol == Protocol::Http2 {
            // Whatever comes between requests is no head: pings, settings, window updates.
            if before != self.protocol {
                self.wait(Waiting::Idle);
            }
            return;
        }
        if self.waiting == Waiting::Idle && !bytes.is_empty() {
            self.wait(Waiting::Head);
        }
        if let Some(number) = self.heads.read(bytes) {
            self.requests.mark_ambiguous(number);
        }
    }

    /// The clock has run out: says so where somebody is in the middle of saying something, and closes.
    fn give_up(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.waiting == Waiting::Head && self.begun && self.protocol != Protocol::Http2 {
            // Whoever does not take even this much at once will not get it.
            let _ = Pin::new(&mut self.io).poll_write(cx, &unread::too_slow())?;
            let _ = Pin::new(&mut self.io).poll_flush(cx)?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        // As if the client had closed.
        Ok(())
    }

    /// What came of writing, unless the client has kept it waiting for too long.
    fn poll_patience<T>(&mut self, cx: &mut Context<'_>, taken: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if taken.is_ready() {
            self.stalled = None;
            return taken;
        }
        self.observe_requests(cx);
        self.notice_leaving(cx)?;
        let limit = self.limits.stall_time;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Where hyper refuses, in these bytes, a head that it could not read.
    fn refusal_in(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.instead.is_some() {
            return Some(0);
        }
        if self.protocol == Protocol::Http2 || self.requests.are_any() {
            return None;
        }
        let (at, ours) = refusal::find(bytes)?;
        if at == 0 {
            self.instead = Some(ours);
        }
        Some(at)
    }

    /// Writes our own words; as far as hyper knows, its own were.
    fn poll_instead(&mut self, cx: &mut Context<'_>, theirs: usize) -> Poll<io::Result<usize>> {
        while let Some(left) = self.instead.as_mut().filter(|left| !left.is_empty()) {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, left))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            left.advance(written);
        }
        self.instead = None;
        Poll::Ready(Ok(theirs))
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 4096];
        while !self.ended {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => self.ended = buffer.filled().is_empty(),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return self.clock.poll(cx),
            }
            // However fast it sends.
            if self.clock.has_run_out() {
                return Poll::Ready(());
            }
        }
        Poll::Ready(())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Paced<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = if this.ahead.is_empty() {
            this.poll_more(cx, buffer)
        } else {
            let length = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.ahead.split_to(length));
            Poll::Ready(Ok(()))
        };
        // Of a request that goes on, the rest is asked for as it is needed, and much of it at once.
        this.read_on = read.is_pending() || !this.heads.are_whole();
        read
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match this.refusal_in(bytes) {
            Some(0) => this.poll_instead(cx, bytes.len()),
            Some(at) => Pin::new(&mut this.io).poll_write(cx, bytes.get(..at).unwrap_or(bytes)),
            None => Pin::new(&mut this.io).poll_write(cx, bytes),
        };
        this.poll_patience(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let filled = || slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(first), Some(last)) = (filled().next(), filled().next_back())
            && this.refusal_in(last).is_some()
        {
            return Pin::new(this).poll_write(cx, first);
        }
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.poll_patience(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.observe_requests(cx);
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        ready!(this.poll_patience(cx, flushed))?;
        Poll::Ready(this.notice_leaving(cx))
    }

    /// Closes our side, then swallows what the client still sends: a close over unread bytes is a reset, and a reset can overtake
    /// the answer.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.lingering {
            // TLS has a last word, and before it whatever it still holds.
            let closed = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.poll_patience(cx, closed))?;
            this.lingering = true;
            this.clock.set(LINGER);
        }
        ready!(this.poll_linger(cx));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
