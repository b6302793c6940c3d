//! A committed stream on its way to the client, event by event: changes what is to be said otherwise, watches for silence and breaks
//! it, counts what is used, and knows whether the stream was complete when it ended.

use std::{
    collections::VecDeque,
    ops::Range,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use signalbox_routing::Endpoint;

use super::{super::source::Source, Broken, burst::Burst};
use crate::{
    errors::{self, Shape},
    silence::Silence,
    splice::{Changes, Edit},
    sse,
    upstream::{Event, Kind},
    usage::Usage,
};

/// How long the upstream may take to close a stream whose last event is through. A stream that is let go of sooner costs its
/// connection.
const CLOSING: Duration = Duration::from_secs(1);

/// Most bytes of events that leave together, unless the last of them is larger.
const MAX_BURST_BYTES: usize = 64 * 1024;

/// What keeps a connection from looking dead to whatever is between here and the client. SDKs ignore it.
const PING: Bytes = Bytes::from_static(b": ping\n\n");

/// A committed stream on its way.
#[derive(Debug)]
pub(in crate::attempt) struct Events {
    source: Source,
    /// What was held back before the commit.
    held: VecDeque<sse::Event>,
    terms: Terms,
    /// The upstream's.
    silence: Silence,
    /// The client's.
    quiet: Option<Silence>,
    progress: Progress,
    usage: Option<Usage>,
    burst: Burst,
    over: bool,
    broken: Option<Broken>,
}

/// How a stream is to go on to its client.
#[derive(Debug)]
pub(in crate::attempt) struct Terms {
    /// Whose events it has.
    pub(in crate::attempt) endpoint: Endpoint,
    /// What is said otherwise.
    pub(in crate::attempt) changes: Changes,
    /// Whether a chunk goes on that is there for the usage alone.
    pub(in crate::attempt) tells_usage: bool,
    /// Longest silence of the upstream.
    pub(in crate::attempt) idle: Duration,
    /// After how long a silence the client is sent a comment; `None` = never.
    pub(in crate::attempt) keepalive: Option<Duration>,
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
    pub(in crate::attempt) fn new(source: Source, held: VecDeque<sse::Event>, terms: Terms) -> Self {
        let progress = match terms.endpoint {
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
        let (silence, quiet) = (Silence::new(terms.idle), terms.keepalive.map(Silence::new));
        Self {
            source,
            held,
            terms,
            silence,
            quiet,
            progress,
            usage: None,
            burst: Burst::default(),
            over: false,
            broken: None,
        }
    }

    pub(super) fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// What the stream has taken so far, as far as it has said so.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Every event that is ready, as they go out together: none waits for the next, and a burst leaves in one write.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while !self.over && self.burst.len() < MAX_BURST_BYTES {
            let data = match self.poll_event(cx) {
                Poll::Ready(Ok(Some(event))) => self.pass(event),
                Poll::Ready(Ok(None)) => self.end(None),
                Poll::Ready(Err(broken)) => self.end(Some(broken)),
                Poll::Pending if self.source.is_handed_over() && self.burst.may_go_on() => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending if self.burst.len() > 0 => break,
                Poll::Pending => ready!(self.poll_clocks(cx)),
            };
            data.into_iter().for_each(|data| self.burst.push(data));
        }
        if let Some(quiet) = &mut self.quiet {
            quiet.heard();
        }
        Poll::Ready(self.burst.take())
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<sse::Event>, Broken>> {
        match self.held.pop_front() {
            Some(event) => Poll::Ready(Ok(Some(event))),
            None => self.source.poll_event(cx).map_err(Broken::from),
        }
    }

    /// What goes out because nothing comes in: a comment, or an error in the end.
    fn poll_clocks(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.silence.poll(cx).is_ready() {
            return Poll::Ready(self.end(Some(Broken::Idle)));
        }
        match &mut self.quiet {
            Some(quiet) if matches!(self.progress, Progress::Open | Progress::Finished) => {
                quiet.poll(cx).map(|()| Some(PING))
            }
            Some(_) | None => Poll::Pending,
        }
    }

    fn pass(&mut self, event: sse::Event) -> Option<Bytes> {
        if self.progress == Progress::Ended {
            return None;
        }
        let read = Event::read(self.terms.endpoint, &event);
        match read.kind {
            Kind::Silent | Kind::Meaningful => {}
            Kind::Finish => self.progress = Progress::Finished,
            Kind::End => {
                self.progress = Progress::Ended;
                self.silence.set_patience(CLOSING);
            }
            Kind::Error => self.progress = Progress::Failed,
        }
        self.silence.heard();
        if let Some(usage) = read.usage {
            self.usage = Some(self.usage.map_or(usage, |so_far| so_far.and_later(usage)));
        }
        if read.is_accounting && !self.terms.tells_usage {
            return None;
        }
        let edits = event.data().map(|data| self.edits(data, read)).unwrap_or_default();
        Some(if edits.is_empty() { event.into_bytes() } else { event.with_edits(edits) })
    }

    /// What is to be said otherwise in an event's data.
    fn edits(&self, data: &Bytes, read: Event) -> Vec<Edit> {
        let Changes { model, id_suffix } = &self.terms.changes;
        let renamed = read.model.zip(model.as_ref()).filter(|(span, value)| data.get(span.clone()) != Some(&***value));
        let renamed = renamed.map(|(span, value)| Edit { span, value: value.clone() });
        let before_the_quote = |id: Range<usize>| id.end - 1..id.end - 1;
        let suffixed = read.ids.into_iter().map(before_the_quote).zip(id_suffix.iter().cloned().cycle());
        renamed.into_iter().chain(suffixed.map(|(span, value)| Edit { span, value })).collect()
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
        let shape = if self.terms.endpoint.is_anthropic() { Shape::Anthropic(None) } else { Shape::OpenAi };
        Some(errors::stream_event(shape, broken))
    }
}
