//! What goes wrong before the answer has begun is somebody else's turn: the next credential, the next target, or another try, within one budget.

use std::time::Duration;

use http::Method;
use signalbox_proto::{
    admin::v1::Provider,
    config::v1::{CredentialChoice, Retry, Timeouts},
};
use signalbox_tests::{
    Answer, Client, Draft, Reply, System, Upstream, chat,
    draft::{millis, provider},
    upstream::{self, DONE, Refusing, finish, text},
    wait::within,
};

/// Two providers behind the model `m`, the first with clocks that run out at once.
async fn pair() -> (System, Upstream, Upstream) {
    let (system, bad, good) = (System::start().await, Upstream::start().await, Upstream::start().await);
    let timeouts = Timeouts { response_header: millis(100), first_event: millis(100), ..Timeouts::default() };
    let hasty = Provider { timeouts: Some(timeouts), ..provider("bad", &bad.url()) };
    let draft = Draft::new().provider(hasty).credential("bad", "k", "sk-bad").upstream("good", &good.url());
    system.apply(draft.redirect("m", "m", &[("bad", "x"), ("good", "y")])).await;
    (system, bad, good)
}

fn served_by(reply: &Reply) -> (u16, &str, &str) {
    (reply.status, reply.header("x-signalbox-provider"), reply.header("x-signalbox-attempts"))
}

#[tokio::test]
async fn whatever_breaks_before_the_answer_has_begun_is_the_next_targets_turn() {
    let (system, bad, good) = pair().await;
    let huge = format!("HTTP/1.1 200 OK\r\nx-huge: {}\r\ncontent-length: 2\r\n\r\n{{}}", "x".repeat(900_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 2\r\n\r\n{{}}", "x-many: 1\r\n".repeat(5000));
    let faults = [
        ("a reset", Answer::reset()),
        ("an early close", Answer::raw("")),
        ("half a head", Answer::raw("HTTP/1.1 200 OK\r\ncontent-le")),
        ("garbage", Answer::raw("\u{0}\u{1}garbage\r\n\r\n")),
        ("another protocol", Answer::raw("SSH-2.0-OpenSSH_9.9\r\n")),
        ("two lengths", Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}")),
        ("a huge header", Answer::raw(huge)),
        ("headers without end", Answer::raw(many)),
        ("silence", Answer::hang()),
        ("a 500", Answer::error(500)),
        ("a 502", Answer::error(502)),
        ("a 503 in HTML", Answer::status(503).header("content-type", "text/html").body("<h1>503</h1>")),
        ("a 504", Answer::error(504)),
    ];
    for (number, (name, fault)) in faults.into_iter().enumerate() {
        bad.answer(fault);
        let reply = system.client().chat("m").await;
        assert_eq!(served_by(&reply), (200, "good", "2"), "{name}: {}", reply.text());
        assert_eq!((bad.seen().len(), good.seen().len()), (number + 1, number + 1), "{name}");
    }
    assert_eq!((bad.request(0).await.model(), good.request(0).await.model()), ("x".to_owned(), "y".to_owned()));
}

#[tokio::test]
async fn a_stream_fails_over_up_to_its_first_meaningful_event() {
    let (system, bad, good) = pair().await;
    let role = upstream::delta("x", &serde_json::json!({"role": "assistant", "content": ""}), None);
    let error = format!("data: {}\n\n", upstream::error("overloaded"));
    let faults = [
        ("an error as its first event", Answer::stream([error.as_str()])),
        ("an error after an empty delta", Answer::stream([role.as_str(), &error])),
        ("an error in JSON", Answer::json(200, &upstream::error("overloaded"))),
        ("an end without a beginning", Answer::stream([])),
        ("an end after an empty delta", Answer::stream([role.as_str()])),
        ("a cut after an empty delta", {
            let (answer, live) = Answer::status(200).header("content-type", "text/event-stream").live();
            live.write(&role);
            live.cut();
            answer
        }),
    ];
    for (number, (name, fault)) in faults.into_iter().enumerate() {
        bad.answer(fault);
        let events = system.client().chat_stream("m").await;
        assert_eq!(
            (events.header("x-signalbox-provider"), events.header("x-signalbox-attempts")),
            ("good", "2"),
            "{name}"
        );
        let frames = events.rest().await;
        assert_eq!(frames, [text("m", "as "), text("m", "scripted"), finish("m"), DONE.to_owned()], "{name}");
        assert_eq!((bad.seen().len(), good.seen().len()), (number + 1, number + 1), "{name}");
    }
    let _silent = bad.stream_live();
    let events = system.client().chat_stream("m").await;
    assert_eq!(events.header("x-signalbox-provider"), "good", "a stream that stays silent");
}

#[tokio::test]
async fn a_refused_connection_is_the_next_targets_turn() {
    let (system, good, refusing) = (System::start().await, Upstream::start().await, Refusing::start());
    let draft = Draft::new().upstream("bad", &refusing.url()).upstream("good", &good.url());
    system.apply(draft.redirect("m", "m", &[("bad", "x"), ("good", "y")])).await;
    assert_eq!(served_by(&system.client().chat("m").await), (200, "good", "2"));
}

#[tokio::test]
async fn a_refused_credential_gives_way_to_the_next_one_and_is_left_alone() {
    for status in [401, 402, 403] {
        let (system, upstream) = (System::start().await, Upstream::start().await);
        let patient = Provider {
            retry: Some(Retry { backoff_base: millis(30_000), backoff_cap: millis(30_000), ..Retry::default() }),
            ..provider("main", &upstream.url())
        };
        system
            .apply(Draft::new().provider(patient).credential("main", "a", "sk-a").credential("main", "b", "sk-b"))
            .await;
        upstream.answer(Answer::error(status));
        let reply =
            within(Duration::from_secs(5), "the next credential, without a back-off", system.client().chat("main/m"))
                .await;
        assert_eq!(served_by(&reply), (200, "main", "2"), "{status}");
        let used = |number: usize| upstream.seen()[number].header("authorization").unwrap().to_owned();
        assert_ne!(used(0), used(1));
        for number in 2..5 {
            assert_eq!(served_by(&system.client().chat("main/m").await), (200, "main", "1"));
            assert_eq!(used(number), used(1), "the refused one is out");
        }
    }
}

#[tokio::test]
async fn a_limited_credential_cools_while_the_next_one_is_used() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url()).credential("main", "b", "sk-b")).await;
    upstream.answer(Answer::status(429).header("retry-after", "30").body("{}"));
    assert_eq!(served_by(&system.client().chat("main/m").await), (200, "main", "2"));
    assert_eq!(served_by(&system.client().chat("main/m").await), (200, "main", "1"));
    let used: Vec<_> = upstream.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_ne!(used[0], used[1]);
    assert_eq!(used[1], used[2]);
}

