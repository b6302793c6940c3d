//! Ways for an upstream to go wrong, selected by the model's name. It names and tells them apart and knows nothing of the gateway.

use super::{answer::Answer, script::Script};

mod bytes;
mod spoil;

/// One way to go wrong. What is said of streams holds for plain answers as far as it makes sense there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `fault-refuse`
    Refuse,
    /// `fault-hang`
    Hang,
    /// `fault-endless-headers`
    EndlessHeaders,
    /// `fault-401`
    Unauthorized,
    /// `fault-429` and its kin, which differ in how they tell the wait.
    TooManyRequests(Wait),
    /// `fault-500`
    InternalError,
    /// `fault-503`
    Unavailable,
    /// `fault-html-502`
    HtmlBadGateway,
    /// `fault-headers-then-silence`
    HeadersThenSilence,
    /// `fault-one-chunk-then-silence`
    OneChunkThenSilence,
    /// `fault-slow`
    Slow,
    /// `fault-cut`
    Cut,
    /// `fault-cut-utf8`
    CutUtf8,
    /// `fault-cut-before-finish`
    CutBeforeFinish,
    /// `fault-no-done`
    NoDone,
    /// `fault-error-first`
    ErrorFirst,
    /// `fault-error-mid`
    ErrorMid,
    /// `fault-json-error`
    JsonError,
    /// `fault-length-over`
    LengthOver,
    /// `fault-length-under`
    LengthUnder,
    /// `fault-bad-chunk`
    BadChunk,
    /// `fault-huge-event`
    HugeEvent,
    /// `fault-endless-body`
    EndlessBody,
    /// `fault-gzip`
    Gzip,
    /// `fault-bomb`
    Bomb,
    /// `fault-crlf`
    Crlf,
    /// `fault-cr`
    Cr,
    /// `fault-mixed-lines`
    MixedLines,
    /// `fault-bom`
    Bom,
    /// `fault-multi-line`
    MultiLine,
    /// `fault-byte-by-byte`
    ByteByByte,
    /// `fault-usage-on-content`
    UsageOnContent,
}

/// How a 429 tells for how long it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// In whole seconds.
    Seconds,
    /// As an HTTP date.
    Date,
    /// In milliseconds, in a header of their own.
    Millis,
    /// Not at all.
    Untold,
    /// As a date that has passed.
    Past,
    /// For a whole day.
    Day,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 37] = [
        Self::Refuse,
        Self::Hang,
        Self::EndlessHeaders,
        Self::Unauthorized,
        Self::TooManyRequests(Wait::Seconds),
        Self::TooManyRequests(Wait::Date),
        Self::TooManyRequests(Wait::Millis),
        Self::TooManyRequests(Wait::Untold),
        Self::TooManyRequests(Wait::Past),
        Self::TooManyRequests(Wait::Day),
        Self::InternalError,
        Self::Unavailable,
        Self::HtmlBadGateway,
        Self::HeadersThenSilence,
        Self::OneChunkThenSilence,
        Self::Slow,
        Self::Cut,
        Self::CutUtf8,
        Self::CutBeforeFinish,
        Self::NoDone,
        Self::ErrorFirst,
        Self::ErrorMid,
        Self::JsonError,
        Self::LengthOver,
        Self::LengthUnder,
        Self::BadChunk,
        Self::HugeEvent,
        Self::EndlessBody,
        Self::Gzip,
        Self::Bomb,
        Self::Crlf,
        Self::Cr,
        Self::MixedLines,
        Self::Bom,
        Self::MultiLine,
        Self::ByteByByte,
        Self::UsageOnContent,
    ];

    /// The model that goes wrong in this way.
    #[must_use]
    pub const fn model(self) -> &'static str {
        self.words().0
    }

    /// What happens, in a few words.
    #[must_use]
    pub const fn what(self) -> &'static str {
        self.words().1
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Refuse => ("fault-refuse", "takes the request and resets the connection"),
            Self::Hang => ("fault-hang", "takes the request and says nothing"),
            Self::EndlessHeaders => ("fault-endless-headers", "sends headers without end"),
            Self::Unauthorized => ("fault-401", "refuses the key"),
            Self::TooManyRequests(wait) => wait.words(),
            Self::InternalError => ("fault-500", "answers 500"),
            Self::Unavailable => ("fault-503", "answers 503"),
            Self::HtmlBadGateway => ("fault-html-502", "answers 502 with the HTML page of some proxy on the way"),
            Self::HeadersThenSilence => ("fault-headers-then-silence", "sends the headers of a 200 and then nothing"),
            Self::OneChunkThenSilence => ("fault-one-chunk-then-silence", "sends a first piece and then nothing"),
            Self::Slow => ("fault-slow", "pauses for 200 ms before each piece"),
            Self::Cut => ("fault-cut", "breaks the connection within an event"),
            Self::CutUtf8 => ("fault-cut-utf8", "breaks the connection within a character"),
            Self::CutBeforeFinish => ("fault-cut-before-finish", "ends with neither `finish_reason` nor `[DONE]`"),
            Self::NoDone => ("fault-no-done", "is complete but for `[DONE]`"),
            Self::ErrorFirst => ("fault-error-first", "answers 200 with an error as the first event"),
            Self::ErrorMid => ("fault-error-mid", "sends an error event after half of the content"),
            Self::JsonError => ("fault-json-error", "answers 200 with an error in JSON, stream or not"),
            Self::LengthOver => ("fault-length-over", "announces more bytes than it sends"),
            Self::LengthUnder => ("fault-length-under", "announces half of the bytes that it sends"),
            Self::BadChunk => ("fault-bad-chunk", "frames a chunk wrongly after the first piece"),
            Self::HugeEvent => ("fault-huge-event", "sends one event of 12 MiB"),
            Self::EndlessBody => ("fault-endless-body", "sends a single event, or a JSON string, without end"),
            Self::Gzip => ("fault-gzip", "compresses an answer that was to be identity"),
            Self::Bomb => ("fault-bomb", "sends 2 MiB that unpack to 1 GiB"),
            Self::Crlf => ("fault-crlf", "ends its lines with CR LF"),
            Self::Cr => ("fault-cr", "ends its lines with CR"),
            Self::MixedLines => ("fault-mixed-lines", "ends its lines with CR LF, LF and CR in turn"),
            Self::Bom => ("fault-bom", "begins with a byte order mark"),
            Self::MultiLine => ("fault-multi-line", "spreads an event's data over two lines"),
            Self::ByteByByte => ("fault-byte-by-byte", "sends each byte as a chunk of its own"),
            Self::UsageOnContent => ("fault-usage-on-content", "puts the usage on the last piece of content"),
        }
    }

    /// What is played in place of a good answer.
    pub(super) fn spoil(self, answer: Answer) -> Script {
        spoil::spoil(self, answer)
    }
}

impl Wait {
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Seconds => ("fault-429", "answers 429 with `Retry-After: 1`"),
            Self::Date => ("fault-429-date", "answers 429 with `Retry-After` as the date in 30 s"),
            Self::Millis => ("fault-429-ms", "answers 429 with `retry-after-ms: 1500`"),
            Self::Untold => ("fault-429-untold", "answers 429 with no wait"),
            Self::Past => ("fault-429-past", "answers 429 with `Retry-After` as a date that has passed"),
            Self::Day => ("fault-429-day", "answers 429 with `Retry-After: 86400`"),
        }
    }
}
