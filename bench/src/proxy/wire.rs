//! As much of HTTP/1.1 as both ends of the benchmark need: heads, bodies with a length, bodies in chunks. It is no implementation for
//! strangers: whoever sends something else is an error.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Header, Status};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Headers of a message at most.
const MAX_HEADERS: usize = 64;

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

/// The head of a request.
#[derive(Debug)]
pub(crate) struct RequestHead {
    /// What comes behind `authorization:`.
    pub(crate) authorization: Bytes,
    /// How its body ends.
    pub(crate) framing: Framing,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    /// The status.
    pub(crate) status: u16,
    /// How its body ends.
    pub(crate) framing: Framing,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(READ) })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next request; `None` = the client is done.
    pub(crate) async fn request(&mut self) -> io::Result<Option<RequestHead>> {
        loop {
            let mut headers = [EMPTY_HEADER; MAX_HEADERS];
            let mut request = httparse::Request::new(&mut headers);
            if let Status::Complete(length) = request.parse(&self.buffer).map_err(io::Error::other)? {
                let authorization = value(request.headers, "authorization").unwrap_or_default();
                let (authorization, framing) = (Bytes::copy_from_slice(authorization), framing(request.headers)?);
                self.buffer.advance(length);
                return Ok(Some(RequestHead { authorization, framing }));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The answer to a request that was sent.
    pub(crate) async fn response(&mut self) -> io::Result<ResponseHead> {
        loop {
            let mut headers = [EMPTY_HEADER; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut headers);
            if let Status::Complete(length) = response.parse(&self.buffer).map_err(io::Error::other)? {
                let (status, framing) = (response.code.unwrap_or_default(), framing(response.headers)?);
                self.buffer.advance(length);
                return Ok(ResponseHead { status, framing });
            }
            self.fill_more().await?;
        }
    }

    /// Reads a body, and shows each piece of it as it comes.
    pub(crate) async fn body(&mut self, framing: Framing, mut piece: impl FnMut(&[u8])) -> io::Result<()> {
        match framing {
            Framing::Length(length) => self.pieces(length, &mut piece).await,
            Framing::Chunked => loop {
                let size = self.chunk_size().await?;
                self.pieces(size, &mut piece).await?;
                self.line_end().await?;
                if size == 0 {
                    return Ok(());
                }
            },
        }
    }

    async fn pieces(&mut self, mut left: usize, piece: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while left > 0 {
            if self.buffer.is_empty() {
                self.fill_more().await?;
            }
            let here = self.buffer.split_to(left.min(self.buffer.len()));
            piece(&here);
            left -= here.len();
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
        if self.buffer.split_to(2) == b"\r\n"[..] { Ok(()) } else { Err(io::Error::other("no end of a chunk")) }
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
