//! Lines on their way to where they are kept: gathered in memory and written in batches by a thread of their own, so that whoever logs
//! never waits for a disk. It never knows what a line says.

use std::{
    io, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line waits for others to go with.
const PATIENCE: Duration = Duration::from_millis(100);
/// Bytes that are written without waiting for more.
const BATCH: usize = 64 * 1024;
/// Bytes that wait at most, as where a disk stalls. Lines that come then are lost, and counted.
const MOST: usize = 16 * 1024 * 1024;
/// A batch that grew larger gives its memory back.
const KEPT: usize = 4 * BATCH;
/// How long the end of the process waits for what is not written yet.
const ENDING: Duration = Duration::from_secs(5);

/// The lines that wait. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batches(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Wakes the thread.
    due: Condvar,
    /// Tells that a batch has been written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    /// Lines that found no room.
    lost: u64,
    /// Whether one of them is not to wait for others.
    urgent: bool,
    /// Whether a batch has been taken and is not written yet.
    writing: bool,
    /// Whether the thread sleeps until the next line, rather than for a while.
    asleep: bool,
}

impl Waiting {
    fn is_due(&self) -> bool {
        self.urgent || self.text.len() >= BATCH
    }
}

/// One event's way in.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    batches: &'a Batches,
    urgent: bool,
}

impl Batches {
    /// Starts the thread that writes the lines to where they are kept.
    pub(crate) fn start(keep: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let lost = |lines| tracing::warn!(lines, "log lines lost: they could not be written as fast as they came");
        Self::default().write(PATIENCE, keep, lost)
    }

    fn write(
        self,
        patience: Duration,
        mut keep: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
        mut tell_lost: impl FnMut(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let batches = self.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            let (mut batch, mut lost) = (Vec::new(), 0);
            loop {
                lost += batches.take(&mut batch, patience);
                let kept = keep(&batch);
                batches.lock().writing = false;
                batches.0.written.notify_all();
                match kept {
                    // Where nothing can be written, nor can this be said.
                    Err(_) => lost += batch.iter().filter(|byte| **byte == b'\n').count() as u64,
                    Ok(()) if lost > 0 => tell_lost(mem::take(&mut lost)),
                    Ok(()) => {}
                }
                batch.clear();
                batch.shrink_to(KEPT);
            }
        })?;
        Ok(self)
    }

    /// Waits until everything is written that was said, but not for ever.
    pub(crate) fn flush(&self) {
        let mut waiting = self.lock();
        waiting.urgent = true;
        self.0.due.notify_one();
        let unwritten = |waiting: &mut Waiting| waiting.writing || !waiting.text.is_empty();
        drop(self.0.written.wait_timeout_while(waiting, ENDING, unwritten));
    }

    fn push(&self, line: &[u8], urgent: bool) {
        let mut waiting = self.lock();
        if waiting.text.len() + line.len() > MOST {
            waiting.lost += 1;
            return;
        }
        let was_due = waiting.is_due();
        waiting.text.extend_from_slice(line);
        waiting.urgent |= urgent;
        let wake = mem::take(&mut waiting.asleep) || (waiting.is_due() && !was_due);
        drop(waiting);
        if wake {
            self.0.due.notify_one();
        }
    }

    /// Waits for a batch, and swaps it for the empty one. Returns how many lines were lost meanwhile.
    fn take(&self, batch: &mut Vec<u8>, patience: Duration) -> u64 {
        let mut waiting = self.lock();
        loop {
            let waited = self.0.due.wait_timeout_while(waiting, patience, |waiting| !waiting.is_due());
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
            waiting.urgent = false;
            if !waiting.text.is_empty() {
                break;
            }
            // Under load the thread wakes by itself: to be woken for each batch would cost whoever logs.
            waiting.asleep = true;
            let woken = self.0.due.wait_while(waiting, |waiting| waiting.asleep);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
        mem::swap(&mut waiting.text, batch);
        waiting.writing = true;
        mem::take(&mut waiting.lost)
    }

    /// Every change is one step, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> MakeWriter<'a> for Batches {
    type Writer = Entry<'a>;

    fn make_writer(&'a self) -> Entry<'a> {
        Entry { batches: self, urgent: false }
    }

    /// What somebody may have to look at does not wait.
    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Entry<'a> {
        Entry { batches: self, urgent: *metadata.level() <= Level::WARN }
    }
}

