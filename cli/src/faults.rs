//! What clients of the gateway are owed when an upstream goes wrong: one row a fault of the demo upstream. The documentation prints
//! it, and the end-to-end stories hold both planes against it; it carries nothing out.

use std::fmt;

use crate::demo::{Fault, Wait};

/// How an exchange ends for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With the whole answer, in its proper form.
    Whole,
    /// With a 200 and what the upstream sent, byte for byte.
    AsItCame,
    /// With an error in place of an answer.
    Refused {
        /// The status.
        status: u16,
        /// The error's code.
        code: &'static str,
    },
    /// With a 200 and the answer's beginning, and then an error event.
    ErrorEvent {
        /// The error's code.
        code: &'static str,
    },
    /// With a 200 and the answer's beginning, and then a body that breaks off.
    BrokenOff,
    /// Not at all, until the client leaves or `max_response_bytes` is reached.
    Never,
}

/// What a client is owed for one fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owed {
    /// Where a stream was asked for.
    pub stream: Ending,
    /// Where none was.
    pub plain: Ending,
}

const UNREACHED: Ending = Ending::Refused { status: 502, code: "upstream_error" };
const TIMED_OUT: Ending = Ending::Refused { status: 504, code: "upstream_timeout" };
const KEYS_REFUSED: Ending = Ending::Refused { status: 502, code: "upstream_credentials_exhausted" };
const LIMITED: Ending = Ending::Refused { status: 429, code: "rate_limit_exceeded" };
const TOO_LARGE: Ending = Ending::Refused { status: 502, code: "upstream_response_too_large" };
const BROKE: Ending = Ending::ErrorEvent { code: "upstream_error" };
const FELL_SILENT: Ending = Ending::ErrorEvent { code: "upstream_timeout" };
const REPORTED: Ending = Ending::ErrorEvent { code: "internal_error" };

impl Owed {
    /// What a client is owed for a fault.
    #[must_use]
    pub const fn of(fault: Fault) -> Self {
        let (stream, plain) = match fault {
            Fault::Refuse
            | Fault::EndlessHeaders
            | Fault::InternalError
            | Fault::Unavailable
            | Fault::HtmlBadGateway => (UNREACHED, UNREACHED),
            Fault::Hang => (TIMED_OUT, TIMED_OUT),
            Fault::Unauthorized => (KEYS_REFUSED, KEYS_REFUSED),
            Fault::TooManyRequests(_) => (LIMITED, LIMITED),
            Fault::HeadersThenSilence => (TIMED_OUT, Ending::BrokenOff),
            Fault::OneChunkThenSilence => (FELL_SILENT, Ending::BrokenOff),
            Fault::Cut | Fault::CutUtf8 | Fault::BadChunk => (BROKE, Ending::BrokenOff),
            Fault::CutBeforeFinish | Fault::LengthUnder => (BROKE, Ending::AsItCame),
            Fault::ErrorFirst | Fault::JsonError => (UNREACHED, Ending::AsItCame),
            Fault::ErrorMid => (REPORTED, Ending::AsItCame),
            Fault::LengthOver => (Ending::Whole, Ending::BrokenOff),
            Fault::HugeEvent => (TOO_LARGE, Ending::Whole),
            Fault::EndlessBody => (TOO_LARGE, Ending::Never),
            Fault::Gzip | Fault::Bomb => (Ending::AsItCame, Ending::AsItCame),
            Fault::Slow
            | Fault::NoDone
            | Fault::Crlf
            | Fault::Cr
            | Fault::MixedLines
            | Fault::Bom
            | Fault::MultiLine
            | Fault::ByteByByte
            | Fault::UsageOnContent => (Ending::Whole, Ending::Whole),
        };
        Self { stream, plain }
    }
}

impl Ending {
    /// Whether another target, where there is one, answers instead.
    #[must_use]
    pub fn moves_on(self) -> bool {
        matches!(self, Self::Refused { .. }) && self != TOO_LARGE
    }

    /// How many attempts it takes where there is one target with one credential, and the budget is 3.
    #[must_use]
    pub fn attempts(self) -> u32 {
        if self == UNREACHED || self == TIMED_OUT { 3 } else { 1 }
    }

    /// The outcome that the exchange is counted under.
    #[must_use]
    pub const fn outcome(self) -> &'static str {
        match self {
            Self::Whole | Self::AsItCame => "completed",
            Self::Refused { status: 400..=499, .. } => "rejected",
            Self::Refused { .. } => "failed",
            Self::ErrorEvent { .. } | Self::BrokenOff => "broken",
            Self::Never => "abandoned",
        }
    }
}

/// In how many seconds a client is told to come back after a 429, at most.
#[must_use]
pub const fn wait(wait: Wait) -> u64 {
    match wait {
        Wait::Seconds | Wait::Past => 1,
        Wait::Millis => 2,
        Wait::Untold => 10,
        Wait::Date => 30,
        Wait::Day => 86_400,
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::AsItCame => f.write_str("as it came"),
            Self::Refused { status, code } => write!(f, "{status} `{code}`"),
            Self::ErrorEvent { code } => write!(f, "begins, then an error event `{code}`"),
            Self::BrokenOff => f.write_str("begins, then the body breaks off"),
            Self::Never => f.write_str("goes on until the client leaves"),
        }
    }
}

/// The whole table, as Markdown.
#[derive(Debug, Clone, Copy)]
pub struct Table;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| model | the upstream | a stream | attempts | a plain answer | attempts |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for fault in Fault::ALL {
            let Owed { stream, plain } = Owed::of(fault);
            let (model, what) = (fault.model(), fault.what());
            writeln!(f, "| `{model}` | {what} | {stream} | {} | {plain} | {} |", stream.attempts(), plain.attempts())?;
        }
        Ok(())
    }
}
