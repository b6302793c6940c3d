//! As much of HTTP/1.1 as both ends of the benchmark need: heads, bodies with a length, bodies in chunks. It is no implementation for
//! strangers: whoever sends something else is an error.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll, Waker},
};

use bytes::{Buf as _, BytesMut};
use httparse::{EMPTY_HEADER, Header, Status};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    task::spawn_blocking,
};

/// Headers of a message at most.
const MAX_HEADERS: usize = 32;

/// What is read at once: a whole answer of most scenarios.
const READ: usize = 64 * 1024;

/// A connection, with what was read from it and not yet used.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After so many bytes.
    Length(usize),
    /// After its last chunk.
    Chunked,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::new() })
    }

    pub(crate) async fn open(addr: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect(addr).await?)
    }

    /// Whether what has come and has not been read ends the answer, or the connection, as far as the runtime knows.
    pub(crate) fn has_ended(&self) -> bool {
        let (mut bytes, mut context) = ([0; 4096], Context::from_waker(Waker::noop()));
        let mut unread = ReadBuf::new(&mut bytes);
        match self.stream.poll_peek(&mut context, &mut unread) {
            Poll::Ready(Ok(length)) => length == 0 || unread.filled().ends_with(b"0\r\n\r\n"),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Lets a thread that may wait as it likes write to the other end for a while.
    pub(crate) async fn lend(
        self,
        writer: impl FnOnce(&std::net::TcpStream) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let Self { stream, buffer } = self;
        let stream = stream.into_std()?;
        let returned = spawn_blocking(move || {
            stream.set_nonblocking(false)?;
            writer(&stream)?;
            stream.set_nonblocking(true)?;
            Ok::<_, io::Error>(stream)
        });
        Ok(Self { stream: TcpStream::from_std(returned.await??)?, buffer })
    }

    /// The next request: how its body ends, and whether it shows this authorization; `None` = the client is done.
    pub(crate) async fn request(&mut self, authorization: &[u8]) -> io::Result<Option<(Framing, bool)>> {
        loop {
            let mut headers = [EMPTY_HEADER; MAX_HEADERS];
            let mut request = httparse::Request::new(&mut headers);
            if let Status::Complete(length) = request.parse(&self.buffer).map_err(io::Error::other)? {
                let authorized = value(request.headers, "authorization") == Some(authorization);
                let framing = framing(request.headers)?;
                self.buffer.advance(length);
                return Ok(Some((framing, authorized)));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The answer to a request that was sent: its status, and how its body ends.
    pub(crate) async fn response(&mut self) -> io::Result<(u16, Framing)> {
        loop {
            let mut headers = [EMPTY_HEADER; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut headers);
            if let Status::Complete(length) = response.parse(&self.buffer).map_err(io::Error::other)? {
                let answer = (response.code.unwrap_or_default(), framing(response.headers)?);
                self.buffer.advance(length);
                return Ok(answer);
            }
            self.fill_more().await?;
        }
    }

    /// Reads a body, and shows each piece of it as it comes.
    pub(crate) async fn body(&mut self, framing: Framing, mut piece: impl FnMut(&[u8])) -> io::Result<()> {
        match framing {
            Framing::Length(length) => self.pieces(length, &mut piece).await,
            Framing::Chunked => {
                while self.chunk(&mut piece).await? {}
                Ok(())
            }
        }
    }

    /// Whether there is more after this chunk.
    pub(crate) async fn chunk(&mut self, piece: &mut impl FnMut(&[u8])) -> io::Result<bool> {
        let size = self.chunk_size().await?;
        self.pieces(size, piece).await?;
        self.line_end().await?;
        Ok(size > 0)
    }

    async fn pieces(&mut self, mut left: usize, piece: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while left > 0 {
            if self.buffer.is_empty() {
                self.fill_more().await?;
            }
            let (here, _) = self.buffer.split_at(left.min(self.buffer.len()));
            piece(here);
            let length = here.len();
            self.buffer.advance(length);
            left -= length;
        }
        Ok(())
    }

    async fn chunk_size(&mut self) -> io::Result<usize> {
        loop {
            let parsed = httparse::parse_chunk_size(&self.buffer);
            if let Status::Complete((length, size)) = parsed.map_err(|_| io::Error::other("no chunk size"))? {
                self.buffer.advance(length);
                return usize::try_from(size).map_err(io::Error::other);
            }
            self.fill_more().await?;
        }
    }

    async fn line_end(&mut self) -> io::Result<()> {
        while self.buffer.len() < 2 {
            self.fill_more().await?;
        }
        let ended = self.buffer.starts_with(b"\r\n");
        self.buffer.advance(2);
        if ended { Ok(()) } else { Err(io::Error::other("no end of a chunk")) }
    }

    async fn fill_more(&mut self) -> io::Result<()> {
        if self.fill().await? { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Whether there is more.
    async fn fill(&mut self) -> io::Result<bool> {
        self.buffer.reserve(READ);
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }
}

fn framing(headers: &[Header<'_>]) -> io::Result<Framing> {
    if let Some(length) = value(headers, "content-length") {
        let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
        return length.map(Framing::Length).ok_or_else(|| io::Error::other("no length"));
    }
    let chunked = value(headers, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    Ok(if chunked { Framing::Chunked } else { Framing::Length(0) })
}

fn value<'h>(headers: &[Header<'h>], name: &str) -> Option<&'h [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}
