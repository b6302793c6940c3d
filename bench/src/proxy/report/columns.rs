//! What is said of each contender, and what is aimed at. It knows the figures of one round and no report.

use std::fmt;

use super::{Beside, Figures, Scenario};

/// How much worse a large or a changing configuration may be: within ten percent.
const TOLERANCE: f64 = 0.1;

/// Something that is said of each contender.
#[derive(Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) scenario: Scenario,
    pub(super) value: fn(&Figures) -> Option<f64>,
    pub(super) digits: usize,
    pub(super) target: Target,
}

/// What a figure is compared by, and what is aimed at.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// So many times nginx's, at least.
    AtLeast(f64),
    /// So many times nginx's, at most.
    AtMost(f64),
    /// So many milliseconds more than nginx's, at most; of what a contender adds to the upstream's own.
    Added(f64),
    /// What a contender adds to the upstream's own, in milliseconds; nothing is aimed at.
    Shown,
    /// Nothing.
    None,
}

pub(super) const COLUMNS: [Column; 15] = [
    column("chat: requests/s", Scenario::Chat, |f| f.per_second, 0, Target::AtLeast(0.75)),
    column("chat: CPU us/request", Scenario::Chat, |f| f.processor_us, 1, Target::AtMost(1.5)),
    column("1,000/s: CPU us/request", Scenario::Steady, |f| f.processor_us, 1, Target::AtMost(2.2)),
    column("1,000/s: added p50 ms", Scenario::Steady, |f| f.p50_ms, 2, Target::Shown),
    column("1,000/s: added p99 ms", Scenario::Steady, |f| f.p99_ms, 2, Target::Added(0.2)),
    column("100 KB: CPU us/request", Scenario::LongPrompt, |f| f.processor_us, 0, Target::AtMost(1.6)),
    column("embeddings: CPU us/request", Scenario::Embeddings, |f| f.processor_us, 1, Target::AtMost(1.2)),
    column("paced: CPU us/event", Scenario::Paced, |f| f.event_us, 1, Target::AtMost(1.4)),
    column("paced: added delay p50 ms", Scenario::Paced, |f| f.delay_ms, 3, Target::Added(0.05)),
    column("burst: CPU us/event", Scenario::Burst, |f| f.event_us, 2, Target::AtMost(4.0)),
    column("burst: events/s", Scenario::Burst, |f| f.per_second.map(|streams| streams * 200.0), 0, Target::None),
    column("idle: KiB/stream", Scenario::Idle, |f| f.stream_kib, 1, Target::AtMost(1.0)),
    column("idle: growth KiB", Scenario::Idle, |f| f.growth_kib, 0, Target::None),
    column("start: resident MiB", Scenario::Idle, |f| f.start_mib, 1, Target::None),
    column("chat: p99 ms", Scenario::Chat, |f| f.p99_ms, 2, Target::None),
];

const fn column(
    title: &'static str,
    scenario: Scenario,
    value: fn(&Figures) -> Option<f64>,
    digits: usize,
    target: Target,
) -> Column {
    Column { title, scenario, value, digits, target }
}

impl Column {
    /// Whether it says what a contender adds to the upstream's own.
    pub(super) const fn is_added(&self) -> bool {
        matches!(self.target, Target::Added(_) | Target::Shown)
    }

    /// Whether the gateway that has more to do is as good as the one that has not; `None` = that is not aimed at.
    pub(super) fn is_within(&self, beside: Beside) -> Option<bool> {
        match self.target {
            Target::AtLeast(_) => Some(beside.median >= 1.0 - TOLERANCE),
            Target::AtMost(_) | Target::Added(_) | Target::Shown => Some(beside.median <= 1.0 + TOLERANCE),
            Target::None => None,
        }
    }
}

impl Target {
    /// Whether it is reached; `None` = nothing is aimed at.
    pub(super) fn is_reached(self, beside: Beside) -> Option<bool> {
        match self {
            Self::AtLeast(least) => Some(beside.median >= least),
            Self::AtMost(most) | Self::Added(most) => Some(beside.median <= most),
            Self::Shown | Self::None => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, ">= {least}x"),
            Self::AtMost(most) => write!(f, "<= {most}x"),
            Self::Added(most) => write!(f, "<= {most:+} ms"),
            Self::Shown | Self::None => Ok(()),
        }
    }
}
