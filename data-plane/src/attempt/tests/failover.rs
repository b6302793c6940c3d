//! What fails over, what does not, and what is left to say when nothing is left to try.

use super::{
    upstream::{Act, Step, Upstream, answer, json, stream, stream_of, then},
    *,
};
use crate::attempt::{Cause, Clock};

const GREETING: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// A provider that gives up soon where the case is that its upstream hangs.
fn hasty(id: &str, address: SocketAddr, case: &str) -> Provider {
    let soon = Duration::from_millis(100);
    let mut provider = provider(id, address, &[]);
    match case {
        "hangs before the header" => provider.timeouts.response_header = soon,
        _ if case.starts_with("hangs") => provider.timeouts.first_event = soon,
        _ => {}
    }
    provider
}

fn failures() -> Vec<(&'static str, Act, bool)> {
    let error = r#"{"error":{"message":"overloaded"}}"#;
    let event = format!("data: {error}\n\n");
    vec![
        ("closes without an answer", vec![Step::Close], false),
        ("resets", vec![Step::Reset], false),
        ("sends garbage", vec![Step::Send(b"\x00\x01garbage\r\n\r\n".to_vec()), Step::Close], false),
        ("sends a header without end", vec![Step::Send(b"HTTP/1.1 200 OK\r\nx: ".to_vec()), Step::Close], false),
        ("answers 500", json("500 Internal Server Error", error), false),
        ("answers 503", json("503 Service Unavailable", error), false),
        ("answers 401", json("401 Unauthorized", error), false),
        ("answers 429", json("429 Too Many Requests", error), false),
        ("hangs before the header", vec![Step::Hang], false),
        ("hangs before the first event", then(stream_of(&[]), Step::Hang), true),
        ("hangs after an empty delta", then(stream_of(&[ROLE]), Step::Hang), true),
        ("begins with an error", stream(&[&event]), true),
        ("errs after an empty delta", stream(&[ROLE, &event]), true),
        ("begins with what is no event", stream(&["data: sorry\n\n"]), true),
        ("breaks before the first event", then(stream_of(&[ROLE, "data: {\"cho"]), Step::Close), true),
        ("ends before the first event", stream(&[ROLE]), true),
        ("answers a stream with an error object", json("200 OK", error), true),
    ]
}

#[tokio::test]
async fn whatever_fails_before_the_commit_goes_to_the_next_target() {
    for (case, act, as_stream) in failures() {
        let first = Upstream::play([act]).await;
        let good = if as_stream { stream(&[GREETING, DONE]) } else { json("200 OK", HELLO) };
        let second = Upstream::play([good]).await;
        let scene = Scene::new([hasty("first", first.address, case), provider("second", second.address, &[])]);

        let (outcome, trail) = scene.run(if as_stream { streamed() } else { chat() }).await;

        let won = outcome.unwrap_or_else(|failed| panic!("{case}: {failed:?}"));
        assert_eq!((trail.attempts, trail.provider.unwrap().id.as_str()), (2, "second"), "{case}");
        let told = text(won.body).await;
        assert_eq!(told, if as_stream { [GREETING, DONE].concat() } else { HELLO.to_owned() }, "{case}");
    }
}

#[tokio::test]
async fn what_nobody_answers_is_told_by_its_last_failure() {
    for (case, act, as_stream) in failures() {
        let upstream = Upstream::play([act]).await;
        let scene = Scene::new([hasty("only", upstream.address, case)]).with_attempts(1);
        let (outcome, trail) = scene.run(if as_stream { streamed() } else { chat() }).await;
        let cause = outcome.expect_err(case).cause;
        let expected = match case {
            "answers 500" => matches!(cause, Cause::Status(StatusCode::INTERNAL_SERVER_ERROR)),
            "answers 503" => matches!(cause, Cause::Status(StatusCode::SERVICE_UNAVAILABLE)),
            "answers 401" => matches!(cause, Cause::CredentialsExhausted { status: Some(StatusCode::UNAUTHORIZED) }),
            "answers 429" => matches!(cause, Cause::RateLimited),
            "hangs before the header" => matches!(cause, Cause::TimedOut(Clock::ResponseHeader)),
            "hangs before the first event" | "hangs after an empty delta" => {
                matches!(cause, Cause::TimedOut(Clock::FirstEvent))
            }
            "breaks before the first event" => matches!(cause, Cause::BrokenOff(Some(_))),
            "ends before the first event" => matches!(cause, Cause::BrokenOff(None)),
            _ if as_stream => matches!(cause, Cause::ErrorInside),
            _ => matches!(cause, Cause::Unreachable(_)),
        };
        assert!(expected, "{case}: {cause:?}");
        assert_eq!(trail.attempts, 1, "{case}");
    }
}

#[tokio::test]
async fn a_refused_connection_goes_to_the_next_target() {
    let upstream = Upstream::play([json("200 OK", HELLO)]).await;
    let nowhere = Upstream::nowhere().await;
    let scene = Scene::new([provider("first", nowhere, &[]), provider("second", upstream.address, &[])]);
    assert_eq!(text(scene.win(chat()).await.body).await, HELLO);
}

