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
    /// An answer from an upstream.
    Incoming(Incoming),
    /// An answer from an upstream beyond a forward proxy.
    Proxied(reqwest::Body),
    /// An answer that may be no longer than this.
    Limited {
        /// The answer.
        body: Box<Self>,
        /// How many bytes may still come.
        left: u64,
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

    /// It, but an error where it comes to more than that many bytes.
    pub(crate) fn limited(self, most: u64) -> Self {
        Self::Limited { body: Box::new(self), left: most }
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
            Self::Incoming(body) => Pin::new(body).poll_frame(cx).map_err(Transport::from),
            Self::Proxied(body) => Pin::new(body).poll_frame(cx).map_err(Transport::from),
            Self::Limited { body, left } => {
                let frame = ready!(Pin::new(&mut **body).poll_frame(cx));
                let length = frame.as_ref().map_or(0, |frame| frame.as_ref().map_or(0, length));
                Poll::Ready(match left.checked_sub(length) {
                    Some(rest) => {
                        *left = rest;
                        frame
                    }
                    None => Some(Err(Transport::OverLimit)),
                })
            }
            Self::Boxed(body) => Pin::new(body).poll_frame(cx).map_err(Transport::Body),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Held(text) => text.is_empty(),
            Self::Parts(parts) => parts.left() == 0,
            Self::Upload(upload) => upload.is_end_stream(),
            Self::Incoming(body) => body.is_end_stream(),
            Self::Proxied(body) => body.is_end_stream(),
            Self::Limited { body, .. } => body.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Held(text) => SizeHint::with_exact(text.len() as u64),
            Self::Parts(parts) => SizeHint::with_exact(parts.left()),
            Self::Upload(upload) => upload.size_hint(),
            Self::Incoming(body) => body.size_hint(),
            Self::Proxied(body) => body.size_hint(),
            Self::Limited { body, .. } => body.size_hint(),
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
