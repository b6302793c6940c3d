//! One request and its answer, from the door to the last byte. It is finished once, or dropped, which means that the client left.

use std::{
    error::Error as StdError,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};

use crate::{
    admit::Admission,
    cors,
    errors::Error,
    headers::{X_REQUEST_ID, X_SIGNALBOX_ATTEMPTS, X_SIGNALBOX_MODEL, X_SIGNALBOX_PROVIDER, X_SIGNALBOX_REVISION},
    limits::{Denied, Share},
    metrics::Metrics,
    record::{Outcome, Record, RequestId},
    reply::{Content, Interrupted, Reply},
    tunnel::Tunnel,
    usage::Usage,
};

/// An exchange under way.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// What is known of it so far.
    pub(crate) record: Record,
    /// What the browser is told that may have sent it; `None` = nothing.
    pub(crate) cors: Option<cors::Told>,
    metrics: Arc<Metrics>,
    admission: Option<Admission>,
    /// What it takes of its key's limits.
    share: Option<Share>,
    finished: bool,
}

/// The body of an answer, and the exchange that ends with it.
#[derive(Debug)]
pub(crate) struct Carried {
    content: Content,
    /// The length, where it is known beforehand: nobody asks for more once that much was handed out.
    length: Option<u64>,
    /// `None` = it goes on in a tunnel.
    exchange: Option<Box<Exchange>>,
    /// How it broke off, which ends the connection: what came before leaves first.
    broken: Option<Box<Interrupted>>,
}

impl Exchange {
    /// Opened when the head of a request has been read. It is in a box, since it goes from hand to hand until the last byte is out.
    pub(crate) fn open(request_id: RequestId, method: Method, metrics: Arc<Metrics>) -> Box<Self> {
        Box::new(Self {
            record: Record::new(request_id, method),
            cors: None,
            metrics,
            admission: None,
            share: None,
            finished: false,
        })
    }

    /// Keeps the slot until the end.
    pub(crate) fn hold(&mut self, admission: Admission) {
        self.admission = Some(admission);
    }

    /// Takes its share of what its key may use, and keeps it until the end.
    ///
    /// # Errors
    /// Where the key is at its limits.
    pub(crate) fn count(&mut self, share: Option<Share>) -> Result<(), Denied> {
        self.share = share;
        self.share.as_mut().map_or(Ok(()), Share::admit)
    }

    /// Sets aside the tokens that the answer may take, as far as that can be told beforehand.
    pub(crate) fn expect_tokens(&mut self, tokens: u64) {
        if let Some(share) = &mut self.share {
            share.reserve(tokens);
        }
    }

    /// Answers with an error. This is where it is logged, once, with its causes.
    pub(crate) fn refuse(mut self: Box<Self>, error: &Error) -> Response<Carried> {
        let reply = error.reply(self.record.shape());
        if error.is_departure() {
            self.finish(Outcome::Abandoned);
        }
        let (request_id, cause) = (self.record.request_id, error as &dyn StdError);
        // Whoever asks whether the gateway is ready may well be told that it is not.
        if reply.status().is_server_error() && !self.record.is_own() {
            tracing::warn!(request.id = %request_id, error = cause, "request failed");
        } else {
            tracing::debug!(request.id = %request_id, error = cause, "request rejected");
        }
        self.carry(reply)
    }

    /// Answers. The exchange ends with the body.
    pub(crate) fn carry(mut self: Box<Self>, reply: Reply) -> Response<Carried> {
        let (mut head, mut content) = reply.into_parts();
        self.record.status = Some(head.status);
        self.sign(&mut head.headers);
        if self.record.method == Method::HEAD {
            if let Some(length) = content.size_hint().exact() {
                head.headers.entry(CONTENT_LENGTH).or_insert(length.into());
            }
            content = Content::Withheld;
        }
        if let Some(ends) = head.extensions.remove() {
            head.extensions.insert(Tunnel::new(ends, content, self).hand_over());
            let nothing = Carried { content: Content::Withheld, length: Some(0), exchange: None, broken: None };
            return Response::from_parts(head, nothing);
        }
        let length = content.size_hint().exact();
        let mut carried = Carried { content, length, exchange: Some(self), broken: None };
        carried.finish_if_handed_out();
        Response::from_parts(head, carried)
    }

    /// Names what happened, in every answer that is not a page of our own.
    fn sign(&mut self, headers: &mut HeaderMap) {
        if let Some(cors) = self.cors.take() {
            cors.write(headers);
        }
        if let Some(share) = &self.share {
            share.write(headers);
        }
        let Record { request_id, revision, trail, .. } = &self.record;
        headers.insert(X_REQUEST_ID, request_id.header());
        if self.record.is_own() {
            return;
        }
        if let Some(revision) = revision {
            headers.insert(X_SIGNALBOX_REVISION, revision.get().into());
        }
        if let Some(provider) = &trail.provider {
            insert_text(headers, X_SIGNALBOX_PROVIDER, provider.id.as_str());
            headers.insert(X_SIGNALBOX_ATTEMPTS, trail.attempts.into());
        }
        if let Some(model) = trail.model.as_ref().filter(|model| !model.is_empty()) {
            insert_text(headers, X_SIGNALBOX_MODEL, model);
        }
    }

    /// Ends it, once.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.finished, true) && !self.record.is_own() {
            self.settle();
            let took = self.record.started.elapsed();
            self.metrics.observe(&self.record, outcome, took);
            self.record.log(outcome, took);
        }
    }
}

impl Exchange {
    /// Counts the tokens that were used. An answer that was begun and did not come to say what it took, as where the client left it,
    /// counts as what was set aside for it.
    fn settle(&mut self) {
        let begun =
            self.record.trail.committed_at.is_some() && self.record.status.is_some_and(|status| status.is_success());
        if let Some(share) = &mut self.share {
            let unsaid = if begun { share.reserved() } else { 0 };
            share.settle(self.record.usage.map_or(unsaid, Usage::total));
        }
    }
}

impl Exchange {
    fn broke(&self, error: &(dyn StdError + 'static)) -> Outcome {
        tracing::warn!(request.id = %self.record.request_id, error, "answer broken off");
        Outcome::Broken
    }
}

/// A text that no header may hold, such as one with a line feed, is left out.
fn insert_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
        headers.insert(name, value);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.finish(Outcome::Abandoned);
    }
}

impl Carried {
    /// Whoever carries the body does not come back for an end that it knows.
    fn finish_if_handed_out(&mut self) {
        let out = self.exchange.as_ref().map(|exchange| exchange.record.bytes_out);
        let all = self.length.zip(out).is_some_and(|(length, out)| out >= length);
        if all || self.content.is_end_stream() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        let Self { content, exchange: Some(exchange), .. } = self else { return };
        let outcome = match content.broken() {
            Some(broken) => exchange.broke(broken),
            None => exchange.record.status.map_or(Outcome::Abandoned, Outcome::of),
        };
        exchange.finish(outcome);
    }
}

impl Body for Carried {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(*broken)));
        }
        let frame = ready!(Pin::new(&mut self.content).poll_frame(cx));
        let Self { content, exchange: Some(exchange), .. } = &mut *self else { return Poll::Ready(frame) };
        exchange.record.usage = content.usage();
        match frame {
            Some(Ok(ref frame)) => {
                exchange.record.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.finish_if_handed_out();
            }
            Some(Err(interrupted)) => {
                let outcome = exchange.broke(&interrupted);
                exchange.finish(outcome);
                // Whoever writes it drops what it has not written when it hears of an error, even the head: it gets a turn to write.
                self.broken = Some(Box::new(interrupted));
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => self.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
