//! What becomes of a provider's keys on the way, and that they go nowhere else.

use std::sync::Arc;

use http_body::Body as _;

use super::{
    upstream::{Seen, Upstream, answer, json, stream, stream_of},
    *,
};
use crate::attempt::Cause;

fn keys(seen: &[Seen]) -> Vec<&str> {
    seen.iter().filter_map(|seen| seen.header("authorization")).collect()
}

#[tokio::test]
async fn a_refused_key_is_followed_by_the_next_one_at_once() {
    let refusal = json("401 Unauthorized", r#"{"error":{"message":"who are you"}}"#);
    let upstream = Upstream::play([refusal, json("200 OK", HELLO)]).await;
    let mut provider = provider("only", upstream.address, &["key-a", "key-b"]);
    (provider.retry.backoff_base, provider.retry.backoff_cap) = (3600 * SECOND, 3600 * SECOND);
    let scene = Scene::new([provider]);

    let (outcome, trail) = scene.run(chat()).await;
    assert_eq!(text(outcome.unwrap().body).await, HELLO);
    assert_eq!(trail.credential.as_deref(), Some("providers/only/credentials/key-b"));
    scene.win(chat()).await;

    assert_eq!(keys(&upstream.seen()), ["Bearer key-a", "Bearer key-b", "Bearer key-b"]);
}

#[tokio::test]
async fn when_every_key_is_refused_none_is_tried_twice() {
    for status in ["401 Unauthorized", "402 Payment Required", "403 Forbidden"] {
        let upstream = Upstream::play([json(status, "{}")]).await;
        let scene = Scene::new([provider("only", upstream.address, &["key-a", "key-b"])]).with_attempts(9);
        let (outcome, trail) = scene.run(chat()).await;
        let Cause::CredentialsExhausted { status: Some(last) } = outcome.unwrap_err().cause else { panic!("{status}") };
        assert_eq!((last.as_str(), trail.attempts), (&status[..3], 2));
    }
}

#[tokio::test]
async fn a_limited_key_cools_and_the_earliest_thaw_is_told() {
    let limited = |wait: &str| answer("429 Too Many Requests", &[&format!("retry-after: {wait}")], "{}");
    let upstream = Upstream::play([limited("70"), limited("7"), json("200 OK", HELLO)]).await;
    let scene = Scene::new([provider("only", upstream.address, &["key-a", "key-b"])]);
    for attempts in [2, 0] {
        let (outcome, trail) = scene.run(chat()).await;
        let failed = outcome.unwrap_err();
        let wait = failed.recovery.expect("it is known") - Instant::now();
        assert!(matches!(failed.cause, Cause::RateLimited) && wait > 5 * SECOND && wait <= 7 * SECOND, "{wait:?}");
        assert_eq!(trail.attempts, attempts);
    }
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn a_key_is_in_flight_until_the_answer_is_read_or_dropped() {
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let upstream = Upstream::play([stream_of(&[event])]).await;
    let mut provider = provider("only", upstream.address, &["key-a"]);
    provider.credentials = vec![Arc::new(Credential { max_in_flight: Some(1), ..(*provider.credentials[0]).clone() })];
    let scene = Scene::new([provider]);

    let won = scene.win(streamed()).await;
    let (outcome, trail) = scene.run(streamed()).await;
    assert!(matches!(outcome.unwrap_err().cause, Cause::Busy));
    assert_eq!(trail.attempts, 0);
    drop(won);
    scene.win(streamed()).await;
}

#[tokio::test]
async fn a_provider_without_keys_is_sent_none() {
    let upstream = Upstream::play([json("200 OK", HELLO)]).await;
    Scene::new([provider("only", upstream.address, &[])]).win(chat()).await;
    assert_eq!(keys(&upstream.seen()), [""; 0]);
}

#[tokio::test]
async fn a_key_that_the_upstream_repeats_is_masked() {
    let said = r#"{"error":{"message":"key secret-key-1 may not do this"}}"#;
    let long = format!("{}secret-key-1", "secret-key-".repeat(1_000_000));
    for status in ["400 Bad Request", "200 OK"] {
        for body in [said, &long] {
            let headers = ["content-type: application/json", "x-debug: secret-key-1", "x-kept: yes"];
            let upstream = Upstream::play([answer(status, &headers, body)]).await;
            let won = Scene::new([provider("only", upstream.address, &["secret-key-1"])]).win(chat()).await;
            assert_eq!(
                (won.headers["x-kept"].to_str().unwrap(), won.headers["x-debug"].to_str().unwrap()),
                ("yes", "************")
            );
            assert_eq!(won.body.size_hint().exact(), Some(body.len() as u64));
            assert!(text(won.body).await == body.replace("secret-key-1", "************"), "{status}");
        }
    }
}

#[tokio::test]
async fn a_key_that_the_upstream_repeats_in_a_stream_is_masked() {
    let events = |key: &str| {
        let role = r#"{"choices":[{"delta":{"role":"assistant"}}],"x":"KEY"}"#;
        let word = r#"{"choices":[{"delta":{"content":"KEY"}}],"model":"m"}"#;
        [role, word, r#"{"error":{"message":"bad key KEY"}}"#]
            .map(|data| format!("data: {}\n\n", data.replace("KEY", key)))
            .concat()
    };
    let upstream = Upstream::play([stream(&[&events("secret-key-1")])]).await;
    let scene = Scene::new([provider("only", upstream.address, &["secret-key-1"])]);
    assert_eq!(text(scene.win(streamed()).await.body).await, events("************"));
    let renamed = events("************").replace(r#""model":"m""#, r#""model":"asked""#);
    assert_eq!(text(scene.naming_the_model_as_requested().win(streamed()).await.body).await, renamed);
}
