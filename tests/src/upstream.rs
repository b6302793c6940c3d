//! A scripted upstream on loopback: it records each request as its bytes arrived, answers as the story says, and notices when the
//! gateway hangs up. It knows nothing of the gateway's rules.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    str,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::JoinHandle,
};

use crate::wait::{soon, within};

mod answer;
mod connection;

pub use answer::{Answer, DONE, Head, Live, completion, delta, error, finish, text};

/// What the upstream's default chat answer says.
pub const REPLY: &str = "as scripted";

/// A running upstream. Dropped, it stops listening; connections under way go on.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    script: Mutex<VecDeque<Answer>>,
    pages: Mutex<Vec<(String, Value)>>,
    exchanges: watch::Sender<Vec<Exchange>>,
    connections: watch::Sender<usize>,
}

/// A request, and what became of its answer.
#[derive(Debug, Clone)]
struct Exchange {
    seen: Seen,
    ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    UnderWay,
    /// Every step was taken.
    Played,
    /// The gateway closed the connection first.
    Abandoned,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The request target, undecoded.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// Every byte of the body, without the framing.
    pub body: Bytes,
}

impl Seen {
    /// The one value of a header; `None` = there is none.
    ///
    /// # Panics
    /// Where there are several, or the value is no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().expect("the header is text"));
        assert!(values.next().is_none(), "{name} came more than once: {:?}", self.headers);
        value
    }

    fn is_call(&self) -> bool {
        self.method != "GET"
    }

    /// The body as text.
    ///
    /// # Panics
    /// Where it is none.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// The model that was asked for.
    pub fn model(&self) -> String {
        self.json().get("model").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

impl Upstream {
    /// Listens. What no script answers gets a chat completion, or a chat stream where one is asked for.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let addr = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared::default());
        let server = tokio::spawn(connection::accept(listener, Arc::clone(&shared)));
        Self { addr, shared, server }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL to configure.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// The next request without an answer gets this one.
    pub fn answer(&self, answer: Answer) {
        self.shared.script.lock().expect("no story panics in here").push_back(answer);
    }

    /// The next request without an answer is answered under the story's control.
    pub fn answer_live(&self) -> Live {
        let (answer, live) = Answer::live();
        self.answer(answer);
        live
    }

    /// The next request without an answer gets the head of an event stream, and events under the story's control.
    pub fn stream_live(&self) -> Live {
        let (answer, live) = Answer::status(200).header("content-type", "text/event-stream").live();
        self.answer(answer);
        live
    }

    /// From now on a `GET` of a path that ends in `suffix` gets this, and takes nothing from the script.
    pub fn page(&self, suffix: &str, body: Value) {
        self.shared.pages.lock().expect("no story panics in here").push((suffix.to_owned(), body));
    }

    /// Lists these models to whoever asks for them.
    pub fn serve_models(&self, ids: &[&str]) {
        let data: Vec<_> =
            ids.iter().map(|id| json!({"id": id, "object": "model", "created": 1, "owned_by": "them"})).collect();
        self.page("/models", json!({"object": "list", "data": data}));
    }

    /// The requests so far that ask for something to be done: all but `GET`s, such as those of probes and of model lists.
    pub fn calls(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(Seen::is_call).collect()
    }

    /// The call with this number, counted from 0, once it is there.
    pub async fn call(&self, number: usize) -> Seen {
        let at = self.place_of_call(number).await;
        self.request(at).await
    }

    /// As [`Self::abandoned`], of the calls alone.
    ///
    /// # Panics
    /// Where it takes longer than `limit`, or the answer ended first.
    pub async fn call_abandoned(&self, number: usize, limit: Duration) {
        let at = self.place_of_call(number).await;
        self.abandoned(at, limit).await;
    }

    /// Where among all requests a call is, once it is there.
    async fn place_of_call(&self, number: usize) -> usize {
        let place = |all: &[Exchange]| {
            let calls = all.iter().enumerate().filter(|(_, exchange)| exchange.seen.is_call());
            calls.map(|(at, _)| at).nth(number)
        };
        let mut exchanges = self.shared.exchanges.subscribe();
        let arrived = soon("a call at the upstream", exchanges.wait_for(|all| place(all).is_some())).await;
        place(&arrived.expect("the upstream is running")).expect("it was waited for")
    }

    /// All requests so far, in the order of their arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.exchanges.borrow().iter().map(|exchange| exchange.seen.clone()).collect()
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// The only request so far.
    ///
    /// # Panics
    /// Where there are none or several.
    pub fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "the upstream saw {seen:?}");
        seen.remove(0)
    }

    /// The request with this number, counted from 0, once it is there.
    pub async fn request(&self, number: usize) -> Seen {
        let mut exchanges = self.shared.exchanges.subscribe();
        let arrived = soon("a request at the upstream", exchanges.wait_for(|all| all.len() > number)).await;
        let arrived = arrived.expect("the upstream is running");
        arrived.get(number).expect("it was waited for").seen.clone()
    }

    /// Waits until the gateway has given up the request with this number by closing its connection.
    ///
    /// # Panics
    /// Where it takes longer than `limit`, or the answer ended first.
    pub async fn abandoned(&self, number: usize, limit: Duration) {
        let mut exchanges = self.shared.exchanges.subscribe();
        let ended = |all: &Vec<Exchange>| all.get(number).is_some_and(|exchange| exchange.ending != Ending::UnderWay);
        let all = within(limit, "the end of an upstream call", exchanges.wait_for(ended)).await;
        let all = all.expect("the upstream is running");
        assert_eq!(all.get(number).map(|exchange| exchange.ending), Some(Ending::Abandoned));
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An address that refuses every connection, for as long as this lives.
#[derive(Debug)]
pub struct Refusing {
    addr: SocketAddr,
    /// Bound and never listening: nobody else can listen there.
    _socket: TcpSocket,
}

impl Refusing {
    /// Takes an address.
    pub fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("there is IPv4");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("loopback has a free port");
        Self { addr: socket.local_addr().expect("a bound socket has an address"), _socket: socket }
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL to configure.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }
}