impl io::Write for Entry<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.batches.push(line, self.urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// As good as for ever: nothing is written only because it has waited long enough.
    const NEVER: Duration = Duration::from_secs(3600);
    const SOON: Duration = Duration::from_secs(10);

    /// Batches that are handed on as they are written, and the counts of lines that were lost.
    fn batches(patience: Duration) -> (Batches, Receiver<String>, Receiver<u64>) {
        let (batch, written) = channel();
        let (count, lost) = channel();
        let keep = move |text: &[u8]| batch.send(String::from_utf8_lossy(text).into_owned()).map_err(io::Error::other);
        let batches = Batches::default().write(patience, keep, move |lines| count.send(lines).unwrap()).unwrap();
        (batches, written, lost)
    }

    #[test]
    fn lines_go_together_and_in_order() {
        let (batches, written, _) = batches(NEVER);
        for line in ["a\n", "b\n"] {
            batches.push(line.as_bytes(), false);
        }
        assert!(written.try_recv().is_err());
        batches.push(b"c\n", true);
        assert_eq!(written.recv_timeout(SOON).unwrap(), "a\nb\nc\n");
    }

    #[test]
    fn a_line_that_is_alone_waits_no_longer_than_its_time() {
        let (batches, written, _) = batches(Duration::from_millis(1));
        for line in ["a\n", "b\n"] {
            batches.push(line.as_bytes(), false);
            assert_eq!(written.recv_timeout(SOON).unwrap(), line);
        }
    }

    #[test]
    fn a_full_batch_does_not_wait() {
        let (batches, written, _) = batches(NEVER);
        let line = "x".repeat(BATCH / 2);
        batches.push(line.as_bytes(), false);
        batches.push(line.as_bytes(), false);
        assert_eq!(written.recv_timeout(SOON).unwrap().len(), BATCH);
    }

    #[test]
    fn at_the_end_nothing_is_left() {
        let (batches, written, _) = batches(NEVER);
        for _ in 0..3 {
            batches.push(b"last words\n", false);
            batches.flush();
            assert_eq!(written.try_recv().unwrap(), "last words\n");
        }
        batches.flush();
    }

    #[test]
    fn while_nothing_can_be_written_lines_are_lost_and_counted_and_nobody_waits() {
        let (tell, lost) = channel();
        let (release, stalled): (Sender<io::Result<()>>, _) = channel();
        let keep = move |_: &[u8]| stalled.recv().unwrap_or(Ok(()));
        let batches = Batches::default().write(NEVER, keep, move |lines| tell.send(lines).unwrap()).unwrap();
        batches.push(b"taken\n", true);
        while !batches.lock().writing {
            thread::yield_now();
        }
        let line = [b'x'; 1024];
        for _ in 0..MOST / line.len() + 7 {
            batches.push(&line, false);
        }
        {
            let waiting = batches.lock();
            assert_eq!((waiting.text.len(), waiting.lost), (MOST, 7));
        }
        // The first batch, a line, is lost where it should be kept; the rest is kept.
        release.send(Err(io::Error::other("the disk is full"))).unwrap();
        release.send(Ok(())).unwrap();
        assert_eq!(lost.recv_timeout(SOON).unwrap(), 8);
        batches.flush();
        // What a batch was in takes the lines after the next one.
        drop(release);
        batches.push(b"next\n", true);
        batches.flush();
        assert!(batches.lock().text.capacity() <= KEPT, "the memory is given back");
    }
}
