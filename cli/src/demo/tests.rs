//! The demo upstream over a real socket, as a client meets it.

use std::time::Duration;

use futures_util::FutureExt as _;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

async fn start() -> Demo {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Demo::start(listener, &SecretString::from("demo-key")).unwrap()
}

fn client() -> Client {
    Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

fn post(demo: &Demo, path: &str, body: &Value) -> RequestBuilder {
    client().post(format!("{}{path}", demo.base_url())).bearer_auth("demo-key").body(body.to_string())
}

async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

async fn answer_to(demo: &Demo, path: &str, body: &Value) -> Value {
    json_of(post(demo, path, body).send().await.unwrap()).await
}

async fn stream_of(demo: &Demo, path: &str, body: &Value) -> String {
    post(demo, path, body).send().await.unwrap().text().await.unwrap()
}

/// The `data:` of each event, JSON where it is.
fn events(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

/// The text that a chat stream carried.
fn text_of(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
}

fn chat(model: &str, text: &str, stream: bool) -> Value {
    json!({ "model": model, "stream": stream, "messages": [{ "role": "user", "content": text }] })
}

/// All that arrives before the answer ends, and whether it ended cleanly.
async fn until_broken(mut response: Response) -> (String, bool) {
    let mut arrived = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => arrived.extend_from_slice(&bytes),
            end => return (String::from_utf8(arrived).unwrap(), end.is_ok()),
        }
    }
}

