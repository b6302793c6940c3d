//! HTTP/1.1 messages as bytes on a connection, read by hand, so that nothing is tidied up before a story sees it.

use std::{io, str};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest head that is read.
const MAX_HEAD_BYTES: usize = 1024 * 1024;

/// The reading side of a connection.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    read: R,
    buffer: BytesMut,
}

/// The first line and the headers of a message.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) first_line: String,
    pub(crate) headers: HeaderMap,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    Known(usize),
    Chunked,
    UntilClose,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(read: R) -> Self {
        Self { read, buffer: BytesMut::new() }
    }

    /// The next head; `None` = the peer closed the connection instead.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        let Some(end) = self.find(b"\r\n\r\n").await? else { return Ok(None) };
        let bytes = self.buffer.split_to(end + 4);
        let text = str::from_utf8(&bytes).map_err(io::Error::other)?;
        let mut lines = text.trim_end().split("\r\n");
        let first_line = lines.next().unwrap_or_default().to_owned();
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(format!("no header: {line}")))?;
            let name = HeaderName::try_from(name).map_err(io::Error::other)?;
            headers.append(name, HeaderValue::try_from(value.trim()).map_err(io::Error::other)?);
        }
        Ok(Some(Head { first_line, headers }))
    }

    /// A whole body.
    pub(crate) async fn body(&mut self, length: Length) -> io::Result<Bytes> {
        match length {
            Length::Known(length) => self.take(length).await,
            Length::Chunked => {
                let mut body = BytesMut::new();
                while let Some(chunk) = self.chunk().await? {
                    body.extend_from_slice(&chunk);
                }
                Ok(body.freeze())
            }
            Length::UntilClose => {
                while self.fill().await? {}
                Ok(self.buffer.split().freeze())
            }
        }
    }

    /// The next chunk of a chunked body; `None` = it was the last.
    pub(crate) async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        let line = self.find(b"\r\n").await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let line = self.buffer.split_to(line + 2);
        let size = str::from_utf8(&line).map_err(io::Error::other)?.trim();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
        let mut chunk = self.take(size + 2).await?;
        chunk.truncate(size);
        Ok(if size == 0 { None } else { Some(chunk) })
    }

    /// Waits until the peer has closed the connection, in whichever way. Bytes that come first are kept.
    pub(crate) async fn closed(&mut self) {
        while matches!(self.fill().await, Ok(true)) {}
    }

    async fn take(&mut self, length: usize) -> io::Result<Bytes> {
        while self.buffer.len() < length {
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn find(&mut self, mark: &[u8]) -> io::Result<Option<usize>> {
        loop {
            if let Some(found) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Ok(Some(found));
            }
            if self.buffer.len() > MAX_HEAD_BYTES {
                return Err(io::Error::other("no end of the head in sight"));
            }
            if !self.fill().await? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// False = the peer closed the connection.
    async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.read.read_buf(&mut self.buffer).await? > 0)
    }
}

impl Head {
    /// How long the body is where nothing else says so.
    pub(crate) fn length(&self, otherwise: Length) -> Length {
        if self.headers.contains_key(http::header::TRANSFER_ENCODING) {
            return Length::Chunked;
        }
        let length = self.headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        length.map_or(otherwise, Length::Known)
    }
}
