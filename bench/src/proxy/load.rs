//! Clients that cost little and judge every answer: as fast as it goes over so many connections, or so many times a second whatever
//! comes back. They know a scenario and an address, and not who answers.

use std::{
    io,
    net::SocketAddr,
    str,
    time::{Duration, Instant},
};

use bytes::Bytes;
use memchr::memmem;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::{scenario::Scenario, wire::Connection};

/// Nothing that is not meant to last takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Until all connections of a run are open and warm.
const WARM_UP: Duration = Duration::from_millis(300);

/// What to send, and where.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where.
    pub addr: SocketAddr,
    /// What it is.
    pub scenario: Scenario,
    /// The request's bytes.
    pub request: Bytes,
    /// What the upstream's events count their time from.
    pub clock: Instant,
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Requests that were answered as they should be.
    pub good: u64,
    /// Requests that were refused, or whose answer broke off or lacked something.
    pub bad: u64,
    /// Bytes of answers.
    pub bytes: u64,
    /// Events of streams.
    pub events: u64,
    /// How long each good answer took, in microseconds: from when it was due, not from when there was time to ask.
    pub latencies_us: Vec<u32>,
    /// How long each event was under way, in microseconds.
    pub delays_us: Vec<u32>,
}

impl Answers {
    fn add(&mut self, other: Self) {
        let Self { good, bad, bytes, events, latencies_us, delays_us } = other;
        self.good += good;
        self.bad += bad;
        self.bytes += bytes;
        self.events += events;
        self.latencies_us.extend(latencies_us);
        self.delays_us.extend(delays_us);
    }
}

/// What one answer holds.
#[derive(Debug, Default)]
struct Reading {
    bytes: u64,
    events: u64,
    /// Whether each event had the number after the one before.
    in_order: bool,
    ended: bool,
    delays_us: Vec<u32>,
    /// The beginning of an event whose end is to come.
    pending: Vec<u8>,
}

impl Load {
    /// Asks over so many connections, each as soon as it has its answer, for so long.
    pub async fn closed(&self, connections: usize, duration: Duration) -> Answers {
        let until = Instant::now() + WARM_UP + duration;
        let each = |_| {
            let load = self.clone();
            async move { load.repeat(Instant::now() + WARM_UP, until).await }
        };
        gather((0..connections).map(each)).await
    }

    /// Asks so many times a second, for so long. A connection that is late catches up, and its answers count from when they were due.
    pub async fn open(&self, per_second: u32, duration: Duration) -> Answers {
        let connections = 32;
        let pause = Duration::from_secs(1) * connections / per_second;
        let begin = Instant::now() + WARM_UP;
        let each = |number: u32| {
            let load = self.clone();
            async move { load.paced(begin + pause * number / connections, begin + duration, pause).await }
        };
        gather((0..connections).map(each)).await
    }

    /// Opens so many streams and reads the first event of each; they last as long as what is returned.
    ///
    /// # Errors
    /// Where one of them does not come.
    pub async fn hold(&self, streams: usize) -> io::Result<Vec<impl Sized + use<>>> {
        let mut held = Vec::with_capacity(streams);
        for _ in 0..streams {
            let mut connection = Connection::new(TcpStream::connect(self.addr).await?)?;
            connection.write(&self.request).await?;
            let head = timeout(PATIENCE, connection.response()).await??;
            if head.status != 200 {
                return Err(io::Error::other(format!("a stream was answered with {}", head.status)));
            }
            held.push(connection);
        }
        Ok(held)
    }

    async fn repeat(&self, from: Instant, until: Instant) -> io::Result<Answers> {
        let mut connection = Connection::new(TcpStream::connect(self.addr).await?)?;
        let mut answers = Answers::default();
        while Instant::now() < until {
            let asked = Instant::now();
            let answer = self.ask(&mut connection, asked).await?;
            if asked >= from {
                answers.add(answer);
            }
        }
        Ok(answers)
    }

