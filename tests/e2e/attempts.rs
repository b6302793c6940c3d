//! What a provider's settings make of a failure: whether it is tried again and with what, when a target is left alone, how many
//! requests it takes and how large its answers may be; and what the SDKs are told about trying again.

use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use http::Method;
use signalbox_proto::{
    admin::v1::{ClientKey, Provider},
    config::v1::{Ejection, Pool, Retry, Timeouts},
};
use signalbox_tests::{
    Answer, Client, Draft, Reply, Setup, System, Upstream, chat,
    draft::{self, client_key, millis, provider},
    upstream::{self, DONE, Refusing, finish, text},
    wait::{eventually, within},
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const CHAT: &str = "/v1/chat/completions";
const SOON: Duration = Duration::from_secs(5);

fn quick_retry() -> Retry {
    Retry { backoff_base: millis(1), backoff_cap: millis(4), ..Retry::default() }
}

/// A provider whose clocks run out at once.
fn hasty(id: &str, url: &str, retry: Retry) -> Provider {
    let timeouts = Timeouts {
        connect: millis(100),
        response_header: millis(100),
        first_event: millis(100),
        ..Timeouts::default()
    };
    Provider { timeouts: Some(timeouts), retry: Some(retry), ..provider(id, url) }
}

/// A provider that is asked once a request, and ejected after two failures.
fn brittle(id: &str, url: &str, base: Option<prost_types::Duration>) -> Provider {
    Provider {
        retry: Some(Retry { attempts: Some(1), ..quick_retry() }),
        ejection: Some(Ejection { failures: Some(2), base, cap: None }),
        ..provider(id, url)
    }
}

fn came_to(reply: &Reply) -> (u16, String, &str) {
    (reply.status, if reply.status < 400 { String::new() } else { reply.code() }, reply.header("x-signalbox-attempts"))
}

/// An address that takes connections into a queue that is full.
async fn unanswering() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(connection) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(addr)).await {
        queued.push(connection.unwrap());
    }
    (listener, queued, addr)
}

#[tokio::test]
async fn each_kind_of_failure_is_tried_again_unless_it_is_switched_off() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let limited = || Answer::status(429).header("retry-after", "30").body("{}");
    let cut = || Answer::raw("HTTP/1.1 200 OK\r\ncontent-le");
    type Off = (&'static str, Retry, fn() -> Answer, (u16, &'static str));
    let off: [Off; 5] = [
        ("rate", Retry { on_rate_limit: Some(false), ..quick_retry() }, limited, (429, "rate_limit_exceeded")),
        (
            "server",
            Retry { on_server_error: Some(false), ..quick_retry() },
            || Answer::error(503),
            (502, "upstream_error"),
        ),
        ("break", Retry { on_server_error: Some(false), ..quick_retry() }, cut, (502, "upstream_error")),
        ("error", Retry { on_server_error: Some(false), ..quick_retry() }, Answer::reset, (502, "upstream_error")),
        ("time", Retry { on_timeout: Some(false), ..quick_retry() }, Answer::hang, (504, "upstream_timeout")),
    ];
    for (id, retry, failure, (status, code)) in off {
        let url = upstream.url();
        let (on, off) = (format!("{id}-on"), format!("{id}-off"));
        let mut draft = Draft::new().provider(hasty(&on, &url, quick_retry())).provider(hasty(&off, &url, retry));
        for provider in [&on, &off] {
            draft = draft.credential(provider, "a", "sk-a").credential(provider, "b", "sk-b");
        }
        system.apply(draft).await;
        upstream.answer(failure());
        assert_eq!(came_to(&system.client().chat(&format!("{on}/m")).await), (200, String::new(), "2"), "{on}");
        upstream.answer(failure());
        assert_eq!(came_to(&system.client().chat(&format!("{off}/m")).await), (status, code.to_owned(), "1"), "{off}");
    }
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_tried_again_unless_it_is_switched_off() {
    let (system, refusing, (_listener, _queued, full)) =
        (System::start().await, Refusing::start(), unanswering().await);
    let never = Retry { on_connect_failure: Some(false), ..quick_retry() };
    let full = format!("http://{full}/v1");
    // No other clock runs out as soon, so that it is this one that is judged.
    let timeouts = Timeouts { connect: millis(100), ..Timeouts::default() };
    let connecting = |id, url: &str, retry| Provider { timeouts: Some(timeouts), ..hasty(id, url, retry) };
    let draft = Draft::new()
        .provider(connecting("refused", &refusing.url(), quick_retry()))
        .provider(connecting("refused-once", &refusing.url(), never.clone()))
        .provider(connecting("full", &full, quick_retry()))
        .provider(connecting("full-once", &full, never));
    system.apply(draft).await;
    for (model, status, code, attempts) in [
        ("refused/m", 502, "upstream_error", "3"),
        ("refused-once/m", 502, "upstream_error", "1"),
        ("full/m", 504, "upstream_timeout", "3"),
        ("full-once/m", 504, "upstream_timeout", "1"),
    ] {
        let reply = within(SOON, "the connect time-out", system.client().chat(model)).await;
        assert_eq!(came_to(&reply), (status, code.to_owned(), attempts), "{model}");
    }
}