#[tokio::test]
async fn a_pool_that_is_limited_as_a_whole_says_when_the_first_one_thaws() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url()).credential("main", "b", "sk-b")).await;
    for wait in ["50", "20"] {
        upstream.answer(Answer::status(429).header("retry-after", wait).body("{}"));
    }
    let reply = system.client().chat("main/m").await;
    assert_eq!((reply.status, reply.code().as_str(), reply.header("retry-after")), (429, "rate_limit_exceeded", "20"));
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn a_limited_provider_gives_way_to_the_next_target() {
    let (system, a, b) = (System::start().await, Upstream::start().await, Upstream::start().await);
    let draft = Draft::new().upstream("a", &a.url()).upstream("b", &b.url());
    system.apply(draft.redirect("m", "m", &[("a", "x"), ("b", "y")])).await;
    a.answer(Answer::status(429).header("retry-after", "30").body("{}"));
    assert_eq!(served_by(&system.client().chat("m").await), (200, "b", "2"));
    assert_eq!(served_by(&system.client().chat("m").await), (200, "b", "1"), "what cools costs no attempt");
    assert_eq!((a.seen().len(), b.seen().len()), (1, 2));
}

#[tokio::test]
async fn retries_and_targets_share_one_budget() {
    let (system, a, b) = (System::start().await, Upstream::start().await, Upstream::start().await);
    let draft = Draft::new().upstream("a", &a.url()).credential("a", "second", "sk-a2").upstream("b", &b.url());
    system.apply(draft.redirect("m", "m", &[("a", "x"), ("b", "y")])).await;
    for upstream in [&a, &b] {
        for _ in 0..10 {
            upstream.answer(Answer::error(500));
        }
    }
    let reply = system.client().chat("m").await;
    assert_eq!(
        (reply.status, reply.code().as_str(), reply.header("x-signalbox-attempts")),
        (502, "upstream_error", "3")
    );
    assert_eq!(a.seen().len() + b.seen().len(), 3);
    let reply = system.client().chat("a/x").await;
    assert_eq!((reply.status, reply.header("x-signalbox-attempts")), (502, "3"));
}

