//! What is sent, what comes back, and how fast: the traffic that every contender is measured with. It opens no connection.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

/// The model that clients ask for; the gateway redirects it to [`Scenario::upstream_model`].
const CLIENT_PREFIX: &str = "bench-";

/// Numbers of one embedding.
const EMBEDDING_NUMBERS: u32 = 1536;

/// Something that clients do all day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// With one answer.
    Plain(Bytes),
    /// With so many events, each after a pause.
    Events {
        /// How many.
        count: usize,
        /// Before each of them.
        pause: Duration,
        /// Whether there is an end.
        ends: bool,
    },
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

    fn body(self, model: &str) -> String {
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

impl Script {
    /// What the upstream does for a model; `None` = it does not know it.
    pub(crate) fn of(model: &[u8]) -> Option<Self> {
        let scenario = Scenario::ALL.into_iter().find(|scenario| scenario.upstream_model().as_bytes() == model)?;
        let (count, pause) = (scenario.events(), Duration::from_millis(20));
        Some(match scenario {
            Scenario::Chat | Scenario::Steady | Scenario::LongPrompt => Self::Plain(plain(&chat())),
            Scenario::Embeddings => Self::Plain(plain(&embedding())),
            Scenario::Paced => Self::Events { count, pause, ends: true },
            Scenario::Burst => Self::Events { count, pause: Duration::ZERO, ends: true },
            Scenario::Idle => Self::Events { count, pause: Duration::ZERO, ends: false },
        })
    }
}

/// How an answer begins that is a stream.
pub(crate) const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";

/// How a stream ends.
pub(crate) const STREAM_END: &[u8] = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

/// The event with this number as a chunk of its own, with the moment that it is sent, in microseconds.
pub(crate) fn event(model: &str, number: usize, sent_us: u64, last: bool) -> String {
    let finish = if last { "\"stop\"" } else { "null" };
    let data = format!(
        "data: {{\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1694268190,\"model\":\"{model}\",\
         \"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"#{number}@{sent_us} \"}},\
         \"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
    );
    format!("{:x}\r\n{data}\r\n", data.len())
}

fn plain(body: &str) -> Bytes {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into()
}

fn chat() -> String {
    let answer = json!({
        "id": "chatcmpl-123", "object": "chat.completion", "created": 1_677_652_288, "model": "chat",
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

fn embedding() -> String {
    let numbers: Vec<f64> = (1..=EMBEDDING_NUMBERS).map(|number| f64::from(number).sin() / 10.0).collect();
    let answer = json!({
        "object": "list", "data": [{ "object": "embedding", "embedding": numbers, "index": 0 }],
        "model": "embeddings", "usage": { "prompt_tokens": 8, "total_tokens": 8 },
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
        let Some(Script::Plain(answer)) = Script::of(b"embeddings") else { panic!("not plain") };
        assert!((30_000..36_000).contains(&answer.len()), "{}", answer.len());
    }

    #[test]
    fn every_scenario_has_a_script_and_no_other_model_has() {
        for scenario in Scenario::ALL {
            assert!(Script::of(scenario.upstream_model().as_bytes()).is_some());
        }
        assert!(Script::of(b"gpt-4o").is_none());
    }
}