#[tokio::test]
async fn a_credential_that_fails_too_often_in_a_row_gives_way_to_the_next_one() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let retry = Retry { attempts: Some(4), attempts_per_credential: Some(2), ..quick_retry() };
    let main = Provider { retry: Some(retry), ..provider("main", &upstream.url()) };
    system.apply(Draft::new().provider(main).credential("main", "a", "sk-a").credential("main", "b", "sk-b")).await;
    for _ in 0..3 {
        upstream.answer(Answer::error(503));
    }
    assert_eq!(came_to(&system.client().chat("main/m").await), (200, String::new(), "4"));
    assert_eq!(system.client().chat("main/m").await.status, 200);
    let used: Vec<_> = upstream.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(used, ["Bearer sk-a", "Bearer sk-a", "Bearer sk-b", "Bearer sk-b", "Bearer sk-b"]);
    let pool = &system.client().get("/health").await.json()["credential_pools"]["main"];
    assert_eq!((pool["set_aside"].as_u64(), pool["failures"].as_u64()), (Some(1), Some(3)), "{pool}");
}

#[tokio::test]
async fn a_target_that_keeps_failing_is_left_alone_and_its_neighbours_are_not() {
    let (system, bad, good) = (System::start().await, Upstream::start().await, Upstream::start().await);
    let draft = Draft::new().provider(brittle("bad", &bad.url(), millis(30_000))).upstream("good", &good.url());
    system.apply(draft.redirect("m", "m", &[("bad", "x"), ("good", "y")])).await;
    let client = system.client();
    for status in [500, 400, 503] {
        bad.answer(Answer::error(status));
        client.chat("bad/x").await;
    }
    assert_eq!(client.chat("bad/x").await.status, 200, "a refusal of the request itself shows that it is there");
    for _ in 0..2 {
        bad.answer(Answer::error(500));
        assert_eq!(client.chat("bad/x").await.status, 502);
    }
    let asked = bad.seen().len();
    let reply = client.chat("bad/x").await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "no_available_target"));
    assert!((1..=30).contains(&reply.header("retry-after").parse().unwrap()), "{:?}", reply.headers);
    assert_eq!(reply.header("x-should-retry"), "", "recovery is near");
    let reply = client.chat("m").await;
    assert_eq!(
        (reply.status, reply.header("x-signalbox-provider"), reply.header("x-signalbox-attempts")),
        (200, "good", "1")
    );
    system.apply(Draft::new().client_key(client_key("another", "sb_another"))).await;
    assert_eq!(client.chat("bad/x").await.status, 503, "a revision elsewhere changes nothing");
    assert_eq!(bad.seen().len(), asked);
    assert_eq!(client.chat("bad/other").await.status, 200);

    let metrics = client.get("/metrics").await;
    for line in ["signalbox_ejections_total 1", "signalbox_ejected_targets 1"] {
        assert!(metrics.text().lines().any(|found| found == line), "{line} in {}", metrics.text());
    }
    system.apply(Draft::new().provider(brittle("bad", &good.url(), None))).await;
    assert_eq!(client.chat("bad/x").await.status, 200, "a provider that was put right begins anew");
}

#[tokio::test]
async fn a_target_that_was_left_alone_is_tried_again_after_its_time() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().provider(brittle("main", &upstream.url(), millis(300)))).await;
    let client = system.client();
    for _ in 0..2 {
        upstream.answer(Answer::error(500));
        client.chat("main/m").await;
    }
    assert_eq!(client.chat("main/m").await.status, 503);
    eventually("the end of an ejection", async || (client.chat("main/m").await.status == 200).then_some(())).await;
    upstream.answer(Answer::error(500));
    assert_eq!(client.chat("main/m").await.status, 502);
    assert_eq!(client.chat("main/m").await.status, 200, "what was held against it is over");
}

