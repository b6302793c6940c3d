//! A request's body on its way in: never larger and never slower than allowed. It does not know what the bytes mean.

use std::{
    error::Error as StdError,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

/// Memory set aside at once for a body that comes in pieces, whatever length it declares.
const FIRST_RESERVE: usize = 256 * 1024;

/// A body as it comes from the connection.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// The client's.
    Received(Incoming),
    /// One without a client.
    #[cfg(test)]
    Made(http_body_util::combinators::BoxBody<Bytes, Box<dyn StdError + Send + Sync>>),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Received(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            #[cfg(test)]
            Self::Made(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Received(body) => body.is_end_stream(),
            #[cfg(test)]
            Self::Made(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Received(body) => body.size_hint(),
            #[cfg(test)]
            Self::Made(body) => body.size_hint(),
        }
    }
}

/// How long a client may take over a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Allowed for any body.
    pub(crate) base: Duration,
    /// Bytes that earn a second more.
    pub(crate) bytes_per_second: u64,
}

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is longer than allowed, or says that it will be.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The client kept it waiting for too long.
    #[error("the request body came too slowly")]
    TooSlow,
    /// The client left in the middle of it.
    #[error("the client left before the request body was whole")]
    Departed,
    /// It is framed wrongly.
    #[error("the request body is malformed")]
    Malformed(#[source] Box<dyn StdError + Send + Sync>),
}

impl Error {
    fn of(source: Box<dyn StdError + Send + Sync>) -> Self {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&*source);
        while let Some(error) = cause {
            if error.downcast_ref().is_some_and(is_departure) {
                return Self::Departed;
            }
            cause = error.source();
        }
        Self::Malformed(source)
    }
}

fn is_departure(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// A body that fails where it is too large or too slow. Only the time in which it is the client that is waited for counts.
#[derive(Debug)]
pub(crate) struct Inbound {
    body: RequestBody,
    limit: u64,
    received: u64,
    pace: Pace,
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Inbound {
    /// A body of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where it declares a greater length; nothing of it has been read then.
    pub(crate) fn new(body: RequestBody, limit: u64, pace: Pace) -> Result<Self, Error> {
        if body.size_hint().lower() > limit {
            return Err(Error::TooLarge { limit });
        }
        Ok(Self { body, limit, received: 0, pace, waited: Duration::ZERO, waiting: None })
    }

    /// The whole of it. Where it comes in one piece, nothing is copied.
    pub(crate) async fn collect(mut self) -> Result<Bytes, Error> {
        let Some(first) = self.piece().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.piece().await? else { return Ok(first) };
        let declared = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut whole = BytesMut::with_capacity(first.len() + second.len() + declared.min(FIRST_RESERVE));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(piece) = self.piece().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The next piece of data. Trailers are not for us, and never become headers.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let earned = Duration::from_secs(self.received.checked_div(self.pace.bytes_per_second).unwrap_or(0));
        let left = (self.pace.base + earned).saturating_sub(self.waited);
        let (_, alarm) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        alarm.as_mut().poll(cx)
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.poll_patience(cx));
            return Poll::Ready(Some(Err(Error::TooSlow)));
        };
        if let Some((since, _)) = self.waiting.take() {
            self.waited += since.elapsed();
        }
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame.map_err(Error::of)?;
        self.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        if self.received > self.limit {
            return Poll::Ready(Some(Err(Error::TooLarge { limit: self.limit })));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{self, Stream, StreamExt as _};
    use http_body_util::{Full, StreamBody};

    use super::*;

    impl RequestBody {
        /// As if it had been received.
        pub(crate) fn made<B>(body: B) -> Self
        where
            B: Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + Sync + 'static,
        {
            Self::Made(body.map_err(Into::into).boxed())
        }
    }

    const PACE: Pace = Pace { base: Duration::from_secs(60), bytes_per_second: 64 * 1024 };

    fn streamed(pieces: impl Stream<Item = Bytes> + Send + Sync + 'static) -> RequestBody {
        let frames = pieces.map(|piece| Ok::<_, io::Error>(Frame::data(piece)));
        RequestBody::made(StreamBody::new(frames))
    }

    fn chunked(pieces: &[&'static str]) -> RequestBody {
        let pieces: Vec<_> = pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
        streamed(stream::iter(pieces))
    }

    fn whole(body: &'static str) -> RequestBody {
        RequestBody::made(Full::from(body))
    }

    #[tokio::test]
    async fn a_body_in_one_piece_or_many_arrives_whole() {
        for pieces in [&[][..], &["abc"], &["a", "b", "c", "d"], &["ab", "", "cd"]] {
            let whole = Inbound::new(chunked(pieces), 4, PACE).unwrap().collect().await.unwrap();
            assert_eq!(whole, pieces.concat());
        }
    }

    #[test]
    fn a_declared_length_over_the_limit_is_refused_before_anything_is_read() {
        assert!(Inbound::new(whole("1234"), 4, PACE).is_ok());
        assert!(matches!(Inbound::new(whole("12345"), 4, PACE), Err(Error::TooLarge { limit: 4 })));
    }

    #[tokio::test]
    async fn an_undeclared_length_over_the_limit_is_refused_on_the_way() {
        let refused = Inbound::new(chunked(&["123", "45"]), 4, PACE).unwrap().collect().await;
        assert!(matches!(refused, Err(Error::TooLarge { limit: 4 })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up_after_the_base_time() {
        let body = streamed(stream::pending());
        let started = Instant::now();
        let refused = Inbound::new(body, 4, PACE).unwrap().collect().await;
        assert!(matches!(refused, Err(Error::TooSlow)));
        assert_eq!(started.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_time_spent_waiting_for_the_client_counts() {
        let mut body = Inbound::new(chunked(&["a", "b"]), 4, PACE).unwrap();
        assert_eq!(body.piece().await.unwrap().unwrap(), "a");
        tokio::time::advance(Duration::from_secs(600)).await;
        assert_eq!(body.piece().await.unwrap().unwrap(), "b");
    }
}
