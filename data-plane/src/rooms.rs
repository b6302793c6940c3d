//! The rooms of the request path one at a time, for whoever measures what each of them costs. It is there only with the feature
//! `rooms`, decides nothing, and tells of each room no more than that it did its work.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use signalbox_routing::{ClientKey, Endpoint, Runtime, Target};

use crate::{
    attempt::Trail,
    auth::Caller,
    metrics::Metrics,
    openai::envelope::Envelope,
    record::{Operation, Outcome, Record, RequestId},
    splice::{self, Changes, Edit, Rewriter},
    sse::Framer,
    upstream::Event,
    usage::Usage,
};

/// Whether the key that a request presents is one of the gateway's: its digest, and where that is found.
#[must_use]
pub fn is_known(runtime: &Runtime, headers: &HeaderMap) -> bool {
    Caller::identify(runtime, headers, None, 0).is_ok_and(|caller| caller.key().is_some())
}

/// The model that a request's body asks for, where it can be read.
#[must_use]
pub fn model(body: &[u8]) -> Option<String> {
    Envelope::parse(body).ok().map(|envelope| envelope.model.into_owned())
}

/// The pieces of a request's body that asks for another model.
#[must_use]
pub fn readdressed(body: &Bytes, model: &str) -> Vec<Bytes> {
    let Ok(Envelope { model_span, .. }) = Envelope::parse(body) else { return Vec::new() };
    splice::pieces(body, vec![Edit { span: model_span, value: splice::json_string(model) }])
}

/// How many events are in a stream that comes in these chunks.
#[must_use]
pub fn events(chunks: &[Bytes]) -> usize {
    framed(chunks, |_| ())
}

/// How many tokens the events of a chat's stream say that it took; each of them is read.
#[must_use]
pub fn tokens_of_events(chunks: &[Bytes]) -> u64 {
    let mut tokens = 0;
    framed(chunks, |event| {
        let read = Event::read(Endpoint::ChatCompletions, &event);
        tokens = read.usage.map_or(tokens, |usage| usage.total());
    });
    tokens
}

fn framed(chunks: &[Bytes], mut each: impl FnMut(crate::sse::Event)) -> usize {
    let (mut framer, mut count) = (Framer::default(), 0);
    for chunk in chunks {
        framer.push(chunk.clone());
        while let Ok(Some(event)) = framer.next() {
            each(event);
            count += 1;
        }
    }
    count
}

/// How many tokens an answer that comes in these chunks says that it took. It goes on with this model's name.
#[must_use]
pub fn tokens_of_answer(chunks: &[Bytes], model: &str) -> u64 {
    let mut rewriter = Rewriter::new(Changes { model: Some(splice::json_string(model)), id_suffix: None });
    let mut length = 0;
    chunks.iter().for_each(|chunk| rewriter.push(chunk.clone(), |piece| length += piece.len()));
    rewriter.usage().filter(|_| length > 0).map_or(0, |usage| usage.total())
}

/// A chat that ends as often as one likes, and what counts it.
#[derive(Debug)]
pub struct Ending {
    metrics: Metrics,
    record: Record,
}

impl Ending {
    /// One that this target answered for this key. `None` = there is nothing to count with.
    #[must_use]
    pub fn new(key: &Arc<ClientKey>, target: &Target) -> Option<Self> {
        let mut record = Record::new(RequestId::new(), Method::POST);
        record.operation = Operation::Endpoint(Endpoint::ChatCompletions);
        record.client_key = Some(Arc::clone(key));
        record.model = Some("bench-chat".into());
        record.trail = Trail {
            attempts: 1,
            provider: Some(Arc::clone(&target.provider)),
            model: Some(Arc::clone(&target.model)),
            credential: Some("main".into()),
            upstream_status: Some(StatusCode::OK),
            answered_at: Some(record.started),
            ..Trail::default()
        };
        record.status = Some(StatusCode::OK);
        record.bytes_out = 512;
        record.usage = Some(Usage { prompt: 19, completion: 64 });
        Some(Self { metrics: Metrics::new().ok()?, record })
    }

    /// Ends it under a new id: it is counted, and its line goes to the log. Returns how often it has ended.
    pub fn end(&mut self) -> u64 {
        self.record.request_id = RequestId::new();
        self.metrics.observe(&self.record, Outcome::Completed, Duration::from_millis(1));
        self.record.log(Outcome::Completed, Duration::from_millis(1));
        self.metrics.totals().0
    }
}
