//! When the client has gone, the upstream call is gone, in every phase, and nobody is blamed for it.

use std::{num::NonZeroUsize, time::Duration};

use signalbox_proto::{
    admin::v1::{Credential, Provider},
    config::v1::Retry,
};
use signalbox_tests::{
    Answer, CLIENT_KEY, Draft, Raw, Setup, System, Upstream, chat, chat_streamed,
    draft::{credential, millis, provider},
    upstream::text,
    wait::eventually,
};

const A_SECOND: Duration = Duration::from_secs(1);

async fn system() -> (System, Upstream) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let retry = Retry { backoff_base: millis(60_000), backoff_cap: millis(60_000), ..Retry::default() };
    let patient = Provider { retry: Some(retry), ..provider("patient", &upstream.url()) };
    let draft =
        Draft::new().upstream("main", &upstream.url()).provider(patient).credential("patient", "k", "sk-patient");
    system.apply(draft.redirect("alias", "alias", &[("main", "m")])).await;
    (system, upstream)
}

async fn ask(system: &System, body: serde_json::Value) -> Raw {
    let body = body.to_string();
    let mut raw = system.data_plane().raw().await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    raw.send(head + &body).await;
    raw
}

/// The request was recorded as abandoned, holds nothing, and the provider serves the next one.
async fn nobody_is_blamed(system: &System, model: &str) {
    system.data_plane().recorded("abandoned", 1).await;
    let in_flight = system.data_plane().metric("signalbox_requests_in_flight", &[]).await;
    assert!(in_flight < 0.5, "{in_flight} requests are under way");
    assert_eq!(system.client().chat(model).await.status, 200);
}

#[tokio::test]
async fn before_the_upstream_answers() {
    let (system, upstream) = system().await;
    upstream.answer(Answer::hang());
    let raw = ask(&system, chat("main/m")).await;
    upstream.request(0).await;
    drop(raw);
    upstream.abandoned(0, A_SECOND).await;
    nobody_is_blamed(&system, "main/m").await;
}

#[tokio::test]
async fn before_the_first_event() {
    let (system, upstream) = system().await;
    let _live = upstream.stream_live();
    let raw = ask(&system, chat_streamed("main/m")).await;
    upstream.request(0).await;
    drop(raw);
    upstream.abandoned(0, A_SECOND).await;
    nobody_is_blamed(&system, "main/m").await;
}

#[tokio::test]
async fn in_the_middle_of_a_stream() {
    for model in ["main/m", "alias"] {
        let (system, upstream) = system().await;
        let live = upstream.stream_live();
        live.write(text("m", "a"));
        let mut events = system.client().chat_stream(model).await;
        assert!(events.next().await.is_some());
        drop(events);
        upstream.abandoned(0, A_SECOND).await;
        nobody_is_blamed(&system, model).await;
    }
}

#[tokio::test]
async fn in_the_middle_of_a_plain_answer() {
    for model in ["main/m", "alias"] {
        let (system, upstream) = system().await;
        let (answer, live) = Answer::status(200).header("content-type", "application/json").live();
        live.write("{\"model\":\"m\",\"half\":");
        upstream.answer(answer);
        let raw = ask(&system, chat(model)).await;
        upstream.request(0).await;
        drop(raw);
        upstream.abandoned(0, A_SECOND).await;
        nobody_is_blamed(&system, model).await;
    }
}

#[tokio::test]
async fn during_a_back_off() {
    let (system, upstream) = system().await;
    upstream.answer(Answer::error(500));
    // In case the jitter comes to nothing.
    upstream.answer(Answer::hang());
    let raw = ask(&system, chat("patient/m")).await;
    upstream.request(0).await;
    drop(raw);
    system.data_plane().recorded("abandoned", 1).await;
    let before = upstream.seen().len();
    assert!(before <= 2, "{before} requests");
}

#[tokio::test]
async fn a_credentials_slot_is_free_again_at_once() {
    let (system, upstream) = system().await;
    let one_at_a_time = Credential { max_in_flight: Some(1), ..credential("main", "main", "sk-main") };
    let mut draft = Draft::new();
    draft.0.credentials.push(one_at_a_time);
    system.apply(draft).await;
    upstream.answer(Answer::hang());
    let raw = ask(&system, chat("main/m")).await;
    upstream.request(0).await;
    assert_eq!(system.client().chat("main/m").await.code(), "no_available_target");
    drop(raw);
    system.data_plane().recorded("abandoned", 1).await;
    assert_eq!(system.client().chat("main/m").await.status, 200);
}

#[tokio::test]
async fn while_its_own_body_is_on_the_way() {
    let (system, upstream) = system().await;
    let mut raw = system.data_plane().raw().await;
    raw.send(format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"model\"")).await;
    eventually("a request under way", async || {
        (system.data_plane().metric("signalbox_requests_in_flight", &[]).await > 0.5).then_some(())
    })
    .await;
    drop(raw);
    eventually("the request to be over", async || {
        (system.data_plane().metric("signalbox_requests_in_flight", &[]).await < 0.5).then_some(())
    })
    .await;
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn one_stream_of_a_connection_leaves_the_others_alone() {
    let (system, upstream) = system().await;
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}/v1/chat/completions", system.data_plane().addr());
    let ask = async |http: &reqwest::Client| {
        let request = http.post(&url).bearer_auth(CLIENT_KEY).header("content-type", "application/json");
        let response = request.body(chat_streamed("main/m").to_string()).send().await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        signalbox_tests::Events::of(response)
    };
    let (first, second) = (upstream.stream_live(), upstream.stream_live());
    first.write(text("m", "first"));
    let mut leaving = ask(&http).await;
    assert_eq!(leaving.next().await, Some(text("m", "first")));
    second.write(text("m", "second"));
    let mut staying = ask(&http).await;
    assert_eq!(staying.next().await, Some(text("m", "second")));
    drop(leaving);
    upstream.abandoned(0, A_SECOND).await;
    second.write(text("m", "more"));
    assert_eq!(staying.next().await, Some(text("m", "more")));
}

#[tokio::test]
async fn of_a_request_without_a_body_over_connections_that_were_used_before() {
    // One worker, so that the connection to the upstream is the one that was used before.
    let setup = Setup { workers: NonZeroUsize::new(1), ..Setup::default() };
    let (system, upstream) = (setup.start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    let mut raw = system.data_plane().raw().await;
    let get =
        format!("GET /v1/responses/resp_1~main HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n\r\n");
    upstream.answer(Answer::json(200, &serde_json::json!({"id": "resp_1", "object": "response"})));
    raw.send(&get).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    upstream.answer(Answer::hang());
    raw.send(&get).await;
    upstream.request(1).await;
    assert_eq!(upstream.connections(), 1);
    drop(raw);
    upstream.abandoned(1, A_SECOND).await;
    nobody_is_blamed(&system, "main/m").await;
}
