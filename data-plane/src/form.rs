//! A multipart form on its way through: the model is looked for in its beginning, and what follows is watched as it goes by, so that
//! what was authorised is what the upstream reads. It does not know what a form is for.

use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};

use crate::{
    inbound::{self, Inbound},
    openai::envelope::{self, Field},
};

mod part;
mod scanner;

use scanner::Scanner;

/// How far into a form its model is looked for, whatever the limit of a body: curl sends the parts as they are written, and a file
/// is often written first.
const MAX_BEGINNING_BYTES: usize = 32 * 1024 * 1024;
/// A form that says that it is no longer than this is held whole, so that it can be sent again.
const MAX_HELD_BYTES: u64 = 1024 * 1024;
/// Longest boundary (RFC 2046, section 5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

/// Why a form goes no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The content type names no boundary that could be one.
    #[error("the content type names no valid boundary")]
    Boundary,
    /// It is no form that every upstream would read in the same way.
    #[error("the multipart form is malformed at byte {at}: {fault}")]
    Malformed {
        /// Where, counted from 0.
        at: usize,
        /// What is wrong.
        fault: Fault,
    },
    /// What the gateway reads of it cannot be read.
    #[error(transparent)]
    Field(#[from] envelope::Error),
    /// The model does not come soon enough.
    #[error("`model` is not among the first {limit} bytes: put it before the file")]
    Late {
        /// How many bytes are looked at.
        limit: usize,
    },
    /// It was not taken.
    #[error(transparent)]
    Inbound(#[from] inbound::Error),
}

/// What is wrong with a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// It does not begin with its boundary.
    #[error("it must begin with the boundary that the content type names")]
    Start,
    /// A boundary is not on a line of its own, ended as lines are in HTTP.
    #[error("a boundary must stand on a line of its own, between CR LF and CR LF")]
    Delimiter,
    /// The headers of a part are too long, or can be read in two ways.
    #[error("a part must begin with headers, among them one Content-Disposition with one name")]
    Head,
    /// Something follows its end.
    #[error("nothing may follow the last boundary")]
    Surplus,
    /// It ends before its end.
    #[error("it ends before its last boundary")]
    Unfinished,
}

/// A form whose model is known.
#[derive(Debug)]
pub(crate) struct Form {
    /// What has come of it.
    pub(crate) beginning: Bytes,
    /// The model.
    pub(crate) model: Box<str>,
    /// Where its name is in the beginning.
    pub(crate) model_span: Range<usize>,
    /// Whether a stream is asked for before the first file.
    pub(crate) stream: bool,
    /// What is still to come; `None` = it is whole.
    pub(crate) rest: Option<Passing>,
}

impl Form {
    /// Reads a form until its model is known, and the whole of it where it is short.
    ///
    /// # Errors
    /// [`Error`] where the form is broken, or its model is not there or not early enough.
    pub(crate) async fn open(headers: &HeaderMap, mut body: Inbound) -> Result<Self, Error> {
        let mut scanner = Scanner::new(boundary(headers).ok_or(Error::Boundary)?);
        let is_short = body.size_hint().exact().is_some_and(|length| length <= MAX_HELD_BYTES);
        let mut beginning = BytesMut::new();
        let mut rest = None;
        loop {
            let Some(piece) = body.piece().await? else {
                scanner.finish()?;
                break;
            };
            scanner.push(&piece)?;
            beginning.extend_from_slice(&piece);
            let is_late = beginning.len() >= MAX_BEGINNING_BYTES;
            if is_late && !scanner.has_model() {
                return Err(Error::Late { limit: MAX_BEGINNING_BYTES });
            }
            // What is said after the first file is too late to be acted on, except that it may not say another model.
            if is_late || (!is_short && scanner.has_model() && scanner.has_file()) {
                rest = Some(body);
                break;
            }
        }
        let stream = scanner.stream();
        let (model, model_span) = scanner.model().ok_or(envelope::Error::Missing(Field::Model))?;
        let model = model.into();
        let rest = rest.map(|body| Passing { body, scanner: Some(scanner), over: false });
        Ok(Self { beginning: beginning.freeze(), model, model_span, stream, rest })
    }
}

/// The rest of a body as it comes from the client.
#[derive(Debug)]
pub(crate) struct Passing {
    body: Inbound,
    /// What watches it; `None` = it may say what it likes.
    scanner: Option<Scanner>,
    over: bool,
}

impl Passing {
    /// A body of which nothing has been read, and nothing will be.
    pub(crate) fn unread(body: Inbound) -> Self {
        Self { body, scanner: None, over: false }
    }

    fn watch(&mut self, frame: Option<&Frame<Bytes>>) -> Result<(), Error> {
        let Some(scanner) = &mut self.scanner else { return Ok(()) };
        match frame {
            Some(frame) => frame.data_ref().map_or(Ok(()), |data| scanner.push(data)),
            None => scanner.finish(),
        }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        // Looked at before it goes on: an upstream must not have read what is refused.
        let watched = self.watch(frame.as_ref());
        self.over = frame.is_none() || watched.is_err();
        Poll::Ready(watched.map(|()| frame).transpose())
    }

