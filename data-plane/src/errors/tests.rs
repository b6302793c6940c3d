//! The table, row by row.

use serde_json::{Value, json};

use super::*;
use crate::{attempt::Clock, openai::envelope::Field, reply::Content};

const SECOND: Duration = Duration::from_secs(1);

fn whole(reply: Reply) -> (http::response::Parts, Value) {
    let (head, content) = reply.into_parts();
    let Content::Whole(body) = content else { panic!("an error is told as a whole") };
    (head, serde_json::from_slice(&body).unwrap())
}

/// Status, type, code and param of the answer, and its headers as `name: value`, besides the content type.
fn told(error: &Error) -> (u16, String, Vec<String>) {
    let (head, body) = whole(error.reply(Shape::OpenAi));
    assert_eq!(head.headers[http::header::CONTENT_TYPE], "application/json");
    let error = body["error"].as_object().unwrap();
    assert_eq!(error.keys().collect::<Vec<_>>(), ["code", "message", "param", "type"], "all four keys, always");
    let message = error["message"].as_str().unwrap();
    assert!(message.ends_with(['.', '`']) && !message.ends_with("..") && !message.contains("  "), "{message}");
    let words = ["type", "code", "param"].map(|key| error[key].as_str().unwrap_or("-")).join(" ");
    let headers = head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
    (head.status.as_u16(), words, headers.filter(|header| !header.starts_with("content-type")).collect())
}

fn failed(cause: Cause) -> Error {
    recovering(cause, None)
}

fn recovering(cause: Cause, wait: Option<Duration>) -> Error {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let recovery = wait.map(|wait| Instant::now() + wait);
    Failed { provider: crate::attempt::tests::provider("main", address, &[]).into(), cause, recovery }.into()
}

#[test]
fn a_clients_mistakes_are_named() {
    let invalid = |rest: &str| format!("invalid_request_error {rest}");
    for (error, status, words, headers) in [
        (framing::Error::Host.into(), 400, "malformed_request -", &["connection: close"][..]),
        (framing::Error::Form.into(), 400, "malformed_request -", &["connection: close"]),
        (framing::Error::Length.into(), 400, "malformed_request -", &["connection: close"]),
        (framing::Error::TargetTooLong { limit: 1 }.into(), 414, "url_too_long -", &["connection: close"]),
        (framing::Error::TooManyHeaders { limit: 1 }.into(), 431, "headers_too_large -", &["connection: close"]),
        (path::Error::Dot.into(), 400, "invalid_url -", &[]),
        (Error::Nowhere, 404, "unknown_url -", &[]),
        (Error::Method { allow: "GET, HEAD" }, 405, "method_not_allowed -", &["allow: GET, HEAD"]),
        (
            auth::Refused::Missing.into(),
            401,
            "missing_api_key -",
            &["www-authenticate: Bearer", "x-should-retry: false"],
        ),
        (
            auth::Refused::Invalid.into(),
            401,
            "invalid_api_key -",
            &["www-authenticate: Bearer", "x-should-retry: false"],
        ),
        (auth::Refused::Ambiguous.into(), 400, "ambiguous_api_key -", &[]),
        (openai::Media::NoJson.into(), 415, "unsupported_media_type -", &["accept: application/json"]),
        (openai::Media::NoForm.into(), 415, "unsupported_media_type -", &["accept: multipart/form-data"]),
        (form::Error::Boundary.into(), 400, "malformed_form -", &["connection: close"]),
        (form::Error::Late { limit: 9 }.into(), 400, "missing_parameter model", &["connection: close"]),
        (
            form::Error::Field(envelope::Error::Repeated(Field::Model)).into(),
            400,
            "repeated_parameter model",
            &["connection: close"],
        ),
        (
            openai::Media::Encoding.into(),
            415,
            "unsupported_media_type -",
            &["accept: application/json, multipart/form-data"],
        ),
        (inbound::Error::TooLarge { limit: 1 }.into(), 413, "request_too_large -", &["connection: close"]),
        (inbound::Error::TooSlow.into(), 408, "request_timeout -", &["connection: close"]),
        (inbound::Error::Malformed("x".into()).into(), 400, "malformed_request -", &["connection: close"]),
        (envelope::Error::NotAnObject.into(), 400, "invalid_json -", &[]),
        (envelope::Error::Missing(Field::Model).into(), 400, "missing_parameter model", &[]),
        (envelope::Error::Repeated(Field::Model).into(), 400, "repeated_parameter model", &[]),
        (envelope::Error::Type(Field::Stream).into(), 400, "invalid_type stream", &[]),
        (envelope::Error::ModelLength.into(), 400, "invalid_value model", &[]),
        (Refusal::ModelNotFound.into(), 404, "model_not_found model", &[]),
    ] {
        let headers = headers.iter().map(|header| (*header).to_owned()).collect();
        assert_eq!(told(&error), (status, invalid(words), headers), "{error:?}");
    }
}

#[test]
fn what_the_gateway_lacks_is_said_with_a_time_to_come_back() {
    let soon = ["retry-after: 1", "retry-after-ms: 1000"];
    for (error, code) in [
        (Error::NotReady, "gateway_not_ready"),
        (Error::Draining, "gateway_not_ready"),
        (Error::Full, "overloaded"),
        (failed(Cause::Busy), "no_available_target"),
        (failed(Cause::Ejected), "no_available_target"),
    ] {
        assert_eq!(told(&error), (503, format!("server_error {code} -"), soon.map(str::to_owned).to_vec()));
    }
    assert_eq!(told(&Error::Panicked), (500, "server_error internal_error -".to_owned(), vec![]));
}

