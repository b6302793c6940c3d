//! A well-mannered client of one data plane, as an SDK would be, and what it saw.

use std::{net::SocketAddr, str, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::wait::soon;

/// A client with a key and connections of its own.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    addr: SocketAddr,
    key: Option<String>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// Every byte of the body.
    pub body: Bytes,
}

/// An event stream, read as it comes.
#[derive(Debug)]
pub struct Events {
    /// The headers.
    pub headers: HeaderMap,
    response: reqwest::Response,
    buffer: BytesMut,
}

impl Client {
    /// A client that presents this key as a bearer token.
    ///
    /// # Panics
    /// Where no HTTP client can be made.
    pub fn new(addr: SocketAddr, key: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        // Nobody is trusted, since nothing here is TLS: reading the system's authorities would take longer than most stories.
        let http = http.tls_certs_only([]);
        let http = http.connect_timeout(Duration::from_secs(5)).build().expect("a client can be made");
        Self { http, addr, key: Some(key.to_owned()) }
    }

    /// The same client with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same client without a key.
    pub fn without_key(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    /// A request to a path, with the key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("http://{}{path}", self.addr));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// `GET`s a path.
    pub async fn get(&self, path: &str) -> Reply {
        Reply::to(self.request(Method::GET, path)).await
    }

    /// Posts a JSON body, byte for byte as given.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        Reply::to(self.request(Method::POST, path).header("content-type", "application/json").body(body)).await
    }

    /// Asks a model for a chat completion.
    pub async fn chat(&self, model: &str) -> Reply {
        self.post("/v1/chat/completions", chat(model).to_string()).await
    }

    /// Asks a model for a chat completion as a stream.
    pub async fn chat_stream(&self, model: &str) -> Events {
        self.stream("/v1/chat/completions", chat_streamed(model).to_string()).await
    }

    /// Posts a JSON body and reads the answer as a stream.
    ///
    /// # Panics
    /// Where the answer is no event stream.
    pub async fn stream(&self, path: &str, body: impl Into<reqwest::Body>) -> Events {
        let request = self.request(Method::POST, path).header("content-type", "application/json").body(body);
        Events::of(soon("the head of a stream", request.send()).await.expect("an answer comes"))
    }
}

/// A chat with one message.
pub fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hello"}]})
}

/// The same, its answer to be streamed.
pub fn chat_streamed(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": true})
}

impl Reply {
    /// Sends a request and reads the answer.
    ///
    /// # Panics
    /// Where none comes, or it breaks off.
    pub async fn to(request: RequestBuilder) -> Self {
        let response = soon("an answer", request.send()).await.expect("an answer comes");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = soon("a body", response.bytes()).await.expect("the body is whole");
        Self { status, headers, body }
    }

    /// A header's value; empty = it is not there.
    pub fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
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
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// What a chat completion says; empty = it is none.
    pub fn content(&self) -> String {
        self.json().pointer("/choices/0/message/content").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The code of an error; empty = null.
    ///
    /// # Panics
    /// Where the body is not OpenAI's error object with all four keys.
    pub fn code(&self) -> String {
        let body = self.json();
        let error = body.get("error").and_then(Value::as_object).unwrap_or_else(|| panic!("no error: {self:?}"));
        let keys: Vec<_> =
            ["message", "type", "param", "code"].into_iter().filter(|key| error.contains_key(*key)).collect();
        assert_eq!(keys.len(), 4, "an error has all four keys: {body}");
        error.get("code").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

impl Events {
    /// Reads a response as an event stream.
    ///
    /// # Panics
    /// Where it is none.
    pub fn of(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200, "{:?}", response.headers());
        let headers = response.headers().clone();
        let kind = header(&headers, "content-type");
        assert!(kind.starts_with("text/event-stream"), "the answer is {kind}");
        Self { headers, response, buffer: BytesMut::new() }
    }

    /// A header's value; empty = it is not there.
    pub fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    /// The next frame with the blank line that ends it; `None` = the stream has ended.
    ///
    /// # Panics
    /// Where it breaks off, or ends inside a frame.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let frame = self.buffer.split_to(end + 2);
                return Some(String::from_utf8(frame.to_vec()).expect("the frame is text"));
            }
            match soon("an event", self.response.chunk()).await.expect("the stream does not break off") {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => {
                    assert!(self.buffer.is_empty(), "the stream ends inside a frame: {:?}", self.buffer);
                    return None;
                }
            }
        }
    }

    /// All frames up to the end.
    pub async fn rest(mut self) -> Vec<String> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().expect("the header is text"))
}