    fn is_end_stream(&self) -> bool {
        // The end of a form that is watched is still to be judged.
        self.over || (self.scanner.is_none() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.over { SizeHint::with_exact(0) } else { self.body.size_hint() }
    }
}

/// The boundary that a content type names, if it is one (RFC 2046, section 5.1.1).
fn boundary(headers: &HeaderMap) -> Option<&str> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut found = content_type.split(';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim())
    });
    let boundary = found.next().filter(|_| found.next().is_none())?;
    let boundary = boundary.strip_prefix('"').map_or(Some(boundary), |quoted| quoted.strip_suffix('"'))?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let is_one = !boundary.is_empty()
        && boundary.len() <= MAX_BOUNDARY_BYTES
        && boundary.bytes().all(allowed)
        && !boundary.ends_with(' ');
    is_one.then_some(boundary)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;
    use http::HeaderValue;
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;
    use crate::inbound::{Pace, RequestBody};

    const PACE: Pace = Pace { base: Duration::from_secs(60), bytes_per_second: 64 * 1024 };

    fn headers(content_type: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap())])
    }

    fn part(name: &str, value: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n")
    }

    fn file(size: usize) -> String {
        part("file; filename=f", &"f".repeat(size))
    }

    fn in_pieces(form: &str, size: usize) -> RequestBody {
        let pieces: Vec<_> = form.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
        let frames = pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(Frame::data(piece)));
        RequestBody::made(StreamBody::new(stream::iter(frames)))
    }

    async fn open(body: RequestBody) -> Result<Form, Error> {
        let body = Inbound::new(body, u64::MAX, PACE).unwrap();
        Form::open(&headers("multipart/form-data; boundary=b"), body).await
    }

    #[tokio::test]
    async fn a_short_form_of_known_length_is_whole() {
        let text = part("model", "m") + &file(10_000) + &part("stream", "true") + "--b--\r\n";
        let form = open(RequestBody::made(Full::from(text.clone()))).await.unwrap();
        assert!(form.rest.is_none() && form.stream && form.beginning == text);
    }

    #[tokio::test]
    async fn of_another_form_no_more_is_read_than_up_to_the_first_file() {
        let text = part("model", "m") + &part("stream", "true") + &file(10_000) + "--b--\r\n";
        let form = open(in_pieces(&text, 100)).await.unwrap();
        assert!(form.beginning.len() < 400 && form.stream);
        let rest = form.rest.unwrap().collect().await.unwrap().to_bytes();
        assert_eq!([&form.beginning[..], &rest].concat(), text.as_bytes());
    }

    #[tokio::test]
    async fn a_model_after_the_file_is_found() {
        let text = file(3_000_000) + &part("model", "m") + "--b--\r\n";
        let form = open(in_pieces(&text, 100_000)).await.unwrap();
        assert_eq!((&*form.model, &form.beginning[form.model_span]), ("m", &b"m"[..]));
    }

    #[tokio::test]
    async fn a_model_that_does_not_come_in_time_is_not_waited_for() {
        let text = file(MAX_BEGINNING_BYTES) + &part("model", "m") + "--b--\r\n";
        assert!(matches!(open(in_pieces(&text, 1 << 20)).await, Err(Error::Late { .. })));
        let text = file(10) + "--b--\r\n";
        assert!(matches!(open(in_pieces(&text, 10)).await, Err(Error::Field(envelope::Error::Missing(Field::Model)))));
    }

    #[tokio::test]
    async fn what_is_refused_in_the_rest_does_not_go_on() {
        let second = part("model", "other") + "--b--\r\n";
        let form = open(in_pieces(&(part("model", "m") + &file(1000) + &second), 50)).await.unwrap();
        let (mut rest, mut passed) = (form.rest.unwrap(), Vec::new());
        let refused = loop {
            match rest.frame().await.expect("the form does not end well") {
                Ok(frame) => passed.extend(frame.into_data().unwrap()),
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, Error::Field(envelope::Error::Repeated(Field::Model))), "{refused:?}");
        assert!(!String::from_utf8(passed).unwrap().contains("other"));
        assert!(rest.frame().await.is_none());
        let form = open(in_pieces(&(part("model", "m") + &file(1000)), 50)).await.unwrap();
        let cut = form.rest.unwrap().collect().await.unwrap_err();
        assert!(matches!(cut, Error::Malformed { fault: Fault::Unfinished, .. }), "{cut:?}");
    }

    #[test]
    fn a_boundary_is_taken_from_the_content_type() {
        let long = "b".repeat(MAX_BOUNDARY_BYTES + 1);
        for (content_type, expected) in [
            ("multipart/form-data; boundary=b", Some("b")),
            ("multipart/form-data; charset=utf-8; Boundary=\"a:b\"", Some("a:b")),
            ("multipart/form-data;boundary=----WebKitFormBoundaryX", Some("----WebKitFormBoundaryX")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=a; boundary=b", None),
            ("multipart/form-data; boundary=\"a", None),
            ("multipart/form-data; boundary=a\tb", None),
            (&format!("multipart/form-data; boundary={long}"), None),
        ] {
            assert_eq!(boundary(&headers(content_type)), expected, "{content_type}");
        }
    }
}
