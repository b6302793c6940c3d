//! Every way of the demo upstream to go wrong: what the client gets, what is counted, and that the upstream connection is gone, with
//! and without another target to turn to.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::{HeaderMap, Method};
use secrecy::SecretString;
use serde_json::{Value, json};
use signalbox::{
    demo::{Demo, Fault, Outcome, Seen, Wait},
    faults::{self, Ending, Owed, Table},
};
use signalbox_proto::{
    admin::v1::Provider,
    config::v1::{Retry, Timeouts},
};
use signalbox_tests::{
    Draft, System,
    draft::{header, millis, provider},
    upstream::DONE,
    wait::{eventually, soon, within},
};
use tokio::net::TcpListener;

const CHAT: &str = "/v1/chat/completions";
const PROMPT: &str = "six words, so that much breaks";
const KEY: &str = "sk-demo";

/// More than this of one answer nobody reads; a bomb is smaller.
const ENOUGH: usize = 4 * 1024 * 1024;

/// Cases under way at a time, each with clocks to wait for.
const AT_ONCE: usize = 12;

/// What a client got.
#[derive(Debug)]
struct Got {
    model: String,
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    end: End,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Clean,
    BrokenOff,
    Left,
}

async fn demo() -> Demo {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Demo::start(listener, &SecretString::from(KEY)).unwrap()
}

/// A provider that tells the demo upstream on whose behalf it asks.
fn case(id: &str, demo: &Demo) -> Provider {
    let mut provider = provider(id, &demo.base_url());
    provider.headers.insert("x-case".to_owned(), header(id, Some(true)));
    provider
}

/// The clocks that a fault is to run into, and no others: on a busy machine a sound answer may take its time.
fn clocks(fault: Fault) -> Timeouts {
    let (soon, total) = (millis(1500), millis(6000));
    match fault {
        Fault::Hang => Timeouts { response_header: soon, ..Timeouts::default() },
        Fault::HeadersThenSilence => Timeouts { first_event: soon, total, ..Timeouts::default() },
        Fault::OneChunkThenSilence => Timeouts { stream_idle: soon, total, ..Timeouts::default() },
        _ => Timeouts::default(),
    }
}

/// A provider of its own for each fault, so that none cools or is counted for another. Behind the model `{fault}-or-echo` there is a
/// sound one too.
async fn system(demo: &Demo) -> System {
    let system = System::start().await;
    let mut draft = Draft::new().provider(case("sound", demo)).credential("sound", "main", KEY);
    for fault in Fault::ALL {
        let model = fault.model();
        let provider = Provider { timeouts: Some(clocks(fault)), ..case(model, demo) };
        draft = draft.provider(provider).credential(model, "main", KEY);
        draft = draft.redirect(model, &format!("{model}-or-echo"), &[(model, model), ("sound", "echo")]);
    }
    system.apply(draft).await;
    system
}

fn request(model: &str, streamed: bool) -> String {
    json!({"model": model, "stream": streamed, "messages": [{"role": "user", "content": PROMPT}]}).to_string()
}

async fn ask(system: &System, model: &str, streamed: bool) -> Got {
    let request = system.client().request(Method::POST, CHAT).header("content-type", "application/json");
    let request = request.body(self::request(model, streamed)).send();
    let mut response = soon(model, request).await.unwrap();
    let (status, headers, mut body) = (response.status().as_u16(), response.headers().clone(), Vec::new());
    let end = loop {
        match soon(model, response.chunk()).await {
            Ok(Some(bytes)) => body.extend_from_slice(&bytes),
            Ok(None) => break End::Clean,
            Err(_) => break End::BrokenOff,
        }
        if body.len() > ENOUGH {
            break End::Left;
        }
    };
    Got { model: model.to_owned(), status, headers, body, end }
}

/// The `data:` of each event: frames end with a blank line, lines with a line feed, and nothing else is on the way out.
fn data(body: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(body).expect("a stream is text");
    assert!(text.is_empty() || text.ends_with("\n\n"), "a stream ends with an event: {text}");
    assert!(!text.contains('\r') && !text.starts_with('\u{feff}'), "{text}");
    let frames = text.split("\n\n").filter(|frame| !frame.is_empty());
    let data =
        |frame: &str| frame.lines().filter_map(|line| line.strip_prefix("data: ")).collect::<Vec<_>>().join("\n");
    frames.map(data).collect()
}

