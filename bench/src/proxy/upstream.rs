//! A scripted upstream that costs little: it reads requests, insists on its key, and sends what was made before. It judges nobody's
//! request beyond that.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    str,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use memchr::memmem;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

use super::{
    scenario::{STREAM_END, STREAM_HEAD, Scenario, Script, event},
    wire::Connection,
};

/// The key that it insists on.
pub const KEY: &str = "sk-bench";

/// An upstream that serves. Dropped, it stops taking connections.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Scripts {
    scripts: HashMap<&'static str, Script>,
    authorization: String,
    clock: Instant,
}

impl Upstream {
    /// Serves on any free port of loopback. Events carry the time since `clock`.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn start(clock: Instant) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let models = Scenario::ALL.map(Scenario::upstream_model);
        let scripts = models.into_iter().filter_map(|model| Some((model, Script::of(model.as_bytes())?))).collect();
        let scripts = Arc::new(Scripts { scripts, authorization: format!("Bearer {KEY}"), clock });
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let scripts = Arc::clone(&scripts);
                // A client that leaves ends its connection, and that is all.
                tokio::spawn(async move { drop(scripts.serve(stream).await) });
            }
        });
        Ok(Self { addr, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Looks for the model in a body that comes in pieces.
#[derive(Debug, Default)]
struct Search {
    /// From where it is named on; else the last bytes, with which it may begin.
    kept: Vec<u8>,
}

impl Search {
    const NAMED: &[u8] = b"\"model\":\"";
    /// Longer than any model of ours and what is before it.
    const ENOUGH: usize = 64;

    fn look(&mut self, piece: &[u8]) {
        if self.kept.starts_with(Self::NAMED) && self.kept.len() >= Self::ENOUGH {
            return;
        }
        self.kept.extend_from_slice(piece);
        let from = memmem::find(&self.kept, Self::NAMED);
        self.kept.drain(..from.unwrap_or(self.kept.len().saturating_sub(Self::NAMED.len())));
        self.kept.truncate(Self::ENOUGH);
    }

    fn model(&self) -> &str {
        let named = self.kept.strip_prefix(Self::NAMED).and_then(|rest| rest.split(|byte| *byte == b'"').next());
        named.and_then(|model| str::from_utf8(model).ok()).unwrap_or_default()
    }
}

impl Scripts {
    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut connection = Connection::new(stream)?;
        while let Some(head) = connection.request().await? {
            let mut search = Search::default();
            connection.body(head.framing, |piece| search.look(piece)).await?;
            let authorized = head.authorization == self.authorization.as_bytes();
            match self.scripts.get_key_value(search.model()).filter(|_| authorized) {
                Some((_, Script::Plain(answer))) => connection.write(answer).await?,
                Some((model, Script::Events { count, pause, ends })) => {
                    self.stream(&mut connection, model, (*count, *pause)).await?;
                    if !ends {
                        // Until the client leaves.
                        connection.request().await?;
                        return Ok(());
                    }
                    connection.write(STREAM_END).await?;
                }
                None => connection.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await?,
            }
        }
        Ok(())
    }

    async fn stream(
        &self,
        connection: &mut Connection,
        model: &str,
        (count, pause): (usize, Duration),
    ) -> io::Result<()> {
        let now = || u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX);
        connection.write(STREAM_HEAD).await?;
        if pause.is_zero() {
            let events: String = (0..count).map(|number| event(model, number, now(), number + 1 == count)).collect();
            return connection.write(&Bytes::from(events)).await;
        }
        for number in 0..count {
            sleep(pause).await;
            connection.write(event(model, number, now(), number + 1 == count).as_bytes()).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_however_the_body_is_cut() {
        let body = b"{\"messages\":[{\"content\":\"a model of brevity\"}],\"model\":\"chat\",\"stream\":false}";
        for cut in 0..body.len() {
            let (first, second) = body.split_at(cut);
            let mut search = Search::default();
            search.look(first);
            search.look(second);
            assert_eq!(search.model(), "chat", "cut at {cut}");
        }
        assert_eq!(Search::default().model(), "");
    }
}