async fn seen_to_be(demo: &Demo, outcome: Outcome) {
    tokio::time::timeout(LIMIT, async {
        while demo.seen().last().map(|seen| seen.outcome) != Some(outcome) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_refused_in_openais_words() {
    let demo = start().await;
    let url = format!("{}/models", demo.base_url());
    let response = client().get(&url).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["www-authenticate"].to_str().unwrap()), (401, "Bearer"));
    let response = client().get(&url).bearer_auth("another").send().await.unwrap();
    assert_eq!(response.status(), 401);
    let error = json_of(response).await["error"].take();
    assert_eq!(error["code"], "invalid_api_key");
    assert!(!error["message"].as_str().unwrap().contains("another"));
}

#[tokio::test]
async fn readiness_needs_no_key() {
    let demo = start().await;
    let response = client().get(format!("http://{}/readyz", demo.addr())).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn models_are_listed_and_found_one_by_one() {
    let demo = start().await;
    let get = |path: &str| client().get(format!("{}{path}", demo.base_url())).bearer_auth("demo-key").send();
    let list = json_of(get("/models").await.unwrap()).await;
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(&ids[..3], ["echo", "embed", "fault-refuse"]);
    assert_eq!(json_of(get("/models/echo").await.unwrap()).await["object"], "model");
    assert_eq!(get("/models/none").await.unwrap().status(), 404);
}

#[tokio::test]
async fn chat_echoes_the_last_user_message_with_its_images_counted() {
    let demo = start().await;
    let parts =
        json!([{ "type": "text", "text": "what is" }, { "type": "image_url", "image_url": { "url": "data:," } }]);
    let messages = json!([
        { "role": "system", "content": "be brief" },
        { "role": "user", "content": parts },
        { "role": "assistant", "content": null },
    ]);
    let answer = answer_to(&demo, "/chat/completions", &json!({ "model": "echo", "messages": messages, "n": 2 })).await;
    assert_eq!(answer["choices"][1]["message"]["content"], "what is [image]");
    assert_eq!(answer["choices"][1]["finish_reason"], "stop");
    assert_eq!(answer["usage"], json!({ "prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11 }));
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer() {
    let demo = start().await;
    let first = stream_of(&demo, "/chat/completions", &chat("echo", "again", true)).await;
    assert_eq!(first, stream_of(&demo, "/chat/completions", &chat("echo", "again", true)).await);
    assert_ne!(first, stream_of(&demo, "/chat/completions", &chat("echo", "anew", true)).await);
}

#[tokio::test]
async fn a_stream_carries_the_same_text_and_its_usage_only_when_asked() {
    let demo = start().await;
    let mut request = chat("echo", "four words and more", true);
    let plain = events(&stream_of(&demo, "/chat/completions", &request).await);
    assert_eq!((text_of(&plain).as_str(), plain.last().unwrap()), ("four words and more", &json!("[DONE]")));
    assert!(plain.iter().all(|event| event.get("usage").is_none()));

    request["stream_options"] = json!({ "include_usage": true });
    request["max_tokens"] = json!(2);
    let metered = events(&stream_of(&demo, "/chat/completions", &request).await);
    let [finish, usage, _done] = &metered[metered.len() - 3..] else { panic!("{metered:?}") };
    assert_eq!((text_of(&metered).as_str(), &finish["choices"][0]["finish_reason"]), ("four words", &json!("length")));
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(6)));
}

#[tokio::test]
async fn tools_are_called_when_required_or_asked_for() {
    let demo = start().await;
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name, "parameters": {} } });
    let mut request = chat("echo", r#"call weather {"city": "Bern"}"#, false);
    request["tools"] = json!([tool("clock"), tool("weather")]);
    let call = |answer: &Value| answer["choices"][0]["message"]["tool_calls"][0]["function"].clone();

    let asked = answer_to(&demo, "/chat/completions", &request).await;
    assert_eq!(call(&asked), json!({ "name": "weather", "arguments": r#"{"city":"Bern"}"# }));
    assert_eq!(asked["choices"][0]["finish_reason"], "tool_calls");

    request["tool_choice"] = json!("none");
    assert_eq!(call(&answer_to(&demo, "/chat/completions", &request).await), Value::Null);

    request["messages"] = json!([{ "role": "user", "content": "what time is it" }]);
    request["tool_choice"] = json!("required");
    assert_eq!(
        call(&answer_to(&demo, "/chat/completions", &request).await),
        json!({ "name": "clock", "arguments": "{}" })
    );

    request["tool_choice"] = json!("auto");
    assert_eq!(call(&answer_to(&demo, "/chat/completions", &request).await), Value::Null);
}

#[tokio::test]
async fn a_tools_result_is_echoed_and_not_called_again() {
    let demo = start().await;
    let mut request = chat("echo", "call clock", false);
    request["tools"] = json!([{ "type": "function", "function": { "name": "clock" } }]);
    let messages = request["messages"].as_array_mut().unwrap();
    messages.push(json!({ "role": "tool", "tool_call_id": "call_1", "content": "noon" }));
    let answer = answer_to(&demo, "/chat/completions", &request).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "noon");
}

#[tokio::test]
async fn a_streamed_tool_call_is_whole_when_put_together() {
    let demo = start().await;
    let mut request = chat("echo", r#"call clock {"zone":"UTC"}"#, true);
    request["tools"] = json!([{ "type": "function", "function": { "name": "clock" } }]);
    let events = events(&stream_of(&demo, "/chat/completions", &request).await);
    let calls = events.iter().map(|event| &event["choices"][0]["delta"]["tool_calls"][0]["function"]);
    let arguments: String = calls.clone().filter_map(|call| call["arguments"].as_str()).collect();
    assert_eq!(calls.clone().filter_map(|call| call["name"].as_str()).collect::<Vec<_>>(), ["clock"]);
    assert_eq!(arguments, r#"{"zone":"UTC"}"#);
}

#[tokio::test]
async fn completions_answer_each_prompt() {
    let demo = start().await;
    let request = json!({ "model": "echo", "prompt": ["one", "two three"], "max_tokens": 1 });
    let answer = answer_to(&demo, "/completions", &request).await;
    assert_eq!(
        (&answer["choices"][0]["text"], &answer["choices"][0]["finish_reason"]),
        (&json!("one"), &json!("stop"))
    );
    assert_eq!(
        (&answer["choices"][1]["text"], &answer["choices"][1]["finish_reason"]),
        (&json!("two"), &json!("length"))
    );
    let stream =
        stream_of(&demo, "/completions", &json!({ "model": "echo", "prompt": "two words", "stream": true })).await;
    let events = events(&stream);
    assert_eq!(events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect::<String>(), "two words");
    assert_eq!(events.last().unwrap(), "[DONE]");
}

#[tokio::test]
async fn embeddings_have_the_dimensions_asked_for() {
    let demo = start().await;
    let request = json!({ "model": "embed", "input": ["one", "two"], "dimensions": 3 });
    let answer = answer_to(&demo, "/embeddings", &request).await;
    assert_eq!(answer["data"][1]["embedding"].as_array().unwrap().len(), 3);
    assert_eq!(answer["usage"], json!({ "prompt_tokens": 2, "total_tokens": 2 }));
    let refused =
        post(&demo, "/embeddings", &json!({ "model": "embed", "input": "x", "dimensions": 0 })).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), &json_of(refused).await["error"]["param"]), (400, &json!("dimensions")));
}

#[tokio::test]
async fn a_response_streams_the_events_that_make_it_up() {
    let demo = start().await;
    let input = json!([{ "role": "user", "content": [{ "type": "input_text", "text": "two words" }] }]);
    let stream = stream_of(&demo, "/responses", &json!({ "model": "echo", "input": input, "stream": true })).await;
    let events = events(&stream);
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    assert_eq!(deltas.filter_map(|event| event["delta"].as_str()).collect::<String>(), "two words");
    assert!(events.iter().zip(0_u64..).all(|(event, number)| event["sequence_number"] == number));
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.completed"), &json!("completed")));
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], "two words");
    assert!(stream.starts_with("event: response.created\ndata: "));

    let capped =
        answer_to(&demo, "/responses", &json!({ "model": "echo", "input": "two words", "max_output_tokens": 1 })).await;
    assert_eq!((&capped["status"], &capped["usage"]["output_tokens"]), (&json!("incomplete"), &json!(1)));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let demo = start().await;
    let cases = [
        ("/chat/completions", chat("none", "x", false), 404),
        ("/chat/completions", chat("embed", "x", false), 404),
        ("/embeddings", json!({ "model": "echo", "input": "x" }), 404),
        ("/chat/completions", json!({ "model": "echo" }), 400),
        ("/chat/completions", json!({ "model": "echo", "messages": [] }), 400),
        ("/nowhere", json!({}), 404),
    ];
    for (path, body, status) in cases {
        let response = post(&demo, path, &body).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path} {body}");
        assert_eq!(json_of(response).await["error"]["type"], "invalid_request_error");
    }
}

