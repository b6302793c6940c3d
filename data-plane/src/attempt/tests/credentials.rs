//! What becomes of a provider's keys on the way, and that they go nowhere else.

use std::sync::Arc;

use super::{
    upstream::{Seen, Upstream, answer, json, stream_of},
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
        let Cause::RateLimited { retry_after: Some(wait) } = outcome.unwrap_err().cause else { panic!("not limited") };
        assert!(wait > 5 * SECOND && wait <= 7 * SECOND, "{wait:?}");
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
async fn a_key_that_the_upstream_repeats_is_taken_out() {
    let said = r#"{"error":{"message":"key secret-key-1 may not do this"}}"#;
    let headers = ["content-type: application/json", "x-debug: secret-key-1", "x-kept: yes"];
    let upstream = Upstream::play([answer("400 Bad Request", &headers, said)]).await;
    let won = Scene::new([provider("only", upstream.address, &["secret-key-1"])]).win(chat()).await;
    assert!(won.headers.contains_key("x-kept") && !won.headers.contains_key("x-debug"));
    assert_eq!(text(won.body).await, r#"{"error":{"message":"key [redacted] may not do this"}}"#);

    let long = "x".repeat(10 * 1024 * 1024 + 1);
    let upstream = Upstream::play([answer("400 Bad Request", &[], &long)]).await;
    let (outcome, _) = Scene::new([provider("only", upstream.address, &["secret-key-1"])]).run(chat()).await;
    assert!(matches!(outcome.unwrap_err().cause, Cause::TooLarge { limit: 10_485_760 }));
}
