//! An answer as a list of steps, so that a fault is a script like any other. It plays them as the body of an HTTP response, or past
//! all framing on the bare connection, and knows nothing of what they say.

use std::{io, time::Duration, vec};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::yield_now,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::seen::Mark;

/// The content type of a JSON document.
pub(super) const JSON: &str = "application/json";
/// The content type of a stream.
pub(super) const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// How long a silence lasts where nobody ends it.
const MAX_SILENCE: Duration = Duration::from_secs(600);
/// How many bytes come without end where nobody ends it.
const MAX_FLOOD: usize = 4 * 1024 * 1024 * 1024;

/// One step of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// These bytes are sent.
    Send(Bytes),
    /// These bytes are sent again and again, until the client has had enough.
    Flood(Bytes),
    /// Nothing happens for a while.
    Wait(Duration),
    /// Nothing happens ever after.
    Silence,
    /// The connection breaks.
    Cut,
}

impl Step {
    /// Whether it ends only by somebody else's doing.
    const fn is_endless(&self) -> bool {
        matches!(self, Self::Flood(_) | Self::Silence)
    }
}

/// The script says that the connection breaks here: the server closes it (HTTP/1), or resets it where there is no framing.
#[derive(Debug, thiserror::Error)]
#[error("the answer is cut off as its script says")]
pub(super) struct CutOff;

/// What happens in place of an answer, or as one.
#[derive(Debug)]
pub(super) struct Script {
    /// `None` = the steps are all that the connection sees, and it is closed after them.
    pub(super) head: Option<Head>,
    pub(super) steps: Vec<Step>,
}

/// The head of an answer that is framed as it should be.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Script {
    /// A 200 with a whole body.
    pub(super) fn whole(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self::steps(content_type, vec![Step::Send(body.clone())])
            .with_header(CONTENT_LENGTH, HeaderValue::from(body.len()))
    }

    /// A 200 with a JSON body.
    pub(super) fn json(body: &Value) -> Self {
        Self::whole(JSON, body.to_string())
    }

    /// A 200 with an event stream.
    pub(super) fn events(steps: Vec<Step>) -> Self {
        Self::steps(EVENT_STREAM, steps).with_header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
    }

    /// A 200 with a body of unknown length.
    pub(super) fn steps(content_type: &'static str, steps: Vec<Step>) -> Self {
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static(content_type))];
        Self { head: Some(Head { status: StatusCode::OK, headers }), steps }
    }

    /// Nothing but these steps.
    pub(super) fn raw(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { head: None, steps: steps.into_iter().collect() }
    }

    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        if let Some(head) = &mut self.head {
            head.status = status;
        }
        self
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if let Some(head) = &mut self.head {
            head.headers.push((name, value));
        }
        self
    }
}

/// A script under way.
#[derive(Debug)]
pub(super) struct Performance {
    steps: vec::IntoIter<Step>,
    /// What is sent again and again, and for how many bytes more.
    flood: Option<(Bytes, usize)>,
    mark: Mark,
    stop: CancellationToken,
}

impl Performance {
    /// Begins. Once `stop` is cancelled, pauses take no time, and what has no end ends by a cut.
    pub(super) fn new(steps: Vec<Step>, mark: Mark, stop: CancellationToken) -> Self {
        Self { steps: steps.into_iter(), flood: None, mark, stop }
    }

    /// What is sent, piece by piece.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, CutOff>> {
        stream::unfold(self, |mut performance| async move {
            let sent = performance.next().await?;
            Some((sent, performance))
        })
    }

    /// Plays on a bare connection, until the end or until the client is gone.
    pub(super) async fn play_on(mut self, mut socket: TcpStream) -> io::Result<()> {
        let (mut read, mut write) = socket.split();
        let ended = tokio::select! {
            ended = self.play(&mut write) => ended?,
            () = gone(&mut read) => return Ok(()),
        };
        if let Err(CutOff) = ended {
            socket.set_zero_linger()?;
        }
        Ok(())
    }

    async fn play(&mut self, write: &mut WriteHalf<'_>) -> io::Result<Result<(), CutOff>> {
        while let Some(sent) = self.next().await {
            match sent {
                Ok(bytes) => write.write_all(&bytes).await?,
                Err(cut_off) => return Ok(Err(cut_off)),
            }
        }
        Ok(Ok(()))
    }

    async fn next(&mut self) -> Option<Result<Bytes, CutOff>> {
        loop {
            if let Some((bytes, left)) = &mut self.flood {
                *left = left.saturating_sub(bytes.len());
                return Some(if *left == 0 || self.stop.is_cancelled() { Err(CutOff) } else { Ok(bytes.clone()) });
            }
            let step = self.steps.next();
            if self.steps.len() == 0 && !step.as_ref().is_some_and(Step::is_endless) {
                // Now and not at the end of the stream: a server that knows the length does not come back for it.
                self.mark.finish();
            }
            match step? {
                Step::Send(bytes) => return Some(Ok(bytes)),
                Step::Flood(bytes) => self.flood = Some((bytes, MAX_FLOOD)),
                Step::Wait(pause) => self.pause(pause).await,
                Step::Silence => {
                    self.pause(MAX_SILENCE).await;
                    return Some(Err(CutOff));
                }
                Step::Cut => {
                    // The server writes out what it holds only when the body pauses.
                    yield_now().await;
                    return Some(Err(CutOff));
                }
            }
        }
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// Waits until the client has closed the connection. What it sends until then is of no interest.
async fn gone(read: &mut ReadHalf<'_>) {
    let mut ignored = [0; 1024];
    while read.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
}