#[tokio::test]
async fn the_budget_and_the_statuses_are_the_providers_settings() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let retry = Retry {
        attempts: Some(5),
        backoff_base: millis(1),
        backoff_cap: millis(1),
        statuses: vec![529],
        ..Retry::default()
    };
    system.apply(Draft::new().provider(Provider { retry: Some(retry), ..provider("main", &upstream.url()) })).await;
    for _ in 0..4 {
        upstream.answer(Answer::error(529));
    }
    assert_eq!(served_by(&system.client().chat("main/m").await), (200, "main", "5"));
    upstream.answer(Answer::error(500));
    let reply = system.client().chat("main/m").await;
    assert_eq!((reply.status, reply.header("x-signalbox-attempts")), (502, "1"), "500 is not among the statuses");
}

#[tokio::test]
async fn the_clients_own_deadline_ends_the_attempts() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    upstream.answer(Answer::hang());
    let request =
        system.client().request(Method::POST, "/v1/chat/completions").header("x-stainless-read-timeout", "0.2");
    let request = request.header("content-type", "application/json").body(chat("main/m").to_string());
    let reply = Reply::to(request).await;
    assert_eq!(
        (reply.status, reply.code().as_str(), reply.header("x-signalbox-attempts")),
        (504, "upstream_timeout", "1")
    );
    upstream.abandoned(0, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn an_idempotency_key_is_for_one_provider() {
    let (system, a, b) = (System::start().await, Upstream::start().await, Upstream::start().await);
    let draft = Draft::new().upstream("a", &a.url()).upstream("b", &b.url());
    system.apply(draft.redirect("m", "m", &[("a", "x"), ("b", "y")])).await;
    let idempotent = |client: &Client, model: &str| {
        let request = client.request(Method::POST, "/v1/chat/completions").header("idempotency-key", "once");
        request.header("content-type", "application/json").body(chat(model).to_string())
    };
    a.answer(Answer::error(500));
    assert_eq!(Reply::to(idempotent(&system.client(), "m")).await.status, 200);
    assert_eq!((a.only().header("idempotency-key"), b.only().header("idempotency-key")), (Some("once"), None));
    a.answer(Answer::error(500));
    assert_eq!(Reply::to(idempotent(&system.client(), "a/x")).await.status, 200);
    assert_eq!(
        (a.seen()[1].header("idempotency-key"), a.seen()[2].header("idempotency-key")),
        (Some("once"), Some("once"))
    );
}

#[tokio::test]
async fn an_upstream_that_hangs_up_after_each_answer_costs_no_request() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    let body = upstream::completion("m", "bye").to_string();
    let bytes =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let client = system.client();
    for _ in 0..50 {
        upstream.answer(Answer::raw(bytes.clone()));
        assert_eq!(served_by(&client.chat("main/m").await), (200, "main", "1"));
    }
    assert_eq!(upstream.seen().len(), 50);
}

#[tokio::test]
async fn surplus_bytes_never_answer_the_next_request() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    let (body, forged) =
        (upstream::completion("m", "real").to_string(), upstream::completion("m", "forged").to_string());
    let whole = |body: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let live = upstream.answer_live();
    live.write_raw(format!("{}{}", whole(&body), whole(&forged)));
    drop(live);
    let client = system.client();
    assert_eq!(client.chat("main/m").await.content(), "real");
    assert_eq!(client.chat("main/m").await.content(), upstream::REPLY);
}

#[tokio::test]
async fn credentials_take_turns() {
    for (choice, expected) in [(CredentialChoice::LeastRecentlyUsed, 3), (CredentialChoice::LeastUsed, 3)] {
        let (system, upstream) = (System::start().await, Upstream::start().await);
        let main = Provider { credential_choice: choice.into(), ..provider("main", &upstream.url()) };
        let draft = Draft::new()
            .provider(main)
            .credential("main", "a", "sk-a")
            .credential("main", "b", "sk-b")
            .credential("main", "c", "sk-c");
        system.apply(draft).await;
        for _ in 0..9 {
            assert_eq!(system.client().chat("main/m").await.status, 200);
        }
        for key in ["Bearer sk-a", "Bearer sk-b", "Bearer sk-c"] {
            let used = upstream.seen().iter().filter(|seen| seen.header("authorization") == Some(key)).count();
            assert_eq!(used, expected, "{choice:?}");
        }
    }
}
