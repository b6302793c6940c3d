//! The rooms of the request path one at a time, for whoever measures what each of them costs. It is there only with the feature
//! `rooms`, decides nothing, and tells of each room no more than that it did its work.

use bytes::Bytes;
use http::HeaderMap;
use signalbox_routing::{Endpoint, Runtime};

use crate::{
    auth::Caller,
    openai::envelope::Envelope,
    splice::{self, Changes, Edit, Rewriter},
    sse::Framer,
    upstream::Event,
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
