//! The bodies of requests to upstreams and of their answers, each as it is and none in a box that many have. It never looks into
//! them.

use std::{
    error::Error as StdError,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, combinators::BoxBody};
use hyper::body::Incoming;

use super::{
    Transport,
    http1::Answer,
    payload::Parts,
    upload::{Aborted, Outgoing},
};

/// A body on its way to an upstream, or from one.
#[derive(Debug)]
pub(crate) enum Body {
    /// A text that is there as a whole.
    Held(Bytes),
    /// A text in parts.
    Parts(Parts),
    /// What a client still sends, after its beginning.
    Upload(Box<Outgoing>),
    /// An answer from an upstream, straight from its connection.
    Direct(Answer),
    /// An answer from an upstream whose connection has a task of its own, which hands it over piece by piece.
    Incoming(Incoming),
    /// An answer from an upstream beyond a forward proxy.
    Proxied(reqwest::Body),
    /// An answer that may be no longer than this.
    Limited {
        /// The answer.
        body: Box<Self>,
        /// How many bytes may still come; `None` once more have come.
        left: Option<u64>,
    },
    /// Whatever else there is, which is seldom asked for.
    Boxed(BoxBody<Bytes, Box<dyn StdError + Send + Sync>>),
}

impl Body {
    /// A body of another kind.
    pub(crate) fn boxed<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + Sync + 'static,
    {
        Self::Boxed(body.map_err(Into::into).boxed())
    }

    /// Its pieces, where all of it is there; itself, where it is still on its way.
    pub(super) fn into_pieces(self) -> Result<Vec<Bytes>, Self> {
        match self {
            Self::Held(text) => Ok(vec![text]),
            Self::Parts(parts) => Ok(parts.collect()),
            other => Err(other),
        }
    }

    /// Whether a task elsewhere reads it, so that more of it may come with that task's next turn.
    pub(crate) fn is_handed_over(&self) -> bool {
        match self {
            Self::Held(_) | Self::Parts(_) | Self::Direct(_) => false,
            Self::Upload(_) | Self::Incoming(_) | Self::Proxied(_) | Self::Boxed(_) => true,
            Self::Limited { body, .. } => body.is_handed_over(),
        }
    }

    /// Its first so many bytes; where there are more, an error follows them.
    pub(crate) fn limited(self, most: u64) -> Self {
        Self::Limited { body: Box::new(self), left: Some(most) }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Held(Bytes::new())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Held(text.into())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Transport;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Transport>>> {
        match self.get_mut() {
            Self::Held(text) => {
                let text = std::mem::take(text);
                Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text))))
            }
            Self::Parts(parts) => Poll::Ready(parts.next().map(|part| Ok(Frame::data(part)))),
            Self::Upload(upload) => Pin::new(upload).poll_frame(cx).map_err(Transport::from),
            Self::Direct(body) => Pin::new(body).poll_frame(cx).map_err(Transport::from),
            Self::Incoming(body) => Pin::new(body).poll_frame(cx).map_err(Transport::from),
            Self::Proxied(body) => Pin::new(body).poll_frame(cx).map_err(Transport::from),
            Self::Limited { body, left } => {
                let Some(most) = *left else { return Poll::Ready(Some(Err(Transport::OverLimit))) };
                let frame = match ready!(Pin::new(&mut **body).poll_frame(cx)) {
                    Some(Ok(frame)) => frame,
                    end => return Poll::Ready(end),
                };
                *left = most.checked_sub(length(&frame));
                Poll::Ready(Some(match (left, most) {
                    (Some(_), _) => Ok(frame),
                    (None, 0) => Err(Transport::OverLimit),
                    (None, most) => {
                        Ok(frame.map_data(|data| data.slice(..usize::try_from(most).unwrap_or(data.len()))))
                    }
                }))
            }
            Self::Boxed(body) => Pin::new(body).poll_frame(cx).map_err(Transport::Body),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Held(text) => text.is_empty(),
            Self::Parts(parts) => parts.left() == 0,
            Self::Upload(upload) => upload.is_end_stream(),
            Self::Direct(body) => body.is_end_stream(),
            Self::Incoming(body) => body.is_end_stream(),
            Self::Proxied(body) => body.is_end_stream(),
            Self::Limited { body, left } => left.is_some() && body.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Held(text) => SizeHint::with_exact(text.len() as u64),
            Self::Parts(parts) => SizeHint::with_exact(parts.left()),
            Self::Upload(upload) => upload.size_hint(),
            Self::Direct(body) => body.size_hint(),
            Self::Incoming(body) => body.size_hint(),
            Self::Proxied(body) => body.size_hint(),
            Self::Limited { body, left: Some(_) } => body.size_hint(),
            Self::Limited { left: None, .. } => SizeHint::default(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

impl From<Aborted> for Transport {
    fn from(aborted: Aborted) -> Self {
        Self::Body(aborted.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use http_body::Body as _;
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test]
    async fn what_fits_is_passed_and_what_does_not_is_an_error_wherever_it_is_cut() {
        let body = |pieces: &[&'static str]| {
            let frames: Vec<_> =
                pieces.iter().map(|piece| Ok::<_, io::Error>(Frame::data(Bytes::from(*piece)))).collect();
            Body::boxed(StreamBody::new(futures_util::stream::iter(frames))).limited(4)
        };
        for fitting in [&["abcd"][..], &["ab", "cd"], &["abcd", ""]] {
            assert_eq!(body(fitting).collect().await.unwrap().to_bytes(), "abcd");
        }
        for over in [&["abcde"][..], &["abcd", "e"], &["abc", "de"], &["a", "bcde", "f"]] {
            let (mut body, mut passed) = (body(over), Vec::new());
            let error = loop {
                assert!(!body.is_end_stream(), "{over:?}");
                match body.frame().await.expect("it does not end well") {
                    Ok(frame) => passed.extend(frame.into_data().unwrap()),
                    Err(error) => break error,
                }
            };
            assert!(error.is_over_limit() && passed == b"abcd", "{over:?}");
        }
    }
}
