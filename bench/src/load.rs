//! Streamed chats, many at once, each read to its end and judged. It measures nothing.

use std::{net::SocketAddr, ops::Add};

use futures_util::{StreamExt as _, stream};
use serde_json::json;

/// What became of many streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Streams that came whole.
    pub whole: u64,
    /// Streams that were refused, broke off, or lacked something.
    pub lost: u64,
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { whole: self.whole + other.whole, lost: self.lost + other.lost }
    }
}

/// One kind of streamed chat.
#[derive(Debug, Clone)]
pub struct Chats {
    http: reqwest::Client,
    url: String,
    key: String,
    body: String,
    words: usize,
}

impl Chats {
    /// Asks the gateway at this address for a model's echo of so many words.
    ///
    /// # Errors
    /// Where no HTTP client can be made.
    pub fn new(gateway: SocketAddr, key: &str, model: &str, words: usize) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
        let messages = json!([{ "role": "user", "content": "word ".repeat(words) }]);
        let body = json!({ "model": model, "stream": true, "messages": messages }).to_string();
        Ok(Self { http, url: format!("http://{gateway}/v1/chat/completions"), key: key.to_owned(), body, words })
    }

    /// Asks `count` times, so many at once.
    pub async fn run(&self, count: usize, at_once: usize) -> Tally {
        let outcomes = stream::iter(0..count).map(|_| self.ask()).buffer_unordered(at_once.max(1));
        outcomes.fold(Tally::default(), async |sum, outcome| sum + outcome).await
    }

    async fn ask(&self) -> Tally {
        let request = self.http.post(&self.url).bearer_auth(&self.key).header("content-type", "application/json");
        let stream = async { request.body(self.body.clone()).send().await?.error_for_status()?.text().await };
        match stream.await {
            Ok(text) if self.is_whole(&text) => Tally { whole: 1, lost: 0 },
            _ => Tally { whole: 0, lost: 1 },
        }
    }

    fn is_whole(&self, text: &str) -> bool {
        text.matches("\"content\":\"word ").count() == self.words
            && text.contains("\"finish_reason\":\"stop\"")
            && text.ends_with("data: [DONE]\n\n")
    }
}