#[test]
fn what_an_upstream_comes_to_after_our_own_attempts_is_not_worth_another() {
    let never = vec!["x-should-retry: false".to_owned()];
    for (error, status, code) in [
        (failed(Cause::CredentialsExhausted { status: None }), 502, "upstream_credentials_exhausted"),
        (failed(Cause::TimedOut(Clock::FirstEvent)), 504, "upstream_timeout"),
        (failed(Cause::Status(StatusCode::INTERNAL_SERVER_ERROR)), 502, "upstream_error"),
        (failed(Cause::ErrorInside), 502, "upstream_error"),
        (failed(Cause::BrokenOff(None)), 502, "upstream_error"),
        (failed(Cause::TooLarge { limit: 1 }), 502, "upstream_response_too_large"),
        (failed(Cause::OverLimit { limit: 1 }), 502, "upstream_response_too_large"),
        (mount::Error::Unusable.into(), 502, "upstream_error"),
        (mount::Error::Upgrade.into(), 502, "upstream_error"),
        (mount::Error::TimedOut { after: SECOND }.into(), 504, "upstream_timeout"),
    ] {
        assert_eq!(told(&error), (status, format!("server_error {code} -"), never.clone()), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_will_soon_go_better_is_worth_another_attempt() {
    for (cause, status) in [
        (Cause::Ejected, 503),
        (Cause::Busy, 503),
        (Cause::Status(StatusCode::SERVICE_UNAVAILABLE), 502),
        (Cause::TimedOut(Clock::ResponseHeader), 504),
    ] {
        let error = recovering(cause, Some(7 * SECOND));
        let (code, _, headers) = told(&error);
        assert_eq!((code, headers), (status, ["retry-after: 7", "retry-after-ms: 7000"].map(str::to_owned).to_vec()));
    }
    let (_, _, headers) = told(&recovering(Cause::Ejected, Some(61 * SECOND)));
    assert!(headers.contains(&"x-should-retry: false".to_owned()), "{headers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_says_when_it_ends_and_a_long_one_that_waiting_is_not_for_sdks() {
    for (wait, headers) in [
        (Some(Duration::from_millis(1500)), &["retry-after: 2", "retry-after-ms: 1500"][..]),
        (Some(60 * SECOND), &["retry-after: 60", "retry-after-ms: 60000"]),
        (Some(61 * SECOND), &["retry-after: 61", "retry-after-ms: 61000", "x-should-retry: false"]),
        (None, &["retry-after: 10", "retry-after-ms: 10000"]),
    ] {
        let headers = headers.iter().map(|header| (*header).to_owned()).collect();
        let expected = (429, "requests rate_limit_exceeded -".to_owned(), headers);
        assert_eq!(told(&recovering(Cause::RateLimited, wait)), expected);
    }
}

#[test]
fn a_broken_stream_ends_in_an_error_event() {
    for (broken, code) in [
        (Broken::Incomplete, "upstream_error"),
        (Broken::Idle, "upstream_timeout"),
        (Broken::TotalTime, "upstream_timeout"),
        (Broken::TooLarge { limit: 1 }, "upstream_response_too_large"),
        (Broken::OverLimit, "upstream_response_too_large"),
    ] {
        let event = stream_event(Shape::OpenAi, &broken);
        let data = event.strip_prefix(b"data: ").unwrap().strip_suffix(b"\n\n").unwrap();
        let error = serde_json::from_slice::<Value>(data).unwrap()["error"].take();
        assert_eq!(
            (&error["type"], &error["code"], &error["param"]),
            (&json!("server_error"), &json!(code), &Value::Null)
        );
    }
}

#[test]
fn slow_headers_are_answered_with_a_whole_message() {
    let message = String::from_utf8(unread::too_slow().to_vec()).unwrap();
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 408 "));
    assert!(head.contains(&format!("content-length: {}", body.len())));
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["error"]["code"], "request_timeout");
}

#[test]
fn anthropics_clients_are_told_in_their_own_shape() {
    let request_id = crate::record::RequestId::new();
    for (error, status, kind) in [
        (Error::from(envelope::Error::NotAnObject), 400, "invalid_request_error"),
        (auth::Refused::Invalid.into(), 401, "authentication_error"),
        (Refusal::ModelNotFound.into(), 404, "not_found_error"),
        (inbound::Error::TooLarge { limit: 1 }.into(), 413, "request_too_large"),
        (failed(Cause::RateLimited), 429, "rate_limit_error"),
        (failed(Cause::ErrorInside), 502, "api_error"),
        (Error::Full, 503, "overloaded_error"),
        (failed(Cause::TimedOut(Clock::FirstEvent)), 504, "timeout_error"),
    ] {
        let (head, body) = whole(error.reply(Shape::Anthropic(Some(request_id))));
        assert_eq!(
            (head.status.as_u16(), head.headers["request-id"].to_str().unwrap()),
            (status, &*request_id.to_string())
        );
        let message = body["error"]["message"].as_str().unwrap();
        let told =
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id.to_string()});
        assert_eq!(body, told);
    }
}

#[test]
fn a_stream_of_anthropics_breaks_in_its_own_shape() {
    let event = stream_event(Shape::Anthropic(None), &Broken::Idle);
    let data = event.strip_prefix(b"event: error\ndata: ").and_then(|rest| rest.strip_suffix(b"\n\n")).unwrap();
    let told: Value = serde_json::from_slice(data).unwrap();
    let message = "The provider fell silent in the middle of its answer.";
    assert_eq!(told, json!({"type": "error", "error": {"type": "timeout_error", "message": message}}));
}
