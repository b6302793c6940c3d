//! A client without manners: it sends any bytes and reads what comes back.

use std::{net::SocketAddr, str};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    http1::{Length, Reader},
    wait::soon,
};

/// One connection to a data plane.
#[derive(Debug)]
pub struct Raw {
    reader: Reader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

/// An answer as it came.
#[derive(Debug)]
pub struct RawAnswer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, without the framing.
    pub body: Bytes,
}

impl RawAnswer {
    /// The error's code in the body; empty = there is none.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body.pointer("/error/code").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

impl Raw {
    /// Connects.
    ///
    /// # Panics
    /// Where nobody listens.
    pub async fn connect(addr: SocketAddr) -> Self {
        let socket = soon("a connection", TcpStream::connect(addr)).await.expect("the data plane listens");
        socket.set_nodelay(true).expect("the socket is open");
        let (read, write) = socket.into_split();
        Self { reader: Reader::new(read), write }
    }

    /// Sends these bytes. A gateway that has hung up already is no error here.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.write.write_all(bytes.as_ref()).await);
    }

    /// Reads a whole answer to a request other than `HEAD`; `None` = the gateway closed the connection instead.
    pub async fn answer(&mut self) -> Option<RawAnswer> {
        self.answer_to(&Method::POST).await
    }

    /// Reads a whole answer to a request with this method; `None` = the gateway closed the connection instead.
    ///
    /// # Panics
    /// Where what comes is no HTTP.
    pub async fn answer_to(&mut self, method: &Method) -> Option<RawAnswer> {
        let head = soon("an answer", self.reader.head()).await.ok().flatten()?;
        let status = head.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.expect("an answer begins with its status");
        let none = method == Method::HEAD || status < 200 || [204, 304].contains(&status);
        let length = if none { Length::Known(0) } else { head.length(Length::UntilClose) };
        let body = soon("a body", self.reader.body(length)).await.expect("the body is whole");
        Some(RawAnswer { status, headers: head.headers, body })
    }

    /// Reads the head of an answer and leaves its body; returns the status.
    ///
    /// # Panics
    /// Where none comes.
    pub async fn head(&mut self) -> u16 {
        let head = soon("the head of an answer", self.reader.head()).await.ok().flatten().expect("an answer comes");
        let status = head.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.expect("an answer begins with its status")
    }

    /// Reads the next chunk of a chunked body as text; `None` = it has ended well.
    ///
    /// # Panics
    /// Where the body breaks off.
    pub async fn chunk(&mut self) -> Option<String> {
        let chunk = soon("a chunk", self.reader.chunk()).await.expect("the body goes on");
        chunk.map(|chunk| str::from_utf8(&chunk).expect("the chunk is text").to_owned())
    }

    /// Waits until the gateway has closed the connection.
    pub async fn closed(mut self) {
        soon("the gateway to hang up", self.reader.closed()).await;
    }
}
