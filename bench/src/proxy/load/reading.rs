//! One answer as it comes: its bytes, its events in their order, and whether it is whole. It knows nothing of who asked.

use std::{mem, str};

use memchr::memmem;

use super::Run;
use crate::proxy::{scenario::Scenario, upstream::now_us};

/// What one answer holds.
#[derive(Debug, Default)]
pub(super) struct Reading {
    bytes: u64,
    events: u64,
    out_of_order: bool,
    ended: bool,
    /// The beginning of an event whose end is to come.
    pending: Vec<u8>,
}

impl Reading {
    pub(super) fn begin(&mut self) {
        (self.bytes, self.events, self.out_of_order, self.ended) = (0, 0, false, false);
        self.pending.clear();
    }

    /// Counts what a piece of an answer holds. Of a stream it may begin and end anywhere.
    pub(super) fn take(&mut self, piece: &[u8], scenario: Scenario, run: &Run) {
        self.bytes += piece.len() as u64;
        if !scenario.streams() {
            return;
        }
        let (now_us, before) = (now_us(), self.events);
        if self.pending.is_empty() {
            let complete = complete(piece);
            let (whole, rest) = piece.split_at(complete);
            self.events_of(whole, now_us, scenario, run);
            self.pending.extend_from_slice(rest);
        } else {
            self.pending.extend_from_slice(piece);
            let mut pending = mem::take(&mut self.pending);
            let complete = complete(&pending);
            self.events_of(pending.get(..complete).unwrap_or_default(), now_us, scenario, run);
            pending.drain(..complete);
            self.pending = pending;
        }
        run.answers().events += self.events - before;
    }

    fn events_of(&mut self, whole: &[u8], now_us: u64, scenario: Scenario, run: &Run) {
        for line in whole.split(|byte| *byte == b'\n') {
            if let Some((number, sent_us)) = numbered(line) {
                self.out_of_order |= number != self.events;
                self.events += 1;
                if scenario == Scenario::Paced {
                    let delay_us = u32::try_from(now_us.saturating_sub(sent_us)).unwrap_or(u32::MAX);
                    run.answers().delays_us.push(delay_us);
                }
            }
            self.ended |= line == b"data: [DONE]";
        }
    }

    /// Whether it is all that a scenario answers: every event of a stream, or so many bytes.
    pub(super) fn is_whole(&self, scenario: Scenario, length: u64) -> bool {
        if scenario.streams() {
            !self.out_of_order && self.ended && self.events == scenario.events() as u64
        } else {
            self.bytes == length
        }
    }

    /// What there is of one that is not whole.
    pub(super) fn told(&self) -> String {
        let Self { bytes, events, .. } = self;
        format!("an answer is not whole: {bytes} bytes with {events} events in them")
    }
}

/// Up to where events are complete.
fn complete(bytes: &[u8]) -> usize {
    memmem::rfind(bytes, b"\n\n").map_or(0, |end| end + 2)
}

/// The number of an event, and when it was sent.
fn numbered(event: &[u8]) -> Option<(u64, u64)> {
    let from = memmem::find(event, b"\"content\":\"#")? + 12;
    let text = event.get(from..)?.split(|byte| *byte == b' ').next()?;
    let (number, sent_us) = str::from_utf8(text).ok()?.split_once('@')?;
    Some((number.parse().ok()?, sent_us.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_whole_however_it_is_cut_and_not_without_its_end() {
        let stream = b"data: {\"delta\":{\"content\":\"#0@5 \"}}\n\ndata: [DONE]\n\n";
        let mut reading = Reading::default();
        let mut read = |pieces: &[&[u8]]| {
            reading.begin();
            pieces.iter().for_each(|piece| reading.take(piece, Scenario::Idle, &Run::default()));
            reading.is_whole(Scenario::Idle, 0)
        };
        for cut in 0..stream.len() {
            let (first, second) = stream.split_at(cut);
            assert!(read(&[first, second]), "cut at {cut}");
            assert!(!read(&[first]), "broken off at {cut}");
        }
        assert!(!read(&[b"data: {\"delta\":{\"content\":\"#1@5 \"}}\n\ndata: [DONE]\n\n"]));
    }

    #[test]
    fn a_plain_answer_is_whole_at_its_length_and_at_no_other() {
        let mut reading = Reading::default();
        let mut read = |bytes: &[u8]| {
            reading.begin();
            reading.take(bytes, Scenario::Chat, &Run::default());
            reading.is_whole(Scenario::Chat, 5)
        };
        assert!(read(b"whole"));
        assert!(!read(b"half") && !read(b"double") && !read(b""));
    }
}
