//! What is sent, what comes back, and how fast: the traffic that every contender is measured with. It opens no connection.

use std::{
    fmt,
    io::{self, Write as _},
    time::Duration,
};

use bytes::Bytes;
use clap::ValueEnum as _;
use serde_json::json;

/// The model that clients ask for; the gateway redirects it to [`Scenario::upstream_model`].
const CLIENT_PREFIX: &str = "bench-";

/// Numbers of one embedding.
const EMBEDDING_NUMBERS: u32 = 1536;

/// Something that clients do all day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Scenario {
    /// A short chat with a short answer, as fast as it goes.
    Chat,
    /// The same, 1,000 times a second.
    Steady,
    /// A chat of 100 KB.
    LongPrompt,
    /// An embedding, whose answer is 32 KB.
    Embeddings,
    /// A stream whose events come one by one, 20 ms apart.
    Paced,
    /// A stream whose events all come at once.
    Burst,
    /// A stream that has begun and says nothing more.
    Idle,
}

/// How an upstream answers a model.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    /// With what was made before, all at once.
    Ready(Bytes),
    /// With so many events, each after a pause.
    Paced {
        /// How many.
        count: usize,
        /// Before each of them.
        pause: Duration,
    },
    /// With a whole stream at once, which tells its usage where that is asked for.
    Burst {
        /// Without the usage.
        plain: Bytes,
        /// With it.
        metered: Bytes,
    },
    /// With the beginning of a stream that does not go on.
    Silent(Bytes),
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

