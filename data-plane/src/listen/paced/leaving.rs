//! Notices that a client leaves while its request is under way. hyper would notice too, but sets a buffer aside for it, which each
//! answer under way would hold for as long as it lasts.

use std::{
    io, mem,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{super::protocol::Protocol, Paced, Waiting};

/// How much is read ahead where a client goes on to say something: it is handed out when hyper asks for it. Until then nothing else is
/// read, and so nobody notices that the client leaves before something is written to it.
const AHEAD_BYTES: usize = 512;

impl<IO: AsyncRead + AsyncWrite + Unpin> Paced<IO> {
    /// Asks to be woken when the client leaves, unless whoever carries the connection reads on by itself.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionAborted`] once it has left.
    pub(super) fn notice_leaving(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let read_on = mem::take(&mut self.read_on) || !self.ahead.is_empty();
        if read_on || self.waiting != Waiting::Busy || self.protocol == Protocol::Http2 || self.requests.have_switched()
        {
            return Ok(());
        }
        let mut bytes = [0; AHEAD_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        if let Poll::Ready(read) = self.poll_more(cx, &mut buffer) {
            read?;
            if self.ended {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            self.ahead = Bytes::copy_from_slice(buffer.filled());
        }
        Ok(())
    }
}
