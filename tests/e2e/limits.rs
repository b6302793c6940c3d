//! What a client key may use: how it is held to it, what it is told, and what becomes of it when the limits change.

use signalbox_proto::{
    admin::v1::{ClientKey, DeleteClientKeyRequest},
    config::v1::Limits,
};
use signalbox_tests::{
    Answer, Client, Draft, Reply, System, Upstream, chat, chat_streamed, draft,
    upstream::{DONE, finish, text},
    wait::eventually,
};

fn limited(limits: Limits) -> ClientKey {
    ClientKey { limits: Some(limits), ..draft::client_key("limited", "sb_limited") }
}

async fn system(limits: Limits) -> (System, Upstream, Client) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url()).client_key(limited(limits))).await;
    let client = system.client().with_key("sb_limited");
    (system, upstream, client)
}

/// So few tokens that the next one is seconds away: what is used up stays so for as long as a busy machine takes to ask again.
fn trickle() -> Limits {
    Limits { tokens_per_minute: Some(10), ..Limits::default() }
}

#[track_caller]
fn denied(reply: &Reply, kind: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limit_exceeded"), "{reply:?}");
    assert_eq!(reply.json()["error"]["type"], kind);
    let (seconds, millis): (u64, u64) =
        (reply.header("retry-after").parse().unwrap(), reply.header("retry-after-ms").parse().unwrap());
    assert!(millis > 0 && seconds == millis.div_ceil(1000), "{seconds} s are {millis} ms");
    assert_eq!(reply.header("x-should-retry"), if millis > 60_000 { "false" } else { "" });
}

#[tokio::test]
async fn a_key_begins_as_many_requests_in_a_minute_as_it_may_and_is_told_of_it() {
    let (system, upstream, client) = system(Limits { requests_per_minute: Some(2), ..Limits::default() }).await;
    let theirs =
        Answer::status(200).header("content-type", "application/json").header("x-ratelimit-limit-requests", "9");
    upstream.answer(theirs.header("x-ratelimit-remaining-tokens", "9").body("{}"));
    let reply = client.chat("main/m").await;
    assert_eq!((reply.status, reply.header("x-ratelimit-limit-requests")), (200, "2"), "our limit, not theirs");
    assert_eq!(reply.header("x-ratelimit-remaining-requests"), "1");
    assert!(reply.header("x-ratelimit-reset-requests").ends_with('s'), "{reply:?}");
    assert_eq!(reply.header("x-ratelimit-remaining-tokens"), "", "there is no limit to tell of");
    assert_eq!(client.chat("main/m").await.status, 200);

    let reply = client.chat("main/m").await;
    denied(&reply, "requests");
    assert_eq!(reply.header("x-ratelimit-remaining-requests"), "0");
    assert_eq!(upstream.calls().len(), 2, "what is denied goes nowhere");
    let other = system.client().chat("main/m").await;
    assert_eq!((other.status, other.header("x-ratelimit-limit-requests")), (200, ""));
}

#[tokio::test]
async fn a_key_that_has_used_up_its_tokens_waits_until_the_debt_is_paid() {
    let (_system, upstream, client) = system(Limits { tokens_per_minute: Some(1000), ..Limits::default() }).await;
    let completion = r#"{"choices":[],"usage":{"prompt_tokens":2000,"completion_tokens":1000,"total_tokens":3000}}"#;
    upstream.answer(Answer::status(200).header("content-type", "application/json").body(completion));
    let reply = client.chat("main/m").await;
    assert_eq!((reply.status, reply.header("x-ratelimit-limit-tokens")), (200, "1000"));
    let reply = eventually("the tokens to be counted", async || {
        Some(client.chat("main/m").await).filter(|reply| reply.status != 200)
    })
    .await;
    denied(&reply, "tokens");
    assert_eq!(reply.header("x-ratelimit-remaining-tokens"), "0");
    assert_eq!(reply.header("x-should-retry"), "false", "two minutes are too long for an SDK");
}

#[tokio::test]
async fn what_an_answer_may_take_is_set_aside_until_it_says_what_it_took() {
    let (_system, upstream, client) = system(trickle()).await;
    let mut greedy = chat_streamed("main/m");
    greedy["max_completion_tokens"] = 5000.into();
    let live = upstream.stream_live();
    live.write(text("m", "a"));
    let mut events = client.stream("/v1/chat/completions", greedy.to_string()).await;
    assert_eq!(events.header("x-ratelimit-remaining-tokens"), "0");
    events.next().await;
    denied(&client.chat("main/m").await, "tokens");
    live.write(finish("m"));
    live.write("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n");
    live.write(DONE);
    live.end();
    events.rest().await;
    eventually("what was set aside to be given back", async || {
        (client.chat("main/m").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_failure_costs_no_tokens_and_an_answer_that_is_left_costs_what_was_set_aside() {
    let (_system, upstream, client) = system(trickle()).await;
    let mut greedy = chat("main/m");
    greedy["max_tokens"] = 5000.into();
    upstream.answer(Answer::error(400));
    assert_eq!(client.post("/v1/chat/completions", greedy.to_string()).await.status, 400);
    eventually("what was set aside to be given back", async || {
        (client.chat("main/m").await.status == 200).then_some(())
    })
    .await;

    greedy["stream"] = true.into();
    let live = upstream.stream_live();
    live.write(text("m", "a"));
    let mut events = client.stream("/v1/chat/completions", greedy.to_string()).await;
    events.next().await;
    let left = upstream.calls().len() - 1;
    drop(events);
    upstream.call_abandoned(left, std::time::Duration::from_secs(5)).await;
    denied(&client.chat("main/m").await, "tokens");
}

#[tokio::test]
async fn a_key_has_only_so_many_requests_under_way() {
    let (_system, upstream, client) = system(Limits { max_in_flight: Some(1), ..Limits::default() }).await;
    let live = upstream.stream_live();
    live.write(text("m", "a"));
    let mut events = client.chat_stream("main/m").await;
    events.next().await;
    let reply = client.chat("main/m").await;
    denied(&reply, "requests");
    live.write(finish("m"));
    live.write(DONE);
    live.end();
    events.rest().await;
    eventually("the place to be free again", async || (client.chat("main/m").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_new_limit_holds_from_its_revision_on_and_a_revoked_key_is_no_longer_known() {
    let (system, _upstream, client) = system(Limits { requests_per_minute: Some(1), ..Limits::default() }).await;
    assert_eq!(client.chat("main/m").await.status, 200);
    denied(&client.chat("main/m").await, "requests");

    let raised = Limits { requests_per_minute: Some(3), ..Limits::default() };
    system.apply(Draft::new().client_key(limited(raised))).await;
    let reply = client.chat("main/m").await;
    assert_eq!(
        (reply.status, reply.header("x-ratelimit-remaining-requests")),
        (200, "1"),
        "the first one still counts"
    );
    system.apply(Draft::new().client_key(limited(Limits { requests_per_minute: Some(1), ..Limits::default() }))).await;
    denied(&client.chat("main/m").await, "requests");
    system.apply(Draft::new().client_key(draft::client_key("limited", "sb_limited"))).await;
    assert_eq!(client.chat("main/m").await.status, 200, "no limit is left");

    let request = DeleteClientKeyRequest { name: "clientKeys/limited".to_owned(), ..DeleteClientKeyRequest::default() };
    system.admin().client_keys().delete_client_key(request).await.unwrap();
    let refused = eventually("the key to be refused", async || {
        Some(client.chat("main/m").await).filter(|reply| reply.status != 200)
    });
    assert_eq!(refused.await.code(), "invalid_api_key");
}