#[tokio::test]
async fn a_client_that_leaves_is_not_the_targets_failure() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().provider(brittle("main", &upstream.url(), millis(30_000)))).await;
    for number in 0..3 {
        upstream.answer(Answer::hang());
        let client = system.client();
        let leaving = tokio::spawn(async move { client.chat("main/m").await.status });
        upstream.request(number).await;
        leaving.abort();
        upstream.abandoned(number, SOON).await;
    }
    assert_eq!(system.client().chat("main/m").await.status, 200);
}

/// A provider that takes one request at a time.
fn narrow(id: &str, url: &str, patience: u64) -> Provider {
    Provider {
        pool: Some(Pool { max_connections: Some(1), ..Pool::default() }),
        timeouts: Some(Timeouts { connect: millis(patience), ..Timeouts::default() }),
        ..provider(id, url)
    }
}

#[tokio::test]
async fn a_provider_takes_no_more_requests_at_once_than_it_may() {
    // One worker, since each has connections of its own, which are counted at the end.
    let setup = Setup { workers: NonZeroUsize::new(1), ..Setup::default() };
    let (system, main, spare) = (setup.start().await, Upstream::start().await, Upstream::start().await);
    let draft = Draft::new()
        .provider(narrow("main", &main.url(), 100))
        .provider(narrow("patient", &main.url(), 10_000))
        .upstream("spare", &spare.url());
    system.apply(draft.redirect("m", "m", &[("main", "x"), ("spare", "y")])).await;
    let client = system.client();
    let live = main.stream_live();
    live.write(text("x", "hi"));
    let mut events = client.chat_stream("main/x").await;
    assert!(events.next().await.is_some());

    let reply = client.chat("main/x").await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "no_available_target"));
    assert_ne!(reply.header("retry-after"), "");
    assert_eq!(client.chat("m").await.header("x-signalbox-provider"), "spare");
    assert_eq!(main.seen().len(), 1);
    live.write(finish("x"));
    live.write(DONE);
    live.end();
    events.rest().await;
    assert_eq!(client.chat("main/x").await.status, 200, "the place is free with the last byte");

    let live = main.answer_live();
    let first = tokio::spawn(waiting(client.clone()));
    main.request(2).await;
    let second = tokio::spawn(waiting(client));
    live.play(Answer::chat("m", "first"));
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (200, 200), "who finds no place waits for one");
    assert_eq!(main.connections(), 2, "one for each provider");
}

async fn waiting(client: Client) -> u16 {
    client.chat("patient/x").await.status
}

#[tokio::test]
async fn an_answer_is_no_larger_than_the_provider_s_may_be() {
    let (system, small, good) = (System::start().await, Upstream::start().await, Upstream::start().await);
    let limited = Provider { max_response_bytes: Some(1000), ..provider("small", &small.url()) };
    let draft = Draft::new().provider(limited).upstream("good", &good.url());
    system.apply(draft.redirect("m", "m", &[("small", "x"), ("good", "y")])).await;
    let client = system.client();
    let long = "x".repeat(1000);

    for model in ["small/x", "m"] {
        small.answer(Answer::chat("m", &long));
        let reply = client.chat(model).await;
        assert_eq!(came_to(&reply), (502, "upstream_response_too_large".to_owned(), "1"), "it is said beforehand");
        assert_eq!(reply.header("x-should-retry"), "false");
    }
    let (answer, live) = Answer::status(200).header("content-type", "application/json").live();
    small.answer(answer);
    for piece in upstream::completion("m", &long).to_string().as_bytes().chunks(100) {
        live.write(piece);
    }
    live.end();
    let request = client.request(Method::POST, CHAT).header("content-type", "application/json");
    let response = request.body(chat("small/x").to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err(), "it is cut off, visibly");

    let live = small.stream_live();
    for _ in 0..20 {
        live.write(text("m", "much"));
    }
    let frames = client.chat_stream("small/x").await.rest().await;
    let last = frames.last().unwrap();
    assert!(last.contains("upstream_response_too_large") && !frames.contains(&DONE.to_owned()), "{last}");
    small.abandoned(3, SOON).await;

    let silent = upstream::delta("m", &serde_json::json!({"role": "assistant"}), None);
    let live = small.stream_live();
    for _ in 0..20 {
        live.write(&silent);
    }
    let body = signalbox_tests::chat_streamed("m").to_string();
    assert_eq!(came_to(&client.post(CHAT, body).await), (502, "upstream_response_too_large".to_owned(), "1"));
    assert_eq!(client.chat("small/x").await.status, 200);
    assert!(good.seen().is_empty(), "nobody else is asked for more than there may be");
}