#[tokio::test]
async fn the_same_target_is_tried_again_where_there_is_no_other() {
    let unavailable = json("503 Service Unavailable", "{}");
    let upstream = Upstream::play([unavailable.clone(), vec![Step::Close], json("200 OK", HELLO)]).await;
    let (outcome, trail) = Scene::new([provider("only", upstream.address, &[])]).run(chat()).await;
    assert_eq!(text(outcome.unwrap().body).await, HELLO);
    assert_eq!((trail.attempts, trail.upstream_status), (3, Some(StatusCode::OK)));
    assert!(trail.answered_at.is_some() && trail.committed_at.is_some());
}

#[tokio::test]
async fn one_budget_holds_for_all_targets_together() {
    let upstream = Upstream::play([json("500 Internal Server Error", "{}")]).await;
    let scene = Scene::new([
        provider("first", upstream.address, &["key-a", "key-b"]),
        provider("second", upstream.address, &[]),
    ]);
    let (outcome, trail) = scene.run(chat()).await;
    assert!(matches!(outcome.unwrap_err().cause, Cause::Status(StatusCode::INTERNAL_SERVER_ERROR)));
    assert_eq!((trail.attempts, upstream.seen().len()), (3, 3));
}

#[tokio::test]
async fn what_is_wrong_with_the_request_itself_passes_untouched_and_is_final() {
    for status in
        ["400 Bad Request", "404 Not Found", "409 Conflict", "413 Content Too Large", "422 Unprocessable Content"]
    {
        let body = "{\"error\": {\"message\":\"no\" } }";
        let upstream = Upstream::play([json(status, body)]).await;
        let scene = Scene::new([provider("first", upstream.address, &[]), provider("second", upstream.address, &[])]);
        let (outcome, trail) = scene.naming_the_model_as_requested().run(chat()).await;
        let won = outcome.unwrap();
        assert_eq!((won.status.as_str(), trail.attempts), (&status[..3], 1));
        assert_eq!(text(won.body).await, body);
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed_nor_passed_on() {
    let elsewhere = Upstream::play([json("200 OK", HELLO)]).await;
    let location = format!("location: http://{}/", elsewhere.address);
    let upstream = Upstream::play([answer("307 Temporary Redirect", &[&location], "")]).await;
    let (outcome, trail) = Scene::new([provider("only", upstream.address, &["secret-key"])]).run(chat()).await;
    assert!(matches!(outcome.unwrap_err().cause, Cause::Status(StatusCode::TEMPORARY_REDIRECT)));
    assert_eq!((trail.attempts, elsewhere.connections()), (1, 0));
}

#[tokio::test]
async fn a_client_error_that_is_retried_passes_once_the_budget_is_spent() {
    let upstream = Upstream::play([json("409 Conflict", "{}")]).await;
    let mut provider = provider("only", upstream.address, &[]);
    provider.retry.statuses = vec![409];
    let (outcome, trail) = Scene::new([provider]).run(chat()).await;
    assert_eq!((outcome.unwrap().status, trail.attempts), (StatusCode::CONFLICT, 3));
}

#[tokio::test]
async fn no_attempt_is_begun_that_the_client_will_not_wait_for() {
    let upstream = Upstream::play([json("500 Internal Server Error", "{}")]).await;
    let late = Call { deadline: Some(Instant::now()), ..chat() };
    let (outcome, trail) = Scene::new([provider("only", upstream.address, &[])]).run(late).await;
    assert!(matches!(outcome.unwrap_err().cause, Cause::TimedOut(Clock::Client)));
    assert_eq!((trail.attempts, upstream.connections()), (0, 0));

    fastrand::seed(1);
    let mut slow = provider("only", upstream.address, &[]);
    (slow.retry.backoff_base, slow.retry.backoff_cap) = (3600 * SECOND, 3600 * SECOND);
    let soon = Call { deadline: Some(Instant::now() + 10 * SECOND), ..chat() };
    let (outcome, trail) = Scene::new([slow]).run(soon).await;
    assert!(matches!(outcome.unwrap_err().cause, Cause::Status(StatusCode::INTERNAL_SERVER_ERROR)));
    assert_eq!(trail.attempts, 1);
}

#[tokio::test]
async fn the_client_s_deadline_and_the_total_time_end_an_attempt() {
    let upstream = Upstream::play([vec![Step::Hang]]).await;
    let scene = Scene::new([provider("only", upstream.address, &[])]);
    let soon = Call { deadline: Some(Instant::now() + Duration::from_millis(300)), ..streamed() };
    let (outcome, trail) = scene.run(soon).await;
    assert!(matches!(outcome.unwrap_err().cause, Cause::TimedOut(Clock::Client)));
    assert_eq!(trail.attempts, 1);

    let mut brief = provider("only", upstream.address, &[]);
    brief.timeouts.total = Duration::from_millis(300);
    let (outcome, _) = Scene::new([brief]).run(chat()).await;
    assert!(matches!(outcome.unwrap_err().cause, Cause::TimedOut(Clock::Total)));
}

#[tokio::test]
async fn a_connection_that_went_stale_in_the_pool_costs_no_request() {
    let upstream = Upstream::play([then(json("200 OK", HELLO), Step::Close)]).await;
    let scene = Scene::new([provider("only", upstream.address, &[])]);
    for _ in 0..20 {
        assert_eq!(text(scene.win(chat()).await.body).await, HELLO);
    }
}
