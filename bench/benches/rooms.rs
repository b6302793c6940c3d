//! What the rooms of the request path cost one by one, and what they allocate. The whole path is more than their sum: it also reads,
//! writes and waits.

#![expect(clippy::unwrap_used, reason = "a measurement of what is not as it should be must not begin")]

use std::{fs, hint::black_box};

use bytes::Bytes;
use clap::Parser;
use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use sha2::{Digest as _, Sha256};
use signalbox_bench::proxy::{gateway::LINES_LOST, scenario::Scenario};
use signalbox_data_plane::rooms;
use signalbox_logs::{LogFormat, Logs};
use signalbox_proto::config::v1 as config;
use signalbox_routing::{Caller, Change, Endpoint, Request, Resource, ResourceName, Runtime};
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = [1, 100_000])]
fn key_digest_and_lookup(bencher: Bencher<'_, '_>, keys: usize) {
    let runtime = runtime(keys);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer sb_key-0"));
    assert!(rooms::is_known(&runtime, &headers));
    bencher.bench_local(|| rooms::is_known(black_box(&runtime), black_box(&headers)));
}

#[divan::bench(args = [1, 100_000])]
fn plan(bencher: Bencher<'_, '_>, keys: usize) {
    let runtime = runtime(keys);
    let digest: [u8; 32] = Sha256::digest("sb_key-0").into();
    let key = runtime.client_key(&digest).unwrap();
    let (caller, endpoint) = (Caller::Key(key), Endpoint::ChatCompletions);
    let request = Request { caller, model: "alias-0", endpoint, seed: 1 };
    assert_eq!(&*runtime.plan(&request).unwrap().first.model, "model-0");
    bencher.bench_local(|| runtime.plan(black_box(&request)));
}

#[divan::bench(args = [Scenario::Chat, Scenario::LongPrompt])]
fn envelope(bencher: Bencher<'_, '_>, scenario: Scenario) {
    let body = scenario.body("bench-chat");
    assert_eq!(rooms::model(body.as_bytes()).as_deref(), Some("bench-chat"));
    bencher.bench_local(|| rooms::model(black_box(body.as_bytes())));
}

#[divan::bench(args = [Scenario::Chat, Scenario::LongPrompt])]
fn envelope_and_splice(bencher: Bencher<'_, '_>, scenario: Scenario) {
    let body = Bytes::from(scenario.body("bench-chat"));
    assert_eq!(rooms::readdressed(&body, "chat").concat(), scenario.body("chat").as_bytes());
    bencher.bench_local(|| rooms::readdressed(black_box(&body), "chat"));
}

#[divan::bench(args = [1, 200])]
fn sse_framing_of_200_events(bencher: Bencher<'_, '_>, chunks: usize) {
    let stream = stream(chunks);
    assert_eq!(rooms::events(&stream), 200);
    bencher.counter(ItemsCount::new(200_u32)).bench_local(|| rooms::events(black_box(&stream)));
}

#[divan::bench(args = [1, 200])]
fn usage_tap_of_200_events(bencher: Bencher<'_, '_>, chunks: usize) {
    let mut stream = stream(chunks);
    stream.push(Scenario::usage());
    assert_eq!(rooms::tokens_of_events(&stream), 219);
    bencher.counter(ItemsCount::new(200_u32)).bench_local(|| rooms::tokens_of_events(black_box(&stream)));
}

#[divan::bench(args = [Scenario::Chat, Scenario::Embeddings])]
fn rewriter_and_usage_tap(bencher: Bencher<'_, '_>, scenario: Scenario) {
    let answer = Bytes::from(scenario.answer(scenario.upstream_model()));
    let chunks: Vec<_> =
        (0..answer.len()).step_by(8192).map(|at| answer.slice(at..answer.len().min(at + 8192))).collect();
    assert!(rooms::tokens_of_answer(&chunks, "bench") > 0);
    bencher.bench_local(|| rooms::tokens_of_answer(black_box(&chunks), "bench"));
}

/// No options: only where a log is started on whose behalf.
#[derive(Debug, Parser)]
struct Nothing;

#[divan::bench]
fn record(bencher: Bencher<'_, '_>) {
    let (dir, timers) = (tempfile::tempdir().unwrap(), Builder::new_current_thread().enable_all().build().unwrap());
    let file = dir.path().join("access.log");
    let _entered = timers.enter();
    let log = Logs { log_level: "info".to_owned(), log_format: LogFormat::Text, log_file: Some(file.clone()) };
    let log = log.start::<Nothing>();
    let runtime = runtime(1);
    let key = runtime.client_key(&Sha256::digest("sb_key-0").into()).unwrap();
    let request = Request { caller: Caller::Key(key), model: "alias-0", endpoint: Endpoint::ChatCompletions, seed: 1 };
    let mut ending = rooms::Ending::new(key, &runtime.plan(&request).unwrap().first).unwrap();
    bencher.bench_local(|| ending.end());
    log.flush();
    let ended = ending.end();
    log.flush();
    // Where the disk is slower than the measurement, lines are lost by design: there are some, and none too many.
    let log = fs::read_to_string(file).unwrap();
    let lines = log.lines().filter(|line| !line.contains(LINES_LOST)).count() as u64;
    assert!((1..=ended).contains(&lines), "{lines} lines of {ended}");
}

/// The events of a burst, in so many chunks.
fn stream(chunks: usize) -> Vec<Bytes> {
    let events = Scenario::Burst.stream();
    events.chunks(events.len() / chunks).map(|events| Bytes::from(events.concat())).collect()
}

/// A configuration with so many client keys, in which `sb_key-0` may ask for `alias-0`; one redirect for every hundred of them, and one
/// provider for every five hundred.
fn runtime(keys: usize) -> Runtime {
    let (redirects, providers) = ((keys / 100).max(1), (keys / 500).max(1));
    let keys = (0..keys).map(|at| {
        let sha256 = Sha256::digest(format!("sb_key-{at}")).to_vec().into();
        let key = config::ClientKey { id: format!("key-{at}"), sha256, ..config::ClientKey::default() };
        upsert(&format!("clientKeys/key-{at}"), &key)
    });
    let redirects = (0..redirects).map(|at| {
        let (provider, model) = (format!("provider-{}", at % providers), format!("model-{at}"));
        let target = config::redirect::Target { provider, model, ..config::redirect::Target::default() };
        let (id, from) = (format!("redirect-{at}"), format!("alias-{at}"));
        let redirect = config::Redirect { id, from, targets: vec![target], ..config::Redirect::default() };
        upsert(&format!("redirects/redirect-{at}"), &redirect)
    });
    let providers = (0..providers).map(|at| {
        let provider = config::Provider {
            id: format!("provider-{at}"),
            dialect: config::Dialect::Openai.into(),
            base_url: format!("https://provider-{at}.example/v1"),
            model_prefix: format!("provider-{at}"),
            ..config::Provider::default()
        };
        upsert(&format!("providers/provider-{at}"), &provider)
    });
    let changes: Vec<Change> = providers.chain(redirects).chain(keys).collect();
    let compiled = Runtime::default().apply(&changes);
    assert_eq!(compiled.findings, []);
    compiled.runtime
}

fn upsert(name: &str, message: &impl prost::Message) -> Change {
    let name = ResourceName::parse(name).unwrap();
    Change::Upsert(Resource { name, revision: 1, required_features: Vec::new(), body: message.encode_to_vec().into() })
}