#[tokio::test]
async fn openais_account_headers_pass_only_where_the_provider_is_set_so() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let passing = Provider { pass_openai_headers: true, ..provider("passing", &upstream.url()) };
    system.apply(Draft::new().provider(passing).upstream("usual", &upstream.url())).await;
    for (number, (model, expected)) in
        [("passing/m", (Some("org"), Some("proj"))), ("usual/m", (None, None))].into_iter().enumerate()
    {
        let request = system.client().request(Method::POST, CHAT).header("content-type", "application/json");
        let request = request.header("openai-organization", "org").header("openai-project", "proj");
        assert_eq!(Reply::to(request.body(chat(model).to_string())).await.status, 200);
        let seen = upstream.request(number).await;
        assert_eq!((seen.header("openai-organization"), seen.header("openai-project")), expected, "{model}");
    }
}

#[tokio::test]
async fn the_sdks_are_told_to_try_again_only_where_it_helps() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let single =
        |id| Provider { retry: Some(Retry { attempts: Some(1), ..quick_retry() }), ..provider(id, &upstream.url()) };
    let off = ClientKey { disabled: true, ..draft::client_key("off", "sb_off") };
    let draft = Draft::new()
        .provider(single("main"))
        .provider(single("spent"))
        .credential("spent", "k", "sk-spent")
        .client_key(off);
    system.apply(draft).await;
    let client = system.client();
    let told = |reply: &Reply| {
        [reply.header("x-should-retry"), reply.header("retry-after"), reply.header("retry-after-ms")].map(str::to_owned)
    };
    let unavailable = |wait| Answer::status(503).header("retry-after", wait).body("{}");

    upstream.answer(Answer::error(503));
    assert_eq!(told(&client.chat("main/m").await), ["false", "", ""], "our own retries are spent");
    upstream.answer(unavailable("61"));
    let reply = client.chat("main/m").await;
    assert_eq!((reply.status, reply.header("x-should-retry")), (502, "false"), "it takes too long for them");
    upstream.answer(unavailable("2"));
    let reply = client.chat("main/m").await;
    assert_eq!((reply.status, reply.header("x-should-retry"), reply.header("retry-after")), (502, "", "2"));
    assert!((1..=2000).contains(&reply.header("retry-after-ms").parse().unwrap()), "{:?}", reply.headers);

    let refused = client.with_key("sb_off").chat("main/m").await;
    assert_eq!(
        (refused.status, told(&refused)),
        (401, ["false", "", ""].map(str::to_owned)),
        "a disabled key stays so"
    );
    let quota =
        serde_json::json!({"error": {"message": "x", "type": "insufficient_quota", "code": "insufficient_quota"}});
    upstream.answer(Answer::json(429, &quota));
    let reply = client.chat("spent/m").await;
    assert_eq!(came_to(&reply), (502, "upstream_credentials_exhausted".to_owned(), "1"));
    assert_eq!(told(&reply), ["false", "", ""], "an exhausted quota stays so");
}

#[tokio::test]
async fn the_earliest_thaw_is_told_over_all_targets_together() {
    let (system, a, b) = (System::start().await, Upstream::start().await, Upstream::start().await);
    let draft = Draft::new().upstream("a", &a.url()).upstream("b", &b.url());
    system.apply(draft.redirect("m", "m", &[("a", "x"), ("b", "y")])).await;
    a.answer(Answer::status(429).header("retry-after", "20").body("{}"));
    b.answer(Answer::status(429).header("retry-after", "50").body("{}"));
    for attempts in ["2", ""] {
        let reply = system.client().chat("m").await;
        assert_eq!(came_to(&reply), (429, "rate_limit_exceeded".to_owned(), attempts));
        assert!((19..=20).contains(&reply.header("retry-after").parse().unwrap()), "{:?}", reply.headers);
    }
    assert_eq!((a.seen().len(), b.seen().len()), (1, 1), "what cools is not asked");
}

#[tokio::test]
async fn a_clients_own_deadline_ends_the_attempts() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    for (number, name) in ["x-stainless-read-timeout", "x-stainless-timeout"].into_iter().enumerate() {
        upstream.answer(Answer::hang());
        let request = system.client().request(Method::POST, CHAT).header("content-type", "application/json");
        let request = request.header(name, "0.3").body(chat("main/m").to_string());
        let reply = within(SOON, "the client's deadline", Reply::to(request)).await;
        assert_eq!(came_to(&reply), (504, "upstream_timeout".to_owned(), "1"), "{name}");
        upstream.abandoned(number, SOON).await;
    }
}
