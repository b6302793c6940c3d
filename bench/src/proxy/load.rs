//! Clients that cost little and judge every answer: as fast as it goes over so many connections, or so many times a second whatever
//! comes back. They know a scenario and an address, and not who answers.

use std::{
    io, mem,
    net::SocketAddr,
    str,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use memchr::memmem;
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, coop::unconstrained, yield_now},
    time::{sleep, timeout},
};

use super::{processor::Taken, scenario::Scenario, upstream::now_us, wire::Connection};

/// Nothing that is not meant to last takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Until all connections of a run are open and warm. What comes back before is judged and not counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// Connections of an open loop: more than are ever under way, unless somebody stops.
const OPEN_CONNECTIONS: u32 = 32;

/// What to send, and where.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where.
    pub addr: SocketAddr,
    /// What it is.
    pub scenario: Scenario,
    /// The request's bytes.
    pub request: Bytes,
}

/// What came back within the time that was measured.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Answers that were as they should be.
    pub good: u64,
    /// Requests that were refused, or whose answer broke off or lacked something: from the first connection to the last.
    pub bad: u64,
    /// Events of streams.
    pub events: u64,
    /// How long each good answer took, in microseconds: from when it was due, not from when there was time to ask.
    pub latencies_us: Vec<u32>,
    /// How long each event was under way, in microseconds.
    pub delays_us: Vec<u32>,
    /// How long was measured.
    pub took: Duration,
    /// What the other side took of the processor meanwhile.
    pub processor: Duration,
}

/// Streams that are open and silent. Dropped, they are closed.
#[derive(Debug)]
pub struct Held {
    streams: Vec<Connection>,
    runtime: Runtime,
}

impl Held {
    /// How many have ended since. A comment that keeps a silent stream alive does not end it.
    pub fn ended(&self) -> usize {
        // However many there are, all of them are looked at in one turn.
        self.runtime.block_on(unconstrained(async {
            // The runtime learns of a thousand of them with each turn.
            for _ in 0..=self.streams.len() / 1000 {
                yield_now().await;
            }
            self.streams.iter().filter(|stream| stream.has_ended()).count()
        }))
    }
}

/// What the clients of a run share.
#[derive(Debug, Default)]
struct Run {
    answers: Mutex<Answers>,
    bad: AtomicU64,
    over: AtomicBool,
}

impl Load {
    /// Asks over so many connections, each as soon as it has its answer, for so long. `taken` tells what the other side has taken so far.
    ///
    /// # Errors
    /// Where `taken` does not tell, or this machine has no room for clients.
    pub fn closed(&self, connections: usize, duration: Duration, taken: Probe<'_>) -> io::Result<Answers> {
        let runtime = runtime()?;
        runtime.block_on(async {
            let run = Arc::new(Run::default());
            let mut clients = JoinSet::new();
            for _ in 0..connections {
                clients.spawn(self.clone().repeat(Arc::clone(&run)));
            }
            run.measure(Instant::now() + WARM_UP, duration, taken, clients).await
        })
    }

    /// Asks so many times a second, for so long. A connection that is late catches up, and its answers count from when they were due.
    ///
    /// # Errors
    /// As [`Self::closed`].
    pub fn open(&self, per_second: u32, duration: Duration, taken: Probe<'_>) -> io::Result<Answers> {
        let pause = Duration::from_secs(1) * OPEN_CONNECTIONS / per_second;
        runtime()?.block_on(async {
            let run = Arc::new(Run::default());
            let (begin, mut clients) = (Instant::now() + pause, JoinSet::new());
            for number in 0..OPEN_CONNECTIONS {
                let (load, run, first) = (self.clone(), Arc::clone(&run), begin + pause * number / OPEN_CONNECTIONS);
                // A thread each, because no timer of a runtime is finer than a millisecond.
                clients.spawn_blocking(move || runtime()?.block_on(load.in_time(first, pause, &run)));
            }
            run.measure(begin + WARM_UP, duration, taken, clients).await
        })
    }

    /// Opens so many streams and reads the first event of each; they last as long as what is returned.
    ///
    /// # Errors
    /// Where one of them does not come.
    pub fn hold(&self, streams: usize) -> io::Result<Held> {
        let runtime = runtime()?;
        let held: io::Result<_> = runtime.block_on(async {
            let mut held = Vec::with_capacity(streams);
            for _ in 0..streams {
                held.push(timeout(PATIENCE, self.begin()).await??);
            }
            Ok(held)
        });
        Ok(Held { streams: held?, runtime })
    }

    async fn begin(&self) -> io::Result<Connection> {
        let mut connection = Connection::open(self.addr).await?;
        connection.write(&self.request).await?;
        let (status, _) = connection.response().await?;
        let mut begun = 0;
        connection.chunk(&mut |piece| begun += piece.len()).await?;
        let whole = status == 200 && begun > 0;
        if whole { Ok(connection) } else { Err(io::Error::other(format!("a stream was answered with {status}"))) }
    }

