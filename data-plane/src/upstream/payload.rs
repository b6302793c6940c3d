//! A request's body on its way to a target: what the client sent, with the target's model in it. It knows where the model is, not
//! what else is said.

use std::{
    array,
    convert::Infallible,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::splice;

/// A request's body.
#[derive(Debug)]
pub(crate) enum Payload {
    /// A JSON text, held whole, so that it can go out any number of times.
    Json {
        /// As the client sent it.
        text: Bytes,
        /// Where the value of `model` is, quotes included.
        model_span: Range<usize>,
    },
}

impl Payload {
    /// It for a target that calls the model so. Only the model is written anew; the rest is shared with every other attempt.
    pub(super) fn naming(&self, model: &str) -> reqwest::Body {
        match self {
            Self::Json { text, model_span } => {
                let wanted = splice::json_string(model);
                if text.get(model_span.clone()) == Some(&*wanted) {
                    return text.clone().into();
                }
                reqwest::Body::wrap(Parts::new(splice::parts(text, model_span.clone(), wanted)))
            }
        }
    }
}

/// A body of known length in three pieces.
struct Parts {
    rest: array::IntoIter<Bytes, 3>,
    left: u64,
}

impl Parts {
    fn new(parts: [Bytes; 3]) -> Self {
        let left = parts.iter().map(|part| part.len() as u64).sum();
        Self { rest: parts.into_iter(), left }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.rest.find(|part| !part.is_empty());
        self.left -= part.as_ref().map_or(0, |part| part.len() as u64);
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