impl Scenario {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 7] =
        [Self::Chat, Self::Steady, Self::LongPrompt, Self::Embeddings, Self::Paced, Self::Burst, Self::Idle];

    /// The model as the upstream knows it.
    #[must_use]
    pub const fn upstream_model(self) -> &'static str {
        match self {
            Self::Chat | Self::Steady | Self::LongPrompt => "chat",
            Self::Embeddings => "embeddings",
            Self::Paced => "paced",
            Self::Burst => "burst",
            Self::Idle => "idle",
        }
    }

    /// The model as clients of the gateway know it.
    #[must_use]
    pub fn client_model(self) -> String {
        format!("{CLIENT_PREFIX}{}", self.upstream_model())
    }

    /// Whether it is answered with a stream.
    #[must_use]
    pub const fn streams(self) -> bool {
        matches!(self, Self::Paced | Self::Burst | Self::Idle)
    }

    /// Events of its stream; 0 = it has none.
    #[must_use]
    pub const fn events(self) -> usize {
        match self {
            Self::Paced => 50,
            Self::Burst => 200,
            Self::Idle => 1,
            Self::Chat | Self::Steady | Self::LongPrompt | Self::Embeddings => 0,
        }
    }

    /// A request for this model, ready to be sent as often as one likes.
    #[must_use]
    pub fn request(self, host: &str, key: &str, model: &str) -> Bytes {
        let path = if self == Self::Embeddings { "/v1/embeddings" } else { "/v1/chat/completions" };
        let body = self.body(model);
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
             accept: */*\r\nuser-agent: signalbox-bench\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        request.into()
    }

    /// What a request for this model says.
    #[must_use]
    pub fn body(self, model: &str) -> String {
        let prompt = match self {
            Self::LongPrompt => "All work and no play makes a long prompt. ".repeat(2400),
            _ => "Say hello to the one who measures you.".to_owned(),
        };
        let body = match self {
            Self::Embeddings => json!({ "model": model, "input": prompt }),
            _ => json!({
                "model": model,
                "messages": [{ "role": "system", "content": "You are brief." }, { "role": "user", "content": prompt }],
                "temperature": 0.7,
                "stream": self.streams(),
            }),
        };
        body.to_string()
    }
}

impl Scenario {
    /// What its answer says to whoever asked for this model, where that is no stream.
    #[must_use]
    pub fn answer(self, model: &str) -> String {
        if self == Self::Embeddings { embedding(model) } else { chat(model) }
    }

    /// The events of its stream.
    #[must_use]
    pub fn stream(self) -> Vec<Bytes> {
        let count = self.events();
        let mut event = Event::new();
        let data = |chunk: &[u8]| chunk.split(|byte| *byte == b'\n').nth(1).map(|data| [data, b"\n\n"].concat());
        (0..count).filter_map(|number| data(event.stamped(number, 0, number + 1 == count))).map(Bytes::from).collect()
    }

    /// The event that comes after those of any stream where a request asks for the usage: 219 tokens.
    #[must_use]
    pub fn usage() -> Bytes {
        usage().into()
    }
}

impl Script {
    /// What the upstream does for a model; `None` = it does not know it.
    pub(crate) fn of(model: &[u8]) -> Option<Self> {
        let scenario = Scenario::ALL.into_iter().find(|scenario| scenario.upstream_model().as_bytes() == model)?;
        let count = scenario.events();
        Some(match scenario {
            Scenario::Chat | Scenario::Steady | Scenario::LongPrompt | Scenario::Embeddings => {
                Self::Ready(plain(&scenario.answer(scenario.upstream_model())))
            }
            Scenario::Paced => Self::Paced { count, pause: Duration::from_millis(20) },
            Scenario::Burst => {
                let [plain, metered] = [false, true].map(|metered| [begun(count), stream_end(metered)].concat().into());
                Self::Burst { plain, metered }
            }
            Scenario::Idle => Self::Silent(begun(count).into()),
        })
    }
}

/// How an answer begins that is a stream.
pub(crate) const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";

/// How a stream ends: with what it took, where that was asked for.
pub(crate) fn stream_end(metered: bool) -> Vec<u8> {
    let end = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    let usage = usage();
    if metered { format!("{:x}\r\n{usage}\r\n{end}", usage.len()).into() } else { end.into() }
}

fn usage() -> String {
    "data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1694268190,\"model\":\"served\",\
     \"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":[],\
     \"usage\":{\"prompt_tokens\":19,\"completion_tokens\":200,\"total_tokens\":219}}\n\n"
        .to_owned()
}

/// A stream with so many events, of which nobody asks when they were sent.
fn begun(count: usize) -> Vec<u8> {
    let mut event = Event::new();
    let events = (0..count).flat_map(|number| event.stamped(number, 0, number + 1 == count).to_vec());
    STREAM_HEAD.iter().copied().chain(events).collect()
}

/// A chunk with an event of a stream, in which its number, the moment and whether it is the last one are filled in: all of one length.
#[derive(Debug)]
pub(crate) struct Event {
    chunk: Vec<u8>,
    number_at: usize,
    finish_at: usize,
}

impl Event {
    pub(crate) fn new() -> Self {
        let before = "data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1694268190,\"model\":\"served\",\
                      \"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"#";
        let (blank, between) = (" ".repeat(NUMBER + 1 + STAMP), " \"},\"logprobs\":null,\"finish_reason\":");
        let data = format!("{before}{blank}{between}{UNFINISHED}}}]}}\n\n");
        let head = format!("{:x}\r\n", data.len());
        let number_at = head.len() + before.len();
        let finish_at = number_at + blank.len() + between.len();
        Self { chunk: format!("{head}{data}\r\n").into(), number_at, finish_at }
    }

    /// The event with this number, sent at this moment, in microseconds.
    pub(crate) fn stamped(&mut self, number: usize, sent_us: u64, last: bool) -> &[u8] {
        let finish = if last { FINISHED } else { UNFINISHED };
        for (at, text) in [
            (self.number_at, format_args!("{number:0NUMBER$}@{sent_us:0STAMP$}")),
            (self.finish_at, format_args!("{finish}")),
        ] {
            let room = self.chunk.get_mut(at..).unwrap_or_default();
            // There is room for what `new` left blank.
            drop(io::Cursor::new(room).write_fmt(text));
        }
        &self.chunk
    }
}

/// Digits of an event's number.
const NUMBER: usize = 5;

/// Digits of the moment that an event was sent.
const STAMP: usize = 16;

const FINISHED: &str = "\"stop\"";

/// As long as the other.
const UNFINISHED: &str = "  null";

fn plain(body: &str) -> Bytes {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into()
}

fn chat(model: &str) -> String {
    let answer = json!({
        "id": "chatcmpl-123", "object": "chat.completion", "created": 1_677_652_288, "model": model,
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": "Hello! I hope that the numbers please you. ".repeat(6) },
            "logprobs": null, "finish_reason": "stop",
        }],
        "usage": { "prompt_tokens": 19, "completion_tokens": 64, "total_tokens": 83 },
        "service_tier": "default", "system_fingerprint": "fp_44709d6fcb",
    });
    answer.to_string()
}

fn embedding(model: &str) -> String {
    let numbers: Vec<f64> = (1..=EMBEDDING_NUMBERS).map(|number| f64::from(number).sin() / 10.0).collect();
    let answer = json!({
        "object": "list", "data": [{ "object": "embedding", "embedding": numbers, "index": 0 }],
        "model": model, "usage": { "prompt_tokens": 8, "total_tokens": 8 },
    });
    answer.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_as_large_as_they_are_said_to_be() {
        let size = |scenario: Scenario| scenario.request("h", "k", "m").len() / 1000;
        assert_eq!((size(Scenario::Chat), size(Scenario::LongPrompt)), (0, 101));
        let Some(Script::Ready(answer)) = Script::of(b"embeddings") else { panic!("not plain") };
        assert!((30_000..36_000).contains(&answer.len()), "{}", answer.len());
    }

    #[test]
    fn an_event_is_json_of_one_length_whatever_is_filled_in() {
        let mut event = Event::new();
        let lengths = [(0, 0, false), (199, 1_763_726_000_000_000, true)].map(|(number, sent_us, last)| {
            let chunk = str::from_utf8(event.stamped(number, sent_us, last)).unwrap();
            let (size, data) = chunk.split_once("\r\n").unwrap();
            let data = data.strip_suffix("\r\n").unwrap();
            assert_eq!(usize::from_str_radix(size, 16).unwrap(), data.len());
            let event: serde_json::Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            let content = event["choices"][0]["delta"]["content"].as_str().unwrap();
            assert_eq!(content, format!("#{number:05}@{sent_us:016} "));
            assert_eq!(event["choices"][0]["finish_reason"] == "stop", last);
            chunk.len()
        });
        assert_eq!(lengths[0], lengths[1]);
    }

    #[test]
    fn every_scenario_has_a_script_and_no_other_model_has() {
        for scenario in Scenario::ALL {
            assert!(Script::of(scenario.upstream_model().as_bytes()).is_some());
        }
        assert!(Script::of(b"gpt-4o").is_none());
    }
}
