//! A scripted upstream that costs little: it reads requests, insists on its key, and sends what was made before. It is a process of its
//! own with one thread, besides those that wait between events; it judges nobody's request beyond the key.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    str,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use memchr::memmem;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
};

use super::{
    scenario::{Event, STREAM_HEAD, Scenario, Script, stream_end},
    wire::Connection,
};

/// The key that it insists on.
pub const KEY: &str = "sk-bench";

/// What the clock of this machine shows, in microseconds: both ends of a stream read it.
#[must_use]
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Serves on any free port of loopback and says on standard output which, until standard input ends: its owner is gone.
///
/// # Errors
/// Where there is no port, or nobody to tell.
pub fn serve() -> io::Result<()> {
    // A thread for each stream that waits between its events.
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1024).build()?;
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    thread::spawn(|| {
        drop(io::stdin().read_to_end(&mut Vec::new()));
        std::process::exit(0);
    });
    runtime.block_on(accept(listener))
}

/// What [`serve`] said.
///
/// # Errors
/// Where it was no address.
pub fn told(line: &str) -> io::Result<SocketAddr> {
    line.trim().parse().map_err(io::Error::other)
}

/// Serves whoever connects.
pub(super) async fn accept(listener: TcpListener) -> io::Result<()> {
    let scripts = Arc::new(Scripts::new());
    loop {
        let (stream, _) = listener.accept().await?;
        let scripts = Arc::clone(&scripts);
        // A client that leaves ends its connection, and that is all.
        tokio::spawn(async move { drop(scripts.serve(stream).await) });
    }
}

/// The end of a body, where our requests name their model.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    const NAMED: &[u8] = b"\"model\":\"";
    /// Where our requests, or whoever passes them on, ask a stream for its usage.
    const METERED: &[u8] = b"\"include_usage\":true";
    /// Longer than what comes after the model, and the model; and than a whole request for a stream.
    const ENOUGH: usize = 512;

    fn take(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece.get(piece.len().saturating_sub(Self::ENOUGH)..).unwrap_or_default());
        self.0.drain(..self.0.len().saturating_sub(Self::ENOUGH));
    }

    fn is_metered(&self) -> bool {
        memmem::find(&self.0, Self::METERED).is_some()
    }

    fn model(&self) -> &[u8] {
        let from = memmem::rfind(&self.0, Self::NAMED).map_or(self.0.len(), |at| at + Self::NAMED.len());
        let named = self.0.get(from..).unwrap_or_default();
        named.split(|byte| *byte == b'"').next().unwrap_or_default()
    }
}

#[derive(Debug)]
struct Scripts {
    scripts: Vec<(&'static [u8], Script)>,
    authorization: String,
}

impl Scripts {
    fn new() -> Self {
        let models = Scenario::ALL.map(|scenario| scenario.upstream_model().as_bytes());
        let scripts = models.into_iter().filter_map(|model| Some((model, Script::of(model)?))).collect();
        Self { scripts, authorization: format!("Bearer {KEY}") }
    }

    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let (mut connection, mut tail) = (Connection::new(stream)?, Tail::default());
        while let Some((framing, authorized)) = connection.request(self.authorization.as_bytes()).await? {
            tail.0.clear();
            connection.body(framing, |piece| tail.take(piece)).await?;
            let metered = tail.is_metered();
            match self.scripts.iter().find(|(model, _)| authorized && *model == tail.model()) {
                Some((_, Script::Ready(answer))) => connection.write(answer).await?,
                Some((_, Script::Burst { metered: answer, .. })) if metered => connection.write(answer).await?,
                Some((_, Script::Burst { plain, .. })) => connection.write(plain).await?,
                Some((_, Script::Paced { count, pause })) => {
                    let (count, pause, end) = (*count, *pause, stream_end(metered));
                    connection = connection.lend(move |stream| events(stream, count, pause, &end)).await?;
                }
                Some((_, Script::Silent(beginning))) => {
                    connection.write(beginning).await?;
                    // Until the client leaves.
                    connection.request(&[]).await?;
                    return Ok(());
                }
                None => connection.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await?,
            }
        }
        Ok(())
    }
}

/// A whole stream. The first event comes after part of the pause, another part with each stream, or those that begin together would
/// stay together.
fn events(mut stream: &std::net::TcpStream, count: usize, pause: Duration, end: &[u8]) -> io::Result<()> {
    let part = now_us() % u64::try_from(pause.as_micros()).unwrap_or(u64::MAX).max(1);
    let mut due = Instant::now() + Duration::from_micros(part);
    stream.write_all(STREAM_HEAD)?;
    let mut event = Event::new();
    for number in 0..count {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(event.stamped(number, now_us(), number + 1 == count))?;
        due += pause;
    }
    stream.write_all(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_however_the_body_is_cut() {
        let words = "a model of brevity ".repeat(50);
        let body = format!("{{\"messages\":[{{\"content\":\"{words}\"}}],\"model\":\"chat\",\"stream\":false}}");
        for cut in 0..body.len() {
            let (first, second) = body.as_bytes().split_at(cut);
            let mut tail = Tail::default();
            tail.take(first);
            tail.take(second);
            assert_eq!(tail.model(), b"chat", "cut at {cut}");
        }
        assert_eq!(Tail::default().model(), b"");
    }

    #[test]
    fn a_stream_is_asked_for_its_usage_wherever_the_gateway_puts_that() {
        let mut tail = Tail::default();
        tail.take(Scenario::Burst.body("burst").as_bytes());
        assert!(!tail.is_metered());
        let asked = Scenario::Burst.body("burst").replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
        tail.0.clear();
        tail.take(asked.as_bytes());
        assert!(tail.is_metered());
        assert_eq!(tail.model(), b"burst");
    }
}
