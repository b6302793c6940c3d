//! A scripted upstream on a loopback port: each request that it reads gets the next act of the script, well-formed or not.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

/// What is done with one request.
pub(crate) type Act = Vec<Step>;

/// One step of an act. The connection is kept when an act has no further step.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// These bytes are sent.
    Send(Vec<u8>),
    /// These bytes are sent again and again until the gateway has closed the connection.
    Flood(&'static [u8]),
    /// Nothing is sent until the gateway has closed the connection.
    Hang,
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
}

/// A request as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// The upstream. It ends with the test's runtime.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    stage: Arc<Stage>,
}

#[derive(Debug)]
struct Stage {
    acts: Mutex<VecDeque<Act>>,
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<Seen>,
    connections: usize,
    /// Connections that the gateway closed while the upstream hung.
    gone: usize,
}

impl Upstream {
    /// An upstream that plays these acts, the last one again and again.
    pub(crate) async fn play(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let stage = Arc::new(Stage { acts: Mutex::new(acts.into_iter().collect()), state: watch::Sender::default() });
        let playing = Arc::clone(&stage);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                playing.state.send_modify(|state| state.connections += 1);
                let stage = Arc::clone(&playing);
                tokio::spawn(async move { stage.serve(connection).await });
            }
        });
        Self { address, stage }
    }

    /// An address that refuses connections.
    pub(crate) async fn nowhere() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a port is free")
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.stage.state.borrow().seen.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.stage.state.borrow().connections
    }

    /// Waits until this many requests were read.
    pub(crate) async fn has_seen(&self, count: usize) {
        self.until(|state| state.seen.len() >= count, "the request did not arrive").await;
    }

    /// Waits until the gateway has closed this many connections that hung.
    pub(crate) async fn was_left(&self, count: usize) {
        self.until(|state| state.gone >= count, "the gateway kept the connection").await;
    }

    async fn until(&self, reached: impl FnMut(&State) -> bool, otherwise: &str) {
        let mut state = self.stage.state.subscribe();
        timeout(Duration::from_secs(10), state.wait_for(reached)).await.expect(otherwise).expect("the stage is there");
    }
}

impl Stage {
    async fn serve(&self, mut connection: TcpStream) {
        while let Some(seen) = read(&mut connection).await {
            self.state.send_modify(|state| state.seen.push(seen));
            for step in self.next_act() {
                match step {
                    Step::Send(bytes) => {
                        if connection.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                    Step::Flood(bytes) => {
                        while connection.write_all(bytes).await.is_ok() {}
                        self.state.send_modify(|state| state.gone += 1);
                        return;
                    }
                    Step::Hang => {
                        while connection.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
                        self.state.send_modify(|state| state.gone += 1);
                        return;
                    }
                    Step::Close => return,
                    Step::Reset => {
                        connection.set_zero_linger().expect("the socket is open");
                        return;
                    }
                }
            }
        }
    }

    fn next_act(&self) -> Act {
        let mut acts = self.acts.lock().expect("no act panics");
        if acts.len() > 1 { acts.pop_front().unwrap_or_default() } else { acts.front().cloned().unwrap_or_default() }
    }
}

async fn read(connection: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let mut seen = Seen { head, body: bytes.split_off(end + 4) };
            let length = seen.header("content-length").map_or(0, |length| length.parse().expect("a number"));
            while seen.body.len() < length {
                more(connection, &mut seen.body).await?;
            }
            return Some(seen);
        }
        more(connection, &mut bytes).await?;
    }
}

async fn more(connection: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let read = connection.read_buf(bytes).await.ok()?;
    (read > 0).then_some(())
}

/// A complete answer.
pub(crate) fn answer(status: &str, headers: &[&str], body: &str) -> Act {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    vec![Step::Send(format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into())]
}

/// A complete JSON answer.
pub(crate) fn json(status: &str, body: &str) -> Act {
    answer(status, &["content-type: application/json"], body)
}

/// The header of a stream and some of its text, as one chunk a piece; what follows is up to the next steps.
pub(crate) fn stream_of(pieces: &[&str]) -> Act {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunks = pieces.iter().map(|piece| Step::Send(format!("{:x}\r\n{piece}\r\n", piece.len()).into()));
    [Step::Send(head.into())].into_iter().chain(chunks).collect()
}

/// The same, ended as it should be.
pub(crate) fn stream(pieces: &[&str]) -> Act {
    then(stream_of(pieces), Step::Send(b"0\r\n\r\n".to_vec()))
}

/// An act with one more step.
pub(crate) fn then(mut act: Act, step: Step) -> Act {
    act.push(step);
    act
}
