//! A committed stream on its way to the client, event by event: names the model as it should be named, watches for silence, and
//! knows whether the stream was complete when it ended.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use signalbox_routing::Endpoint;

use super::{super::source::Source, Broken};
use crate::{
    errors::{self, Shape},
    silence::Silence,
    splice, sse,
    upstream::{Event, Kind},
};

/// How long the upstream may take to close a stream whose last event is through. A stream that is let go of sooner costs its
/// connection.
const CLOSING: Duration = Duration::from_secs(1);

/// A committed stream on its way.
#[derive(Debug)]
pub(in crate::attempt) struct Events {
    source: Source,
    /// What was held back before the commit.
    held: VecDeque<sse::Event>,
    endpoint: Endpoint,
    /// The model's name in JSON as the client is to read it; `None` = as the upstream says.
    wanted: Option<Bytes>,
    silence: Silence,
    progress: Progress,
    over: bool,
    broken: Option<Broken>,
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// If it ended now, something would be missing.
    Open,
    /// It may end.
    Finished,
    /// Its last event is through; what follows is not for the client.
    Ended,
    /// It said itself that it failed.
    Failed,
}

impl Events {
    pub(in crate::attempt) fn new(
        source: Source,
        held: VecDeque<sse::Event>,
        endpoint: Endpoint,
        wanted: Option<Bytes>,
        idle: Duration,
    ) -> Self {
        let progress = match endpoint {
            Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Responses | Endpoint::Messages => {
                Progress::Open
            }
            // Their streams have no mark at the end that one could wait for.
            Endpoint::Embeddings
            | Endpoint::Moderations
            | Endpoint::Rerank
            | Endpoint::ImagesGenerations
            | Endpoint::ImagesEdits
            | Endpoint::ImagesVariations
            | Endpoint::AudioSpeech
            | Endpoint::AudioTranscriptions
            | Endpoint::AudioTranslations
            | Endpoint::MessagesCountTokens
            | Endpoint::Realtime => Progress::Finished,
        };
        Self { source, held, endpoint, wanted, silence: Silence::new(idle), progress, over: false, broken: None }
    }

    pub(super) fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// The next event as it goes out. One at a time: what is ready together leaves in one write all the same.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if self.over {
                return Poll::Ready(None);
            }
            let next = match self.held.pop_front() {
                Some(event) => Ok(Some(event)),
                None => match self.source.poll_event(cx) {
                    Poll::Ready(next) => next.map_err(Broken::from),
                    Poll::Pending => {
                        ready!(self.silence.poll(cx));
                        Err(Broken::Idle)
                    }
                },
            };
            let data = match next {
                Ok(Some(event)) => self.pass(&event),
                Ok(None) => self.end(None),
                Err(broken) => self.end(Some(broken)),
            };
            if data.is_some() {
                return Poll::Ready(data);
            }
        }
    }

    fn pass(&mut self, event: &sse::Event) -> Option<Bytes> {
        if self.progress == Progress::Ended {
            return None;
        }
        let Event { kind, model } = Event::read(self.endpoint, event);
        match kind {
            Kind::Silent | Kind::Meaningful => {}
            Kind::Finish => self.progress = Progress::Finished,
            Kind::End => {
                self.progress = Progress::Ended;
                self.silence.set_patience(CLOSING);
            }
            Kind::Error => self.progress = Progress::Failed,
        }
        self.silence.heard();
        let renamed = model.and_then(|span| {
            let (data, wanted) = (event.data()?, self.wanted.as_ref()?);
            (data.get(span.clone()) != Some(wanted)).then(|| event.with_data(&splice::replaced(data, span, wanted)))
        });
        Some(renamed.unwrap_or_else(|| event.bytes()))
    }

    /// Ends the stream; what is missing is said in its place.
    fn end(&mut self, cause: Option<Broken>) -> Option<Bytes> {
        self.over = true;
        self.source.close();
        self.broken = match (self.progress, cause) {
            (Progress::Ended, _) | (Progress::Finished, None) => None,
            (Progress::Failed, _) => Some(Broken::Reported),
            (Progress::Open | Progress::Finished, cause) => Some(cause.unwrap_or(Broken::Incomplete)),
        };
        let broken = self.broken.as_ref().filter(|broken| !matches!(broken, Broken::Reported))?;
        let shape = if self.endpoint.is_anthropic() { Shape::Anthropic(None) } else { Shape::OpenAi };
        Some(errors::stream_event(shape, broken))
    }
}
