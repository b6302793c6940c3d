//! What leaves together. Where hyper reads an upstream, it hands the chunks over one by one, each once the one before is taken: whoever
//! writes each at once writes a hundred times where once would do.

use std::{mem, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

/// What follows within this time is taken for a part of the same burst. Whoever speaks at a model's pace takes longer, and whatever
/// it says leaves at once.
const BREATH: Duration = Duration::from_millis(5);

/// How often a connection asks for more in one turn: once more after it has written what it has.
const POLLS_A_TURN: u8 = 2;

/// Whether it pays to let the upstream's connection have its turn before what is there goes out.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// How much there was when more was last waited for.
    before: usize,
    /// How often it was waited for in vain since then.
    in_vain: u8,
}

impl Turns {
    /// Whether a turn may bring more than these bytes: the last one did. What is there waits for that turn only, and never for the
    /// network.
    pub(super) fn may_go_on(&mut self, there: usize) -> bool {
        if there == 0 {
            return false;
        }
        let brought = there > mem::replace(&mut self.before, there);
        self.in_vain = if brought { 0 } else { self.in_vain + 1 };
        self.in_vain < POLLS_A_TURN
    }
}

/// What is gathered of the events that leave together.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// The only event, which is not copied.
    one: Bytes,
    /// All of them, where there are several.
    joined: BytesMut,
    turns: Turns,
    /// When the last ones left.
    left_at: Option<Instant>,
}

impl Burst {
    /// Adds an event.
    pub(super) fn push(&mut self, event: Bytes) {
        if self.len() == 0 {
            self.one = event;
            return;
        }
        if self.joined.is_empty() {
            self.joined.reserve(2 * (self.one.len() + event.len()));
            self.joined.extend_from_slice(&mem::take(&mut self.one));
        }
        self.joined.extend_from_slice(&event);
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.one.len() + self.joined.len()
    }

    /// Whether more can be expected at once: this is no stream that speaks at leisure, and a turn of the upstream's connection may
    /// bring more.
    pub(super) fn may_go_on(&mut self) -> bool {
        let there = self.len();
        there > 0 && self.left_at.is_some_and(|left_at| left_at.elapsed() < BREATH) && self.turns.may_go_on(there)
    }

    /// Lets it all go; `None` = nothing is there.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.turns = Turns::default();
        self.left_at = Some(Instant::now());
        let one = mem::take(&mut self.one);
        let all = if self.joined.is_empty() { one } else { mem::take(&mut self.joined).freeze() };
        Some(all).filter(|all| !all.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[test]
    fn turns_are_waited_for_while_they_bring_something() {
        let mut turns = Turns::default();
        assert!(!turns.may_go_on(0), "nothing waits for nothing");
        for there in [10, 20, 30] {
            assert!(turns.may_go_on(there), "the last one brought something");
        }
        assert!(turns.may_go_on(30), "the connection may have been about to write");
        assert!(!turns.may_go_on(30), "it was not");
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_follows_close_behind_is_gathered() {
        let mut burst = Burst::default();
        assert!(!burst.may_go_on(), "nothing is there");
        burst.push(Bytes::from_static(b"a"));
        assert!(!burst.may_go_on(), "the first event of a stream waits for no other");
        assert_eq!(burst.take().unwrap(), "a");

        advance(BREATH - Duration::from_millis(1)).await;
        burst.push(Bytes::from_static(b"b"));
        assert!(burst.may_go_on(), "it belongs to a burst");
        burst.push(Bytes::from_static(b"c"));
        assert!(burst.may_go_on());
        assert_eq!(burst.take().unwrap(), "bc");

        advance(BREATH).await;
        burst.push(Bytes::from_static(b"d"));
        assert!(!burst.may_go_on(), "whoever speaks at leisure is heard at once");
        assert_eq!((burst.take().unwrap(), burst.take()), (Bytes::from_static(b"d"), None));
    }

    #[test]
    fn a_single_event_is_not_copied() {
        let (event, mut burst) = (Bytes::from_static(b"event"), Burst::default());
        burst.push(event.clone());
        assert_eq!(burst.take().unwrap().as_ptr(), event.as_ptr());
    }
}
