//! The way to upstreams of which it is certain that they speak HTTP/1.1. A connection is driven by whoever waits for its answer and by
//! nobody else: no task stands between the socket and the answer, what came together is handed on together, and a connection that is
//! silent holds no buffer. It never retries and never looks at what passes.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Frame, SizeHint};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use signalbox_routing::{HttpVersion, Profile};
use tokio::time::error::Elapsed;
use tower_service::Service as _;

use super::{
    Body,
    pool::{BoxError, Patient, connector, tcp},
};
use connection::Connection;
use kept::{Kept, Origin};

mod connection;
mod framing;
mod head;
mod kept;
mod outgoing;

/// Connections that are kept for the next request to the same origin.
#[derive(Debug)]
pub(super) struct Http1 {
    connector: Patient<HttpsConnector<HttpConnector>>,
    kept: Arc<Kept>,
}

/// Why there is no answer, or no more of it. Its text never holds the URL.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection was made.
    #[error("no connection to the upstream can be made")]
    Connect(#[source] BoxError),
    /// The request could not be written.
    #[error("the request cannot be written")]
    Write(#[source] io::Error),
    /// The answer could not be read.
    #[error("the answer cannot be read")]
    Read(#[source] io::Error),
    /// The upstream closed the connection before the answer was complete.
    #[error("the upstream closed the connection before its answer was complete")]
    Closed,
    /// The head of the answer is no HTTP.
    #[error("the head of the answer is not HTTP/1.1")]
    Head(#[source] httparse::Error),
    /// The head of the answer holds what no header may hold.
    #[error("the head of the answer holds a header that is none")]
    Header(#[source] http::Error),
    /// The head of the answer is longer than it may be.
    #[error("the head of the answer is longer than {} bytes", connection::MAX_HEAD_BYTES)]
    HeadTooLong,
    /// How long the answer is cannot be told.
    #[error("the head of the answer is not clear about its length")]
    Length,
    /// The chunks of the answer are not what chunks are.
    #[error("the chunks of the answer are out of form")]
    Chunk,
}

impl Error {
    /// Whether no connection was made.
    pub(super) fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_))
    }

    /// Whether no connection was made in time.
    pub(super) fn is_connect_timeout(&self) -> bool {
        matches!(self, Self::Connect(cause) if cause.is::<Elapsed>())
    }
}

impl Http1 {
    /// No connections yet; they are made as the profile says, but for the version of HTTP.
    pub(super) fn new(profile: &Profile, tls: ClientConfig) -> Self {
        let connector = connector(HttpVersion::Http1, tls, profile.connect_timeout, tcp());
        Self { connector, kept: Kept::new(profile.max_idle, profile.idle_timeout) }
    }

    /// Sends one request. Where a kept connection takes nothing of it, it goes out over a fresh one. Dropping the future, or the body
    /// of the answer, ends the connection.
    ///
    /// # Errors
    /// [`Error`] where no head of an answer arrived.
    pub(super) async fn send(&self, request: Request<Vec<Bytes>>) -> Result<Response<Body>, Error> {
        let (request, body) = request.into_parts();
        let origin = Origin::of(&request.uri);
        let kept = self.kept.take(&origin);
        let may_be_stale = kept.is_some();
        let mut connection = match kept {
            Some(kept) => kept,
            None => self.connect(request.uri.clone(), origin.clone()).await?,
        };
        connection.begin(&request, body);
        let mut head = poll_fn(|cx| connection.poll_head(cx)).await;
        if may_be_stale && matches!(head, Err(Error::Write(_))) {
            let mut fresh = self.connect(request.uri, origin).await?;
            if connection.hand_on(&mut fresh) {
                connection = fresh;
                head = poll_fn(|cx| connection.poll_head(cx)).await;
            }
        }
        Ok(Response::from_parts(head?, Body::Direct(Answer::new(connection))))
    }

    async fn connect(&self, to: Uri, origin: Origin) -> Result<Box<Connection>, Error> {
        let mut connector = self.connector.clone();
        poll_fn(|cx| connector.poll_ready(cx)).await.map_err(Error::Connect)?;
        let wire = connector.call(to).await.map_err(Error::Connect)?;
        Ok(Box::new(Connection::new(wire, origin, Arc::downgrade(&self.kept))))
    }
}

/// The body of an answer. With its last byte the connection is free for the next request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `None` once the answer is over, for better or worse.
    connection: Option<Box<Connection>>,
}

impl Answer {
    fn new(connection: Box<Connection>) -> Self {
        let mut answer = Self { connection: Some(connection) };
        answer.let_go();
        answer
    }

    /// Lets the connection go where nothing more of the answer is to come over it.
    fn let_go(&mut self) {
        if let Some(connection) = self.connection.take_if(|connection| connection.is_over()) {
            Kept::give_back(connection);
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let answer = self.get_mut();
        let Some(connection) = &mut answer.connection else { return Poll::Ready(None) };
        let data = std::task::ready!(connection.poll_data(cx));
        match &data {
            Some(Ok(_)) => answer.let_go(),
            Some(Err(_)) => answer.connection = None,
            None => answer.let_go(),
        }
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.connection {
            Some(connection) => connection.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
mod tests;
