//! Clients that cost little and judge every answer: as fast as it goes over so many connections, or so many times a second whatever
//! comes back. They know a scenario and an address, and not who answers.

use std::{
    io, mem,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, coop::unconstrained, yield_now},
    time::{sleep, timeout},
};

use self::reading::Reading;
use super::{processor::Taken, scenario::Scenario, wire::Connection};

mod reading;

/// Nothing that is not meant to last takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Until all connections of a run are open and warm. What comes back before is judged and not counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// Connections of an open loop: more than are ever under way, unless somebody stops.
const OPEN_CONNECTIONS: u32 = 32;

/// How long an open loop may go on sending what was due in its time: a stall at the end is seen, and who cannot keep up ends.
const CATCH_UP: Duration = Duration::from_secs(2);

/// What to send, and where.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where.
    pub addr: SocketAddr,
    /// What it is.
    pub scenario: Scenario,
    /// The request's bytes.
    pub request: Bytes,
    /// How many bytes the answer has, where it is no stream.
    pub length: u64,
}

/// What came back within the time that was measured; of an open loop, what came back of all that was due in it.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Answers that were as they should be.
    pub good: u64,
    /// Requests that were refused, or whose answer broke off or lacked something: from the first connection to the last.
    pub bad: u64,
    /// Why the first of them was bad.
    pub first_bad: Option<String>,
    /// Which share of the requests that were due was sent; `None` = none was due at any time.
    pub sent: Option<f64>,
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
    first_bad: OnceLock<String>,
    sent: AtomicU64,
    over: AtomicBool,
}

/// From when, and until when, what is due counts.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
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
            let window = Window { from: begin + WARM_UP, until: begin + WARM_UP + duration };
            for number in 0..OPEN_CONNECTIONS {
                let (load, run, first) = (self.clone(), Arc::clone(&run), begin + pause * number / OPEN_CONNECTIONS);
                // A thread each, because no timer of a runtime is finer than a millisecond.
                clients.spawn_blocking(move || runtime()?.block_on(load.in_time(first, pause, window, &run)));
            }
            sleep(window.from.saturating_duration_since(Instant::now())).await;
            let before = taken()?;
            sleep(window.until.saturating_duration_since(Instant::now())).await;
            run.join(clients, CATCH_UP + PATIENCE * 2).await;
            let due = duration.as_secs_f64() * f64::from(per_second);
            let mut answers = run.result(before, taken()?);
            answers.took = duration;
            answers.sent = Some(f64::from(u32::try_from(run.sent.load(Ordering::Relaxed)).unwrap_or(u32::MAX)) / due);
            Ok(answers)
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
            let begun = Instant::now();
            if self.ask(&mut connection, &mut reading, &run).await? {
                run.count(begun);
            }
        }
        Ok(())
    }

    async fn in_time(&self, first: Instant, pause: Duration, window: Window, run: &Run) -> io::Result<()> {
        // Nobody ends this thread but itself.
        let mut connection = timeout(PATIENCE, Connection::open(self.addr)).await??;
        let (mut reading, mut due) = (Reading::default(), first);
        while due < window.until && Instant::now() < window.until + CATCH_UP {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let counts = due >= window.from;
            run.sent.fetch_add(u64::from(counts), Ordering::Relaxed);
            if timeout(PATIENCE, self.ask(&mut connection, &mut reading, run)).await?? && counts {
                run.count(due);
            }
            due += pause;
        }
        Ok(())
    }

    /// Asks once; whether the answer is as it should be.
    async fn ask(&self, connection: &mut Connection, reading: &mut Reading, run: &Run) -> io::Result<bool> {
        connection.write(&self.request).await?;
        let (status, framing) = connection.response().await?;
        reading.begin();
        connection.body(framing, |piece| reading.take(piece, self.scenario, run)).await?;
        let good = status == 200 && reading.is_whole(self.scenario, self.length);
        if !good {
            run.bad(1, || if status == 200 { reading.told() } else { format!("a request was answered with {status}") });
        }
        Ok(good)
    }
}

/// Tells what somebody has taken so far.
pub type Probe<'p> = &'p dyn Fn() -> io::Result<Taken>;

impl Run {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer that was as it should be.
    fn count(&self, due: Instant) {
        let mut answers = self.answers();
        answers.good += 1;
        answers.latencies_us.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
    }

