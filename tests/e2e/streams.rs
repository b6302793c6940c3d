//! Streams: every event passes as soon as it is there, and a stream that breaks looks broken.

use std::time::Duration;

use serde_json::{Value, json};
use signalbox_proto::{
    admin::v1::{Provider, Settings},
    config::v1::Timeouts,
};
use signalbox_tests::{
    Answer, CLIENT_KEY, Draft, System, Upstream, chat_streamed,
    draft::{millis, provider},
    logs,
    upstream::{self, DONE, delta, finish, text},
    wait::{eventually, soon},
};

async fn system() -> (System, Upstream) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let timeouts = Timeouts { stream_idle: millis(200), ..Timeouts::default() };
    let impatient = Provider { timeouts: Some(timeouts), ..provider("impatient", &upstream.url()) };
    let draft = Draft::new().upstream("main", &upstream.url()).provider(impatient);
    system.apply(draft.redirect("alias", "alias", &[("main", "m")])).await;
    (system, upstream)
}

/// The error in a stream's last frame.
#[track_caller]
fn error(frame: &str) -> String {
    let json = frame.strip_prefix("data: ").and_then(|frame| serde_json::from_str::<Value>(frame.trim()).ok());
    let error = json.as_ref().and_then(|json| json.get("error")).unwrap_or_else(|| panic!("no error event: {frame}"));
    for key in ["message", "type", "param", "code"] {
        assert!(error.get(key).is_some(), "an error has all four keys: {frame}");
    }
    error.get("code").and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_client_has_each_event_before_the_upstream_sends_the_next() {
    let (system, upstream) = system().await;
    for model in ["main/m", "alias"] {
        let live = upstream.stream_live();
        let first = text("m", "0");
        live.write(&first);
        let mut events = system.client().chat_stream(model).await;
        let answered = if model == "alias" { "alias" } else { "m" };
        assert_eq!(events.next().await, Some(text(answered, "0")));
        for number in 1..20 {
            live.write(text("m", &number.to_string()));
            assert_eq!(events.next().await, Some(text(answered, &number.to_string())));
        }
        live.write(finish("m"));
        assert_eq!(events.next().await, Some(finish(answered)));
        live.write(DONE);
        assert_eq!(events.next().await.as_deref(), Some(DONE));
        live.end();
        assert_eq!(events.next().await, None);
    }
    system.data_plane().recorded("completed", 2).await;
}

#[tokio::test]
async fn framing_is_tolerant_on_the_way_in_and_exact_on_the_way_out() {
    let (system, upstream) = system().await;
    let expected = [text("m", "é😀"), finish("m"), DONE.to_owned()];
    let plain = expected.concat();
    let variants = [
        ("as it should be", plain.clone()),
        ("carriage returns and line feeds", plain.replace('\n', "\r\n")),
        ("lone carriage returns", plain.replace('\n', "\r")),
        ("a byte order mark", format!("\u{feff}{plain}")),
        ("no space after the colon", plain.replace("data: ", "data:")),
        ("no final blank line", plain.trim_end().to_owned()),
        ("more blank lines", plain.replace("\n\n", "\n\n\n\n")),
    ];
    for (name, bytes) in &variants {
        for piece in [1, 3, 7, bytes.len()] {
            let live = upstream.stream_live();
            for piece in bytes.as_bytes().chunks(piece) {
                live.write(piece);
            }
            live.end();
            let mut frames = system.client().chat_stream("alias").await.rest().await;
            frames.retain(|frame| !frame.trim().is_empty());
            let expected: Vec<_> = expected.iter().map(|frame| frame.replace(r#""m""#, r#""alias""#)).collect();
            assert_eq!(frames, expected, "{name}, in pieces of {piece}");
        }
    }
}

#[tokio::test]
async fn a_stream_in_which_nothing_changes_passes_byte_for_byte() {
    let (system, upstream) = system().await;
    let odd = [
        "data: {\"choices\":[{\"delta\":{\"content\":\"h\\u00e9\"},\"index\":0, \"logprobs\":null}],\"created\":1.0,\"x\":1e3}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}],\"obfuscation\":\"xx\"}\n\n",
        DONE,
    ];
    upstream.answer(Answer::stream(odd));
    assert_eq!(system.client().chat_stream("main/m").await.rest().await, odd);
}

#[tokio::test]
async fn what_openai_python_would_stumble_over_is_left_out() {
    let (system, upstream) = system().await;
    let frames = ["id: 1\nretry: 5\n\n", &format!("id: 2\nevent: chunk\n{}", text("m", "a")), &finish("m"), DONE];
    upstream.answer(Answer::stream(frames));
    let received = system.client().chat_stream("main/m").await.rest().await.concat();
    assert!(!received.contains("id: ") && !received.contains("retry:"), "{received}");
    assert!(received.contains(text("m", "a").trim_end()) && received.ends_with(DONE), "{received}");
}

#[tokio::test]
async fn a_stream_without_its_terminator_is_complete_if_it_has_finished_and_none_is_made_up() {
    let (system, upstream) = system().await;
    let frames = [text("m", "a"), finish("m")];
    upstream.answer(Answer::stream(frames.iter().map(String::as_str)));
    assert_eq!(system.client().chat_stream("main/m").await.rest().await, frames);
    system.data_plane().recorded("completed", 1).await;
}

#[tokio::test]
async fn a_stream_that_breaks_ends_in_an_error_event_and_nothing_is_tried_again() {
    let (system, upstream) = system().await;
    let begun = |live: &upstream::Live| live.write(text("m", "a"));
    let breaks: [(&str, &dyn Fn(upstream::Live)); 6] = [
        ("a cut", &|live| {
            begun(&live);
            live.cut();
        }),
        ("a reset", &|live| {
            begun(&live);
            live.reset();
        }),
        ("a cut within an event", &|live| {
            begun(&live);
            live.write("data: {\"choices\":[{\"del");
            live.cut();
        }),
        ("a clean end too early", &|live| {
            begun(&live);
            live.end();
        }),
        ("an end within an event", &|live| {
            begun(&live);
            live.write("data: {\"choices\":[{\"del");
            live.end();
        }),
        ("a broken chunk", &|live| {
            begun(&live);
            live.write_raw("zz\r\n");
            live.cut();
        }),
    ];
    for (number, (name, play)) in breaks.iter().enumerate() {
        play(upstream.stream_live());
        let events = system.client().chat_stream("main/m").await;
        let id = events.header("x-request-id").to_owned();
        let frames = events.rest().await;
        let [content, last] = frames.as_slice() else { panic!("{name}: {frames:?}") };
        assert_eq!((content, error(last).as_str()), (&text("m", "a"), "upstream_error"), "{name}");
        assert_eq!(upstream.seen().len(), number + 1, "{name}");
        let line = eventually("the reason in the log", async || broken(&id)).await;
        let cause = match *name {
            "a clean end too early" | "an end within an event" => Value::Null,
            "a broken chunk" => json!(["the chunks of the answer are out of form"]),
            _ => json!(["the upstream closed the connection before its answer was complete"]),
        };
        assert_eq!(line["error.sources"], cause, "{name}: {line}");
    }
    system.data_plane().recorded("broken", 6).await;
}

/// What the log says of an answer that broke off.
fn broken(request_id: &str) -> Option<Value> {
    logs::holding(request_id).into_iter().find(|line| line["message"] == "answer broken off")
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_stream_reaches_the_client_and_ends_it() {
    let (system, upstream) = system().await;
    let theirs = format!("data: {}\n\n", upstream::error("overloaded in the middle"));
    upstream.answer(Answer::stream([&*text("m", "a"), &theirs]));
    let frames = system.client().chat_stream("main/m").await.rest().await;
    assert_eq!(frames.first(), Some(&text("m", "a")));
    assert!(frames.iter().any(|frame| frame.contains("overloaded in the middle")), "{frames:?}");
    assert!(!frames.contains(&DONE.to_owned()), "{frames:?}");
    assert_eq!(upstream.seen().len(), 1);
    system.data_plane().recorded("broken", 1).await;
}

#[tokio::test]
async fn silence_in_the_middle_of_a_stream_is_given_up() {
    let (system, upstream) = system().await;
    let live = upstream.stream_live();
    live.write(text("m", "a"));
    let frames = system.client().chat_stream("impatient/m").await.rest().await;
    let [content, last] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!((content, error(last).as_str()), (&text("m", "a"), "upstream_timeout"));
    upstream.abandoned(0, Duration::from_secs(1)).await;
    system.data_plane().recorded("broken", 1).await;
}

#[tokio::test]
async fn signs_of_life_do_not_commit_a_stream_but_content_does() {
    let (system, upstream) = system().await;
    let live = upstream.stream_live();
    live.write(": a comment\n\n");
    live.write(delta("m", &json!({"role": "assistant", "content": ""}), None));
    let asked = tokio::spawn({
        let client = system.client();
        async move { client.chat_stream("main/m").await }
    });
    upstream.request(0).await;
    live.write(text("m", "a"));
    let mut events = asked.await.unwrap();
    let mut frames = vec![events.next().await.unwrap()];
    while frames.last() != Some(&text("m", "a")) {
        frames.push(events.next().await.unwrap());
    }
    assert!(
        frames.contains(&delta("m", &json!({"role": "assistant", "content": ""}), None)),
        "what was held back comes first"
    );
}

#[tokio::test]
async fn a_plain_answer_to_a_streamed_request_passes_as_it_is() {
    let (system, upstream) = system().await;
    upstream.answer(Answer::chat("m", "no stream today"));
    let reply = system.client().post("/v1/chat/completions", chat_streamed("main/m").to_string()).await;
    assert_eq!((reply.status, reply.content().as_str()), (200, "no stream today"));
}

#[tokio::test]
async fn many_streams_at_once_do_not_mix() {
    let (system, upstream) = system().await;
    let lives: Vec<_> = (0..20).map(|_| upstream.stream_live()).collect();
    let mut streams = Vec::new();
    for (number, live) in lives.iter().enumerate() {
        live.write(text("m", &format!("first of {number}")));
        streams.push(system.client().chat_stream("main/m").await);
    }
    for (number, live) in lives.into_iter().enumerate() {
        live.write(text("m", &format!("second of {number}")));
        live.write(finish("m"));
        live.write(DONE);
        live.end();
    }
    for (number, stream) in streams.into_iter().enumerate() {
        let frames = stream.rest().await;
        let expected = [
            text("m", &format!("first of {number}")),
            text("m", &format!("second of {number}")),
            finish("m"),
            DONE.to_owned(),
        ];
        assert_eq!(frames, expected);
    }
}

#[tokio::test]
async fn a_silence_is_broken_by_comments_between_events_and_only_once_there_was_one() {
    let (system, upstream) = system().await;
    let settings = Settings { stream_keepalive: millis(50), ..Settings::default() };
    system.apply(Draft::new().settings(settings)).await;
    let live = upstream.stream_live();
    let (first, rest) = (text("m", "a"), text("m", "b"));
    let client = system.client();
    let asking = tokio::spawn(async move { client.chat_stream("main/m").await });
    upstream.call(0).await;
    live.write(&first);
    let mut events = soon("the stream", asking).await.unwrap();
    assert_eq!(events.next().await, Some(first), "nothing is said before the stream is committed");
    let (begun, ending) = rest.split_at(10);
    live.write(begun);
    for _ in 0..3 {
        assert_eq!(events.next().await.as_deref(), Some(": ping\n\n"));
    }
    live.write(ending);
    live.write(finish("m"));
    live.write(DONE);
    live.end();
    let mut heard = events.rest().await;
    heard.retain(|frame| frame != ": ping\n\n");
    assert_eq!(heard, [rest, finish("m"), DONE.to_owned()], "no comment is within an event");
}

#[tokio::test]
async fn no_comments_are_sent_where_settings_say_so() {
    let (system, upstream) = system().await;
    system.apply(Draft::new().settings(Settings { stream_keepalive: millis(0), ..Settings::default() })).await;
    let live = upstream.stream_live();
    live.write(text("m", "a"));
    let frames = system.client().chat_stream("impatient/m").await.rest().await;
    assert!(frames.len() == 2 && frames.concat().contains("upstream_timeout"), "{frames:?}");
}

#[tokio::test]
async fn a_burst_leaves_in_one_write_and_an_event_alone_at_once() {
    let (system, upstream) = system().await;
    let live = upstream.stream_live();
    live.write(text("m", "first"));
    let body = chat_streamed("main/m").to_string();
    let mut raw = system.data_plane().raw().await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    raw.send(head).await;
    assert_eq!(raw.head().await, 200);
    assert_eq!(raw.chunk().await, Some(text("m", "first")));
    let events: Vec<String> = (0..40).map(|number| text("m", &number.to_string())).collect();
    live.write(events.concat());
    assert_eq!(raw.chunk().await, Some(events.concat()), "of one chunk");
    let chunks: String = events.iter().map(|event| format!("{:x}\r\n{event}\r\n", event.len())).collect();
    live.write_raw(chunks);
    assert_eq!(raw.chunk().await, Some(events.concat()), "of one chunk each");
    live.write(finish("m") + DONE);
    assert_eq!(raw.chunk().await, Some(finish("m") + DONE));
    live.end();
    assert_eq!(raw.chunk().await, None);
}

#[tokio::test]
async fn the_ids_of_a_response_keep_the_provider_that_made_it() {
    let (system, upstream) = system().await;
    let event = |name: &str, suffix: &str| {
        format!(
            "event: response.{name}\ndata: {{\"type\":\"response.{name}\",\"response\":{{\"id\":\"resp_2{suffix}\",\
             \"previous_response_id\":\"resp_1{suffix}\",\"output\":[{{\"id\":\"msg_1\"}}]}}}}\n\n"
        )
    };
    let item = "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"delta\":\"a\"}\n\n";
    upstream.answer(Answer::stream([event("created", "").as_str(), item, &event("completed", "")]));
    let body = json!({"model": "main/m", "input": "x", "stream": true}).to_string();
    let events = system.client().stream("/v1/responses", body).await.rest().await;
    assert_eq!(events, [event("created", "~main").as_str(), item, &event("completed", "~main")]);

    let answer = Answer::status(200).header("content-type", "application/json");
    upstream.answer(answer.body(r#"{"id":"resp_3","previous_response_id":"resp_2","output":[{"id":"msg_2"}]}"#));
    let reply = system.client().post("/v1/responses", r#"{"model":"main/m"}"#).await;
    assert_eq!(reply.text(), r#"{"id":"resp_3~main","previous_response_id":"resp_2~main","output":[{"id":"msg_2"}]}"#);
}