#[tokio::test]
async fn statuses_are_answered_as_named() {
    let demo = start().await;
    for (model, status) in
        [("fault-401", 401), ("fault-429", 429), ("fault-500", 500), ("fault-503", 503), ("fault-html-502", 502)]
    {
        let response = post(&demo, "/chat/completions", &chat(model, "x", true)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{model}");
        assert_eq!(response.headers().contains_key("retry-after"), model == "fault-429");
    }
}

#[tokio::test]
async fn broken_streams_break_where_they_should() {
    let demo = start().await;
    let text = "one two three four";
    let play = async |model: &str| {
        let response = post(&demo, "/chat/completions", &chat(model, text, true)).send().await.unwrap();
        until_broken(response).await
    };
    let (cut, clean) = play("fault-cut").await;
    assert!(!clean && cut.contains("two ") && !cut.ends_with('\n'), "{cut}");
    let (short, clean) = play("fault-cut-before-finish").await;
    assert!(
        clean && text_of(&events(&short)) == text && !short.contains("[DONE]") && !short.contains("stop"),
        "{short}"
    );
    let (undone, clean) = play("fault-no-done").await;
    assert!(clean && undone.contains("stop") && !undone.contains("[DONE]"), "{undone}");
    let (first, _) = play("fault-error-first").await;
    assert_eq!((events(&first).len(), events(&first)[0]["error"]["code"].as_str()), (1, Some("internal_error")));
    let (mid, _) = play("fault-error-mid").await;
    assert_eq!(
        (text_of(&events(&mid)).as_str(), events(&mid).last().unwrap()["error"].is_object()),
        ("one two ", true)
    );
    let (crlf, _) = play("fault-crlf").await;
    assert_eq!(crlf.replace("\r\n", "\n").matches('\n').count(), crlf.matches("\r\n").count());
    assert_eq!(text_of(&events(&crlf)), text);
}

#[tokio::test]
async fn a_broken_plain_answer_is_cut_short() {
    let demo = start().await;
    let response = post(&demo, "/chat/completions", &chat("fault-cut", "x", false)).send().await.unwrap();
    let (arrived, clean) = until_broken(response).await;
    assert!(!clean && serde_json::from_str::<Value>(&arrived).is_err(), "{arrived}");
}

#[tokio::test]
async fn what_no_server_would_send_is_sent_all_the_same_and_ends_the_connection() {
    let demo = start().await;
    for (number, model) in
        ["fault-refuse", "fault-endless-headers", "fault-length-over", "fault-bad-chunk"].into_iter().enumerate()
    {
        let broken = match post(&demo, "/chat/completions", &chat(model, "x", true)).send().await {
            Ok(response) => !until_broken(response).await.1,
            Err(_) => true,
        };
        assert!(broken, "{model}");
        tokio::time::timeout(LIMIT, async {
            while demo.seen()[number].open {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn silence_lasts_until_the_client_goes_or_the_upstream_stops() {
    let demo = start().await;
    let request = chat("fault-one-chunk-then-silence", "one two", true);
    let mut response = post(&demo, "/chat/completions", &request).send().await.unwrap();
    let mut arrived = String::new();
    while !arrived.contains("one ") {
        arrived.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(demo.seen().last().unwrap().outcome, Outcome::UnderWay);
    drop(response);
    seen_to_be(&demo, Outcome::Abandoned).await;

    let hanging = tokio::spawn(post(&demo, "/chat/completions", &chat("fault-hang", "x", true)).send());
    seen_to_be(&demo, Outcome::UnderWay).await;
    tokio::time::timeout(LIMIT, demo.stop()).await.unwrap();
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn a_slow_stream_ends_early_when_the_upstream_stops() {
    let demo = start().await;
    let words = "word ".repeat(1000);
    let response = post(&demo, "/chat/completions", &chat("fault-slow", &words, true)).send().await.unwrap();
    let (stream, ()) =
        tokio::join!(until_broken(response), tokio::time::timeout(LIMIT, demo.stop()).map(Result::unwrap));
    assert!(stream.1 && text_of(&events(&stream.0)) == words);
}

#[tokio::test]
async fn requests_are_remembered_as_they_came() {
    let demo = start().await;
    let body = chat("echo", "x", false);
    post(&demo, "/chat/completions?a=b", &body).header("x-trace", "1").send().await.unwrap();
    seen_to_be(&demo, Outcome::Finished).await;
    let [seen] = &demo.seen()[..] else { panic!("one request") };
    assert_eq!(
        (seen.number, seen.method.as_str(), seen.uri.to_string().as_str()),
        (0, "POST", "/v1/chat/completions?a=b")
    );
    assert_eq!((&seen.headers["x-trace"], seen.body.as_ref()), (&"1".parse().unwrap(), body.to_string().as_bytes()));
}
