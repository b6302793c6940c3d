//! A request's body on its way to a target: what the client sent, with the target's model in it. It knows where the model is, not
//! what else is said.

use std::{ops::Range, vec};

use bytes::Bytes;

use super::{Body, Upload};
use crate::splice::{self, Edit};

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
    /// A multipart form, of which as much is held as was needed to find its model.
    Form {
        /// What is held.
        beginning: Bytes,
        /// Where the value of `model` is in it.
        model_span: Range<usize>,
        /// What is still on its way; `None` = the form is held whole.
        rest: Option<Upload>,
    },
    /// None: it is a WebSocket's handshake.
    Handshake {
        /// Where the value of `model` is in the query.
        model_span: Range<usize>,
    },
    /// What names no model, held whole.
    Held(Bytes),
    /// What names no model and goes out as it comes.
    Upload(Upload),
}

impl Payload {
    /// The text, where it is JSON.
    pub(super) fn json(&self) -> Option<&Bytes> {
        match self {
            Self::Json { text, .. } => Some(text),
            Self::Form { .. } | Self::Handshake { .. } | Self::Held(_) | Self::Upload(_) => None,
        }
    }

    /// What of it can go out only once; `None` = nothing.
    pub(crate) fn upload(&self) -> Option<&Upload> {
        match self {
            Self::Json { .. } | Self::Handshake { .. } | Self::Held(_) => None,
            Self::Form { rest, .. } => rest.as_ref(),
            Self::Upload(upload) => Some(upload),
        }
    }

    /// Where the model is in the query of a handshake; `None` = it is none.
    pub(crate) fn handshake(&self) -> Option<&Range<usize>> {
        if let Self::Handshake { model_span } = self { Some(model_span) } else { None }
    }

    /// Whether an attempt has taken what can go out only once.
    pub(crate) fn is_spent(&self) -> bool {
        self.upload().is_some_and(Upload::is_spent)
    }

    /// It for a target that calls the model so, with one more edit. Only these are written anew; the rest is shared with every other
    /// attempt.
    pub(super) fn written(&self, model: &str, edit: Option<Edit>) -> Body {
        match self {
            Self::Json { text, model_span } => {
                let named = Edit { span: model_span.clone(), value: splice::json_string(model) };
                let named = Some(named).filter(|named| text.get(named.span.clone()) != Some(&*named.value));
                let edits: Vec<Edit> = named.into_iter().chain(edit).collect();
                if edits.is_empty() {
                    return Body::Held(text.clone());
                }
                Body::Parts(Parts::new(splice::pieces(text, edits)))
            }
            Self::Form { beginning, model_span, rest } => {
                let named = Edit { span: model_span.clone(), value: Bytes::copy_from_slice(model.as_bytes()) };
                let beginning = Parts::new(splice::pieces(beginning, vec![named]));
                match rest {
                    Some(rest) => Body::Upload(Box::new(rest.after(beginning))),
                    None => Body::Parts(beginning),
                }
            }
            Self::Handshake { .. } => Body::default(),
            Self::Held(body) => Body::Held(body.clone()),
            Self::Upload(upload) => Body::Upload(Box::new(upload.after(Parts::new(Vec::new())))),
        }
    }
}

/// A text in parts.
#[derive(Debug)]
pub(crate) struct Parts {
    rest: vec::IntoIter<Bytes>,
    left: u64,
}

impl Parts {
    fn new(parts: Vec<Bytes>) -> Self {
        let left = parts.iter().map(|part| part.len() as u64).sum();
        Self { rest: parts.into_iter(), left }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }
}

impl Iterator for Parts {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let part = self.rest.find(|part| !part.is_empty())?;
        self.left -= part.len() as u64;
        Some(part)
    }
}