    async fn paced(&self, first: Instant, until: Instant, pause: Duration) -> io::Result<Answers> {
        let mut connection = Connection::new(TcpStream::connect(self.addr).await?)?;
        let mut answers = Answers::default();
        let mut due = first;
        while due < until {
            sleep_until(due.into()).await;
            answers.add(self.ask(&mut connection, due).await?);
            due += pause;
        }
        Ok(answers)
    }

    async fn ask(&self, connection: &mut Connection, due: Instant) -> io::Result<Answers> {
        connection.write(&self.request).await?;
        let head = timeout(PATIENCE, connection.response()).await??;
        let mut reading = Reading { in_order: true, ..Reading::default() };
        timeout(PATIENCE, connection.body(head.framing, |piece| reading.take(piece, self))).await??;
        let good = head.status == 200 && self.is_whole(&reading);
        let latencies_us = if good { vec![micros(due.elapsed())] } else { Vec::new() };
        let Reading { bytes, events, delays_us, .. } = reading;
        Ok(Answers { good: good.into(), bad: (!good).into(), bytes, events, latencies_us, delays_us })
    }

    fn is_whole(&self, reading: &Reading) -> bool {
        if self.scenario.streams() {
            reading.in_order && reading.ended && reading.events == self.scenario.events() as u64
        } else {
            reading.bytes > 0
        }
    }
}

impl Reading {
    /// Counts what a piece of an answer holds. Of a stream it may begin and end anywhere.
    fn take(&mut self, piece: &[u8], load: &Load) {
        self.bytes += piece.len() as u64;
        if !load.scenario.streams() {
            return;
        }
        let now = load.clock.elapsed();
        self.pending.extend_from_slice(piece);
        let complete = memmem::rfind(&self.pending, b"\n\n").map_or(0, |end| end + 2);
        for event in self.pending.drain(..complete).as_slice().split(|byte| *byte == b'\n') {
            if let Some((number, sent)) = numbered(event) {
                self.in_order &= number == self.events;
                self.events += 1;
                self.delays_us.push(micros(now.saturating_sub(sent)));
            }
            self.ended |= event == b"data: [DONE]";
        }
    }
}

/// The number of an event, and when it was sent.
fn numbered(event: &[u8]) -> Option<(u64, Duration)> {
    let from = memmem::find(event, b"\"content\":\"#")? + 12;
    let text = event.get(from..)?.split(|byte| *byte == b' ').next()?;
    let (number, sent_us) = str::from_utf8(text).ok()?.split_once('@')?;
    Some((number.parse().ok()?, Duration::from_micros(sent_us.parse().ok()?)))
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// What all of them got; one that lost its connection counts as one bad answer.
async fn gather(clients: impl Iterator<Item = impl Future<Output = io::Result<Answers>> + Send + 'static>) -> Answers {
    let mut clients: JoinSet<_> = clients.collect();
    let mut sum = Answers::default();
    while let Some(answers) = clients.join_next().await {
        match answers {
            Ok(Ok(answers)) => sum.add(answers),
            Ok(Err(_)) | Err(_) => sum.bad += 1,
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_whole_however_it_is_cut_and_not_without_its_end() {
        let clock = Instant::now();
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let load = Load { addr, scenario: Scenario::Idle, request: Bytes::new(), clock };
        let stream = b"data: {\"delta\":{\"content\":\"#0@5 \"}}\n\ndata: [DONE]\n\n";
        let read = |pieces: &[&[u8]]| {
            let mut reading = Reading { in_order: true, ..Reading::default() };
            pieces.iter().for_each(|piece| reading.take(piece, &load));
            load.is_whole(&reading)
        };
        for cut in 0..stream.len() {
            let (first, second) = stream.split_at(cut);
            assert!(read(&[first, second]), "cut at {cut}");
            assert!(!read(&[first]), "broken off at {cut}");
        }
        assert!(!read(&[b"data: {\"delta\":{\"content\":\"#1@5 \"}}\n\ndata: [DONE]\n\n"]));
    }
}
