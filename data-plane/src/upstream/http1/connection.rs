//! One connection and what is on it: a request on its way out, and its answer on its way in. Nothing waits but for the socket, and what
//! is read lands in a buffer that the whole thread shares.

use std::{
    cell::RefCell,
    fmt, io, mem,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http::{Method, request, response};
use http_body::SizeHint;
use hyper::rt::{Read as _, ReadBuf};
use hyper_util::rt::TokioIo;
use memchr::memchr;
use tokio::{net::TcpStream, task::coop::has_budget_remaining};

use super::{
    super::wire::Wire,
    Error,
    framing::Framing,
    head,
    kept::{Kept, Origin},
    outgoing::Outgoing,
};

/// Longest head of an answer, with those of interim answers before it, in bytes.
pub(super) const MAX_HEAD_BYTES: usize = 128 * 1024;

/// Most bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    /// What a read lands in. Nothing stays in it, so that a connection on which nothing comes needs no buffer.
    static LANDING: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// A connection, which carries one request at a time.
pub(super) struct Connection {
    wire: Wire<TokioIo<TcpStream>>,
    origin: Origin,
    home: Weak<Kept>,
    outgoing: Outgoing,
    /// Why the request did not go out as a whole.
    write_error: Option<io::Error>,
    incoming: Incoming,
    /// Whether another request may follow, as far as is known.
    stays: bool,
}

/// How far an answer is.
#[derive(Debug)]
enum Incoming {
    /// Its head is awaited, of which this is there.
    Head { method: Method, read: BytesMut },
    /// Its body is on its way.
    Body {
        framing: Framing,
        /// What came with the head.
        first: Bytes,
    },
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("origin", &self.origin)
            .field("incoming", &self.incoming)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(wire: Wire<TokioIo<TcpStream>>, origin: Origin, home: Weak<Kept>) -> Self {
        Self {
            wire,
            origin,
            home,
            outgoing: Outgoing::default(),
            write_error: None,
            incoming: Incoming::Body { framing: Framing::Length(0), first: Bytes::new() },
            stays: true,
        }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where it is kept; `None` = nowhere any more.
    pub(super) fn home(&self) -> Option<Arc<Kept>> {
        self.home.upgrade()
    }

    /// Begins a request on a connection on which nothing else is on its way.
    pub(super) fn begin(&mut self, request: &request::Parts, body: Vec<Bytes>) {
        let length: usize = body.iter().map(Bytes::len).sum();
        self.outgoing.begin(head::write(request, length), body);
        self.incoming = Incoming::Head { method: request.method.clone(), read: BytesMut::new() };
    }

    /// Hands a request on of which the upstream has taken nothing; says whether that is so.
    pub(super) fn hand_on(&mut self, to: &mut Self) -> bool {
        let is_untouched = !self.outgoing.has_begun();
        if is_untouched {
            mem::swap(&mut self.outgoing, &mut to.outgoing);
            mem::swap(&mut self.incoming, &mut to.incoming);
        }
        is_untouched
    }

    /// Whether the answer is over.
    pub(super) fn is_over(&self) -> bool {
        matches!(&self.incoming, Incoming::Body { framing, first } if first.is_empty() && framing.is_over())
    }

    /// Whether another request may go over it.
    pub(super) fn is_reusable(&self) -> bool {
        self.stays && self.is_over() && self.outgoing.is_over() && self.write_error.is_none()
    }

    /// Whether the upstream has said nothing since its last answer, not even that it closes the connection.
    pub(super) fn is_silent(&mut self) -> bool {
        // A task that has used up its budget would be told of silence whatever there is.
        has_budget_remaining()
            && poll_read(&mut self.wire, &mut Context::from_waker(Waker::noop()), |_| ()).is_pending()
    }

    /// Sends the request on its way and waits for the head of its answer.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<response::Parts, Error>> {
        self.poll_outgoing(cx)?;
        // Heard even where the request is still on its way: whoever refuses it says why, and may close the connection at once.
        let head = ready!(self.poll_read_head(cx));
        Poll::Ready(head.map_err(|error| self.write_error.take().map_or(error, Error::Write)))
    }

    /// What comes next of the body, all that is there of it; `None` at its end.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        self.poll_outgoing(cx)?;
        let Incoming::Body { framing, first } = &mut self.incoming else { return Poll::Ready(None) };
        if !first.is_empty() {
            return Poll::Ready(Some(Ok(mem::take(first))));
        }
        while !framing.is_over() {
            framing.check()?;
            let read = ready!(poll_read(&mut self.wire, cx, Bytes::copy_from_slice)).map_err(Error::Read)?;
            if read.is_empty() {
                framing.close()?;
                break;
            }
            let taken = framing.take(&read);
            self.stays &= !taken.surplus;
            if !taken.data.is_empty() {
                return Poll::Ready(Some(Ok(taken.data)));
            }
        }
        Poll::Ready(None)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let Incoming::Body { framing, first } = &self.incoming else { return SizeHint::default() };
        framing.left().map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + first.len() as u64))
    }

    /// Sends on what is left of the request. That the rest cannot be written is told only where there is no answer either.
    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.outgoing.is_over() {
            return Ok(());
        }
        if let Poll::Ready(Err(error)) = self.outgoing.poll(&mut self.wire, cx) {
            if !self.outgoing.has_begun() {
                return Err(Error::Write(error));
            }
            self.outgoing.give_up();
            self.write_error = Some(error);
        }
        Ok(())
    }

    fn poll_read_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<response::Parts, Error>> {
        let Incoming::Head { method, read: before } = &mut self.incoming else {
            return Poll::Ready(Err(Error::Closed));
        };
        loop {
            let mut read = ready!(poll_read(&mut self.wire, cx, Bytes::copy_from_slice)).map_err(Error::Read)?;
            if read.is_empty() {
                return Poll::Ready(Err(Error::Closed));
            }
            // Only the end of a line can be the end of a head.
            let may_end = memchr(b'\n', &read).is_some();
            if !before.is_empty() {
                before.extend_from_slice(&read);
                read = before.split().freeze();
            }
            let Some(head) = may_end.then(|| head::read(&read, method)).transpose()?.flatten() else {
                if read.len() > MAX_HEAD_BYTES {
                    return Poll::Ready(Err(Error::HeadTooLong));
                }
                *before = read.into();
                continue;
            };
            let mut framing = head.framing;
            let first = framing.take(&read.slice(head.length..));
            self.stays = head.stays && !first.surplus;
            self.incoming = Incoming::Body { framing, first: first.data };
            return Poll::Ready(Ok(head.parts));
        }
    }
}

/// Reads once and makes something of what came; nothing came at the connection's end.
fn poll_read<T>(
    wire: &mut Wire<TokioIo<TcpStream>>,
    cx: &mut Context<'_>,
    make: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    LANDING.with_borrow_mut(|landing| {
        let mut landed = ReadBuf::new(landing);
        ready!(Pin::new(wire).poll_read(cx, landed.unfilled()))?;
        Poll::Ready(Ok(make(landed.filled())))
    })
}