    /// Counts answers that were not.
    fn bad(&self, count: u64, why: impl FnOnce() -> String) {
        self.bad.fetch_add(count, Ordering::Relaxed);
        self.first_bad.get_or_init(why);
    }

    /// What comes back to these clients within so long, from a moment on; then it lets them finish.
    async fn measure(
        &self,
        from: Instant,
        duration: Duration,
        taken: Probe<'_>,
        clients: JoinSet<io::Result<()>>,
    ) -> io::Result<Answers> {
        sleep(from.saturating_duration_since(Instant::now())).await;
        let (before, began) = (taken()?, Instant::now());
        *self.answers() = Answers::default();
        sleep(duration).await;
        let (mut answers, after) = (mem::take(&mut *self.answers()), taken()?);
        answers.took = began.elapsed();

        self.over.store(true, Ordering::Relaxed);
        self.join(clients, PATIENCE).await;
        *self.answers() = answers;
        Ok(self.result(before, after))
    }

    /// Lets these clients finish. Who lost its connection, and who still waits after so long, has one bad answer.
    async fn join(&self, mut clients: JoinSet<io::Result<()>>, patience: Duration) {
        let all = async {
            while let Some(client) = clients.join_next().await {
                match client {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => self.bad(1, || format!("a client was cut off: {error}")),
                    Err(error) => self.bad(1, || format!("a client ended: {error}")),
                }
            }
        };
        if timeout(patience, all).await.is_err() {
            let waiting = clients.len();
            self.bad(waiting as u64, || format!("{waiting} clients wait for an answer after {patience:?}"));
        }
    }

    fn result(&self, before: Taken, after: Taken) -> Answers {
        Answers {
            bad: self.bad.load(Ordering::Relaxed),
            first_bad: self.first_bad.get().cloned(),
            processor: after.processor.saturating_sub(before.processor),
            ..mem::take(&mut *self.answers())
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use std::{future, io::Write as _, net::TcpListener};

    use super::*;
    use crate::proxy::upstream;

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
    fn everyone_who_lost_a_connection_or_still_waits_has_a_bad_answer() {
        let run = Run::default();
        runtime().unwrap().block_on(async {
            let mut clients = JoinSet::new();
            clients.spawn(async { Ok(()) });
            clients.spawn(async { Err(io::ErrorKind::ConnectionReset.into()) });
            (0..3).for_each(|_| drop(clients.spawn(future::pending())));
            // So that who can end has ended.
            yield_now().await;
            run.join(clients, Duration::ZERO).await;
        });
        assert_eq!(run.bad.load(Ordering::Relaxed), 4);
        assert_eq!(run.first_bad.get().unwrap(), "a client was cut off: connection reset");
    }

    #[test]
    fn what_is_due_in_the_window_counts_from_then_however_late_it_is_sent() {
        let scenario = Scenario::Chat;
        let length = scenario.answer("chat").len() as u64;
        let served = runtime().unwrap();
        let run = served.block_on(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let addr = listener.local_addr().unwrap();
            tokio::spawn(upstream::accept(listener));
            let request = scenario.request("bench", upstream::KEY, "chat");
            let (load, run) = (Load { addr, scenario, request, length }, Run::default());
            // As if somebody had stalled for the second in which ten of twenty were due.
            let (now, second) = (Instant::now(), Duration::from_secs(1));
            let window = Window { from: now - second, until: now };
            load.in_time(now - second * 2, second / 10, window, &run).await.unwrap();
            run
        });
        let Answers { good, latencies_us, .. } = run.result(Taken::default(), Taken::default());
        assert_eq!((run.sent.load(Ordering::Relaxed), good, run.bad.load(Ordering::Relaxed)), (10, 10, 0));
        // The last was due a tenth of a second before the end.
        assert!(latencies_us.iter().all(|took| *took >= 100_000), "{latencies_us:?}");
    }

    #[test]
    fn the_first_bad_answer_says_why() {
        let served = runtime().unwrap();
        let run = served.block_on(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let addr = listener.local_addr().unwrap();
            tokio::spawn(upstream::accept(listener));
            let request = Scenario::Chat.request("bench", "sk-another", "chat");
            let load = Load { addr, scenario: Scenario::Chat, request, length: 1 };
            let (mut connection, run) = (Connection::open(addr).await.unwrap(), Run::default());
            assert!(!load.ask(&mut connection, &mut Reading::default(), &run).await.unwrap());
            run
        });
        assert_eq!(run.first_bad.get().unwrap(), "a request was answered with 401");
    }
}