fn text(data: &[String]) -> String {
    let events = data.iter().filter_map(|data| serde_json::from_str::<Value>(data).ok());
    events.filter_map(|event| Some(event.pointer("/choices/0/delta/content")?.as_str()?.to_owned())).collect()
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    fn is_whole(&self, streamed: bool, done: bool) {
        assert_eq!((self.status, &self.end), (200, &End::Clean), "{}", self.model);
        if streamed {
            let data = data(&self.body);
            assert_eq!(text(&data), PROMPT, "{data:?}");
            assert!(data.iter().any(|data| data.contains(r#""finish_reason":"stop""#)), "{data:?}");
            assert_eq!(self.body.ends_with(DONE.as_bytes()), done, "{data:?}");
        } else {
            assert_eq!(self.json()["choices"][0]["message"]["content"], PROMPT, "{}", self.model);
        }
    }

    fn is(&self, owed: Ending, fault: Fault, streamed: bool) {
        match owed {
            Ending::Whole => self.is_whole(streamed, fault != Fault::NoDone),
            Ending::AsItCame => {
                assert_eq!((self.status, &self.end, self.body.is_empty()), (200, &End::Clean, false), "{}", self.model);
                let packed = self.body.starts_with(b"\x1f\x8b");
                assert_eq!(packed, matches!(fault, Fault::Gzip | Fault::Bomb));
                assert_eq!(self.header("content-encoding"), if packed { "gzip" } else { "" });
            }
            Ending::Refused { status, code } => {
                let error = self.json()["error"].take();
                assert_eq!(
                    (self.status, &self.end, &error["code"]),
                    (status, &End::Clean, &json!(code)),
                    "{}",
                    self.model
                );
                for key in ["message", "type", "param"] {
                    assert!(error.get(key).is_some(), "{error}");
                }
                assert_eq!(self.header("content-type"), "application/json");
            }
            Ending::ErrorEvent { code } => {
                let data = data(&self.body);
                assert_eq!((self.status, &self.end), (200, &End::Clean), "{}: {data:?}", self.model);
                let last: Value = data.last().and_then(|last| serde_json::from_str(last).ok()).unwrap_or_default();
                assert_eq!(last["error"]["code"], code, "{data:?}");
                assert!(!data.iter().any(|data| data == "[DONE]"), "{data:?}");
                assert!(PROMPT.starts_with(&text(&data)) && !text(&data).is_empty(), "{data:?}");
            }
            Ending::BrokenOff => assert_eq!((self.status, &self.end), (200, &End::BrokenOff), "{}", self.model),
            Ending::Never => assert_eq!((self.status, &self.end), (200, &End::Left), "{}", self.model),
        }
    }
}

/// What the demo upstream was asked on somebody's behalf.
fn asked(demo: &Demo, case: &str) -> Vec<Seen> {
    demo.seen().into_iter().filter(|seen| seen.headers.get("x-case").is_some_and(|value| value == case)).collect()
}

/// Waits until nothing is under way any more. A connection on which an answer went out whole may be kept for the next request.
async fn let_go(demo: &Demo, fault: Fault, attempts: usize) {
    let model = fault.model();
    eventually(&format!("{model}: its upstream connections to be gone"), async || {
        let over = |seen: &Seen| !seen.open || seen.outcome == Outcome::Finished;
        asked(demo, model).iter().all(over).then_some(())
    })
    .await;
    assert_eq!(asked(demo, model).len(), attempts, "{model}");
}

async fn counted(system: &System, upstream: &str, outcome: &str, attempts: u32) {
    let (upstream, outcome) = (format!("upstream=\"{upstream}\""), format!("outcome=\"{outcome}\""));
    let labels = [upstream.as_str(), outcome.as_str()];
    eventually(&format!("{upstream} to be counted as {outcome}"), async || {
        let counted = system.data_plane().metric("signalbox_requests_total", &labels).await;
        ((counted - 1.0).abs() < 0.1).then_some(())
    })
    .await;
    let begun = system.data_plane().metric("signalbox_attempts_total", &[&upstream]).await;
    assert!((begun - f64::from(attempts)).abs() < 0.1, "{upstream}: {begun} attempts");
}

/// Tries out every fault, and names all that do not end as owed.
async fn every_fault(check: impl AsyncFn(Fault)) {
    let checked = stream::iter(Fault::ALL).map(async |fault| {
        let outcome = AssertUnwindSafe(check(fault)).catch_unwind().await;
        outcome.err().map(|_| fault.model())
    });
    let failed: Vec<_> = checked.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    assert!(failed.is_empty(), "not as owed: {failed:?}");
}

async fn alone(streamed: bool) {
    let demo = demo().await;
    let system = system(&demo).await;
    every_fault(async |fault| {
        let Owed { stream, plain } = Owed::of(fault);
        let owed = if streamed { stream } else { plain };
        let model = fault.model();
        let got = ask(&system, &format!("{model}/{model}"), streamed).await;
        got.is(owed, fault, streamed);
        assert_eq!(got.header("x-signalbox-attempts"), owed.attempts().to_string(), "{model}");
        drop(got);
        let_go(&demo, fault, owed.attempts() as usize).await;
        counted(&system, model, owed.outcome(), owed.attempts()).await;
    })
    .await;
}

async fn beside_another_target(streamed: bool) {
    let demo = demo().await;
    let system = system(&demo).await;
    every_fault(async |fault| {
        let Owed { stream, plain } = Owed::of(fault);
        let owed = if streamed { stream } else { plain };
        let model = fault.model();
        let got = ask(&system, &format!("{model}-or-echo"), streamed).await;
        if owed.moves_on() {
            got.is_whole(streamed, true);
            assert_eq!(
                (got.header("x-signalbox-provider"), got.header("x-signalbox-attempts")),
                ("sound", "2"),
                "{model}"
            );
        } else {
            got.is(owed, fault, streamed);
            assert_eq!(got.header("x-signalbox-attempts"), "1", "{model}");
            counted(&system, model, owed.outcome(), 1).await;
        }
        let_go(&demo, fault, 1).await;
    })
    .await;
    let moved = Fault::ALL.map(Owed::of).map(|owed| if streamed { owed.stream } else { owed.plain });
    let moved = moved.into_iter().filter(|owed| owed.moves_on()).count();
    assert_eq!(asked(&demo, "sound").len(), moved);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_one_target() {
    alone(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_answer_with_one_target() {
    alone(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_another_target() {
    beside_another_target(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_answer_with_another_target() {
    beside_another_target(false).await;
}

#[tokio::test]
async fn a_rate_limit_says_when_to_come_back_however_the_upstream_told_it() {
    let demo = demo().await;
    let system = system(&demo).await;
    for form in [Wait::Seconds, Wait::Date, Wait::Millis, Wait::Untold, Wait::Past, Wait::Day] {
        let model = Fault::TooManyRequests(form).model();
        let got = ask(&system, &format!("{model}/{model}"), false).await;
        let (seconds, most) = (got.header("retry-after").parse::<u64>().unwrap(), faults::wait(form));
        assert!(seconds <= most && seconds + 5 >= most.min(30), "{model}: {seconds} s");
        let should_retry = got.header("x-should-retry");
        assert_eq!(should_retry == "false", form == Wait::Day, "{model}: {should_retry}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_upstream_within_a_second_in_every_phase() {
    let demo = demo().await;
    let system = System::start().await;
    let retry = Retry { backoff_base: millis(60_000), backoff_cap: millis(60_000), ..Retry::default() };
    let patient = Provider { retry: Some(retry), ..case("patient", &demo) };
    system.apply(Draft::new().provider(patient).credential("patient", "main", KEY)).await;
    let phases = [
        ("before the headers", Fault::Hang, false),
        ("before the headers of a stream", Fault::Hang, true),
        ("before the first event", Fault::HeadersThenSilence, true),
        ("before the first byte", Fault::HeadersThenSilence, false),
        ("in the middle of a stream", Fault::OneChunkThenSilence, true),
        ("in the middle of a plain answer", Fault::OneChunkThenSilence, false),
        ("in an answer without end", Fault::EndlessBody, false),
    ];
    for (number, (phase, fault, streamed)) in phases.into_iter().enumerate() {
        let request = system.client().request(Method::POST, CHAT).header("content-type", "application/json");
        let request = request.body(self::request(&format!("patient/{}", fault.model()), streamed));
        let asking = tokio::spawn(async move {
            let response = request.send().await;
            std::future::pending::<()>().await;
            drop(response);
        });
        let asked = || asked(&demo, "patient");
        eventually(phase, async || {
            asked().get(number).is_some_and(|seen| seen.outcome == Outcome::UnderWay).then_some(())
        })
        .await;
        asking.abort();
        within(Duration::from_secs(1), phase, eventually(phase, async || (!asked()[number].open).then_some(()))).await;
        assert_eq!(asked().len(), number + 1, "{phase}: nothing was tried again");
    }
    system.data_plane().recorded("abandoned", u32::try_from(phases.len()).unwrap()).await;
}

#[test]
fn the_readme_holds_the_table() {
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&Table.to_string()), "replace the table in README.md with what `signalbox faults` prints");
}