    async fn repeat(self, run: Arc<Run>) -> io::Result<()> {
        let (mut connection, mut reading) = (Connection::open(self.addr).await?, Reading::default());
        while !run.over.load(Ordering::Relaxed) {
            self.ask(&mut connection, &mut reading, Instant::now(), &run).await?;
        }
        Ok(())
    }

    async fn in_time(&self, first: Instant, pause: Duration, run: &Run) -> io::Result<()> {
        let (mut connection, mut reading) = (Connection::open(self.addr).await?, Reading::default());
        let mut due = first;
        while !run.over.load(Ordering::Relaxed) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.ask(&mut connection, &mut reading, due, run).await?;
            due += pause;
        }
        Ok(())
    }

    async fn ask(&self, connection: &mut Connection, reading: &mut Reading, due: Instant, run: &Run) -> io::Result<()> {
        connection.write(&self.request).await?;
        let (status, framing) = connection.response().await?;
        reading.begin();
        connection.body(framing, |piece| reading.take(piece, self.scenario, run)).await?;
        if status == 200 && reading.is_whole(self.scenario) {
            let mut answers = run.answers();
            answers.good += 1;
            answers.latencies_us.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
        } else {
            run.bad.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Tells what somebody has taken so far.
pub type Probe<'p> = &'p dyn Fn() -> io::Result<Taken>;

impl Run {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes back to these clients within so long, from a moment on; then it lets them finish.
    async fn measure(
        &self,
        from: Instant,
        duration: Duration,
        taken: Probe<'_>,
        mut clients: JoinSet<io::Result<()>>,
    ) -> io::Result<Answers> {
        sleep(from.saturating_duration_since(Instant::now())).await;
        let (before, began) = (taken()?, Instant::now());
        *self.answers() = Answers::default();
        sleep(duration).await;
        let (mut answers, after) = (mem::take(&mut *self.answers()), taken()?);
        answers.took = began.elapsed();
        answers.processor = after.processor.saturating_sub(before.processor);

        self.over.store(true, Ordering::Relaxed);
        let lost = timeout(PATIENCE, async {
            let mut lost = 0;
            while let Some(client) = clients.join_next().await {
                lost += u64::from(!matches!(client, Ok(Ok(()))));
            }
            lost
        });
        // Who lost its connection, or still waits, has one bad answer.
        let lost = lost.await.unwrap_or(1);
        answers.bad = self.bad.load(Ordering::Relaxed) + lost;
        Ok(answers)
    }
}

/// What one answer holds.
#[derive(Debug, Default)]
struct Reading {
    bytes: u64,
    events: u64,
    out_of_order: bool,
    ended: bool,
    /// The beginning of an event whose end is to come.
    pending: Vec<u8>,
}

impl Reading {
    fn begin(&mut self) {
        (self.bytes, self.events, self.out_of_order, self.ended) = (0, 0, false, false);
        self.pending.clear();
    }

    /// Counts what a piece of an answer holds. Of a stream it may begin and end anywhere.
    fn take(&mut self, piece: &[u8], scenario: Scenario, run: &Run) {
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

    fn is_whole(&self, scenario: Scenario) -> bool {
        if scenario.streams() {
            !self.out_of_order && self.ended && self.events == scenario.events() as u64
        } else {
            self.bytes > 0
        }
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

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpListener};

    use super::*;

    #[test]
    fn streams_that_have_ended_are_told_from_those_that_have_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, runtime) = (listener.local_addr().unwrap(), runtime().unwrap());
        let open = |_| (runtime.block_on(Connection::open(addr)).unwrap(), listener.accept().unwrap().0);
        let (streams, mut other_ends): (Vec<_>, Vec<_>) = (0..200).map(open).unzip();
        let held = Held { streams, runtime };
        assert_eq!(held.ended(), 0);
        other_ends.iter_mut().for_each(|stream| stream.write_all(b"8\r\n: ping\n\n\r\n").unwrap());
        assert_eq!(held.ended(), 0);
        other_ends.iter_mut().skip(5).for_each(|stream| stream.write_all(b"0\r\n\r\n").unwrap());
        assert_eq!(held.ended(), 195);
    }

    #[test]
    fn a_stream_is_whole_however_it_is_cut_and_not_without_its_end() {
        let stream = b"data: {\"delta\":{\"content\":\"#0@5 \"}}\n\ndata: [DONE]\n\n";
        let mut reading = Reading::default();
        let mut read = |pieces: &[&[u8]]| {
            reading.begin();
            pieces.iter().for_each(|piece| reading.take(piece, Scenario::Idle, &Run::default()));
            reading.is_whole(Scenario::Idle)
        };
        for cut in 0..stream.len() {
            let (first, second) = stream.split_at(cut);
            assert!(read(&[first, second]), "cut at {cut}");
            assert!(!read(&[first]), "broken off at {cut}");
        }
        assert!(!read(&[b"data: {\"delta\":{\"content\":\"#1@5 \"}}\n\ndata: [DONE]\n\n"]));
    }
}
